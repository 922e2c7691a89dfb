import { endianness } from 'node:os'

const BIG_ENDIAN = endianness() === 'BE'

/** Binary types other than Buffer. Their index is part of the msgpack format, so new kinds are only appended. */
export const binaryKinds = [
  'ArrayBuffer', 'DataView', 'Int8Array', 'Uint8Array', 'Uint8ClampedArray', 'Int16Array', 'Uint16Array', 'Int32Array',
  'Uint32Array', 'Float32Array', 'Float64Array', 'BigInt64Array', 'BigUint64Array', 'Float16Array',
] as const
export type BinaryKind = (typeof binaryKinds)[number]

interface BinaryConstructor {
  new (buffer: ArrayBuffer): unknown
  readonly BYTES_PER_ELEMENT?: number
}

/** Converts elements in place between this machine's byte order and the format's little-endian order, mostly a no-op. */
export function littleEndian(bytes: Buffer, size: number): void {
  if (!BIG_ENDIAN) return
  if (size === 2) bytes.swap16()
  else if (size === 4) bytes.swap32()
  else if (size === 8) bytes.swap64()
}

/** @returns the reason why `length` bytes cannot be of that kind, or undefined */
export function binaryFault(kind: BinaryKind, length: number): string | undefined {
  const constructor = constructorOf(kind)
  if (!constructor) return `this runtime has no ${kind}`
  return length % (constructor.BYTES_PER_ELEMENT ?? 1) === 0 ? undefined : `the length of a ${kind} is not a whole number of elements`
}

/** Copies the content into a separate buffer: elements must be aligned, and a view would keep the whole chunk in memory. */
export function rebuiltBinary(kind: BinaryKind, content: Uint8Array): unknown {
  const constructor = constructorOf(kind)!
  const copy = new Uint8Array(content.length)
  copy.set(content)
  littleEndian(Buffer.from(copy.buffer), constructor.BYTES_PER_ELEMENT ?? 1)
  return kind === 'ArrayBuffer' ? copy.buffer : new constructor(copy.buffer)
}

const constructorOf = (kind: BinaryKind): BinaryConstructor | undefined =>
  (globalThis as unknown as Record<string, BinaryConstructor | undefined>)[kind]
