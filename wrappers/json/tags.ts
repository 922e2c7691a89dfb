import { SLOW, SLOWEST } from '../codec/weight.js'

/**
 * An object with exactly one property, whose name begins with `$`, says what JSON cannot: the name says what it is. One
 * of the user's own that looks so has one more `$` in front of its name.
 */
export const Tag = {
  /** 0, of no meaning. */
  undefined: '$undefined',
  /** 'NaN', 'Infinity', '-Infinity' or '-0'. */
  number: '$number',
  /** Hexadecimal digits, behind '-' if it is negative. */
  bigint: '$bigint',
  /** Milliseconds since 1970; null is an invalid Date. */
  date: '$date',
  /** base64. */
  buffer: '$buffer',
  /** [kind, base64], elements in little-endian order. */
  binary: '$binary',
  /** Keys and values in turn. */
  map: '$map',
  set: '$set',
  /** [name, message], then code (string, number or null), then names and values of further properties in turn, as far as there are any. */
  error: '$error',
  /** Its number. */
  function: '$function',
  /** [kind, its number]. */
  stream: '$stream',
  /** The text by which the layer that has such handles knows what one refers to. */
  reference: '$reference',
} as const

/** What a tag costs beside the elements and properties of its text. */
export const weights: ReadonlyMap<string, number> = new Map<string, number>([
  ...[Tag.bigint, Tag.date, Tag.buffer, Tag.map, Tag.set].map((tag) => [tag, SLOW] as const),
  ...[Tag.binary, Tag.error, Tag.reference].map((tag) => [tag, SLOWEST] as const),
])

interface Text {
  isWellFormed(): boolean
  toWellFormed(): string
}

/** Without lone surrogates, as UTF-8 has it: JSON could say them, and they would not survive anywhere else. */
export function wellFormed(text: string): string {
  const one = text as unknown as Text
  return one.isWellFormed() ? text : one.toWellFormed()
}
