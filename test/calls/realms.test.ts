/** Programs whose globals are not ours, as in jest, vitest's vmThreads and `node:vm`: what they pass is what it would be without. */
import { PassThrough } from 'node:stream'
import vm from 'node:vm'
import test from 'ava'
import { StageError, actors, framing, msgpack, rpc, type Handler, type Stage } from '../../src/index.js'
import { json } from '../../wrappers/json.js'
import { asError, describe } from '../../src/errors.js'
import { isError, isObjectPrototype } from '../../src/realm.js'
import { methodsOf } from '../../wrappers/actors/members.js'
import { dispose } from '../../wrappers/codec/dispose.js'
import { realMesh } from '../helpers/mesh.js'
import { foreign } from '../helpers/realm.js'

test('an Error is one wherever it was made, and whatever its class', (t) => {
  class Sub extends TypeError {}
  const inherits = '(function E() {}).prototype = Object.create(Error.prototype)'
  const are: unknown[] = [
    new Error('x'), new Sub('x'), new DOMException('x'), new AggregateError([]), Object.create(Error.prototype), Object.create(Sub.prototype), new Proxy(new Error('x'), {}),
    foreign('new Error("x")'), foreign('new (class extends RangeError {})("x")'), foreign('Object.create(Error.prototype)'), foreign(`Object.create(${inherits})`), foreign('new Proxy(new TypeError("x"), {})'),
  ]
  const endless: object = new Proxy({}, { getPrototypeOf: () => endless })
  const not: unknown[] = [
    undefined, null, 'Error', 5, {}, [], () => {}, { name: 'Error', message: 'x', stack: '' }, Object.create(null), new (class Error { message = 'x' })(), endless,
    new Proxy({}, { getPrototypeOf() { throw new Error('no') } }), foreign('({ message: "x" })'), foreign('Object.create(null)'), foreign('new Map()'),
  ]
  for (const one of are) t.true(isError(one))
  for (const one of not) t.false(isError(one))
})

test('what a program of another realm throws is told by its message', (t) => {
  const thrown = foreign<Error>('new TypeError("the amount")')
  t.is(asError(thrown), thrown)
  t.is(describe(thrown), 'TypeError: the amount')
  t.is(describe(new Error('x')), 'Error: x')
})

test('an Object.prototype is one of any realm', (t) => {
  for (const one of [Object.prototype, foreign('Object.prototype')]) t.true(isObjectPrototype(one))
  for (const one of [null, {}, Object.create(null), Object.create(Object.create(null) as object), Array.prototype, (class {}).prototype, foreign('Array.prototype'), foreign('(class {}).prototype')]) t.false(isObjectPrototype(one))
})

/** Each is made in both realms, and what arrives must be the same. */
const values = [
  '({ a: 1, b: { c: [1, undefined] } })', '[1, [2]]', 'new Date(5)', 'new Date(NaN)', 'new Map([[1, { a: 2 }], ["x", new Set([1])]])', 'new Set([1, [2]])', 'new Uint8Array([1, 2])', 'new Float64Array([1.5])', 'new ArrayBuffer(3)',
  'new DataView(new ArrayBuffer(2))', 'Buffer.from("abc")', '10n', 'Object(1)', 'Object("a")', 'Object(5n)', 'Object(false)', 'Object.create(null)', 'Object.assign(Object.create(null), { a: 1 })', 'new (class X { a = 1; m() {} })', 'new (class extends Map {})([[1, 2]])', 'new (class extends Array {})(1, 2)',
  // plain objects with names that streams and promises have
  '({ on: 1, read: true, pipe: null, then: "x", message: "m" })',
]
/** And what is refused, is refused with the same words. */
const refused = ['/x/', 'Symbol("s")', 'Promise.resolve(1)', 'new WeakMap()', 'new WeakRef({})', '({ then() {} })', '({ pipe() {} })', 'new (class { then() {} })', 'new (class { pipe() {} })', 'JSON.parse(\'{"__proto__": 1}\')', '[].values()', '(function* () {})()', 'new SharedArrayBuffer(1)']
/** Of ours and of another realm. */
const both = (text: string): [unknown, unknown] => [vm.runInThisContext(text), foreign(text)]

for (const codec of ['msgpack', 'json'] as const) {
  test(`${codec}: what another realm has made arrives as what ours has made, over a link and within a stage`, async (t) => {
    const mesh = realMesh(t)
    const chain = [framing(), rpc({ codec: codec === 'json' ? json() : msgpack() }), actors()]
    const [api, web] = [mesh.stage('api', { chain, store: mesh.registry }), mesh.stage('web', { chain, store: mesh.registry })]
    const handlers: Record<string, Handler> = {
      echo: (value: unknown) => value,
      sum: async (items: AsyncIterable<number>) => { let sum = 0; for await (const item of items) sum += item; return sum },
      items: () => foreign('(async function* () { yield 1; yield { two: 2 } })()'),
      later: () => foreign('Promise.resolve({ a: 1 })'),
      apply: (fn: (n: number) => Promise<number>) => fn(20),
    }
    for (const [name, handler] of Object.entries(handlers)) api.to('*').provide(name, handler)
    class Thing { echo(value: unknown) { return value } }
    api.define({ pattern: 'things.{id}', constructor: Thing })
    const ways: Record<string, (value: unknown) => Promise<unknown>> = {
      'over a link': (value) => web.to('api').call('echo', value),
      'to an actor': (value) => web.actor<Thing>('things.1').echo(value),
      'to an actor of the same stage': (value) => api.actor<Thing>('things.1').echo(value),
    }
    for (const [way, send] of Object.entries(ways)) {
      for (const text of values) {
        const [here, far] = await Promise.all(both(text).map((value) => send([value])))
        t.deepEqual(far, here, `${text} ${way}`)
      }
      for (const text of refused) {
        const [here, far] = await Promise.all(both(text).map((value) => send(value).then(() => 'it was sent', (error: StageError) => `${error.code}: ${error.message}`)))
        t.is(far, here, `${text} ${way}`)
        t.regex(String(far), /^BAD_ARGUMENT: /)
      }
    }
    t.deepEqual(await web.to('api').call('later'), { a: 1 })
    t.is(await web.to('api').call('apply', foreign('(n) => n + 1')), 21)
    t.is(await web.to('api').call('sum', foreign('(async function* () { yield 1; yield 2 })()')), 3)
    t.is(await web.to('api').call('sum', foreign('({ async *[Symbol.asyncIterator]() { yield 3 } })')), 3)
    const items = []
    for await (const item of await web.to('api').call<AsyncIterable<unknown>>('items')) items.push(item)
    t.deepEqual(items, [1, { two: 2 }])
  })
}

test('an actor of another realm shows its methods, and not those of its Array', async (t) => {
  t.deepEqual([...methodsOf(foreign('new (class A extends Array { hi() {} })')).keys()], ['hi'])
  t.deepEqual([...methodsOf(foreign('({ hi() {} })')).keys()], [])
  t.deepEqual([...methodsOf(foreign('new (class A extends (class B { low() {} }) { hi() {} })')).keys()], ['hi', 'low'])
  class Sub extends Object { hi(): void {} }
  t.deepEqual([...methodsOf(new Sub()).keys()], ['hi'])
})

test('errors and state of an actor whose class is of another realm', async (t) => {
  const mesh = realMesh(t)
  const api: Stage = mesh.stage('api', { store: mesh.registry })
  const made = foreign<() => object>('() => new (class Counter { n = 0; last = null; add(by) { this.n += by; this.last = { by, when: new Date(5) }; if (by < 0) throw new RangeError("below"); return { n: this.n } } })')
  api.define({ pattern: 'counters.{id}', create: made, durable: true })
  const told: Error[] = []
  api.on('error', (error) => told.push(error))
  const counter = api.actor('counters.1')
  t.deepEqual(await counter['add'](2), { n: 2 })
  t.like(await t.throwsAsync<StageError>(Promise.resolve(counter['add'](-1))), { code: 'REMOTE_ERROR', message: 'add of counters.1 failed: below' })
  t.deepEqual([await counter['n'], await counter['last']], [2, { by: 2, when: new Date(5) }])
  api.define({ pattern: 'bad.{id}', create: () => foreign<object>('(() => { throw new TypeError("not today") })()') })
  t.regex((await t.throwsAsync(Promise.resolve(api.actor('bad.1')['x']()))).message, /not today/)
  t.deepEqual(told, [])
})

test('a signal of another make cancels', async (t) => {
  const mesh = realMesh(t)
  const [api, web] = [mesh.stage('api'), mesh.stage('web')]
  api.to('*').provide('hang', () => new Promise(() => {}))
  const source = new AbortController()
  const signal = new Proxy(source.signal, { get: (target, key) => { const value: unknown = Reflect.get(target, key); return typeof value === 'function' ? value.bind(target) as unknown : value }, getPrototypeOf: () => null })
  const call = web.to('api', { signal }).call('hang')
  await web.to('api').methods()
  source.abort(foreign('new Error("enough")'))
  t.like(await t.throwsAsync<StageError>(call), { code: 'CANCELLED', cause: { message: 'enough' } })
})

test('streams end with errors of another realm, and values that were not sent end their streams', async (t) => {
  const mesh = realMesh(t)
  const [api, web] = [mesh.stage('api'), mesh.stage('web')]
  api.on('stream', (stream) => void stream.destroy(foreign<Error>('new Error("that far")')))
  const stream = web.to('api')
  const error = await new Promise<Error>((resolve) => { stream.on('error', resolve).resume() })
  t.regex(error.message, /that far/)
  const inner = new PassThrough()
  const holder = foreign<(stream: unknown) => object>('(stream) => ({ in: new Map([[1, [{ stream }]]]) })')(inner)
  dispose(holder)
  t.true(inner.destroyed)
})
