/** What callers and handlers may do wrong: each ends in a clear error, at once where it can, and harms nothing else. */
import { EventEmitter, getEventListeners, once } from 'node:events'
import { Readable } from 'node:stream'
import { inspect } from 'node:util'
import test, { type ExecutionContext } from 'ava'
import { MemoryInterface, MemoryRegistry, Stage, StageError, type CallContext, type TargetOptions } from '../../src/index.js'
import { advance, realMesh, virtualMesh } from '../helpers/mesh.js'
import { nothingUnhandled } from '../helpers/unhandled.js'
import { until } from '../helpers/until.js'
import { settle } from '../helpers/virtual-clock.js'

nothingUnhandled(test)

/** Two stages and a link between them. */
async function two(t: ExecutionContext) {
  const mesh = realMesh(t)
  const [api, web] = [mesh.stage('api'), mesh.stage('web')]
  const seen: unknown[][] = []
  api.to('*').provide('echo', (...args: unknown[]) => { seen.push(args); return args[0] })
  await web.to('api').call('echo')
  seen.length = 0
  return { mesh, api, web, seen }
}

const failure = async (promise: Promise<unknown>): Promise<StageError> => {
  const value = await promise.then((one) => ({ one }), (error: unknown) => error)
  if (value instanceof StageError) return value
  throw new Error(`expected a StageError, got ${inspect(value)}`)
}

// ── deadlines ───────────────────────────────────────────────────────────────────────────────────────────────────

test('a deadline that is none is BAD_ARGUMENT, and names what was given', async (t) => {
  const { web, seen } = await two(t)
  for (const timeoutMs of [-1, NaN, '5', Infinity, -Infinity, 0, -0, 86_400_001, null, {}, [5], 5n, Symbol('x'), true] as number[]) {
    const error = t.throws<StageError>(() => web.to('api', { timeoutMs }), { instanceOf: StageError })
    t.like(error, { code: 'BAD_ARGUMENT', executed: 'no' })
    t.regex(error.message, /timeoutMs/)
    t.throws(() => web.to('api', { timeoutMs }, () => {}), { instanceOf: StageError })
    t.throws(() => new Stage('x', new MemoryRegistry('deadlines'), new MemoryInterface(), { timeoutMs }), { instanceOf: StageError })
  }
  t.deepEqual(seen, [])
  t.is(await web.to('api', { timeoutMs: undefined }).call('echo', 1), 1)
  t.is(await web.to('api', { timeoutMs: 86_400_000 }).call('echo', 1), 1)
})

test('a deadline that is none, of calls made within a call', async (t) => {
  const { api, web } = await two(t)
  api.to('*').provide('inner', function (timeoutMs: number) { return this.to('api', { timeoutMs }).call('echo', 'in time') })
  for (const timeoutMs of [-1, NaN, 0]) t.like((await failure(web.to('api').call('inner', timeoutMs))).cause, { code: 'BAD_ARGUMENT' })
  t.is(await web.to('api').call('inner', 8000), 'in time')
})

test('options of a stage that are no numbers of milliseconds', async (t) => {
  for (const options of [{ ttlMs: -1 }, { ttlMs: NaN }, { ttlMs: 0 }, { ttlMs: 10 }, { ttlMs: '5' }, { ttlMs: Infinity }, { idleLinkMs: -1 }, { idleLinkMs: NaN }, { idleLinkMs: '5' }, { idleLinkMs: 0 }] as object[]) {
    const error = t.throws<StageError>(() => new Stage('x', new MemoryRegistry('options'), new MemoryInterface(), options), { instanceOf: StageError }, inspect(options))
    t.is(error.code, 'BAD_ARGUMENT')
    t.true(error.message.includes(Object.keys(options)[0]))
  }
})

test('other options of the wrong type', async (t) => {
  const { web } = await two(t)
  for (const options of [{ key: 5 }, { key: null }, { signal: {} }, { signal: 5 }, { signal: null }] as unknown as TargetOptions[]) {
    t.throws(() => web.to('api', options), { instanceOf: StageError, message: /key|signal/ }, inspect(options))
  }
})

test('to() of what names nobody', async (t) => {
  const { web } = await two(t)
  for (const to of [undefined, null, 5, true, Symbol('x'), {}, { id: 5, name: 'api' }, { id: 'x' }, [null], ['api', 5], [['api']]] as string[]) {
    t.throws(() => web.to(to), { instanceOf: StageError, code: 'BAD_ARGUMENT' }, inspect(to))
  }
})

// ── signals ─────────────────────────────────────────────────────────────────────────────────────────────────────

test('a signal that was aborted before: nothing is sent', async (t) => {
  const { web, seen } = await two(t)
  const reason = new Error('changed my mind')
  const signal = AbortSignal.abort(reason)
  const target = () => web.to('api', { signal })
  for (const promise of [target().call('echo'), target().methods(), target().callAll('echo').next(), once(target().end('x'), 'finish')]) {
    const error = await failure(promise)
    t.like(error, { code: 'CANCELLED', executed: 'no' })
    t.is(error.cause, reason)
  }
  target().cast('echo')
  await web.to('api').call('echo', 'behind them')
  t.deepEqual(seen, [['behind them']])
})

test('a signal that is aborted while the handler runs: both ends stop', async (t) => {
  const { api, web } = await two(t)
  const began = new EventEmitter()
  api.to('*').provide('wait', function (this: CallContext) {
    const stopped = once(this.signal, 'abort')
    began.emit('began')
    return stopped.then(() => { began.emit('stopped', this.signal.reason) })
  })
  const controller = new AbortController()
  const running = once(began, 'began')
  const stopped = once(began, 'stopped')
  const call = web.to('api', { signal: controller.signal }).call('wait')
  await running
  controller.abort('enough')
  const error = await failure(call)
  t.like(error, { code: 'CANCELLED', executed: 'unknown', cause: 'enough' })
  t.like((await stopped)[0], { code: 'CANCELLED' })
  await until(() => api.stats()['serving'] === 0)
  t.is(getEventListeners(controller.signal, 'abort').length, 0)
})

test('a signal that is aborted while nobody is there yet', async (t) => {
  const { web } = await two(t)
  const controller = new AbortController()
  const target = () => web.to('nobody', { signal: controller.signal })
  const waiting = [target().call('echo'), target().methods(), once(target().end('x'), 'finish')].map(failure)
  controller.abort()
  for (const error of await Promise.all(waiting)) t.like(error, { code: 'CANCELLED', executed: 'no' })
  t.is(getEventListeners(controller.signal, 'abort').length, 0)
  t.is(web.stats()['waiting'], 0)
  t.is(web.stats()['calls'], 0)
})

test('a signal that is aborted before the registry was asked', async (t) => {
  const mesh = realMesh(t)
  mesh.registry.fail()
  const web = mesh.stage('web')
  const controller = new AbortController()
  const target = () => web.to('api', { signal: controller.signal })
  const waiting = [target().call('echo'), target().callAll('echo').next(), target().methods()].map(failure)
  target().cast('echo')
  controller.abort()
  for (const error of await Promise.all(waiting)) t.like(error, { code: 'CANCELLED', executed: 'no' })
  t.is(getEventListeners(controller.signal, 'abort').length, 0)
})

test('a signal that is aborted afterwards changes nothing', async (t) => {
  const { web } = await two(t)
  const controller = new AbortController()
  t.is(await web.to('api', { signal: controller.signal }).call('echo', 5), 5)
  controller.abort()
  await settle()
  t.is(web.stats()['calls'], 0)
})

test('a signal that the arguments abort while they are read', async (t) => {
  const { web, seen } = await two(t)
  const controller = new AbortController()
  const error = await failure(web.to('api', { signal: controller.signal }).call('echo', { get now() { controller.abort(); return 1 } }))
  t.is(error.code, 'CANCELLED')
  await web.to('api').call('echo', 'behind')
  // either nothing was sent, or nobody says so
  t.true(error.executed === 'unknown' || seen.length === 1)
})

test('a getter in the arguments that aborts another call over the same link', async (t) => {
  const { api, web } = await two(t)
  api.to('*').provide('never', () => new Promise(() => {}))
  const controller = new AbortController()
  const other = web.to('api', { signal: controller.signal }).call('never')
  await until(() => api.stats()['serving'] === 1)
  const call = web.to('api').call('echo', { get now() { controller.abort(); return 1 } })
  t.is((await failure(other)).code, 'CANCELLED')
  t.deepEqual(await call, { now: 1 })
  await until(() => web.stats()['calls'] === 0)
})

test.serial('ten thousand calls with one signal leave no listener behind, those made within calls neither', async (t) => {
  const { api, web } = await two(t)
  const controller = new AbortController()
  const { signal } = controller
  for (let round = 0; round < 10; round++) {
    await Promise.all(Array.from({ length: 1000 }, () => web.to('api', { signal }).call('echo')))
  }
  t.is(getEventListeners(signal, 'abort').length, 0)
  const failed = await Promise.all(Array.from({ length: 100 }, () => failure(web.to('api', { signal }).call('missing'))))
  t.true(failed.every(({ code }) => code === 'NO_SUCH_METHOD'))
  t.is(getEventListeners(signal, 'abort').length, 0)
  api.to('*').provide('inner', function () { return this.to('api', { signal }).call('echo') })
  await Promise.all(Array.from({ length: 100 }, () => web.to('api').call('inner')))
  t.is(getEventListeners(signal, 'abort').length, 0)
})

// ── handlers ────────────────────────────────────────────────────────────────────────────────────────────────────

class Hostile extends Error {
  override get message(): string { throw new Error('no message for you') }
}
const thrown: [title: string, make: () => unknown, cause?: unknown][] = [
  ['null', () => null, null],
  ['undefined', () => undefined, undefined],
  ['a string', () => 'no', 'no'],
  ['0', () => 0, 0],
  ['false', () => false, false],
  ['a symbol', () => Symbol('no'), 'Symbol(no)'],
  ['a plain object', () => ({ why: 'no' }), { why: 'no' }],
  ['an object with a getter that throws', () => ({ get why(): string { throw new Error('not telling') } })],
  ['an object with a toJSON that throws', () => ({ toJSON() { throw new Error('not telling') } })],
  ['an object that contains itself', () => { const one: { self?: unknown } = {}; one.self = one; return one }],
  ['an object nested too deeply', () => { let one: unknown = 1; for (let i = 0; i < 10_000; i++) one = [one]; return one }],
  ['five megabytes', () => Buffer.alloc(5_000_000)],
  ['a stream', () => Readable.from([])],
  ['a promise that rejects', () => { const late = Promise.reject(new Error('late')); late.catch(() => {}); return late }],
  ['a Proxy that throws whatever is asked', () => new Proxy({}, new Proxy({}, { get: () => () => { throw new Error('no entry') } }))],
  ['an Error whose cause is itself', () => { const one = new Error('round'); one.cause = one; return one }],
  ['an Error whose causes go in a circle', () => { const one = new Error('round', { cause: new Error('and') }); (one.cause as Error).cause = one; return one }],
  ['an Error whose message throws', () => new Hostile()],
  ['an Error whose message is a number', () => Object.assign(new Error('x'), { message: 42 })],
  ['an Error whose message is an object', () => Object.assign(new Error('x'), { message: { text: 'x' } })],
  ['an Error whose message is a symbol', () => Object.assign(new Error('x'), { message: Symbol('x') })],
  ['an Error whose name is an object', () => Object.assign(new Error('x'), { name: Object.create(null) })],
  ['an Error whose name throws', () => Object.defineProperty(new Error('x'), 'name', { get() { throw new Error('nameless') } })],
  ['an Error whose code throws', () => Object.defineProperty(new Error('x'), 'code', { get() { throw new Error('no code') } })],
  ['an Error of one megabyte', () => new Error('x'.repeat(1 << 20))],
  ['an Error of another realm', () => Object.assign(Object.create(null), { message: 'from afar', stack: 'elsewhere' })],
  ['a StageError of ours', () => new StageError('FENCED', 'mine', { executed: 'no' })],
]

for (const [title, make, ...cause] of thrown) {
  test(`a handler that throws ${title}: REMOTE_ERROR, at once, and the link stands`, async (t) => {
    const { api, web } = await two(t)
    api.to('*').provide('sync', () => { throw make() })
    api.to('*').provide('async', async () => { throw make() })
    api.to('*').provide('reject', () => ({ then: (_: unknown, reject: (reason: unknown) => void) => { reject(make()) } }))
    const [link] = web.links()
    for (const method of ['sync', 'async', 'reject']) {
      const error = await failure(web.to('api').call(method))
      t.like(error, { code: 'REMOTE_ERROR', executed: 'yes' }, method)
      t.true(error.message.startsWith(`${method} failed: `))
      t.true(error.message.length <= 1024)
      if (cause.length > 0) t.deepEqual(error.cause, cause[0])
      t.false(inspect(error.cause).includes('calls.test'), 'no stack of the other process')
    }
    web.to('api').cast('sync')
    web.to('api').cast('async')
    t.is(await web.to('api').call('echo', 'still there'), 'still there')
    t.is(web.links()[0]?.id, link?.id)
    t.is(api.stats()['serving'], 0)
  })
}

test.serial('what is too large to be sent, or was thrown, costs little: nothing in it is looked at one by one', async (t) => {
  const { api, web } = await two(t)
  const large = Buffer.alloc(5_000_000)
  api.to('*').provide('give', () => large)
  api.to('*').provide('fail', () => { throw large })
  const before = process.cpuUsage()
  t.is((await failure(web.to('api').call('give'))).code, 'BAD_ARGUMENT')
  t.regex((await failure(web.to('api').call('fail'))).message, /fail failed: 5000000 bytes/)
  t.is((await failure(web.to('api').call('echo', large))).code, 'BAD_ARGUMENT')
  const { user, system } = process.cpuUsage(before)
  t.true(user + system < 500_000, `${(user + system) / 1000} ms`)
})

const unsendable: [title: string, make: () => unknown][] = [
  ['a symbol', () => Symbol('x')],
  ['a symbol within', () => ({ deep: [{ x: Symbol('x') }] })],
  ['a cycle', () => { const one: unknown[] = []; one.push(one); return one }],
  ['a cycle through a Map', () => { const one = new Map(); one.set('me', one); return one }],
  ['a promise within', () => [Promise.resolve(1)]],
  ['a thenable within', () => ({ user: { then() {} } })],
  ['a RegExp', () => /x/],
  ['a WeakMap', () => new WeakMap()],
  ['a getter that throws', () => ({ get x(): number { throw new Error('not telling') } })],
  ['a Proxy that throws', () => new Proxy({}, { ownKeys() { throw new Error('not telling') } })],
  ['__proto__ as a name', () => JSON.parse('{"a":{"__proto__":{"polluted":true}}}') as unknown],
  ['five megabytes', () => Buffer.alloc(5_000_000)],
  ['too many elements', () => Array(300_000).fill(0)],
  ['nested too deeply', () => { let one: unknown = 1; for (let i = 0; i < 100_000; i++) one = [one]; return one }],
  ['a bigint of two megabytes', () => 1n << 16_000_000n],
]

for (const [title, make] of unsendable) {
  test(`an argument or an answer that cannot be sent: ${title}`, async (t) => {
    const { api, web, seen } = await two(t)
    const [link] = web.links()
    let executed = 0
    api.to('*').provide('answer', () => { executed++; return make() })
    api.to('*').provide('later', async () => { executed++; await settle(1); return make() })

    const error = await failure(web.to('api').call('echo', 1, make()))
    t.like(error, { code: 'BAD_ARGUMENT', executed: 'no' })
    t.regex(error.message, /^\[1\]|^the value/)
    const own = await failure(api.to('api').call('echo', make()))
    t.like(own, { code: 'BAD_ARGUMENT', executed: 'no' }, 'in process it is the same')
    for await (const answer of web.to('api').callAll('echo', make())) t.is(answer.error?.code, 'BAD_ARGUMENT')
    t.throws(() => web.to('api').cast('echo', make()), { instanceOf: StageError, code: 'BAD_ARGUMENT' })
    await web.to('api').call('echo', 'next')
    t.deepEqual(seen, [['next']], 'nothing of it reached a handler')

    for (const method of ['answer', 'later']) t.like(await failure(web.to('api').call(method)), { code: 'BAD_ARGUMENT', executed: 'yes' })
    t.is(executed, 2)
    t.is(web.links()[0]?.id, link?.id)
    t.like(web.stats(), { calls: 0, functions: 0 })
    t.is(({} as { polluted?: boolean }).polluted, undefined)
  })
}

test('functions among arguments that cannot be sent are not held', async (t) => {
  const { web } = await two(t)
  for (let i = 0; i < 100; i++) await failure(web.to('api').call('echo', () => i, Symbol('x')))
  t.is(web.stats()['functions'], 0)
})

test('a handler that never answers: TIMEOUT while running, and its slot is free when it ends', async (t) => {
  const mesh = virtualMesh(t)
  const [api, web] = [mesh.stage('api'), mesh.stage('web')]
  let release = (): void => {}
  let reason: unknown
  api.to('*').provide('never', async function (this: CallContext) {
    this.signal.addEventListener('abort', () => { reason = this.signal.reason })
    await new Promise<void>((resolve) => { release = resolve })
  })
  const begun = mesh.clock.now()
  const error = await failure(advance(mesh.clock, web.to('api', { timeoutMs: 500 }).call('never'), 2000, 10))
  t.like(error, { code: 'TIMEOUT', phase: 'running', executed: 'unknown' })
  t.true(mesh.clock.now() - begun <= 600)
  await mesh.clock.advance(10)
  t.like(reason, { code: 'CANCELLED' })
  t.is(api.stats()['serving'], 1)
  release()
  await mesh.clock.advance(10)
  t.is(api.stats()['serving'], 0)
})

const thenables: [title: string, make: () => unknown, code: string][] = [
  ['whose then is a getter that throws', () => ({ get then(): unknown { throw new Error('no then') } }), 'REMOTE_ERROR'],
  ['whose then throws', () => ({ then() { throw new Error('no then') } }), 'REMOTE_ERROR'],
  ['whose then throws after it has resolved', () => ({ then(resolve: (value: unknown) => void) { resolve('fine'); throw new Error('too late') } }), ''],
  ['whose then throws only the second time it is read', () => { let reads = 0; return { get then() { if (reads++ > 0) throw new Error('once'); return (resolve: (value: unknown) => void) => { resolve('fine') } } } }, 'REMOTE_ERROR'],
  ['whose then resolves twice', () => ({ then(resolve: (value: unknown) => void) { resolve('fine'); resolve('again') } }), ''],
  ['whose then resolves with another one', () => ({ then(resolve: (value: unknown) => void) { resolve({ then(again: (value: unknown) => void) { again('fine') } }) } }), ''],
  ['that is a Proxy which throws', () => new Proxy({}, { get() { throw new Error('no entry') } }), 'REMOTE_ERROR'],
]

for (const [title, make, code] of thenables) {
  test(`a handler that returns an object ${title}`, async (t) => {
    const { api, web } = await two(t)
    api.to('*').provide('get', make)
    api.to('*').provide('later', async () => { await settle(1); return make() })
    for (const method of ['get', 'later']) {
      const call = web.to('api').call(method)
      // the result of an async function is read once only, by the promise that it makes
      if (code && !(method === 'later' && title.includes('the second time'))) t.is((await failure(call)).code, code as never)
      else t.is(await call, 'fine')
    }
    t.is(await web.to('api').call('echo', 1), 1)
    t.is(api.stats()['serving'], 0)
  })
}

test('a handler that answers twice by way of a callback and a result', async (t) => {
  const { api, web } = await two(t)
  const got: unknown[] = []
  api.to('*').provide('both', (name: string, cb: (text: string) => Promise<unknown>) => { void cb('one'); void cb('two'); return name })
  t.is(await web.to('api').call('both', 'bob', (text: string) => { got.push(text) }), 'bob')
  await until(() => got.length === 2)
})

// ── names ───────────────────────────────────────────────────────────────────────────────────────────────────────

const noNames = ['', ' ', 'a ', '\u00a0a', 'a\n', '\na', 'a\tb', 'a/b', 'a\0', 'a\x7f', 'a\u009b31m', 'a\u2028b', 'e\u0301', 'a\ud800', '\udc00a', 'x'.repeat(129), 'é'.repeat(65), 'x'.repeat(513), 'a*', '*', 'a?']
/** Names of methods and namespaces are of fewer characters. */
const noIdentifiers = [...noNames, 'a b', 'a{', '{a}', 'a}', 'a\\b', 'a"b', 'é', '_a', '-a', '.', '__proto__', '\u{1f600}']

test('names of stages that are none', (t) => {
  const none = [5, {}, ['a'], Symbol('a')] as unknown as string[]
  const stage = (name: string, namespace?: string) => (): Stage => new Stage(name, new MemoryRegistry('names'), new MemoryInterface(), { namespace })
  for (const [name, make] of [...[...noNames, ...none, null, undefined].map((name) => [name, stage(name as string)] as const), ...[...noIdentifiers, ...none].map((name) => [name, stage('a', name)] as const)]) {
    const error = t.throws<StageError>(make, { instanceOf: StageError }, inspect(name))
    t.is(error.code, 'BAD_NAME')
    t.true(error.message.length < 500)
    t.notRegex(error.message, /[\0-\x1f\x7f-\x9f\u2028\u2029]/)
  }
})

test('names for to() that are none', async (t) => {
  const { web } = await two(t)
  for (const name of ['', ' ', 'a ', ' a*', 'a\n', '\na', 'a/b', '/api', 'e\u0301', '*e\u0301', 'a\0', 'a\u0085', 'a\u2029', '\ud83d?', 'x'.repeat(513), 'x'.repeat(257), 'é'.repeat(129)]) {
    t.throws(() => web.to(name), { instanceOf: StageError, code: 'BAD_NAME' }, inspect(name))
    t.throws(() => web.to(['api', name]), { instanceOf: StageError, code: 'BAD_NAME' }, inspect(name))
    t.throws(() => web.keep(name), { instanceOf: StageError, code: 'BAD_NAME' }, inspect(name))
  }
})

test('what was used for a stream is no name afterwards either', async (t) => {
  const { api, web } = await two(t)
  api.on('stream', (stream) => { stream.resume().end() })
  await once(web.to('api').end('x'), 'finish')
  t.throws(() => web.to('/api'), { instanceOf: StageError, code: 'BAD_NAME' })
})

const reserved = ['constructor', '__proto__', '_x', 'then', 'catch', 'finally', 'toString', 'toLocaleString', 'hasOwnProperty', 'valueOf', 'isPrototypeOf', 'toJSON', 'prototype', '__defineGetter__', '#private']

test('P24: methods of names that are none: NO_SUCH_METHOD like any that is missing, and never to be provided', async (t) => {
  const { api, web, seen } = await two(t)
  for (const name of [...noIdentifiers, ...reserved, 5, null, undefined, {}, Symbol('x')] as string[]) {
    t.throws(() => { api.to('*').provide(name, () => 'reached') }, { instanceOf: StageError, code: 'BAD_NAME' }, inspect(name))
    const error = await failure(web.to('api').call(name))
    t.like(error, { code: 'NO_SUCH_METHOD', executed: 'no' }, inspect(name))
    t.is((await failure(web.to('api').callAll(name).next())).code, 'NO_SUCH_METHOD')
    t.notThrows(() => { api.to('*').unprovide(name) })
  }
  const missing = await failure(web.to('api').call('missing'))
  t.like(missing, { code: 'NO_SUCH_METHOD', executed: 'no' })
  t.deepEqual(seen, [])
})

test('provide() without a function is a TypeError', async (t) => {
  const { api } = await two(t)
  for (const handler of [undefined, null, 5, 'x', {}, []] as unknown as (() => void)[]) t.throws(() => { api.to('*').provide('x', handler) }, { instanceOf: TypeError })
})

test('call() with a URI that is none', async (t) => {
  const { web } = await two(t)
  const ns = web.namespace
  for (const uri of ['', 'echo', 'api/echo', '://api/echo', `${ns}://api`, `${ns}://api/`, `${ns}:///echo`, `${ns}://api/echo/more`, 5, null, undefined, {}] as string[]) {
    t.is((await failure(web.call(uri))).code, 'BAD_ARGUMENT', inspect(uri))
  }
  t.is((await failure(web.call('elsewhere://api/echo'))).code, 'WRONG_NAMESPACE')
  t.is((await failure(web.call(`${ns}://api/constructor`))).code, 'NO_SUCH_METHOD')
  t.is((await failure(web.call(`${ns}://api%0a/echo`))).code, 'BAD_NAME')
  t.is((await failure(web.call(`${ns}://api%2Fecho/echo`))).code, 'BAD_NAME')
  t.is(await web.call(`${ns}://a*/echo`, 1), 1)
})

// ── proxies ─────────────────────────────────────────────────────────────────────────────────────────────────────

test('what asks an as() proxy by itself makes no call and does not throw', async (t) => {
  const { web, seen } = await two(t)
  const before = web.stats()
  interface Api { echo(value: number): number }
  const api = web.to('api').as<Api>()
  const any = api as unknown as Record<PropertyKey, unknown>
  t.is(await Promise.resolve(api), api)
  t.is(JSON.stringify(api), '{}')
  t.is(JSON.stringify({ api }), '{"api":{}}')
  t.notThrows(() => inspect(api, { depth: 5, showProxy: false, showHidden: true, getters: true }))
  t.notThrows(() => inspect(api, { showProxy: true }))
  t.false('echo' in api)
  t.false(Symbol.iterator in api)
  for (const symbol of [Symbol.iterator, Symbol.asyncIterator, Symbol.toPrimitive, Symbol.toStringTag, Symbol.for('nodejs.util.inspect.custom'), Symbol.dispose, Symbol('x')]) t.is(any[symbol], undefined)
  for (const name of reserved) t.is(any[name], undefined, name)
  t.deepEqual(Object.keys(api), [])
  t.deepEqual({ ...api }, {})
  t.is(typeof api, 'object')
  t.false(Array.isArray(api))
  t.false(api instanceof Error)
  t.notThrows(() => structuredClone({ ...api }))
  const { echo } = api // taken out of it
  await settle()
  t.deepEqual(seen, [])
  t.is(web.stats()['calls'], before['calls'])
  t.is(await echo(5), 5)
})

test('a to() is no thenable, and looking at it does not connect', async (t) => {
  const { web } = await two(t)
  const target = web.to('nobody')
  t.is(await Promise.resolve(target), target)
  t.notThrows(() => inspect(target))
  t.is((target as unknown as { then?: unknown }).then, undefined)
  await settle()
  t.is(web.stats()['waiting'], 0)
})

// ── depth, functions, errors that nobody hears ──────────────────────────────────────────────────────────────────

test('a chain of 33 calls ends in REFUSED, however it goes round', async (t) => {
  const { api, web } = await two(t)
  let deepest = 0
  const down = (name: string) => async function (this: CallContext, depth: number): Promise<unknown> {
    deepest = Math.max(deepest, depth)
    try {
      return await this.to(name).call('down', depth + 1)
    } catch (error) {
      return { code: (error as StageError).code, executed: (error as StageError).executed, depth }
    }
  }
  api.to('*').provide('down', down('web'))
  web.to('*').provide('down', down('api'))
  t.deepEqual(await web.to('api').call('down', 0), { code: 'REFUSED', executed: 'no', depth: 32 })
  t.is(deepest, 32)
  t.is(await web.to('api').call('echo', 1), 1)
})

test('a function that was passed, called after the link has died, rejects and disturbs nobody', async (t) => {
  const { mesh, api, web } = await two(t)
  let kept: ((text: string) => Promise<unknown>) | undefined
  api.to('*').provide('keep', (fn: (text: string) => Promise<unknown>) => { kept = fn })
  const got: unknown[] = []
  await web.to('api').call('keep', (text: string) => { got.push(text) })
  await kept!('alive')
  t.deepEqual(got, ['alive'])
  const ended = once(api, 'unlink')
  mesh.network.cut()
  await ended
  void kept!('nobody waits for this one')
  const error = await failure(kept!('dead'))
  t.like(error, { code: 'DISCONNECTED', executed: 'no' })
  await failure(kept!(Symbol('x') as never))
  t.deepEqual(got, ['alive'])
})

test('a function that throws, and one that cannot be answered', async (t) => {
  const { api, web } = await two(t)
  api.to('*').provide('run', async (fn: () => Promise<unknown>) => {
    void fn() // nobody waits for this one
    return (await failure(fn())).code
  })
  t.is(await web.to('api').call('run', () => Promise.reject(null)), 'REMOTE_ERROR')
  t.is(await web.to('api').call('run', async () => { throw new Hostile() }), 'REMOTE_ERROR')
  t.is(await web.to('api').call('run', () => Symbol('x')), 'BAD_ARGUMENT')
})

test('an error that nobody listens to is never thrown', async (t) => {
  const { mesh, api, web } = await two(t)
  const streams: NodeJS.ReadWriteStream[] = []
  api.on('stream', (stream) => { streams.push(stream); stream.resume() })
  const direct = web.to('api')
  direct.write('x')
  web.to('nobody', { timeoutMs: 20 }).write('x')
  web.to('api', (_, stream) => { stream.write('y') })
  web.to('api').destroy(new Error('mine'))
  await until(() => streams.length >= 2)
  const ended = once(web, 'unlink')
  mesh.network.cut()
  await ended
  mesh.registry.fail()
  web.to('api').cast('echo')
  await settle(20)
  mesh.registry.fail(false)
  await until(() => direct.destroyed)
  t.is(await web.to('api').call('echo', 1), 1)
})

test('a call that waits for somebody ends as soon as its stage begins to close, however long the rest takes', async (t) => {
  const mesh = virtualMesh(t)
  const [api, web] = [mesh.stage('api'), mesh.stage('web')]
  api.to('*').provide('never', () => new Promise(() => {}))
  const slow = failure(web.to('api', { timeoutMs: 60_000 }).call('never'))
  const waiting = [web.to('nobody').call('echo'), web.to('nobody').methods(), once(web.to('nobody').end('x'), 'finish')].map(failure)
  await until(() => api.stats()['serving'] === 1)
  mesh.registry.fail() // no view comes, and no word of the peer
  mesh.network.hold()
  await settle()
  const closing = web.close()
  const before = mesh.clock.now()
  for (const error of await Promise.all(waiting)) t.like(error, { code: 'CLOSED', executed: 'no' })
  t.is(mesh.clock.now(), before)
  await advance(mesh.clock, closing, 20_000)
  t.is((await slow).executed, 'unknown')
})

test('a closed stage: everything ends with CLOSED, at once', async (t) => {
  const { web } = await two(t)
  const target = web.to('api')
  await web.close()
  for (const promise of [target.call('echo'), target.callAll('echo').next(), target.methods(), web.ready(), web.call(`${web.namespace}://api/echo`), web.to('web').call('echo'), once(web.to('api').end('x'), 'finish')]) {
    t.is((await failure(promise)).code, 'CLOSED')
  }
  t.notThrows(() => { target.cast('echo') })
  t.is(await web.close(), undefined)
})
