/** One more traced thing needs nothing in the library: W3C `traceparent` by the interceptor of `examples/trace.ts`, on both sides. */
import test, { type ExecutionContext } from 'ava'
import { tracing, type Span } from '../../examples/trace.js'
import { Stage, TcpInterface, type CallContext, type Self } from '../../src/index.js'
import { until } from '../helpers/until.js'

let places = 0

async function scene(t: ExecutionContext, carrier: 'memory' | 'tcp') {
  const spans: Span[] = []
  const place = `memory:traceparent-${++places}`
  const [web, api, db] = ['web', 'api', 'db'].map((name) => new Stage(name, place, carrier === 'tcp' ? new TcpInterface() : undefined, { interceptors: [tracing((span) => spans.push(span))] }))
  t.teardown(() => Promise.all([web, api, db].map((stage) => stage.close())))
  const headers = function (this: CallContext) { return this.headers['traceparent'] }
  db.to('*').provide('headers', headers)
  db.to('*').provide('note', () => {})
  db.to('*').provide('apply', (fn: () => Promise<unknown>) => fn())
  db.define({ pattern: 'players.{id}', create: (_, self: Self) => ({ hp: 1, headers: () => self.headers['traceparent'], ask: () => self.to('db').call('headers') }) })
  const each: Record<string, (call: CallContext) => Promise<unknown>> = {
    call: (call) => call.to('db').call('headers'),
    cast: (call) => Promise.resolve(call.to('db').cast('note')),
    callAll: async (call) => { for await (const { value } of call.to('db').callAll('headers')) return value as unknown; return undefined },
    actor: (call) => call.actor('players.1')['headers']() as Promise<unknown>,
    'call by an actor': (call) => call.actor('players.1')['ask']() as Promise<unknown>,
    get: async (call) => await call.actor('players.1')['hp'] as unknown,
    function: (call) => call.to('db').call('apply', () => 1),
  }
  for (const [name, make] of Object.entries(each)) api.to('*').provide(name.replaceAll(' ', '-'), function (this: CallContext) { return make(this) })
  await Promise.all([web, api, db].map((stage) => stage.ready()))
  return { web, spans }
}

/** From the outermost to the innermost: what is called, and on which side it is seen. */
const cases: Record<string, readonly string[]> = {
  call: ['caller db headers', 'callee db headers'],
  cast: ['caller db note', 'callee db note'],
  callAll: ['caller db headers', 'callee db headers'],
  actor: ['caller players.1 headers', 'callee players.1 headers'],
  'call-by-an-actor': ['caller players.1 ask', 'callee players.1 ask', 'caller db headers', 'callee db headers'],
  get: ['caller players.1 hp', 'callee players.1 hp'],
  function: ['caller db apply', 'callee db apply', 'caller api function', 'callee api function'],
}

for (const carrier of ['memory', 'tcp'] as const) {
  for (const [method, behind] of Object.entries(cases)) {
    test(`a trace goes on through ${method} over ${carrier}`, async (t) => {
      const { web, spans } = await scene(t, carrier)
      await web.to('api').call(method)
      await until(() => spans.length === behind.length + 2)
      t.is(new Set(spans.map(({ trace }) => trace)).size, 1)
      t.is(new Set(spans.map(({ id }) => id)).size, spans.length)
      const chain: string[] = []
      for (let span = spans.find(({ parent }) => parent === undefined); span; span = spans.find(({ parent }) => parent === span?.id)) chain.push(`${span.side} ${span.what.replace(/ \d+$/, '')}`)
      t.deepEqual(chain, [`caller api ${method}`, `callee api ${method}`, ...behind])
    })
  }

  test(`a trace of somebody else goes on, and what is none begins one: over ${carrier}`, async (t) => {
    const { web, spans } = await scene(t, carrier)
    const trace = 'ab'.repeat(16)
    const came = await web.to('db', { headers: { traceparent: `00-${trace}-${'cd'.repeat(8)}-01` } }).call<string>('headers')
    t.regex(came, new RegExp(`^00-${trace}-[0-9a-f]{16}-01$`))
    t.is(spans.find(({ side }) => side === 'caller')?.parent, 'cd'.repeat(8))
    for (const traceparent of ['nonsense', `00-${'zz'.repeat(16)}-${'cd'.repeat(8)}-01`, '']) {
      spans.length = 0
      t.notRegex(await web.to('db', { headers: { traceparent } }).call<string>('headers'), /zz|nonsense/)
      t.is(spans.find(({ side }) => side === 'caller')?.parent, undefined)
    }
  })
}
