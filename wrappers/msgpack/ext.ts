import { endianness } from 'node:os'

const BIG_ENDIAN = endianness() === 'BE'

/** The extension types that are ours, and what is in each. All integers are big-endian; elements are little-endian. */
export const Ext = {
  /** One byte, of no meaning. */
  undefined: 0,
  /** u32: the number by which its owner knows a function. */
  function: 1,
  /** A byte that is 1 for negative, then the magnitude, big-endian. */
  bigint: 2,
  /** float64: milliseconds since 1970; NaN is an invalid Date. */
  date: 3,
  /** A byte that is an index into `binaryKinds`, then the bytes. */
  binary: 4,
  /** An array of keys and values in turn. */
  map: 5,
  /** An array of the members. */
  set: 6,
  /** An array: name, message, then code (string, number or undefined) and cause if there are any. */
  error: 7,
  /** A byte that is its kind, then u32: the number by which its owner knows it. */
  stream: 8,
} as const

/** Their order is the format: append only. */
export const binaryKinds = [
  'ArrayBuffer', 'DataView', 'Int8Array', 'Uint8Array', 'Uint8ClampedArray', 'Int16Array', 'Uint16Array', 'Int32Array',
  'Uint32Array', 'Float32Array', 'Float64Array', 'BigInt64Array', 'BigUint64Array', 'Float16Array',
] as const

/** Magnitude of the largest bigint. */
export const MAX_BIGINT_BYTES = 1024 * 1024

/** Turns elements between the order of this machine and that of the format, in place: mostly they are the same. */
export function littleEndian(bytes: Buffer, size: number): void {
  if (!BIG_ENDIAN) return
  if (size === 2) bytes.swap16()
  else if (size === 4) bytes.swap32()
  else if (size === 8) bytes.swap64()
}
