/**
 * The contract of a codec, as tests. To run the suite on your own codec:
 *
 *     import test from 'ava'
 *     import { codecSuite } from 'stagemesh/test/suites/codec'
 *     codecSuite(test, (limits) => myCodec(limits), { name: 'mine' })
 *
 * The byte format, and malformed input from a peer, need separate tests for each codec.
 */
import vm from 'node:vm'
import { HANDLE } from '../../src/handle.js'
import { Writer } from '../../src/writer.js'
import type { Refs } from '../../wrappers/codec.js'
import { randomly } from './codec-random.js'
import { refusals } from './codec-refusals.js'
import { Table, codecKit, fails, noRefs, thrown, type CodecFactory, type CodecKit } from './codec-kit.js'
import type { Assertions, Test } from './test.js'

/** Options of the suite. */
export interface CodecSuiteOptions {
  /** Prefix of each title; default `codec`. */
  name?: string
}

/** Adds one test. */
export type Check = (title: string, run: (t: Assertions) => void) => void

/** @param factory  makes a codec with the given limits, and defaults for all others */
export function codecSuite(test: Test, factory: CodecFactory, { name = 'codec' }: CodecSuiteOptions = {}): void {
  const check: Check = (title, run) => test(`${name}: ${title}`, run)
  const kit = codecKit(factory)
  survivors(check, kit)
  randomly(check, kit)
  refusals(check, kit)
}

function survivors(check: Check, { factory, encode, decode, trip }: CodecKit): void {
  check('invalid limits are misuse', (t) => {
    t.true(thrown(() => factory({ maxBytes: 0 })) instanceof TypeError)
    t.true(thrown(() => factory({ maxDepth: NaN })) instanceof TypeError)
  })

  check('null, undefined, booleans', (t) => {
    for (const value of [null, undefined, true, false]) t.is(trip(value), value)
  })

  check('numbers around every change of representation', (t) => {
    const numbers = [0, -0, NaN, Infinity, -Infinity, 0.1, -1.5, Number.MAX_VALUE, Number.MIN_VALUE, Number.EPSILON, 2 ** 53, -(2 ** 53), 2 ** 64, 1e21]
    for (let bits = 0; bits <= 53; bits++) for (const near of [-2, -1, 0, 1, 2]) numbers.push(2 ** bits + near, -(2 ** bits) + near)
    for (const value of numbers) t.true(Object.is(trip(value), value), String(value))
    t.deepEqual(trip(numbers), numbers)
  })

  check('more than eight doubles, across a buffer that grows', (t) => {
    const doubles = Array.from({ length: 500 }, (_, i) => i / 7)
    t.deepEqual(trip(doubles), doubles)
  })

  check('bigints of every size', (t) => {
    const bigints = [0n, 1n, -1n, 255n, 256n, -256n, 2n ** 53n, 2n ** 63n, -(2n ** 63n), 2n ** 64n, 12345678901234567890123n, 1n << 80000n]
    for (const value of bigints) t.is(trip(value), value)
    const largest = (1n << (8n * 1024n * 1024n)) - 1n
    t.true(trip(largest) === largest)
    t.true(trip(-largest) === -largest)
  })

  check('strings of every length around a change of representation', (t) => {
    for (const unit of ['a', 'é', '€', '😀']) {
      for (const length of [0, 1, 7, 8, 9, 11, 12, 13, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 255, 256, 257, 65535, 65536]) {
        const text = unit.repeat(length)
        t.true(trip(text) === text, `${length} × ${unit}`)
        t.true(trip(`x${text}`) === `x${text}`)
      }
    }
    t.is(trip('\ufefftext\0'), '\ufefftext\0')
  })

  check('lone surrogates become U+FFFD', (t) => {
    t.is(trip('a\ud800b'), 'a\ufffdb')
    t.is(trip('\udc00'.repeat(100)), '\ufffd'.repeat(100))
    t.deepEqual(trip({ '\ud800': 1 }), { '\ufffd': 1 })
  })

  check('a Buffer arrives as a Buffer of its own memory', (t) => {
    for (const size of [0, 1, 255, 256, 65535, 65536]) {
      const value = Buffer.alloc(size, 7)
      const back = trip(value)
      t.true(Buffer.isBuffer(back))
      t.true(back.equals(value))
    }
    const encoded = encode([Buffer.from('abc'), new Uint8Array([1, 2])])
    const bytes = Buffer.allocUnsafeSlow(encoded.length)
    encoded.copy(bytes)
    const [buffer, view] = decode(bytes) as [Buffer, Uint8Array]
    t.true(buffer.buffer !== bytes.buffer && view.buffer !== bytes.buffer)
    bytes.fill(0)
    t.is(buffer.toString(), 'abc')
    t.deepEqual(view, new Uint8Array([1, 2]))
  })

  check('typed arrays, ArrayBuffer and DataView, at odd offsets too', (t) => {
    const source = new Uint8Array(64).map((_, i) => i * 37)
    const classes = [Int8Array, Uint8Array, Uint8ClampedArray, Int16Array, Uint16Array, Int32Array, Uint32Array, Float32Array, Float64Array, BigInt64Array, BigUint64Array]
    const half = (globalThis as { Float16Array?: typeof Float32Array }).Float16Array
    if (half) classes.push(half)
    for (const one of classes) {
      const value = new one(source.buffer, 8, 3)
      const back = trip(['pad', value])[1] as typeof value
      t.is(Object.getPrototypeOf(back), one.prototype)
      t.deepEqual(Buffer.from(back.buffer), Buffer.from(value.buffer, 8, 3 * one.BYTES_PER_ELEMENT))
      t.is(trip(new one(0)).length, 0)
    }
    t.deepEqual(trip(source.buffer), source.buffer)
    const view = trip(new DataView(source.buffer, 3, 5))
    t.true(view instanceof DataView)
    t.deepEqual(Buffer.from(view.buffer), Buffer.from(source.buffer, 3, 5))
  })

  check('Date, also an invalid one', (t) => {
    for (const time of [0, 1.7e12, -1, 8.64e15, NaN]) {
      const back = trip(new Date(time))
      t.true(back instanceof Date)
      t.is(back.getTime(), time)
    }
  })

  check('Map and Set with any content', (t) => {
    const map = new Map<unknown, unknown>([['a', 1], [1, 'a'], [null, undefined], [NaN, new Set([1, 'x', new Map()])], ['__proto__', 1]])
    t.deepEqual(trip(map), map)
    const large = new Set(Array.from({ length: 70000 }, (_, i) => i))
    t.deepEqual(trip(large), large)
  })

  check('an Error keeps name, message, code, cause and its other data, but not its stack and class', (t) => {
    class Special extends TypeError {
      override name = 'Special'
      code = 'E_SPECIAL'
      extra = 1
    }
    const back = trip(new Special('no', { cause: new RangeError('deep', { cause: 'text' }) })) as Special
    t.is(Object.getPrototypeOf(back), Error.prototype)
    t.deepEqual([back.name, back.message, back.code], ['Special', 'no', 'E_SPECIAL'])
    t.deepEqual(Object.getOwnPropertyDescriptor(back, 'name'), { value: 'Special', writable: true, enumerable: false, configurable: true })
    t.is(back.extra, 1)
    t.false(/codec|json/.test(back.stack ?? ''))
    const cause = back.cause as Error
    t.deepEqual([cause.name, cause.message, cause.cause], ['RangeError', 'deep', 'text'])
    t.false('code' in cause)
  })

  check('errors of other kinds', (t) => {
    t.is((trip(Object.assign(new Error('x'), { code: 42 })) as Error & { code: number }).code, 42)
    t.false('cause' in trip(new Error('x')))
    const explicit = trip(new Error('x', { cause: undefined }))
    t.true('cause' in explicit && explicit.cause === undefined)
    t.is(String(trip(new AggregateError([1], 'many'))), 'AggregateError: many')
    t.is((trip(AbortSignal.abort().reason) as Error).name, 'AbortError')
    t.is(String(trip(vm.runInNewContext('new RangeError("far")') as Error)), 'RangeError: far')
    const limit = Error.stackTraceLimit
    trip(new Error('x'))
    t.is(Error.stackTraceLimit, limit)
  })

  check('arrays and objects', (t) => {
    for (const value of [[], {}, [[]], [{}], { a: {} }, { a: undefined }, { '': 1, ' ': 2, é: 3, 1: 4 }, { constructor: 1, hasOwnProperty: 2, then: 3 }]) t.deepEqual(trip<unknown>(value), value)
    t.deepEqual(trip([1, , 3]), [1, undefined, 3])
    for (const size of [15, 16, 17, 65535, 65536]) {
      t.is(trip(Array.from({ length: size }, () => 1)).length, size)
      const object = Object.fromEntries(Array.from({ length: size }, (_, i) => [`key${i}`, i]))
      t.deepEqual(trip({ before: 1, object, after: 2 }), { before: 1, object, after: 2 })
    }
  })

  check('names of properties of every length, again and again', (t) => {
    const codec = factory()
    const object = Object.fromEntries(Array.from({ length: 3000 }, (_, i) => [`${'k'.repeat(i % 40)}${i}`, i]))
    for (let i = 0; i < 3; i++) t.deepEqual(trip(object, codec), object)
    const alike = { abcd: 1, abxd: 2, axcd: 3, aycd: 4, 'ä': 5, 'aa': 6 }
    for (let i = 0; i < 3; i++) t.deepEqual(trip(alike, codec), alike)
  })

  check('instances and objects without a prototype arrive as plain objects', (t) => {
    class Point {
      x = 1
      #y = 2
      get y(): number {
        return this.#y
      }
      toJSON(): unknown {
        throw new Error('not called')
      }
    }
    const bare = Object.assign(Object.create(null) as object, { a: 1 })
    for (const [value, plain] of [[new Point(), { x: 1 }], [bare, { a: 1 }], [Object.create({ inherited: 1 }), {}], [vm.runInNewContext('({ a: 1 })'), { a: 1 }]]) {
      const back = trip(value)
      t.deepEqual(back, plain)
      t.is(Object.getPrototypeOf(back), Object.prototype)
    }
    t.deepEqual(trip(vm.runInNewContext('new Map([[1, 2]])')), new Map([[1, 2]]))
    t.deepEqual(trip({ [Symbol('ignored')]: 1, a: 2 }), { a: 2 } as never)
  })

  check('boxed primitives arrive as primitives', (t) => {
    for (const value of [1, 'a', true, 5n]) t.is(trip<unknown>(Object(value)), value)
  })

  check('functions travel as numbers', (t) => {
    const refs = new Table()
    const codec = factory()
    encode(new Map([['then', () => {}]]))
    const one = (): number => 1
    const two = (): number => 2
    const bytes = encode([one, { two, list: [one] }], codec, refs)
    t.deepEqual(codec.decode(bytes, 0, bytes.length, refs), [one, { two, list: [one] }])
    t.deepEqual(refs.functions, [one, two, one])
    const far = encode(one, codec, { ...noRefs, give: () => 0xffff_fffe })
    t.is(codec.decode(far, 0, far.length, { ...noRefs, take: (id) => id }), 0xffff_fffe)
  })

  check('a handle travels as its text, and a handle without one is refused', (t) => {
    const refs: Refs = { ...noRefs, refer: ({ namespace, to }) => `${namespace}/${to}`, resolve: (text) => ({ text }) }
    const codec = factory()
    const handle = (it: unknown): object => Object.assign(Object.create(Object.create(null) as object) as object, { [HANDLE]: it, never: () => 1 })
    const back = (value: unknown): unknown => { const bytes = encode(value, codec, refs); return codec.decode(bytes, 0, bytes.length, refs) }
    for (const to of ['', 'a', 'players.1', 'ünï 😀', 'x'.repeat(31), 'x'.repeat(300), 'x'.repeat(1022)]) {
      t.deepEqual(back(handle({ namespace: 'n', to })), { text: `n/${to}` })
      t.deepEqual(back(new Map([[1, [{ a: handle({ namespace: 'n', to }) }]]])), new Map([[1, [{ a: { text: `n/${to}` } }]]]))
    }
    const bytes = encode([handle({ namespace: 'n', to: 'x' })], codec, refs)
    t.is(fails(t, () => decode(bytes, codec))?.code, 'PROTOCOL_ERROR')
    t.is(fails(t, () => codec.decode(bytes, 0, bytes.length, { ...refs, resolve: () => { throw new Error('none') } }))?.code, 'PROTOCOL_ERROR')
    t.is(fails(t, () => encode(handle({ namespace: 'n', to: 'x'.repeat(1023) }), codec, refs))?.code, 'BAD_ARGUMENT')
    for (const [it, words] of [['is such a thing: send another', /^the value is such a thing/], [{ namespace: 'n', to: 'x' }, /refers to an object of another stage/]] as const) t.is(fails(t, () => encode(handle(it), codec), words)?.code, 'BAD_ARGUMENT')
    for (const odd of [5, {}, { to: 5 }, () => 1, null]) t.deepEqual(trip({ ...handle(odd), never: 1 }, codec) as unknown, { never: 1 })
  })

  check('a value is read from the middle of a chunk and appended to a buffer', (t) => {
    const codec = factory()
    const out = new Writer(4)
    out.need(2)
    out.at = 2
    codec.encode({ a: 'x'.repeat(100) }, out, noRefs)
    const first = out.at
    codec.encode(1.5, out, noRefs)
    t.deepEqual(codec.decode(out.bytes, 2, first, noRefs), { a: 'x'.repeat(100) })
    t.is(codec.decode(out.bytes, first, out.at, noRefs), 1.5)
  })
}
