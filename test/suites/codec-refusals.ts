/** Part of the codec suite: values that cannot be sent, and messages that are rejected on receipt. */
import { Readable } from 'node:stream'
import { StageError } from '../../src/errors.js'
import { Writer } from '../../src/writer.js'
import type { Refs } from '../../wrappers/codec.js'
import type { Check } from './codec.js'
import { Table, fails, noRefs, type CodecKit } from './codec-kit.js'

export function refusals(check: Check, { factory, encode, decode, trip, malformed, refused }: CodecKit): void {
  check('values that cannot be sent are refused, and the message says what to pass instead', (t) => {
    refused(t, Symbol('s'), /symbol.*send a string/)
    refused(t, Object(Symbol('s')), /symbol/)
    refused(t, Promise.resolve(1), /await it first/)
    refused(t, { then() {} }, /\.then makes its object a promise.*await it first/)
    refused(t, new (class { then(): void {} })(), /await it first/)
    refused(t, new WeakMap(), /weakly/)
    refused(t, new WeakSet(), /weakly/)
    refused(t, new WeakRef({}), /weakly/)
    refused(t, /x/, /RegExp.*source/)
    refused(t, new SharedArrayBuffer(8), /SharedArrayBuffer.*copy/)
    refused(t, Readable.from([]), /stream.*of its own/)
    refused(t, { pipe() {} }, /\.pipe makes its object a stream.*Node stream/)
    refused(t, new (class { pipe(): void {} })(), /old-style stream.*wrap\(it\)/)
    refused(t, (async function* () {})(), /async iterable.*of its own/)
    refused(t, { async *[Symbol.asyncIterator]() {} }, /async iterable.*of its own/)
    refused(t, new URL('http://x'), /is a URL, which would arrive empty/)
    refused(t, [].values(), /is a Array Iterator/)
    refused(t, 1n << (8n * 1024n * 1024n), /bigint of more than/)
    refused(t, JSON.parse('{"a": 1, "__proto__": {}}'), /\.__proto__ .*rename/)
  })

  check('a refusal names the place in the value', (t) => {
    refused(t, Symbol('s'), /^the value is a symbol/)
    refused(t, ['x', { user: { first: 1, name: Symbol('s') } }], /^\[1\]\.user\.name is a symbol/)
    refused(t, { 'first name': [Symbol('s')] }, /^\["first name"\]\[0\] is a symbol/)
    refused(t, [new Map([['key', new Set([1, Symbol('s')])]])], /^\[0\]\.key\[1\] is a symbol/)
    refused(t, { error: new Error('x', { cause: Symbol('s') }) }, /^\.error\.cause is a symbol/)
    refused(t, { a: { b: 1 }, c: new URL('http://x') }, /^\.c is a URL/)
  })

  check('cycles and depth', (t) => {
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

  check('getters and Proxies that throw are the cause', (t) => {
    const reason = new Error('why')
    const throws = (): never => {
      throw reason
    }
    const getter = { fine: 1, get bad() { return throws() } }
    t.is(refused(t, [getter], /^\[0\]\.bad cannot be read.*"why"/)?.cause, reason)
    t.is(refused(t, { a: 1, proxy: new Proxy({ x: 1 }, { get: throws }) }, /^\.proxy cannot be read/)?.cause, reason)
    t.is(refused(t, { a: { b: 1 }, proxy: new Proxy({ x: 1 }, { ownKeys: throws }) }, /^\.proxy cannot be read/)?.cause, reason)
    t.is(refused(t, [1, new Proxy([], { get: throws })], /^\[1\] cannot be read/)?.cause, reason)
  })

  check('a value that misreports itself is sent well-formed or not at all', (t) => {
    for (const length of [NaN, 2.5, '3', 2 ** 32 + 1, {}]) {
      const lying = new Proxy([1, 2, 3], { get: (target, key) => (key === 'length' ? length : Reflect.get(target, key)) as unknown })
      trip([lying, 1])
    }
    refused(t, new Proxy([], { get: () => -1 }), /more than 250000/)
    const map = new Map<unknown, unknown>([[1, 2]])
    map.set('grow', { get x() { return map.set(map.size, 1).size } })
    trip([map])
    const object: Record<string, unknown> = { get a() { delete object.b; object.c = 1; return 1 }, b: 2 }
    trip([object])
  })

  check('encoding and decoding have the same limits', (t) => {
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
      t.is(trip('x'.repeat(size), factory({ maxBytes: exact })).length, size)
      refused(t, 'x'.repeat(size), /more than/, { maxBytes: exact - 1 })
    }
  })

  check('values that are costly to create count more, in encoding and decoding', (t) => {
    const dear: [unknown, number][] = [[Buffer.alloc(0), 84_000], [1n, 84_000], [new Date(0), 84_000], [new Map(), 84_000], [new Set(), 84_000], [new Uint8Array(0), 28_000], [new ArrayBuffer(0), 28_000], [new Error('x'), 28_000]]
    for (const [one, count] of dear) {
      const many = Array<unknown>(count).fill(one)
      refused(t, many, /more than 250000/)
      malformed(t, encode(many, factory({ maxNodes: 1_000_000 })), /more than 250000/)
    }
  })

  check('values that are too long are refused before they are copied', (t) => {
    for (const value of ['x'.repeat(8_000_000), '€'.repeat(3_000_000), Buffer.alloc(8_000_000), new Uint8Array(8_000_000), 1n << 8_000_000n]) {
      const out = new Writer(16)
      fails(t, () => factory({ maxBytes: 1000 }).encode(value, out, noRefs), /more than 1000 bytes/)
      t.true(out.bytes.length < 100_000, `${out.bytes.length}`)
    }
  })

  check('functions of a value that cannot be encoded are withdrawn', (t) => {
    const refs = new Table()
    const codec = factory()
    fails(t, () => codec.encode([() => 1, { f: () => 2 }, Symbol('s')], new Writer(), refs), /symbol/)
    t.deepEqual(refs.functions, [undefined, undefined])
    fails(t, () => codec.encode(() => 1, new Writer(), { ...noRefs, give: () => { throw new Error('full') } }), /"full"/)
    codec.encode(() => 1, new Writer(), refs)
    t.is(refs.functions.length, 3)
    t.truthy(refs.functions[2])
  })

  check('streams of a value that cannot be encoded are withdrawn', (t) => {
    const withdrawn: number[] = []
    const refs: Refs = { ...noRefs, offer: () => 9, withdraw: (id) => withdrawn.push(id) }
    fails(t, () => encode([Readable.from([]), Symbol('s')], factory(), refs), /symbol/)
    t.deepEqual(withdrawn, [9])
    encode(Readable.from([]), factory(), refs)
    t.deepEqual(withdrawn, [9])
    const shy = new Proxy(new (class Shy {})(), { get: () => { throw new Error('do not ask') } })
    fails(t, () => encode([shy], factory(), refs), /cannot be read/)
  })

  check('a getter may encode another value', (t) => {
    const codec = factory()
    const nested = { get b() { return encode([1, { c: 'other' }], codec) } }
    t.deepEqual(trip({ a: 1, nested, z: 'last' }, codec), { a: 1, nested: { b: encode([1, { c: 'other' }]) }, z: 'last' } as never)
    t.deepEqual(trip([1], codec), [1])
  })

  check('a getter that sends over the same link fails together with its value', (t) => {
    for (const swallowed of [true, false]) {
      const codec = factory()
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
      fails(t, () => codec.encode(value, out, noRefs), swallowed ? /one of its getters sent a message/ : /cannot be read/)
      t.is(out.at, 0)
      codec.encode('next', out, noRefs)
      t.is(decode(out.bytes.subarray(0, out.at), codec), 'next')
    }
  })

  check('a getter that appends to the same buffer fails the value, and nothing else', (t) => {
    for (const size of [5, 5000]) {
      const out = new Writer(100)
      const value = { get a() { out.need(size); out.at += size; return 1 }, b: 'x' }
      fails(t, () => factory().encode(value, out, noRefs), /one of its getters sent a message/)
      t.is(out.at, 0)
    }
  })

  // ── rejected on receipt ─────────────────────────────────────────────────────────────────────────────────────────

  check('an error that the wire names after a class arrives as an Error', (t) => {
    const bytes = encode(Object.assign(new Error('x'), { name: '__proto__' }))
    const back = decode(bytes) as Error
    t.is(Object.getPrototypeOf(back), Error.prototype)
    t.is(back.name, '__proto__')
  })

  check('a message that is too long is refused by its length alone', (t) => {
    malformed(t, Buffer.alloc(4 * 1024 * 1024 + 1, 0xc0), /more than 4194304 bytes/)
  })
}
