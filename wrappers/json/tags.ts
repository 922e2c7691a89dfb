import { SLOW, SLOWEST } from '../codec/weight.js'

/**
 * A tag is an object with exactly one property whose name begins with `$`; the name gives the type of a value that JSON
 * cannot express. A user's object of the same form is sent with one more `$` in front of its name.
 */
export const Tag = {
  /** Always 0, without meaning. */
  undefined: '$undefined',
  /** 'NaN', 'Infinity', '-Infinity' or '-0'. */
  number: '$number',
  /** Hexadecimal digits, with a leading '-' if negative. */
  bigint: '$bigint',
  /** Milliseconds since 1970; null is an invalid Date. */
  date: '$date',
  /** base64. */
  buffer: '$buffer',
  /** [kind, base64], elements in little-endian order. */
  binary: '$binary',
  /** Keys and values, alternating. */
  map: '$map',
  set: '$set',
  /** [name, message], then if present code (string, number or null), then names and values of further properties, alternating. */
  error: '$error',
  /** The number by which its owner knows the function. */
  function: '$function',
  /** [kind, number by which its owner knows the stream]. */
  stream: '$stream',
  /** Text that the layer of the handle resolves. */
  reference: '$reference',
} as const

/** Extra nodes of a tag besides the elements and properties of its text. */
export const weights: ReadonlyMap<string, number> = new Map<string, number>([
  ...[Tag.bigint, Tag.date, Tag.buffer, Tag.map, Tag.set].map((tag) => [tag, SLOW] as const),
  ...[Tag.binary, Tag.error, Tag.reference].map((tag) => [tag, SLOWEST] as const),
])

interface Text {
  isWellFormed(): boolean
  toWellFormed(): string
}

/** Replaces lone surrogates, as UTF-8 does: JSON could express them, but they would not survive anywhere else. */
export function wellFormed(text: string): string {
  const one = text as unknown as Text
  return one.isWellFormed() ? text : one.toWellFormed()
}
