/** Random values that can be sent, and bytes of both formats that our encoders would never write. */
import type { StreamKind } from '../../wrappers/codec.js'
import type { Chance } from './chance.js'
import { EDGES } from './mutate.js'
import { functionOf, handleOf, streamOf } from './stand-ins.js'

const KINDS: readonly StreamKind[] = [1, 2, 3, 4, 5, 6, 8, 9, 10]

const NAMES = ['a', 'id', 'name', '', 'é', 'constructor', 'prototype', 'toString', 'toJSON', 'length', '0', '7', '$date', '$$', '$', 'code', 'cause', 'x'.repeat(31), 'y'.repeat(32), '\ud800']
const STRANGE = ['\0', '\x1f', '"', '\\', '\x7f', 'é', '€', '\u2028', '\ufffd', '😀']

export function text(chance: Chance): string {
  if (chance.once(3)) return chance.pick(NAMES)
  let made = ''
  for (let n = chance.few(16); n > 0; n--) made += chance.once(10) ? chance.pick(STRANGE) : String.fromCharCode(32 + chance.below(95))
  return made
}

const numbers: readonly ((chance: Chance) => number)[] = [
  (chance) => chance.below(300) - 150, (chance) => chance.pick(EDGES), (chance) => -chance.pick(EDGES), (chance) => Math.round((chance.float() - 0.5) * 2 ** 54), (chance) => (chance.float() - 0.5) * 10 ** chance.below(300),
  (chance) => chance.pick([NaN, -0, Infinity, -Infinity, Number.MIN_VALUE, Number.MAX_VALUE, 2 ** 53, 2 ** 64]),
]
const number = (chance: Chance): number => chance.pick(numbers)(chance)

const leaves: readonly ((chance: Chance) => unknown)[] = [
  () => null, () => undefined, () => true, () => false, number, number, text, text,
  (chance) => (chance.once(2) ? 1n : -1n) * BigInt(Math.round(chance.float() * 2 ** 53)) ** BigInt(chance.below(6)),
  (chance) => chance.bytes(chance.few(32)),
  (chance) => new (chance.pick([Int8Array, Uint8Array, Uint8ClampedArray, Int16Array, Uint16Array, Int32Array, Uint32Array, Float32Array, Float64Array]))(chance.few(4)),
  (chance) => new BigInt64Array(chance.few(2)), (chance) => new DataView(new ArrayBuffer(chance.few(8))), (chance) => new ArrayBuffer(chance.few(8)),
  (chance) => new Date(chance.once(8) ? NaN : chance.below(2 ** 41)),
]

/** @param extras  also makes functions and streams */
export function value(chance: Chance, depth: number, extras = true): unknown {
  if (depth === 0 || chance.once(3)) {
    if (extras && chance.once(12)) return chance.pick([() => functionOf(chance.below(6)), () => streamOf(chance.below(8), chance.pick(KINDS)), () => handleOf(Buffer.from(text(chance)).toString())])()
    return chance.pick(leaves)(chance)
  }
  const list = Array.from({ length: chance.few(4) }, () => value(chance, depth - 1, extras))
  switch (chance.below(8)) {
    case 0: case 1: return list
    case 2: return new Map(list.map((item) => [value(chance, depth - 1, extras), item]))
    case 3: return new Set(list)
    case 4: {
      const error = Object.assign(chance.once(3) ? new AggregateError(list, text(chance)) : new Error(text(chance), list.length > 0 ? { cause: list[0] } : undefined), { name: text(chance) }, chance.once(2) ? { code: chance.once(2) ? text(chance) : number(chance) } : {})
      for (const item of list.slice(1)) Object.defineProperty(error, text(chance), { value: item, enumerable: true, configurable: true })
      return error
    }
    default: return Object.fromEntries(list.map((item) => [text(chance), item]).filter(([key]) => key !== '__proto__'))
  }
}

// ── malformed bytes ─────────────────────────────────────────────────────────────────────────────────────────────

function head(chance: Chance, types: readonly number[], size: number): Buffer {
  const type = chance.pick(types)
  const width = 1 << types.indexOf(type)
  const bytes = Buffer.alloc(1 + width)
  bytes[0] = type
  bytes.writeUIntBE((chance.once(6) ? chance.pick(EDGES) : size) % 2 ** (8 * width), 1, width)
  return bytes
}

/** One msgpack value with arbitrary lengths, types and extensions. */
export function msgpackBytes(chance: Chance, depth = 4): Buffer {
  const many = (count: number): Buffer => Buffer.concat(Array.from({ length: count }, () => msgpackBytes(chance, depth - 1)))
  const content = (): Buffer => chance.bytes(chance.few(12))
  const kind = chance.below(depth > 0 ? 12 : 6)
  switch (kind) {
    case 0: return Buffer.from([chance.below(256)])
    case 1: return Buffer.concat([Buffer.from([chance.pick([0xca, 0xcb, 0xcc, 0xcd, 0xce, 0xcf, 0xd0, 0xd1, 0xd2, 0xd3])]), chance.bytes(chance.pick([1, 2, 4, 8]))])
    case 2: { const body = Buffer.from(chance.once(8) ? '__proto__' : text(chance)); return Buffer.concat([body.length < 32 && chance.once(2) ? Buffer.from([0xa0 | body.length]) : head(chance, [0xd9, 0xda, 0xdb], body.length), body]) }
    case 3: { const body = content(); return Buffer.concat([head(chance, [0xc4, 0xc5, 0xc6], body.length), body]) }
    case 4: return Buffer.concat([Buffer.from([chance.pick([0xd4, 0xd5, 0xd6, 0xd7, 0xd8]), chance.below(12)]), chance.bytes(chance.pick([1, 2, 4, 8, 16]))])
    case 5: { const body = content(); return Buffer.concat([head(chance, [0xc7, 0xc8, 0xc9], body.length), Buffer.from([chance.below(12)]), body]) }
    case 6: case 7: { const count = chance.few(4); return Buffer.concat([count < 16 && chance.once(2) ? Buffer.from([0x90 | count]) : head(chance, [0, 0xdc, 0xdd].slice(1), count), many(count)]) }
    case 8: case 9: { const count = chance.few(3); return Buffer.concat([count < 16 && chance.once(2) ? Buffer.from([0x80 | count]) : head(chance, [0xde, 0xdf], count), many(count * 2)]) }
    default: { const count = chance.few(4); const body = Buffer.concat([Buffer.from([0x90 | count & 15]), many(count & 15)]); return Buffer.concat([head(chance, [0xc7, 0xc8, 0xc9], body.length), Buffer.from([5 + chance.below(5)]), body]) }
  }
}

const TAGS = ['$undefined', '$number', '$bigint', '$date', '$buffer', '$binary', '$map', '$set', '$error', '$function', '$stream', '$reference', '$$date', '$', '$later', '__proto__']

/** A text that is JSON or nearly so, with correct and incorrect tags. */
export function jsonText(chance: Chance, depth = 4): string {
  const many = (): string[] => Array.from({ length: chance.few(4) }, () => jsonText(chance, depth - 1))
  if (depth === 0 || chance.once(3)) {
    return chance.pick([
      () => JSON.stringify(text(chance)), () => String(number(chance)), () => chance.pick(['null', 'true', 'false', '0', '-0', '1e999', '', ' ', '"\\ud800"', '"\\u0000"', '{}', '[]', '"NaN"', '"-ff"', '"YWJj"', '"Uint8Array"']),
      () => JSON.stringify(chance.bytes(chance.few(20)).toString('base64')), () => `"${'\\'.repeat(chance.few(6))}"`,
    ])()
  }
  switch (chance.below(5)) {
    case 0: case 1: return `[${many().join(',')}]`
    case 2: return `{${many().map((item) => `${JSON.stringify(text(chance))}:${item}`).join(chance.once(30) ? ' , ' : ',')}}`
    case 3: return `{"${chance.pick(TAGS)}":[${many().join(',')}]}`
    default: return `{"${chance.pick(TAGS)}":${jsonText(chance, depth - 1)}}`
  }
}
