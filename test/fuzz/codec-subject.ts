import { StageError } from '../../src/errors.js'
import { Writer } from '../../src/writer.js'
import type { Codec } from '../../wrappers/codec.js'
import type { Chance } from './chance.js'
import { mutated } from './mutate.js'
import { isStandIn, standIns } from './stand-ins.js'
import type { Input, Subject } from './subject.js'
import { value } from './values.js'

const MAX_NODES = 250_000
const MAX_DEPTH = 64
/**
 * Reasons why a decoded value cannot be encoded again: a function or stream is in a place where it has a meaning, or the
 * value has become longer.
 */
const EXPECTED = /makes its object a (promise|stream)|takes more than|has more than/

/**
 * Gives bytes to a codec: it must return a value or fail with PROTOCOL_ERROR, and a value must survive encoding and
 * decoding.
 */
export function codecSubject(name: string, weight: number, codec: Codec, raw: (chance: Chance) => Buffer): Subject {
  const encode = (one: unknown): Buffer => {
    const out = new Writer(64)
    codec.encode(one, out, standIns)
    return out.bytes.subarray(0, out.at)
  }
  const decode = (bytes: Buffer): unknown => codec.decode(bytes, 0, bytes.length, standIns)
  return {
    name, weight,
    make: (chance, corpus) => {
      const from = chance.below(10)
      if (from < 3) return { bytes: encode(value(chance, 4)), valid: true }
      if (from < 4) return { bytes: mutated(encode(value(chance, 4)), chance, corpus) }
      if (from < 7) return { bytes: raw(chance) }
      if (chance.once(1000)) return { bytes: repeated(chance, corpus) }
      return { bytes: mutated(chance.pick(corpus), chance, corpus) }
    },
    run: ({ bytes, valid }: Input) => {
      let first: unknown
      try {
        first = decode(bytes)
      } catch (thrown) {
        if (!(thrown instanceof StageError) || thrown.code !== 'PROTOCOL_ERROR') return `decode threw ${String(thrown)}`
        return valid ? `what was encoded cannot be decoded: ${thrown.message}` : undefined
      }
      const broken = inspected(first, bytes.buffer)
      if (broken) return broken
      let again: Buffer
      try {
        again = encode(first)
      } catch (thrown) {
        if (!(thrown instanceof StageError) || thrown.code !== 'BAD_ARGUMENT') return `encode threw ${String(thrown)}`
        return EXPECTED.test(thrown.message) ? undefined : `what was decoded cannot be encoded: ${thrown.message}`
      }
      const second = decode(again)
      if (!encode(second).equals(again)) return 'decoded, encoded and decoded it is another value'
      if (bytes.length < 5000 && !alike(first, second)) return 'decoded, encoded and decoded it is not equal'
      return undefined
    },
  }
}

/** One piece repeated many times: depth, or many small elements. */
function repeated(chance: Chance, corpus: readonly Buffer[]): Buffer {
  const one = chance.pick(corpus)
  const from = chance.below(one.length)
  const piece = one.subarray(from, from + 1 + chance.below(8))
  return Buffer.concat(new Array<Buffer>(Math.floor(chance.below(60_000) / Math.max(1, piece.length))).fill(piece))
}

/** Checks that a decoded value keeps to the limits, has no foreign prototypes, and shares no memory with the input. */
function inspected(root: unknown, input: ArrayBufferLike): string | undefined {
  let nodes = 0
  let broken: string | undefined
  const visit = (one: unknown, depth: number): void => {
    if (typeof one !== 'object' || one === null || broken) return
    if (++nodes > MAX_NODES) broken = 'more nodes than allowed'
    const memory = ArrayBuffer.isView(one) ? one.buffer : one
    if (memory === input) broken = 'it shares memory with the input'
    const leaf = ArrayBuffer.isView(one) || one instanceof ArrayBuffer || one instanceof Date
    if (!leaf && depth > MAX_DEPTH) broken = 'deeper than allowed'
    if (leaf || broken) return
    if (Array.isArray(one)) for (const item of one) visit(item, depth + 1)
    else if (one instanceof Map) for (const [key, item] of one as Map<unknown, unknown>) { visit(key, depth + 1); visit(item, depth + 1) }
    else if (one instanceof Set) for (const item of one) visit(item, depth + 1)
    else if (one instanceof Error) for (const name of Object.getOwnPropertyNames(one)) visit((one as unknown as Record<string, unknown>)[name], depth + 1)
    else if (Object.getPrototypeOf(one) === Object.prototype) {
      if (Object.hasOwn(one, '__proto__')) broken = 'a property __proto__'
      for (const item of Object.values(one)) visit(item, depth + 1)
    } else if (!isStandIn(one)) broken = 'an object of a strange prototype'
  }
  visit(root, 1)
  return broken
}

/**
 * Compares all parts, independently of the codec: in order, with NaN equal to NaN and -0 different from 0, unlike the
 * comparisons of the runtime.
 */
function alike(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null || Object.getPrototypeOf(a) !== Object.getPrototypeOf(b)) return false
  if (a instanceof Date) return Object.is(a.getTime(), (b as Date).getTime())
  if (a instanceof ArrayBuffer || ArrayBuffer.isView(a)) return bytesOf(a).equals(bytesOf(b as ArrayBuffer))
  if (a instanceof Map || a instanceof Set) return alike([...a], [...(b as Set<unknown>)])
  const names = Reflect.ownKeys(a)
  return names.length === Reflect.ownKeys(b).length && names.every((name) => name === 'stack' || alike((a as Record<PropertyKey, unknown>)[name], (b as Record<PropertyKey, unknown>)[name]))
}

const bytesOf = (one: ArrayBuffer | ArrayBufferView): Buffer => (ArrayBuffer.isView(one) ? Buffer.from(one.buffer, one.byteOffset, one.byteLength) : Buffer.from(one))
