/** What of an Error arrives, whichever way it goes: docs/protocol.md, "Errors". Everything that carries one is tried with each of them. */
import { readFileSync } from 'node:fs'
import { PassThrough } from 'node:stream'
import { isDeepStrictEqual, types } from 'node:util'
import test, { type ExecutionContext } from 'ava'
import { StageError, actors, framing, msgpack, rpc, type Handler, type Self, type Stage } from '../../src/index.js'
import { json } from '../../wrappers/json.js'
import { realMesh } from '../helpers/mesh.js'
import { foreign } from '../helpers/realm.js'

// ── what is looked at ───────────────────────────────────────────────────────────────────────────────────────────

interface Seen { name: string; message: string; code?: unknown; cause?: unknown; errors?: unknown[]; own?: Record<string, unknown> }

/** All that can be told of an Error, as data. */
function seen(one: unknown): unknown {
  if (!types.isNativeError(one)) return one
  if (Object.getPrototypeOf(one) !== Error.prototype) return `an Error of a class: ${one.name}`
  if (/\.[jt]s/.test(one.stack ?? '')) return `an Error with a stack: ${one.stack}`
  const { name, message, code, cause, errors, ...rest } = Object.fromEntries(Object.getOwnPropertyNames(one).filter((key) => key !== 'stack').map((key) => [key, (one as never)[key]])) as unknown as Seen
  const own = rest as Record<string, unknown>
  for (const key of Object.keys(own)) own[key] = seen(own[key])
  return {
    name, message,
    ...(code === undefined ? {} : { code }),
    ...('cause' in one ? { cause: seen(cause) } : {}),
    ...(errors ? { errors: errors.map(seen) } : {}),
    ...(Object.keys(own).length > 0 ? { own } : {}),
  }
}

const fails = async (run: () => unknown): Promise<unknown> => {
  try {
    await run()
  } catch (error) {
    return error
  }
  throw new Error('it did not fail')
}

/** What stands behind an error of ours. */
const causeOf = async (run: () => unknown): Promise<unknown> => {
  const error = await fails(run)
  if (!(error instanceof StageError)) return `not ours: ${String(error)}`
  return error.code === 'REMOTE_ERROR' ? seen(error.cause) : `${error.code} of its own, ${error.message}, ${error.executed}: ${(error.cause as Error).message}`
}

// ── what carries them ───────────────────────────────────────────────────────────────────────────────────────────

let make: () => unknown = () => undefined
const raise = (): never => { throw make() }

class Thing {
  self!: Self
  kept: unknown = 0
  raise(): void { raise() }
  async later(): Promise<void> { await null; raise() }
  look(value: unknown): unknown { return seen(value) }
  give(): unknown { return make() }
  keep(): void { this.kept = make() }
  async run(fn: () => Promise<unknown>): Promise<unknown> { return causeOf(fn) }
}

interface Ends { api: Stage; web: Stage }

const carriers: Record<string, (ends: Ends) => Promise<unknown>> = {
  'a handler throws it': ({ web }) => causeOf(() => web.to('api').call('raise')),
  'a handler rejects with it': ({ web }) => causeOf(() => web.to('api').call('later')),
  'a handler throws it, and callAll is told': async ({ web }) => {
    for await (const { error } of web.to('api').callAll('raise')) return seen(error?.cause)
    return 'nothing'
  },
  'a function that was passed throws it': ({ web }) => web.to('api').call('run', raise),
  'a generator that was an answer throws it': ({ web }) => causeOf(async () => { for await (const one of await web.to('api').call<AsyncIterable<number>>('items')) void one }),
  'a generator that was an argument throws it': ({ web }) => web.to('api').call('read', (async function* () { yield 1; raise() })()),
  'a stream of objects is destroyed with it': ({ web }) => causeOf(async () => { for await (const one of await web.to('api').call<AsyncIterable<number>>('objects')) void one }),
  'it is an argument': ({ web }) => web.to('api').call('look', make()),
  'it is in a Map in an argument': ({ web }) => web.to('api').call('lookInto', new Map([['at', [make()]]])),
  'it is a result': async ({ web }) => seen(await web.to('api').call('give')),
  'it is an item': async ({ web }) => {
    for await (const one of await web.to('api').call<AsyncIterable<unknown>>('gives')) return seen(one)
    return 'nothing'
  },
}
for (const [where, of] of [['elsewhere', 'web'], ['on the same stage', 'api']] as const) {
  const thing = (ends: Ends) => ends[of].actor<Thing>('things.1')
  Object.assign(carriers, {
    [`an actor ${where} throws it`]: (ends: Ends) => causeOf(() => thing(ends).raise()),
    [`an actor ${where} rejects with it`]: (ends: Ends) => causeOf(() => thing(ends).later()),
    [`a function that was passed to an actor ${where} throws it`]: (ends: Ends) => thing(ends).run(raise),
    [`it is an argument for an actor ${where}`]: (ends: Ends) => thing(ends).look(make()),
    [`it is what an actor ${where} returns`]: async (ends: Ends) => seen(await thing(ends).give()),
    [`it is a durable property of an actor ${where}`]: async (ends: Ends) => { await thing(ends).keep(); return seen(await thing(ends).kept) },
    [`it is a property of an actor ${where} that is watched`]: async (ends: Ends) => {
      await thing(ends).keep()
      for await (const { kept } of ends[of].observe(thing(ends), ['kept'])) return seen(kept)
      return 'nothing'
    },
  })
}

function ends(t: ExecutionContext, codec: 'msgpack' | 'json'): Ends {
  const mesh = realMesh(t)
  const chain = [framing(), rpc({ codec: codec === 'json' ? json() : msgpack() }), actors()]
  const [api, web] = [mesh.stage('api', { chain, store: mesh.registry }), mesh.stage('web', { chain, store: mesh.registry })]
  api.define({ pattern: 'things.{id}', constructor: Thing, durable: true })
  const handlers: Record<string, Handler> = {
    raise, look: seen,
    later: async () => { await null; raise() },
    run: (fn: () => Promise<unknown>) => causeOf(fn),
    items: async function* () { yield 1; raise() },
    read: (items: AsyncIterable<unknown>) => causeOf(async () => { for await (const one of items) void one }),
    objects: () => { const stream = new PassThrough({ objectMode: true }); stream.on('error', () => {}); setImmediate(() => stream.destroy(make() as Error)); return stream },
    lookInto: (map: Map<string, unknown[]>) => seen(map.get('at')![0]),
    give: () => make(),
    gives: async function* () { yield make() },
  }
  for (const [name, handler] of Object.entries(handlers)) api.to('*').provide(name, handler)
  return { api, web }
}

// ── the errors ──────────────────────────────────────────────────────────────────────────────────────────────────

class Refused extends TypeError {
  override name = 'Refused'
  code = 'E_REFUSED'
  #hidden = 1
  constructor(message: string, readonly order: { id: number; tags: string[] }) { super(message); void this.#hidden }
}
class Named extends Error {
  override get name(): string { return 'Named' }
}
function Old(this: Error, message: string): void { this.message = message }
Old.prototype = Object.create(Error.prototype, { constructor: { value: Old }, name: { value: 'Old' } }) as object
const OldError = Old as unknown as new (message: string) => Error

const many = (count: number, value: unknown = 1): Record<string, unknown> => Object.fromEntries(Array.from({ length: count }, (_, i) => [`p${i}`, value]))
const hidden = (error: Error, name: string, value: unknown, enumerable = true): Error => Object.defineProperty(error, name, { value, enumerable, configurable: true })

/** Of those that are named in `but`, something else is expected. */
const errors: Record<string, { make: () => unknown; arrives: unknown; but?: { carriers: RegExp; arrives: unknown } }> = {
  'name and message': { make: () => new RangeError('too much'), arrives: { name: 'RangeError', message: 'too much' } },
  'a code': { make: () => Object.assign(new Error('x'), { code: 'E' }), arrives: { name: 'Error', message: 'x', code: 'E' } },
  'a code that is a number': { make: () => Object.assign(new Error('x'), { code: 42 }), arrives: { name: 'Error', message: 'x', code: 42 } },
  'a code that is neither': { make: () => Object.assign(new Error('x'), { code: { a: 1 } }), arrives: { name: 'Error', message: 'x' } },
  'a class with data of its own': { make: () => new Refused('no', { id: 7, tags: ['a'] }), arrives: { name: 'Refused', message: 'no', code: 'E_REFUSED', own: { order: { id: 7, tags: ['a'] } } } },
  'data of each kind': {
    make: () => Object.assign(new Error('x'), { date: new Date(5), bytes: Buffer.from('abc'), big: 5n, map: new Map([[1, new Set([2])]]), nan: NaN, none: undefined, nil: null, view: new Uint16Array([1]), plain: new (class Point { x = 1 })() }),
    arrives: { name: 'Error', message: 'x', own: { date: new Date(5), bytes: Buffer.from('abc'), big: 5n, map: new Map([[1, new Set([2])]]), nan: NaN, none: undefined, nil: null, view: new Uint16Array([1]), plain: { x: 1 } } },
  },
  'an error of the system': {
    make: () => { try { return readFileSync('/nowhere/at/all') } catch (error) { return error } },
    arrives: { name: 'Error', message: "ENOENT: no such file or directory, open '/nowhere/at/all'", code: 'ENOENT', own: { errno: -2, syscall: 'open', path: '/nowhere/at/all' } },
  },
  'one of ours': { make: () => new StageError('FENCED', 'lost', { executed: 'yes', cause: new Error('why') }), arrives: { name: 'StageError', message: 'lost', code: 'FENCED', cause: { name: 'Error', message: 'why' }, own: { executed: 'yes' } }, but: { carriers: /generator/, arrives: 'FENCED of its own, lost, yes: why' } },
  'one of another realm': {
    make: () => foreign('Object.assign(new TypeError("negative", { cause: new Error("deeper") }), { code: "E_AMOUNT", at: { line: 3 }, when: new Date(5), seen: new Map([[1, 2]]) })'),
    arrives: { name: 'TypeError', message: 'negative', code: 'E_AMOUNT', cause: { name: 'Error', message: 'deeper' }, own: { at: { line: 3 }, when: new Date(5), seen: new Map([[1, 2]]) } },
  },
  'a class of another realm': { make: () => foreign('new (class Far extends RangeError { name = "Far"; left = 2 })("x")'), arrives: { name: 'Far', message: 'x', own: { left: 2 } } },
  'a class of ES5': { make: () => new OldError('as it was'), arrives: { name: 'Old', message: 'as it was' } },
  'a class of ES5 of another realm': { make: () => foreign('function E(m) { this.message = m }; E.prototype = Object.create(Error.prototype); E.prototype.name = "E"; new E("x")'), arrives: { name: 'E', message: 'x' } },
  'an AbortError': { make: () => new DOMException('stop', 'AbortError'), arrives: { name: 'AbortError', message: 'stop', code: 20 } },
  'a name that its class computes': { make: () => new Named('x'), arrives: { name: 'Named', message: 'x' } },
  'causes': {
    make: () => new Error('a', { cause: foreign<(one: Error) => Error>('(one) => Object.assign(new RangeError("b", { cause: one }), { code: 1 })')(new Error('c', { cause: { text: 'd' } })) }),
    arrives: { name: 'Error', message: 'a', cause: { name: 'RangeError', message: 'b', code: 1, cause: { name: 'Error', message: 'c', cause: { text: 'd' } } } },
  },
  'a cause that is undefined': { make: () => new Error('a', { cause: undefined }), arrives: { name: 'Error', message: 'a', cause: undefined } },
  'an AggregateError': {
    make: () => new AggregateError([new TypeError('b', { cause: 'c' }), 5, foreign('new Error("d")')], 'a'),
    arrives: { name: 'AggregateError', message: 'a', errors: [{ name: 'TypeError', message: 'b', cause: 'c' }, 5, { name: 'Error', message: 'd' }] },
  },
  'an Error in a property': { make: () => Object.assign(new Error('a'), { inner: Object.assign(new RangeError('b', { cause: new Error('c') }), { code: 'B', at: 1 }) }), arrives: { name: 'Error', message: 'a', own: { inner: { name: 'RangeError', message: 'b', code: 'B', cause: { name: 'Error', message: 'c' }, own: { at: 1 } } } } },
  'getters of its own are not run': {
    make: () => Object.defineProperties(Object.assign(new Error('x'), { nested: { get no() { throw new Error('run') }, yes: 1 } }), { loud: { enumerable: true, get() { throw new Error('run') } }, cause: { enumerable: true, get() { throw new Error('run') } } }),
    arrives: { name: 'Error', message: 'x', own: { nested: { yes: 1 } } },
  },
  'a getter in place of its message': { make: () => Object.defineProperty(new Error('x'), 'message', { get: () => 'run' }), arrives: { name: 'Error', message: '' } },
  'what is no data is left out': {
    make: () => Object.assign(new Error('x'), {
      before: 1, fn: () => 1, nested: { fn() {} }, stream: new PassThrough(), inStream: [{ socket: new PassThrough() }], symbol: Symbol('s'), promise: Promise.resolve(1), thenable: { then() {} },
      pattern: /x/, url: new URL('http://x'), weak: new WeakMap(), items: (async function* () {})(), emitter: new (class { on() {} })(), after: 2,
    }),
    arrives: { name: 'Error', message: 'x', own: { before: 1, after: 2 } },
  },
  'a circle': { make: () => { const error = Object.assign(new Error('x'), { ok: 1, ring: {} as object }); error.ring = { error }; return error }, arrives: { name: 'Error', message: 'x', own: { ok: 1 } } },
  'no stack, wherever it is': { make: () => hidden(Object.assign(new Error('x'), { before: 1 }), 'stack', 'at secret (file.js:1)'), arrives: { name: 'Error', message: 'x', own: { before: 1 } } },
  'what would make it something else': {
    make: () => ['__proto__', 'toString', 'toJSON', 'constructor', 'then', 'inspect', 'valueOf', 'hasOwnProperty'].reduce<Error>((error, name) => hidden(error, name, 'forged'), new Error('x')),
    arrives: { name: 'Error', message: 'x' },
  },
  'properties that cannot be listed, and symbols': { make: () => hidden(Object.assign(new Error('x'), { [Symbol('s')]: 1 }), 'quiet', 1, false), arrives: { name: 'Error', message: 'x' } },
  'no more than 32 properties': { make: () => Object.assign(new Error('x'), many(40)), arrives: { name: 'Error', message: 'x', own: many(32) } },
  'no more than 8 KiB of them': { make: () => Object.assign(new Error('x'), { before: 'y'.repeat(4000), body: 'z'.repeat(9000), bytes: Buffer.alloc(9000), after: 1 }), arrives: { name: 'Error', message: 'x', own: { before: 'y'.repeat(4000), after: 1 } } },
  'nothing that is nested deeper than eight': { make: () => Object.assign(new Error('x'), { deep: [[[[[[[[[1]]]]]]]]], ok: [[[[[[[[1]]]]]]]] }), arrives: { name: 'Error', message: 'x', own: { ok: [[[[[[[[1]]]]]]]] } } },
  'halves of surrogate pairs': { make: () => Object.assign(new Error('a\ud800'), { code: '\udc00', text: '\ud83d' }), arrives: { name: 'Error', message: 'a\ufffd', code: '\ufffd', own: { text: '\ufffd' } } },
  'a frozen one': { make: () => Object.freeze(Object.assign(new Error('x'), { a: 1 })), arrives: { name: 'Error', message: 'x', own: { a: 1 } } },
}

for (const codec of ['msgpack', 'json'] as const) {
  test.serial(`${codec}: of an Error arrives what the table says, whatever carries it`, async (t) => {
    const both = ends(t, codec)
    const wrong: Record<string, unknown> = {}
    for (const [what, { make: one, arrives, but }] of Object.entries(errors)) {
      make = one
      for (const [how, carry] of Object.entries(carriers)) {
        const came = await carry(both)
        if (!isDeepStrictEqual(came, but?.carriers.test(how) ? but.arrives : arrives)) wrong[`${what}: ${how}`] = came
      }
    }
    t.deepEqual(wrong, {})
  })

  test.serial(`${codec}: an Error that was thrown is bounded, and never fails to be told`, async (t) => {
    const both = ends(t, codec)
    const long = Array.from({ length: 20 }).reduce<Error | undefined>((cause) => new Error('x'.repeat(5000), { cause }), undefined)
    const circle = new Error('x', { cause: new Error('y') })
    ;(circle.cause as Error).cause = circle
    const wide = new AggregateError(Array.from({ length: 1000 }, (_, i) => new AggregateError([new Error('y')], String(i))), 'wide')
    const told = Object.entries(carriers).filter(([how]) => how.includes('throws') || how.includes('rejects') || how.includes('destroyed'))
    t.is(told.length, 13)
    for (const [how, carry] of told) {
      make = () => circle
      t.deepEqual(await carry(both), { name: 'Error', message: 'x', cause: { name: 'Error', message: 'y' } }, how)
      make = () => long
      let depth = 0
      for (let one = await carry(both) as Seen | undefined; one; one = one.cause as Seen | undefined) {
        t.deepEqual([one.name, one.message], ['Error', 'x'.repeat(1024)], how)
        depth++
      }
      t.is(depth, 9, how)
      make = () => wide
      const { errors: some } = await carry(both) as Seen
      t.is(some!.length + some!.flatMap((one) => (one as Seen).errors ?? []).length, 32, how)
      make = () => Object.assign(new Error('x', { cause: () => 1 }), { errors: [Symbol('s'), 1] })
      t.deepEqual(await carry(both), { name: 'Error', message: 'x', errors: [1] }, how)
      make = () => new Proxy(new Error('x'), { getOwnPropertyDescriptor() { throw new Error('no') } })
      t.is(await carry(both), undefined, how)
    }
  })
}
