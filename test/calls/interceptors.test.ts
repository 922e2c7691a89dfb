/** Interceptors and rules around calls: on either side, for each kind of call, here and from afar. */
import { AsyncLocalStorage } from 'node:async_hooks'
import { once } from 'node:events'
import { setImmediate as turnOf } from 'node:timers/promises'
import test, { type ExecutionContext } from 'ava'
import { Stage, StageError, TcpInterface, actors, framing, msgpack, rpc, type Authorize, type CallContext, type InterceptedCall, type Interceptor, type Self, type StageOptions } from '../../src/index.js'
import { either } from '../../src/abort.js'
import { json } from '../../wrappers/json.js'
import { nothingUnhandled } from '../helpers/unhandled.js'
import { until } from '../helpers/until.js'

nothingUnhandled(test)

interface Player { hp: number; hit(by: number): Promise<number>; fail(): Promise<void>; headers(): Promise<Record<string, string>> }

let places = 0

interface Sides { web?: StageOptions; api?: StageOptions; carrier?: 'tcp' | 'memory'; codec?: 'msgpack' | 'json' }

/** A stage that calls and one that is called; the latter may be asked to call itself. */
function pair(t: ExecutionContext, { web: near, api: far, carrier = 'memory', codec = 'msgpack' }: Sides) {
  const place = `memory:interceptors-${++places}`
  const [web, api] = ([['web', near], ['api', far]] as const).map(([name, options]) =>
    new Stage(name, place, carrier === 'tcp' ? new TcpInterface() : undefined, { chain: [framing(), rpc({ codec: codec === 'json' ? json() : msgpack() }), actors()], ...options }))
  t.teardown(() => Promise.all([web.close(), api.close()]))
  const began: string[] = []
  const all = api.to('*')
  all.provide('add', (a: number, b: number) => { began.push(`add ${a}`); return a + b })
  all.provide('headers', function () { return { ...this.headers } })
  all.provide('note', (text: string) => { began.push(`note ${text}`) })
  all.provide('fail', () => { throw new Error('on purpose') })
  all.provide('apply', (fn: (n: number) => Promise<number>, n: number) => fn(n))
  all.provide('adder', () => (n: number) => n + 1)
  api.define({
    pattern: 'players.{id}',
    create: (_, self: Self) => ({
      hp: 100,
      hit(by: number) { began.push(`hit ${by}`); this.hp -= by; return this.hp },
      fail() { throw new Error('on purpose') },
      headers: () => ({ ...self.headers }),
    }),
  })
  return { web, api, began }
}

const failure = (promise: PromiseLike<unknown>): Promise<StageError> => Promise.resolve(promise).then((value) => { throw new Error(`it was answered: ${String(value)}`) }, (error: unknown) => error as StageError)

/** What each kind of call is told as, and how it is made. */
const kinds: readonly [kind: InterceptedCall['kind'], method: string, args: unknown, make: (from: Stage, t: ExecutionContext) => Promise<unknown>, actor?: true][] = [
  ['call', 'add', [1, 2], (from) => from.to('api').call('add', 1, 2)],
  ['call', 'add', [1, 2], (from) => from.to('api').as<{ add(a: number, b: number): number }>().add(1, 2)],
  ['call', 'add', [1, 2], async (from) => { for await (const { error } of from.to('api').callAll('add', 1, 2)) if (error) throw error }],
  ['cast', 'note', ['x'], async (from) => { from.to('api').cast('note', 'x') }],
  ['call', 'hit', [5], (from) => from.actor<Player>('players.1').hit(5), true],
  ['get', 'hp', [], async (from) => await from.actor<Player>('players.1').hp, true],
  ['observe', 'hp', ['hp'], async (from) => { for await (const { hp } of from.observe<Player>('players.1', ['hp'])) return hp; return undefined }, true],
]

for (const [kind, method, args, make, actor] of kinds) {
  for (const from of ['web', 'api'] as const) {
    for (const [carrier, codec] of [['memory', 'json'], ['tcp', 'msgpack']] as const) {
      test(`${kind} ${method} from ${from === 'web' ? 'afar' : 'the stage itself'} passes the interceptors of both sides, in their order: ${String(make).slice(0, 60)} ${carrier}`, async (t) => {
        const seen: string[] = []
        const calls: InterceptedCall[] = []
        const one = (name: string): Interceptor => async (call, next) => {
          if (call.kind !== kind) return next(call)
          seen.push(`${name} ${call.side}`)
          calls.push(call)
          try {
            return await next(call)
          } finally {
            seen.push(`${name} ${call.side} end`)
          }
        }
        const options = { interceptors: [one('1'), one('2')] }
        const stages = pair(t, { web: options, api: options, carrier, codec })
        await Promise.all([stages.web.ready(), stages.api.ready()])
        await make(stages[from], t)
        await until(() => seen.length >= 8)
        if (kind === 'cast') t.deepEqual(seen.filter((one) => !one.endsWith('end')), ['1 caller', '2 caller', '1 callee', '2 callee'])
        else t.deepEqual(seen.slice(0, 4), ['1 caller', '2 caller', '1 callee', '2 callee'])
        if (kind !== 'cast') t.deepEqual(seen.slice(4), ['2 callee end', '1 callee end', '2 caller end', '1 caller end'])
        for (const call of calls) t.like(call, { kind, method, args })
        const [caller, callee] = (['caller', 'callee'] as const).map((side) => calls.find((call) => call.side === side)!)
        t.is(caller.target, actor ? 'players.1' : 'api')
        t.is(callee.peer?.name, from)
        t.deepEqual(callee.actor, actor && { address: 'players.1', pattern: 'players.{id}' })
        t.is(callee.target, actor ? 'players.1' : 'api')
        t.true(callee.signal instanceof AbortSignal)
        if (kind === 'cast') t.is(callee.deadline, Infinity)
        else t.true(callee.deadline > Date.now() && callee.deadline < Date.now() + 11_000)
      })
    }
  }
}

test('a function that was passed passes them too, whichever way it goes', async (t) => {
  const seen: string[] = []
  const note = (name: string): Interceptor => (call, next) => { if (call.kind === 'function') seen.push(`${name} ${call.side} ${call.peer?.name} ${JSON.stringify(call.args)}`); return next(call) }
  const { web } = pair(t, { web: { interceptors: [note('web')] }, api: { interceptors: [note('api')] } })
  t.is(await web.to('api').call('apply', (n: number) => n * 2, 21), 42)
  t.deepEqual(seen.splice(0), ['api caller web [21]', 'web callee api [21]'])
  const adder = await web.to('api').call<(n: number) => Promise<number>>('adder')
  t.is(await adder(1), 2)
  t.deepEqual(seen, ['web caller api [1]', 'api callee web [1]'])
})

for (const side of ['caller', 'callee'] as const) {
  const at = (interceptor: Interceptor, kind = 'call'): StageOptions => ({ interceptors: [(call, next) => call.side === side && call.kind === kind ? interceptor(call, next) : next(call)] })
  const made = (t: ExecutionContext, interceptor: Interceptor, kind?: string) => pair(t, side === 'caller' ? { web: at(interceptor, kind), carrier: 'tcp' } : { api: at(interceptor, kind), carrier: 'tcp' })

  test(`at the ${side} it changes arguments and headers`, async (t) => {
    const { web } = made(t, (call, next) => next({ ...call, args: call.method === 'headers' ? call.args : [40, ...call.args.slice(1)], headers: { ...call.headers, Tenant: 'b' } }))
    t.is(await web.to('api').call('add', 1, 2), 42)
    t.is(await web.actor<Player>('players.1').hit(1), 60)
    t.deepEqual(await web.to('api', { headers: { trace: '1' } }).call('headers'), { trace: '1', tenant: 'b' })
    t.deepEqual(await web.actor<Player>('players.1', { headers: { trace: '1' } }).headers(), { trace: '1', tenant: 'b' })
  })

  test(`at the ${side} it answers in place of who was called, and changes what that answered`, async (t) => {
    const { web, began } = made(t, async (call, next) => call.args[0] === 1 ? 'instead' : `${String(await next(call))}!`)
    t.is(await web.to('api').call('add', 1, 2), 'instead')
    t.deepEqual(began, [])
    t.is(await web.to('api').call('add', 2, 2), '4!')
    t.is(await web.actor<Player>('players.1').hit(1) as unknown, 'instead')
    t.is(await web.actor<Player>('players.1').hit(2) as unknown, '98!')
  })

  test(`at the ${side} a StageError of its own arrives as it is; after it ran it is not called unexecuted`, async (t) => {
    const { web, began } = made(t, async (call, next) => {
      if (call.args[0] === 1) throw new StageError('OVERLOADED', 'too much today', { executed: 'no' })
      await next(call)
      throw new StageError('FORBIDDEN', 'not that answer', { executed: side === 'callee' ? 'no' : 'yes' })
    })
    for (const make of [(n: number) => web.to('api').call('add', n, 2), (n: number) => web.actor<Player>('players.1').hit(n)]) {
      t.like(await failure(make(1)), { code: 'OVERLOADED', message: 'too much today', executed: 'no' })
      t.is(began.length, 0)
      t.like(await failure(make(2)), { code: 'FORBIDDEN', message: 'not that answer', executed: 'yes' })
      t.is(began.splice(0).length, 1)
    }
  })

  test(`at the ${side} it sees what a handler threw, and the caller gets it as without`, async (t) => {
    const seen: unknown[] = []
    const { web } = made(t, async (call, next) => {
      try {
        return await next(call)
      } catch (error) {
        seen.push(error)
        throw error
      }
    })
    for (const make of [() => web.to('api').call('fail'), () => web.actor<Player>('players.1').fail()]) {
      const error = await failure(make())
      t.like(error, { code: 'REMOTE_ERROR', executed: 'yes', cause: { message: 'on purpose' } })
      t.regex(error.message, /fail.* failed: on purpose/)
      t.is((seen.pop() as Error).message, side === 'caller' ? error.message : 'on purpose')
    }
  })

  test(`at the ${side} one that never goes on ends with the deadline, and with the signal`, async (t) => {
    const { web, began } = made(t, () => new Promise(() => {}))
    for (const make of [(options: object) => web.to('api', options).call('add', 1, 2), (options: object) => web.actor<Player>('players.1', options).hit(1)]) {
      const error = await failure(make({ timeoutMs: 150 }))
      t.is(error.code, 'TIMEOUT')
      const cancel = new AbortController()
      const cancelled = failure(make({ signal: cancel.signal }))
      await turnOf()
      cancel.abort()
      t.is((await cancelled).code, 'CANCELLED')
    }
    t.deepEqual(began, [])
    await until(() => web.stats()['calls'] === 0)
  })
}

test('calls of one caller start in the order sent where interceptors go on at once; one that waits is overtaken, and nothing else is', async (t) => {
  let open = (): void => {}
  const gate = new Promise<void>((resolve) => { open = resolve })
  const { web, began } = pair(t, { carrier: 'tcp', api: { interceptors: [async (call, next) => { if (call.args[0] === 2) await gate; return next(call) }] } })
  await web.to('api').methods()
  const calls = [1, 2, 3].map((n) => web.to('api').call('add', n, 0))
  const hits = [1, 2, 3].map((n) => web.actor<Player>('players.1').hit(n))
  await until(() => began.length === 4)
  t.deepEqual(began.filter((one) => one.startsWith('add')), ['add 1', 'add 3'])
  t.deepEqual(began.filter((one) => one.startsWith('hit')), ['hit 1', 'hit 3'])
  open()
  t.deepEqual(await Promise.all(calls), [1, 2, 3])
  t.deepEqual(await Promise.all(hits), [99, 94, 96])
})

test('at the callee next() is called once; at the caller each is a call of its own', async (t) => {
  const twice: Interceptor = async (call, next) => { await next(call); return next(call) }
  const served = pair(t, { api: { interceptors: [twice] } })
  t.regex((await failure(served.web.to('api').call('add', 1, 2))).message, /next\(\) was called twice/)
  t.deepEqual(served.began, ['add 1'])
  const asking = pair(t, { web: { interceptors: [twice] } })
  t.is(await asking.web.to('api').call('add', 1, 2), 3)
  t.deepEqual(asking.began, ['add 1', 'add 1'])
})

test('P26: a handler and a turn run in the context that an interceptor makes, and in none without one', async (t) => {
  const storage = new AsyncLocalStorage<string>()
  const tell = (stage: Stage): void => {
    stage.to('*').provide('context', () => storage.getStore() ?? 'none')
    stage.define({ pattern: 'tellers.{id}', create: () => ({ context: async () => { await turnOf(); return storage.getStore() ?? 'none' } }) })
  }
  const within = pair(t, { api: { interceptors: [(call, next) => storage.run('theirs', () => next(call))] } })
  const without = pair(t, { api: { interceptors: [(call, next) => next(call)] } })
  for (const { api } of [within, without]) tell(api)
  for (const [{ web, api }, expected] of [[within, 'theirs'], [without, 'none']] as const) {
    await storage.run('ours', async () => {
      t.is(await web.to('api').call('context'), expected)
      for (const from of [web, api]) t.is(await from.actor<{ context(): Promise<string> }>('tellers.1').context(), expected)
    })
  }
})

test('streams among the arguments of a call that an interceptor holds or refuses belong to it', async (t) => {
  const { PassThrough } = await import('node:stream')
  const { web } = pair(t, { web: { interceptors: [async (call, next) => { if (call.method === 'add') throw new StageError('FORBIDDEN', 'no'); await turnOf(); return next(call) }] } })
  const refused = new PassThrough()
  await failure(web.to('api').call('add', refused))
  await until(() => refused.destroyed)
  const broken = new PassThrough()
  const failing = failure(web.to('api').call('note', broken))
  broken.destroy(new Error('broke'))
  t.is((await failing).code, 'BAD_ARGUMENT')
})

test('what an interceptor holds ends with its stage, and with a loop that is left', async (t) => {
  const { web, api, began } = pair(t, { web: { interceptors: [(call, next) => call.args[0] === 2 ? new Promise(() => {}) : next(call)] } })
  await Promise.all([web.ready(), api.ready()])
  const left = web.to('api').callAll('add', 2, 2)
  const next = left.next()
  await until(() => web.stats()['intercepted'] === 1)
  await left.return?.()
  t.true((await next).done)
  await until(() => web.stats()['intercepted'] === 0)
  const held = [failure(web.to('api').call('add', 2, 2)), failure(web.actor<Player>('players.1').hit(2))]
  await until(() => web.stats()['intercepted'] === 1 && web.stats()['interceptedActorCalls'] === 1)
  await web.close()
  for (const one of held) t.is((await one).code, 'CLOSED')
  t.deepEqual(began, [])
})

test('streams in an answer that comes too late are ended', async (t) => {
  const { PassThrough } = await import('node:stream')
  let answer: (value: unknown) => void = () => {}
  const late = new PassThrough()
  const { web } = pair(t, { web: { interceptors: [() => new Promise((resolve) => { answer = resolve })] } })
  t.is((await failure(web.to('api', { timeoutMs: 50 }).call('add', 1, 2))).code, 'TIMEOUT')
  answer(late)
  await until(() => late.destroyed)
})

test('a cast that cannot be encoded throws at once, as without interceptors', (t) => {
  const { web } = pair(t, { web: { interceptors: [(call, next) => next(call)] } })
  t.throws(() => web.to('api').cast('note', Symbol('x')), { code: 'BAD_ARGUMENT' })
})

// ── authorize ───────────────────────────────────────────────────────────────────────────────────────────────────

const never: Authorize = () => false
for (const [kind, method, , make, actor] of kinds) {
  for (const [where, authorize] of [['stage', never], ['stage, later', async () => { await turnOf(); return false }], ['stage, failing', () => { throw new Error('no store') }], ['stage, not a boolean', (() => 'yes') as unknown as Authorize]] as const) {
    for (const from of ['web', 'api'] as const) {
      test(`authorize of the ${where} refuses ${kind} ${method} from ${from}: ${String(make).slice(0, 60)}`, async (t) => {
        const stages = pair(t, { carrier: 'tcp', api: { authorize } })
        await Promise.all([stages.web.ready(), stages.api.ready()])
        if (kind === 'cast') {
          await make(stages[from], t)
          await stages.web.to('api').methods()
        } else t.like(await failure(make(stages[from], t)), { code: 'FORBIDDEN', executed: 'no' })
        t.deepEqual(stages.began, [])
        if (actor) t.is(stages.api.stats()['turns'], 0)
      })
    }
  }
}

test('authorize of provide(), define() and host(), and of functions that were passed', async (t) => {
  const { web, api } = pair(t, { carrier: 'tcp', web: { authorize: (call) => call.kind !== 'function' || call.args[0] !== 13 } })
  const asked: unknown[] = []
  const authorize: Authorize = (call) => { asked.push([call.kind, call.method, call.peer?.name, call.headers['token'], call.options !== undefined]); return call.headers['token'] === 'good' }
  api.to('*').provide('secret', { authorize }, () => 'told')
  api.define({ pattern: 'vaults.{id}', create: () => ({ gold: 5, take: () => 1 }), authorize })
  await api.host('door', { open: () => 'opened', shut: true }, { authorize })
  const good = { headers: { token: 'good' } }
  interface Vault { gold: number; take(): number }
  interface Door { shut: boolean; open(): string }
  t.is(await web.to('api', good).call('secret'), 'told')
  t.is((await failure(web.to('api').call('secret'))).code, 'FORBIDDEN')
  for (const from of [web, api]) {
    t.is(await from.actor<Vault>('vaults.1', good).take(), 1)
    t.is(await from.actor<Vault>('vaults.1', good).gold, 5)
    t.is(await from.actor<Door>('door', good).open(), 'opened')
    for await (const { gold } of from.observe<Vault>('vaults.1', ['gold'], good)) { t.is(gold, 5); break }
    for (const refused of [() => from.actor<Vault>('vaults.1').take(), () => from.actor<Vault>('vaults.1').gold, () => from.actor<Door>('door').open(), () => from.actor<Door>('door').shut, () => from.observe<Vault>('vaults.1', ['gold']).next()]) {
      t.is((await failure(refused())).code, 'FORBIDDEN')
    }
  }
  t.deepEqual(asked[0], ['call', 'secret', 'web', 'good', true])
  t.is(await web.to('api').call('apply', (n: number) => n, 1), 1)
  t.like(await failure(web.to('api').call('apply', (n: number) => n, 13)), { code: 'REMOTE_ERROR', cause: { code: 'FORBIDDEN' } })
})

test('what a rule refuses whatever the call is, a peer is not told of', async (t) => {
  const { web, api } = pair(t, { api: { authorize: (call) => call.method !== 'hidden' } })
  const all = api.to('*')
  all.provide('hidden', () => 1)
  all.provide('web-only', { authorize: (call) => call.peer?.name === 'web' }, () => 1)
  all.provide('ops-only', { authorize: (call) => call.peer?.name === 'ops' }, () => 1)
  all.provide('by-header', { authorize: (call) => call.headers['token'] === 'good' }, () => 1)
  all.provide('by-arguments', { authorize: ({ args }) => args[0] === 1 }, () => 1)
  all.provide('later', { authorize: async () => false }, () => 1)
  const shown = await web.to('api').methods()
  t.deepEqual(shown.filter((one) => /hidden|only|by|later/.test(one)), ['by-arguments', 'by-header', 'later', 'web-only'])
})

test('authorize comes before a handler that has only been provided since', async (t) => {
  const { web, api } = pair(t, { carrier: 'tcp', api: { authorize: (call) => call.method === 'add' } })
  await web.to('api').call('add', 1, 2)
  let ran = false
  api.to('*').provide('late', () => { ran = true })
  t.is((await failure(web.to('api').call('late'))).code, 'FORBIDDEN')
  t.false(ran)
})

// ── options ─────────────────────────────────────────────────────────────────────────────────────────────────────

test('methods by option are there from the first moment of a link', async (t) => {
  const place = `memory:interceptors-${++places}`
  const api = new Stage('api', place, undefined, { provide: { greet: (name: string) => `hi there, ${name}`, who: { authorize: ({ peer }) => peer?.name === 'web', handler(this: CallContext) { return this.peer.name } } } })
  const own = new Stage('own', place, undefined, { chain: [framing(), rpc({ provide: { greet: () => 'by the layer' } })] })
  const web = new Stage('web', place, undefined, { chain: [framing(), rpc()] })
  const full = new Stage('web', place)
  t.teardown(() => Promise.all([api.close(), own.close(), web.close(), full.close()]))
  const added = once(full, 'methodAdded')
  full.keep('api')
  t.deepEqual(await added, ['greet', full.lookup('api')[0]])
  t.is(await full.to('api').call('greet', 'bob'), 'hi there, bob')
  t.is(await full.to('api').call('who'), 'web')
  t.is(await web.to('own').call('greet'), 'by the layer')
})

const wrong: [title: string, options: object, message: RegExp][] = [
  ['interceptors that are no list', { interceptors: () => {} }, /interceptors must be a list of functions/],
  ['an interceptor that is no function', { interceptors: [5] }, /interceptors must be a list of functions/],
  ['authorize that is no function', { authorize: true }, /authorize must be a function/],
  ['authorize where nothing would ask it', { authorize: never, chain: [] }, /"authorize" is not an option of a stage with this chain/],
  ['interceptors where there are no calls', { interceptors: [], chain: [framing()] }, /"interceptors" is not an option of a stage with this chain/],
]
for (const [title, options, message] of wrong) {
  test(`misuse is a TypeError: ${title}`, (t) => {
    const error = t.throws(() => { const stage = new Stage('api', `memory:interceptors-${++places}`, undefined, options); t.teardown(() => stage.close()); stage.to('x') }, { instanceOf: TypeError })
    t.regex(error.message, message)
  })
}

test('a chain of wrappers does not silently lose authorize', (t) => {
  const stage = new Stage('api', `memory:interceptors-${++places}`, undefined, { authorize: never })
  t.teardown(() => stage.close())
  t.throws(() => stage.addStreamWrapper((stream) => stream), { instanceOf: TypeError, message: /option authorize/ })
})

/** Ways in which a caller stops waiting for a call that hangs, once `begun` says that it does; each returns what became of it. */
const leaving: Record<string, (make: (options: object) => Promise<unknown>, begun: () => Promise<void>) => Promise<StageError>> = {
  'by its signal': async (make, begun) => {
    const cancel = new AbortController()
    const left = failure(make({ signal: cancel.signal }))
    await begun()
    cancel.abort(new Error('enough'))
    return left
  },
  'by two signals, of which one is that of a call around it': async (make, begun) => {
    const [one, other] = [new AbortController(), new AbortController()]
    const left = failure(make({ signal: either(one.signal, other.signal) }))
    await begun()
    one.abort(new Error('enough'))
    return left
  },
  'by its deadline': (make) => failure(make({ timeoutMs: 1000 })),
}

for (const side of ['caller', 'callee'] as const) {
  for (const from of ['web', 'api'] as const) {
    for (const [how, leave] of Object.entries(leaving)) {
      test(`the signal of a call fires at the ${side} for calls from ${from} that are left ${how}`, async (t) => {
        const fired: string[] = []
        let asked = 0
        const told: Interceptor = (call, next) => {
          if (call.side === side && call.method === 'hang') {
            asked++
            const { signal } = call
            t.false(signal.aborted)
            signal.addEventListener('abort', () => { fired.push(`${call.kind} ${call.method} ${String(call.signal === signal && signal.aborted)}`) })
          }
          return next(call)
        }
        const { api, ...stages } = pair(t, { web: { interceptors: [told] }, api: { interceptors: [told] } })
        const caller = from === 'api' ? api : stages.web
        let hanging = 0
        const ended = new Promise<void>((resolve) => { t.teardown(resolve) }) // before the stages are closed, which would wait for it
        const hang = (): Promise<void> => { hanging++; return ended }
        api.to('*').provide('hang', hang)
        api.define({ pattern: 'rocks.{id}', create: () => ({ hang, here: () => true }) })
        // so that nothing is to be found or connected when it is left
        for (const here of [caller.to('api').call('add', 1, 2), caller.actor<{ here(): Promise<boolean> }>('rocks.1').here()]) await here
        const makes: readonly ((options: object) => Promise<unknown>)[] = [
          (options) => caller.to('api', options).call('hang'),
          (options) => caller.actor<{ hang(): Promise<void> }>('rocks.1', options).hang(),
          async (options) => { for await (const { error } of caller.to('api', options).callAll('hang')) if (error) throw error },
        ]
        for (const [i, make] of makes.entries()) {
          const error = await leave(make, () => until(() => hanging > i))
          t.regex(error.code, /CANCELLED|TIMEOUT/)
        }
        await until(() => fired.length >= asked)
        t.deepEqual(fired, Array.from({ length: asked }, () => 'call hang true'))
        if (side === 'caller' || how !== 'by its deadline') t.is(asked, makes.length) // on a busy machine a deadline may come before the callee
      })
    }
  }
}

test('the signal of a call that was answered does not fire', async (t) => {
  const signals: AbortSignal[] = []
  const told: Interceptor = (call, next) => { signals.push(call.signal); return next(call) }
  const { web } = pair(t, { web: { interceptors: [told] }, api: { interceptors: [told] } })
  const cancel = new AbortController()
  await web.to('api', { signal: cancel.signal }).call('add', 1, 2)
  await web.actor<Player>('players.1', { signal: cancel.signal }).hit(1)
  cancel.abort()
  await turnOf()
  t.deepEqual(signals.map(({ aborted }) => aborted), [false, false, false, false])
})

test('next() after nobody waits any more calls nobody', async (t) => {
  let go = (): void => {}
  const told: Interceptor = async (call, next) => { await new Promise<void>((resolve) => { go = resolve }); return next(call) }
  const { web, began } = pair(t, { web: { interceptors: [told] } })
  for (const make of [() => web.to('api', { timeoutMs: 50 }).call('add', 1, 2), () => web.actor<Player>('players.1', { timeoutMs: 50 }).hit(1)]) {
    t.is((await failure(make())).code, 'TIMEOUT')
    go()
    await turnOf()
  }
  await web.to('api').methods()
  t.deepEqual(began, [])
})
