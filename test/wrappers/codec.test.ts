import { PassThrough, Readable, Writable } from 'node:stream'
import vm from 'node:vm'
import test, { type ExecutionContext } from 'ava'
import duplexify from 'duplexify'
import through from 'through2'
import { StageError } from '../../src/errors.js'
import { Writer } from '../../src/writer.js'
import { msgpack, streamKind, type Callable, type Codec, type CodecLimits, type Refs } from '../../wrappers/codec.js'

class Table implements Refs {
  readonly functions: (Callable | undefined)[] = []
  give(fn: Callable): number {
    return this.functions.push(fn) - 1
  }
  take(id: number): unknown {
    const fn = this.functions[id]
    if (!fn) throw new Error(`no function ${id}`)
    return fn
  }
  back(id: number): void {
    this.functions[id] = undefined
  }
}
const noRefs: Refs = {
  give: () => 0,
  take: () => () => {},
}

function encode(value: unknown, codec: Codec = msgpack(), refs: Refs = noRefs): Buffer {
  const out = new Writer(16)
  codec.encode(value, out, refs)
  return Buffer.from(out.bytes.subarray(0, out.at))
}
const decode = (bytes: Buffer, codec: Codec = msgpack()): unknown => codec.decode(bytes, 0, bytes.length, noRefs)
const trip = <T>(value: T, codec: Codec = msgpack()): T => decode(encode(value, codec), codec) as T
const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex')

/** mulberry32: the same values on every run. */
function seeded(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0
    let t = Math.imul(seed ^ (seed >>> 15), seed | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

function malformed(t: ExecutionContext, bytes: Buffer, message: RegExp, limits?: Partial<CodecLimits>): void {
  const error = t.throws(() => decode(bytes, msgpack(limits)), { instanceOf: StageError, message })
  t.is(error?.code, 'PROTOCOL_ERROR')
}

function refused(t: ExecutionContext, value: unknown, message: RegExp, limits?: Partial<CodecLimits>): StageError {
  const out = new Writer(16)
  out.at = 3
  const error = t.throws(() => msgpack(limits).encode(value, out, noRefs), { instanceOf: StageError, message }) as StageError
  t.is(error.code, 'BAD_ARGUMENT')
  t.is(error.executed, 'no')
  t.is(out.at, 3)
  return error
}

// ── what survives ───────────────────────────────────────────────────────────────────────────────────────────────

test('the codec says its name', (t) => {
  t.is(msgpack().name, 'msgpack')
})

test('limits that make no sense are misuse', (t) => {
  t.throws(() => msgpack({ maxBytes: 0 }), { instanceOf: TypeError, message: /maxBytes/ })
  t.throws(() => msgpack({ maxDepth: NaN }), { instanceOf: TypeError, message: /maxDepth/ })
})

test('null, undefined, booleans', (t) => {
  for (const value of [null, undefined, true, false]) t.is(trip(value), value)
})

test('numbers around every change of representation', (t) => {
  const numbers = [0, -0, NaN, Infinity, -Infinity, 0.1, -1.5, Number.MAX_VALUE, Number.MIN_VALUE, Number.EPSILON, 2 ** 53, -(2 ** 53), 2 ** 64, 1e21]
  for (let bits = 0; bits <= 53; bits++) for (const near of [-2, -1, 0, 1, 2]) numbers.push(2 ** bits + near, -(2 ** bits) + near)
  for (const value of numbers) t.true(Object.is(trip(value), value), String(value))
  t.deepEqual(trip(numbers), numbers)
})

test('integers are as short as msgpack has them', (t) => {
  const lengths = [127, 255, 65535, 2 ** 32 - 1, 2 ** 32, -32, -128, -32768, -(2 ** 31), -(2 ** 31) - 1].map((value) => encode(value).length)
  t.deepEqual(lengths, [1, 2, 3, 5, 9, 1, 2, 3, 5, 9])
})

test('more than eight doubles, across a buffer that grows', (t) => {
  const doubles = Array.from({ length: 500 }, (_, i) => i / 7)
  t.deepEqual(trip(doubles), doubles)
})

test('bigints of every size', (t) => {
  const bigints = [0n, 1n, -1n, 255n, 256n, -256n, 2n ** 53n, 2n ** 63n, -(2n ** 63n), 2n ** 64n, 12345678901234567890123n, 1n << 80000n]
  for (const value of bigints) t.is(trip(value), value)
  const largest = (1n << (8n * 1024n * 1024n)) - 1n
  t.true(trip(largest) === largest)
  t.true(trip(-largest) === -largest)
})

test('strings of every length around a change of representation', (t) => {
  for (const unit of ['a', 'é', '€', '😀']) {
    for (const length of [0, 1, 7, 8, 9, 11, 12, 13, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 255, 256, 257, 65535, 65536]) {
      const text = unit.repeat(length)
      t.true(trip(text) === text, `${length} × ${unit}`)
      t.true(trip(`x${text}`) === `x${text}`)
    }
  }
  t.is(trip('\ufefftext\0'), '\ufefftext\0')
})

test('lone surrogates become U+FFFD', (t) => {
  t.is(trip('a\ud800b'), 'a\ufffdb')
  t.is(trip('\udc00'.repeat(100)), '\ufffd'.repeat(100))
  t.deepEqual(trip({ '\ud800': 1 }), { '\ufffd': 1 })
})

test('a Buffer arrives as a Buffer of its own memory', (t) => {
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

test('typed arrays, ArrayBuffer and DataView, at odd offsets too', (t) => {
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

test('elements are little-endian on the wire', (t) => {
  t.is(encode(new Uint16Array([0x1234])).toString('hex'), 'c70304063412')
})

test('Date, also an invalid one', (t) => {
  for (const time of [0, 1.7e12, -1, 8.64e15, NaN]) {
    const back = trip(new Date(time))
    t.true(back instanceof Date)
    t.is(back.getTime(), time)
  }
})

test('Map and Set with whatever in them', (t) => {
  const map = new Map<unknown, unknown>([['a', 1], [1, 'a'], [null, undefined], [NaN, new Set([1, 'x', new Map()])], ['__proto__', 1]])
  t.deepEqual(trip(map), map)
  const large = new Set(Array.from({ length: 70000 }, (_, i) => i))
  t.deepEqual(trip(large), large)
})

test('an Error keeps name, message, code and cause; its stack and class stay behind', (t) => {
  class Special extends TypeError {
    override name = 'Special'
    code = 'E_SPECIAL'
    extra = 1
  }
  const back = trip(new Special('no', { cause: new RangeError('deep', { cause: 'text' }) })) as Special
  t.is(Object.getPrototypeOf(back), Error.prototype)
  t.like(back, { name: 'Special', message: 'no', code: 'E_SPECIAL' })
  t.deepEqual(Object.getOwnPropertyDescriptor(back, 'name'), { value: 'Special', writable: true, enumerable: false, configurable: true })
  t.false('extra' in back)
  t.notRegex(back.stack ?? '', /codec/)
  const cause = back.cause as Error
  t.like(cause, { name: 'RangeError', message: 'deep', cause: 'text' })
  t.false('code' in cause)
})

test('errors of other makes', (t) => {
  t.is((trip(Object.assign(new Error('x'), { code: 42 })) as Error & { code: number }).code, 42)
  t.false('cause' in trip(new Error('x')))
  const explicit = trip(new Error('x', { cause: undefined }))
  t.true('cause' in explicit && explicit.cause === undefined)
  t.like(trip(new AggregateError([1], 'many')), { name: 'AggregateError', message: 'many' })
  t.like(trip(AbortSignal.abort().reason), { name: 'AbortError' })
  t.like(trip(vm.runInNewContext('new RangeError("far")') as Error), { name: 'RangeError', message: 'far' })
  const limit = Error.stackTraceLimit
  trip(new Error('x'))
  t.is(Error.stackTraceLimit, limit)
})

test('arrays and objects', (t) => {
  for (const value of [[], {}, [[]], [{}], { a: {} }, { a: undefined }, { '': 1, ' ': 2, é: 3, 1: 4 }, { constructor: 1, hasOwnProperty: 2, then: 3 }]) t.deepEqual(trip<unknown>(value), value)
   
  t.deepEqual(trip([1, , 3]), [1, undefined, 3])
  for (const size of [15, 16, 17, 65535, 65536]) {
    t.is(trip(Array.from({ length: size }, () => 1)).length, size)
    const object = Object.fromEntries(Array.from({ length: size }, (_, i) => [`key${i}`, i]))
    t.deepEqual(trip({ before: 1, object, after: 2 }), { before: 1, object, after: 2 })
  }
})

test('names of properties of every length, again and again', (t) => {
  const codec = msgpack()
  const object = Object.fromEntries(Array.from({ length: 3000 }, (_, i) => [`${'k'.repeat(i % 40)}${i}`, i]))
  for (let i = 0; i < 3; i++) t.deepEqual(trip(object, codec), object)
  const alike = { abcd: 1, abxd: 2, axcd: 3, aycd: 4, 'ä': 5, 'aa': 6 }
  for (let i = 0; i < 3; i++) t.deepEqual(trip(alike, codec), alike)
})

test('instances and objects without a prototype arrive as plain objects', (t) => {
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

test('boxed primitives arrive as primitives', (t) => {
  for (const value of [1, 'a', true, 5n]) t.is(trip<unknown>(Object(value)), value)
})

test('functions travel as numbers', (t) => {
  const refs = new Table()
  const codec = msgpack()
  t.notThrows(() => encode(new Map([['then', () => {}]])))
  const one = (): number => 1
  const two = (): number => 2
  const bytes = encode([one, { two, list: [one] }], codec, refs)
  t.deepEqual(codec.decode(bytes, 0, bytes.length, refs), [one, { two, list: [one] }])
  t.deepEqual(refs.functions, [one, two, one])
  const far = encode(one, codec, { ...noRefs, give: () => 0xffff_fffe })
  t.is(codec.decode(far, 0, far.length, { ...noRefs, take: (id) => id }), 0xffff_fffe)
})

test('a value is read from the middle of a chunk and written behind what is there', (t) => {
  const codec = msgpack()
  const out = new Writer(4)
  out.need(2)
  out.at = 2
  codec.encode({ a: 'x'.repeat(100) }, out, noRefs)
  const first = out.at
  codec.encode(1.5, out, noRefs)
  t.deepEqual(codec.decode(out.bytes, 2, first, noRefs), { a: 'x'.repeat(100) })
  t.is(codec.decode(out.bytes, first, out.at, noRefs), 1.5)
})

// ── what is random ──────────────────────────────────────────────────────────────────────────────────────────────

const random = seeded(20)
const below = (n: number): number => Math.floor(random() * n)
const text = (): string => Array.from({ length: random() < 0.05 ? below(400) : below(20) }, () => String.fromCodePoint(random() < 0.9 ? 32 + below(95) : [0xe9, 0x20ac, 0x1f600, 0xfffd][below(4)])).join('')
const leaves: (() => unknown)[] = [
  () => null, () => undefined, () => random() < 0.5, () => below(300) - 150, () => below(2 ** 17) - 2 ** 16, () => Math.round((random() - 0.5) * 2 ** 54), () => (random() - 0.5) * 10 ** below(300),
  () => [NaN, -0, Infinity, -Infinity][below(4)], text, text, text, () => BigInt(Math.round(random() * 2 ** 53)) ** BigInt(below(5)) * (random() < 0.5 ? -1n : 1n),
  () => Buffer.from(text()), () => new Uint8Array(below(20)), () => new Float64Array([random(), random()]), () => new Date(below(2 ** 40)),
]
function value(depth: number): unknown {
  if (depth === 0 || random() < 0.5) return leaves[below(leaves.length)]()
  const size = random() < 0.03 ? below(60) : below(6)
  const list = Array.from({ length: size }, () => value(depth - 1))
  switch (below(4)) {
    case 0: return list
    case 1: return new Map(list.map((item) => [value(depth - 1), item]))
    case 2: return new Set(list)
    default: return Object.fromEntries(list.map((item) => [text(), item]))
  }
}

test('20 000 random values survive', (t) => {
  const codec = msgpack()
  for (let i = 0; i < 20000; i++) {
    const before = value(4)
    const after = trip(before, codec)
    // encoded again they are the same bytes: NaN, -0 and order included
    if (!encode(after, codec).equals(encode(before, codec))) t.deepEqual(after, before)
    if (i % 20 === 0) t.deepEqual(after, before)
  }
  t.pass()
})

const sample = (): Buffer =>
  encode({
    id: 12345, name: 'bob miller', big: 2n ** 70n, when: new Date(1e12), list: [1.5, -40000, 2 ** 40, -(2 ** 40), null, undefined, true], 'clé': 'é'.repeat(40), long: 'x'.repeat(300),
    map: new Map([[{ a: 1 }, new Set([1, 2])]]), error: Object.assign(new Error('x', { cause: new TypeError('y') }), { code: 'E' }), bytes: [Buffer.alloc(20), new Float64Array(2), new Uint16Array(3)], fn: () => {}, wide: Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`k${i}`, i])),
  })

test('a message cut anywhere is malformed', (t) => {
  const bytes = sample()
  const codec = msgpack()
  t.notThrows(() => decode(bytes, codec))
  for (let end = 0; end < bytes.length; end++) {
    // what follows in the chunk belongs to somebody else
    const error = t.throws(() => codec.decode(bytes, 0, end, noRefs), { instanceOf: StageError })
    t.is(error?.code, 'PROTOCOL_ERROR')
    t.is(t.throws(() => decode(bytes.subarray(0, end), codec), { instanceOf: StageError })?.code, 'PROTOCOL_ERROR')
  }
})

test('50 000 mutations give a value or PROTOCOL_ERROR, and harm nobody', (t) => {
  const original = sample()
  const codec = msgpack()
  const properties = Object.getOwnPropertyNames(Object.prototype)
  let failed = 0
  for (let i = 0; i < 50000; i++) {
    const bytes = Buffer.from(original)
    for (let n = below(4); n >= 0; n--) bytes[below(bytes.length)] = random() < 0.5 ? below(256) : 0xc0 + below(32)
    try {
      decode(bytes, codec)
    } catch (error) {
      failed++
      if (!(error instanceof StageError) || error.code !== 'PROTOCOL_ERROR') return t.fail(`${String(error)} for ${bytes.toString('hex')}`)
    }
  }
  t.true(failed > 10000 && failed < 50000, String(failed))
  t.deepEqual(Object.getOwnPropertyNames(Object.prototype), properties)
  t.deepEqual(trip({ a: [1, 'x'] }, codec), { a: [1, 'x'] })
})

// ── what is refused on the way out ──────────────────────────────────────────────────────────────────────────────

test('what cannot be sent is refused, with what to do instead', (t) => {
  refused(t, Symbol('s'), /symbol.*send a string/)
  refused(t, Object(Symbol('s')), /symbol/)
  refused(t, Promise.resolve(1), /await it first/)
  refused(t, { then() {} }, /\.then makes a promise.*await it first/)
  refused(t, new (class { then(): void {} })(), /await it first/)
  refused(t, new WeakMap(), /weakly/)
  refused(t, new WeakSet(), /weakly/)
  refused(t, new WeakRef({}), /weakly/)
  refused(t, /x/, /RegExp.*source/)
  refused(t, new SharedArrayBuffer(8), /SharedArrayBuffer.*copy/)
  refused(t, Readable.from([]), /stream.*of its own/)
  refused(t, { pipe() {} }, /\.pipe makes a stream.*Node's/)
  refused(t, new (class { pipe(): void {} })(), /stream.*Node's/)
  refused(t, (async function* () {})(), /async iterable.*of its own/)
  refused(t, { async *[Symbol.asyncIterator]() {} }, /async iterable.*of its own/)
  refused(t, new URL('http://x'), /is a URL, of which nothing would arrive/)
  refused(t, [].values(), /is a Array Iterator/)
  refused(t, 1n << (8n * 1024n * 1024n), /bigint of more than/)
  refused(t, JSON.parse('{"a": 1, "__proto__": {}}'), /\.__proto__ .*rename/)
})

test('a refusal says where', (t) => {
  refused(t, Symbol('s'), /^the value is a symbol/)
  refused(t, ['x', { user: { first: 1, name: Symbol('s') } }], /^\[1\]\.user\.name is a symbol/)
  refused(t, { 'first name': [Symbol('s')] }, /^\["first name"\]\[0\] is a symbol/)
  refused(t, [new Map([['key', new Set([1, Symbol('s')])]])], /^\[0\]\.key\[1\] is a symbol/)
  refused(t, { error: new Error('x', { cause: Symbol('s') }) }, /^\.error\.cause is a symbol/)
  refused(t, { a: { b: 1 }, c: new URL('http://x') }, /^\.c is a URL/)
})

test('cycles and depth', (t) => {
  const cycle: unknown[] = []
  cycle.push(1, cycle)
  refused(t, cycle, /nested deeper than 64 or cyclic/)
  const ring: Record<string, unknown> = {}
  ring.map = new Map([[1, new Set([ring])]])
  refused(t, ring, /nested deeper than 64 or cyclic/)
  const error = new Error('x')
  error.cause = error
  refused(t, error, /nested deeper than 64 or cyclic/)
  const deep = (n: number): unknown => (n === 0 ? 1 : [deep(n - 1)])
  t.deepEqual(trip(deep(64)), deep(64))
  refused(t, deep(65), /nested deeper/)
  refused(t, deep(4), /deeper than 3/, { maxDepth: 3 })
})

test('getters and Proxies that throw are the cause', (t) => {
  const reason = new Error('why')
  const throws = (): never => {
    throw reason
  }
  const getter = { fine: 1, get bad() { return throws() } }
  t.is(refused(t, [getter], /^\[0\]\.bad cannot be read.*"why"/).cause, reason)
  t.is(refused(t, { a: 1, proxy: new Proxy({ x: 1 }, { get: throws }) }, /^\.proxy cannot be read/).cause, reason)
  t.is(refused(t, { a: { b: 1 }, proxy: new Proxy({ x: 1 }, { ownKeys: throws }) }, /^\.proxy cannot be read/).cause, reason)
  t.is(refused(t, [1, new Proxy([], { get: throws })], /^\[1\] cannot be read/).cause, reason)
})

test('what lies about itself is sent well-formed or not at all', (t) => {
  for (const length of [NaN, 2.5, '3', 2 ** 32 + 1, {}]) {
    const lying = new Proxy([1, 2, 3], { get: (target, key) => (key === 'length' ? length : Reflect.get(target, key)) as unknown })
    t.notThrows(() => trip([lying, 1]))
  }
  refused(t, new Proxy([], { get: () => -1 }), /more than 250000/)
  const map = new Map<unknown, unknown>([[1, 2]])
  map.set('grow', { get x() { return map.set(map.size, 1).size } })
  t.notThrows(() => trip([map]))
  const object: Record<string, unknown> = { get a() { delete object.b; object.c = 1; return 1 }, b: 2 }
  t.notThrows(() => trip([object]))
})

test('limits on the way out are those of the way in', (t) => {
  refused(t, Array.from({ length: 250_001 }, () => 1), /more than 250000 elements/)
  t.is(trip(Array.from({ length: 250_000 }, () => 1)).length, 250_000)
  refused(t, Array.from({ length: 500 }, () => new Array(500)), /more than 250000/)
  refused(t, Object.fromEntries(Array.from({ length: 11 }, (_, i) => [`k${i}`, i])), /more than 10/, { maxNodes: 10 })
  refused(t, new Map(Array.from({ length: 6 }, (_, i) => [i, i])), /more than 10/, { maxNodes: 10 })
  refused(t, new Array(2 ** 32 - 1), /more than 250000/)
  refused(t, 'x'.repeat(4 * 1024 * 1024), /more than 4194304 bytes.*in parts/)
  refused(t, '€'.repeat(1_400_000), /more than 4194304 bytes/)
  refused(t, [Buffer.alloc(4 * 1024 * 1024)], /more than 4194304 bytes/)
  refused(t, new Uint8Array(4 * 1024 * 1024), /more than 4194304 bytes/)
  refused(t, Array.from({ length: 100 }, () => 'x'.repeat(50)), /more than 1000 bytes/, { maxBytes: 1000 })
  for (const size of [1, 2, 100, 70000]) {
    const exact = encode('x'.repeat(size)).length
    t.is(trip('x'.repeat(size), msgpack({ maxBytes: exact })).length, size)
    refused(t, 'x'.repeat(size), /more than/, { maxBytes: exact - 1 })
  }
})

test('functions given for a value that failed are taken back', (t) => {
  const refs = new Table()
  const codec = msgpack()
  t.throws(() => codec.encode([() => 1, { f: () => 2 }, Symbol('s')], new Writer(), refs), { message: /symbol/ })
  t.deepEqual(refs.functions, [undefined, undefined])
  t.throws(() => codec.encode(() => 1, new Writer(), { ...noRefs, give: () => { throw new Error('full') } }), { message: /"full"/ })
  codec.encode(() => 1, new Writer(), refs)
  t.is(refs.functions.length, 3)
  t.truthy(refs.functions[2])
})

test('kinds of streams', (t) => {
  class Flow { // as streamx makes them: no class of Node's, and no object mode that could be asked for
    on(): void {}
    write(): void {}
    end(): void {}
  }
  class Source {
    on(): void {}
    pipe(): void {}
    read(): void {}
    get _readableState() { return { objectMode: true } }
  }
  const kinds: [object, number][] = [
    [(async function* () {})(), 1], [{ async *[Symbol.asyncIterator]() {} }, 1], [Readable.from([]), 3], [new Readable({ read() {} }), 2],
    [new Writable(), 4], [new PassThrough(), 5], [duplexify(), 5], [through(), 5], [new Flow(), 4], [new Source(), 3],
    [{}, 0], [[], 0], [new Map(), 0], [{ pipe() {} }, 0], [{ [Symbol.asyncIterator]: 5 }, 0],
  ]
  for (const [value, kind] of kinds) t.is(streamKind(value), kind as 0)
})

test('streams travel as kind and number', (t) => {
  const codec = msgpack()
  const offered: unknown[] = []
  const refs: Refs = { ...noRefs, offer: (stream, kind) => offered.push([stream, kind]) + 0xffff_fff0, accept: (id, kind) => `${kind} of ${id}` }
  const values = (async function* () {})()
  const readable = new Readable({ read() {} })
  const bytes = encode({ values, list: [readable] }, codec, refs)
  t.deepEqual(offered, [[values, 1], [readable, 2]])
  t.deepEqual(codec.decode(bytes, 0, bytes.length, refs), { values: '1 of 4294967281', list: ['2 of 4294967282'] })
  t.is(encode(values, codec, { ...refs, offer: () => 7 }).toString('hex'), 'c705080100000007')
  malformed(t, hex('c7 05 08 01 00000007'), /none can come/)
  for (const kind of ['00', '06', 'ff']) malformed(t, hex(`c7 05 08 ${kind} 00000007`), /no known kind/)
  malformed(t, hex('c7 06 08 01 00000007 00'), /none can come|wrong length/)
  t.throws(() => codec.decode(hex('c7 06 08 01 00000007 00'), 0, 9, refs), { message: /wrong length/ })
})

test('streams offered for a value that failed are withdrawn', (t) => {
  const withdrawn: number[] = []
  const refs: Refs = { ...noRefs, offer: () => 9, withdraw: (id) => withdrawn.push(id) }
  t.throws(() => encode([Readable.from([]), Symbol('s')], msgpack(), refs), { message: /symbol/ })
  t.deepEqual(withdrawn, [9])
  encode(Readable.from([]), msgpack(), refs)
  t.deepEqual(withdrawn, [9])
  const shy = new Proxy(new (class Shy {})(), { get: () => { throw new Error('do not ask') } })
  t.is(t.throws(() => encode([shy], msgpack(), refs), { instanceOf: StageError }).code, 'BAD_ARGUMENT')
})

test('a getter may encode meanwhile', (t) => {
  const codec = msgpack()
  const nested = { get b() { return encode([1, { c: 'other' }], codec) } }
  t.deepEqual(trip({ a: 1, nested, z: 'last' }, codec), { a: 1, nested: { b: encode([1, { c: 'other' }]) }, z: 'last' } as never)
  t.deepEqual(trip([1], codec), [1])
})

test('a getter that sends over the same link fails together with what it is in', (t) => {
  for (const swallowed of [true, false]) {
    const codec = msgpack()
    const out = new Writer(16)
    const value = {
      a: 1,
      get b() {
        try {
          codec.encode('inner', out, noRefs)
        } catch (error) {
          t.is((error as StageError).code, 'BAD_ARGUMENT')
          if (!swallowed) throw error
        }
        return 2
      },
    }
    t.throws(() => codec.encode(value, out, noRefs), { message: swallowed ? /getter in it sent something/ : /cannot be read/ })
    t.is(out.at, 0)
    codec.encode('next', out, noRefs)
    t.is(decode(out.bytes.subarray(0, out.at), codec), 'next')
  }
})

test('a getter that appends to the same buffer spoils the value, and no more', (t) => {
  for (const size of [5, 5000]) {
    const out = new Writer(100)
    const value = { get a() { out.need(size); out.at += size; return 1 }, b: 'x' }
    t.throws(() => msgpack().encode(value, out, noRefs), { message: /getter in it sent something/ })
    t.is(out.at, 0)
  }
})

// ── what is refused on the way in ───────────────────────────────────────────────────────────────────────────────

test('a message is exactly one value', (t) => {
  malformed(t, hex(''), /ends in the middle/)
  malformed(t, hex('c0 c0'), /something follows/)
  malformed(t, hex('93 01 02'), /ends in the middle/)
  malformed(t, hex('c1'), /0xc1/)
  t.throws(() => msgpack().decode(hex('c0'), 0, 2, noRefs), { message: /ends in the middle/ })
})

test('what others may send, though we never do', (t) => {
  t.is(decode(hex('ca 3fc00000')), 1.5)
  t.is(decode(hex('cf ffffffffffffffff')), 0xffff_ffff_ffff_ffffn)
  t.is(decode(hex('d3 8000000000000000')), -(2n ** 63n))
  t.is(decode(hex('d9 01 61')), 'a')
  t.deepEqual(decode(hex('81 d9 01 61 dd 00000001 d2 ffffffff')), { a: [-1] })
  t.is(decode(hex('a2 c3 28')), '\ufffd(')
  t.deepEqual(decode(hex('82 a1 61 01 a1 61 02')), { a: 2 })
})

test('names of properties', (t) => {
  malformed(t, encode('__proto__').length === 10 ? Buffer.concat([hex('81'), encode('__proto__'), hex('80')]) : hex(''), /__proto__/)
  malformed(t, Buffer.concat([hex('81 d9 09'), Buffer.from('__proto__'), hex('80')]), /__proto__/)
  malformed(t, hex('81 01 01'), /not a string/)
  malformed(t, hex('81 c0 01'), /not a string/)
  malformed(t, hex('81 80 01'), /not a string/)
  t.deepEqual(trip(new Map([['__proto__', 1]])), new Map([['__proto__', 1]]))
  t.is(({} as { polluted?: unknown }).polluted, undefined)
})

test('extensions', (t) => {
  malformed(t, hex('d4 09 00'), /no extension of type 9/)
  malformed(t, hex('d6 ff 00000000'), /no extension of type 255/)
  malformed(t, hex('d5 00 0000'), /wrong length/)
  malformed(t, hex('d5 01 0000'), /middle/)
  malformed(t, hex('d7 01 0000000000000000'), /wrong length/)
  malformed(t, hex('d6 03 00000000'), /middle/)
  malformed(t, hex('d4 02 00'), /bigint/)
  malformed(t, hex('d5 04 0e00'), /no known kind/)
  malformed(t, hex('d5 04 0500'), /whole elements/)
  malformed(t, hex('d4 05 80'), /contain an array/)
  malformed(t, hex('d5 05 9101'), /key without a value/)
  malformed(t, hex('d5 06 9101 01'), /something follows/)
  malformed(t, hex('d5 06 9201 01'), /wrong length/)
  malformed(t, hex('d4 07 90'), /two to four/)
  malformed(t, hex('c7 03 07 92 01 02'), /not strings/)
  malformed(t, hex('c7 05 07 93 a0 a0 90 c0'), /neither string nor number/)
  const error = t.throws(() => msgpack().decode(hex('d6 01 00000000'), 0, 6, { ...noRefs, take: () => { throw new Error('unknown') } }), { instanceOf: StageError })
  t.like(error, { code: 'PROTOCOL_ERROR', cause: { message: 'unknown' } })
})

test('an error that the wire names after a class is an Error all the same', (t) => {
  const bytes = encode(Object.assign(new Error('x'), { name: '__proto__' }))
  const back = decode(bytes) as Error
  t.is(Object.getPrototypeOf(back), Error.prototype)
  t.is(back.name, '__proto__')
})

test('lengths that lie allocate nothing', (t) => {
  const before = process.memoryUsage()
  for (const head of ['db', 'c6', 'dd', 'df', 'c9', 'd6 05 dd', 'd6 06 dd']) malformed(t, Buffer.concat([hex(`${head} ffffffff`), hex('00 01 02 03')]), /middle|wrong length|elements/)
  malformed(t, Buffer.concat([hex('dd 0003d091'), Buffer.alloc(300_000, 0xc0)]), /more than 250000 elements/)
  const after = process.memoryUsage()
  t.true(after.heapUsed + after.arrayBuffers - before.heapUsed - before.arrayBuffers < 50e6)
})

test('4 MiB of empty maps are refused at 250 000 nodes', (t) => {
  // an array of arrays that each seem modest, so that only counting while decoding finds out
  const size = 4 * 1024 * 1024
  const bytes = Buffer.alloc(size, 0x80)
  const row = 60_000
  bytes.writeUInt32BE(hex('dc 0041 00').readUInt32BE(), 0)
  for (let i = 0; i < 65; i++) {
    bytes[3 + i * (row + 3)] = 0xdc
    bytes.writeUInt16BE(row, 4 + i * (row + 3))
  }
  const started = performance.now()
  malformed(t, bytes, /more than 250000 elements/)
  t.true(performance.now() - started < 500, `${performance.now() - started} ms`)
})

test('a message is refused for its length alone', (t) => {
  malformed(t, Buffer.alloc(4 * 1024 * 1024 + 1, 0xc0), /more than 4194304 bytes/)
})

test('nesting 200 000 deep does not reach the stack', (t) => {
  malformed(t, Buffer.alloc(200_000, 0x91), /nested deeper than 64/)
  malformed(t, Buffer.from('81a161'.repeat(66_000), 'hex'), /nested deeper than 64/)
  malformed(t, Buffer.concat(Array.from({ length: 20_000 }, () => hex('c9 00000100 06 91'))), /nested deeper than 64|middle/)
  t.deepEqual(decode(Buffer.concat([Buffer.alloc(64, 0x91), hex('c0')])), trip(decode(Buffer.concat([Buffer.alloc(64, 0x91), hex('c0')]))))
  malformed(t, Buffer.concat([Buffer.alloc(65, 0x91), hex('c0')]), /nested deeper/)
})

test('many small things of the dear kinds stay cheap', (t) => {
  const kinds = { errors: hex('d5 07 92a0').toString('hex') + 'a0', empty: 'd40490', sets: 'd40690', views: 'd40401' }
  for (const [kind, one] of Object.entries(kinds)) {
    const count = kind === 'errors' ? 80_000 : 240_000
    const head = Buffer.alloc(5)
    head[0] = 0xdd
    head.writeUInt32BE(count, 1)
    const bytes = Buffer.concat([head, Buffer.from(one.repeat(count), 'hex')])
    const started = performance.now()
    try {
      decode(bytes)
    } catch (error) {
      t.is((error as StageError).code, 'PROTOCOL_ERROR')
    }
    t.true(performance.now() - started < 1000, `${kind}: ${performance.now() - started} ms`)
  }
})
