/** Part of the codec suite: random values and messages, the same on every run. */
import { StageError } from '../../src/errors.js'
import type { Check } from './codec.js'
import { fails, noRefs, seeded, type CodecKit } from './codec-kit.js'

export function randomly(check: Check, { factory, encode, decode, trip }: CodecKit): void {
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

  check('20 000 random values survive', (t) => {
    const codec = factory()
    for (let i = 0; i < 20000; i++) {
      const before = value(4)
      const after = trip(before, codec)
      // a second encode gives the same bytes, including NaN, -0 and order
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

  check('a message cut anywhere is malformed', (t) => {
    const bytes = sample()
    const codec = factory()
    decode(bytes, codec)
    for (let end = 0; end < bytes.length; end++) {
      // the rest of the chunk belongs to other messages
      const error = fails(t, () => codec.decode(bytes, 0, end, noRefs))
      t.is(error?.code, 'PROTOCOL_ERROR')
      t.is(fails(t, () => decode(bytes.subarray(0, end), codec))?.code, 'PROTOCOL_ERROR')
    }
  })

  check('50 000 mutations give a value or PROTOCOL_ERROR, and no other effect', (t) => {
    const original = sample()
    const codec = factory()
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
}
