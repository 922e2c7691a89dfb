/** The call that is being served, from deep within: in handlers, turns and functions, here and from afar, and nowhere else. */
import test, { type ExecutionContext } from 'ava'
import { Stage, TcpInterface, type Interceptor, type Self, type StageOptions } from '../../src/index.js'
import { currentCall, keepCurrentCall } from '../../wrappers/current-call.js'
import { nothingUnhandled } from '../helpers/unhandled.js'
import { until } from '../helpers/until.js'

nothingUnhandled(test)

let places = 0

/** What a logger would write, far from the handler and after an `await`. */
async function line(): Promise<string> {
  await new Promise((resolve) => { setImmediate(resolve) })
  const call = currentCall()
  return call ? `${call.side} ${call.kind} ${call.target} ${call.method} from ${call.peer?.name} ${call.headers['tenant']}` : 'none'
}

function pair(t: ExecutionContext, options: StageOptions = { interceptors: [keepCurrentCall] }, carrier: 'memory' | 'tcp' = 'memory') {
  const place = `memory:current-call-${++places}`
  const [web, api] = ['web', 'api'].map((name) => new Stage(name, place, carrier === 'tcp' ? new TcpInterface() : undefined, options))
  t.teardown(() => Promise.all([web.close(), api.close()]))
  const told: string[] = []
  api.to('*').provide('line', line)
  api.to('*').provide('apply', (fn: () => Promise<string>) => fn())
  api.to('*').provide('maker', () => () => line())
  api.to('*').provide('note', async () => { told.push(await line()) })
  api.to('*').provide('nested', async function () { return [await line(), await this.to('api').call<string>('line'), await line()] })
  api.define({
    pattern: 'players.{id}',
    create: (_, self: Self) => ({
      line,
      later() { self.after(1, async () => { told.push(await line()) }) },
      nested: async () => [await line(), await self.actor('players.2')['line']() as string, await line()],
    }),
  })
  return { web, api, told }
}

for (const carrier of ['memory', 'tcp'] as const) {
  test(`over ${carrier}: it is there in handlers, turns and functions, after awaits, from afar and from the stage itself`, async (t) => {
    const { web, api, told } = pair(t, undefined, carrier)
    const headers = { tenant: 'a' }
    for (const from of [web, api]) {
      const { name } = from
      t.is(await from.to('api', { headers }).call('line'), `callee call api line from ${name} a`)
      t.is(await from.actor('players.1', { headers })['line'](), `callee call players.1 line from ${name} a`)
      t.deepEqual(await from.to('api', { headers }).call('nested'), [`callee call api nested from ${name} a`, 'callee call api line from api a', `callee call api nested from ${name} a`])
      t.deepEqual(await from.actor('players.1', { headers })['nested'](), [`callee call players.1 nested from ${name} a`, 'callee call players.2 line from api a', `callee call players.1 nested from ${name} a`])
      from.to('api', { headers }).cast('note')
      await until(() => told.length > 0)
      t.deepEqual(told.splice(0), [`callee cast api note from ${name} a`])
    }
    t.regex(await web.to('api').call<string>('apply', () => line()), /^callee function web function \d+ from api undefined$/)
    const made = await web.to('api').call<() => Promise<string>>('maker')
    t.regex(await made(), /^callee function api function \d+ from web undefined$/)
  })
}

test('it is not there where the call is made, in timers of actors, in events, nor without the interceptor', async (t) => {
  const seen: unknown[] = []
  const see: Interceptor = (call, next) => { if (call.side === 'caller') seen.push(currentCall()); return next(call) }
  const { web, api, told } = pair(t, { interceptors: [see, keepCurrentCall, see] })
  web.on('link', () => seen.push(currentCall()))
  t.is(currentCall(), undefined)
  const answer = web.to('api').call('line')
  t.is(currentCall(), undefined)
  await answer
  t.is(currentCall(), undefined)
  await web.actor('players.1')['later']()
  await until(() => told.length > 0)
  t.deepEqual(told, ['none'])
  t.true(seen.length >= 2)
  t.true(seen.every((one) => one === undefined))
  const without = pair(t, {})
  t.is(await without.web.to('api').call('line'), 'none')
  t.is(await without.web.actor('players.1')['line'](), 'none')
  await api.close()
})

test('calls that run at the same time each see their own', async (t) => {
  const { web } = pair(t)
  const tenants = Array.from({ length: 50 }, (_, n) => `t${n}`)
  const lines = await Promise.all(tenants.map((tenant) => web.to('api', { headers: { tenant } }).call<string>('line')))
  t.deepEqual(lines, tenants.map((tenant) => `callee call api line from web ${tenant}`))
})

test('it is the call as the interceptor sees it: behind another one with the headers that this has added', async (t) => {
  const add: Interceptor = (call, next) => next(call.side === 'callee' ? { ...call, headers: { ...call.headers, tenant: 'added' } } : call)
  for (const [interceptors, tenant] of [[[add, keepCurrentCall], 'added'], [[keepCurrentCall, add], 'undefined']] as const) {
    const { web } = pair(t, { interceptors })
    t.is(await web.to('api').call('line'), `callee call api line from web ${tenant}`)
  }
})
