import { StageError, describe } from './errors.js'

const NAME_MAX_BYTES = 128
const PATTERN_MAX_BYTES = 256
/** Nearly all names and patterns are ASCII without blanks, and every `to()` checks a pattern: one test decides about them. */
const PLAIN_NAME = /^[!-)+-.0->@-~]+$/
const PLAIN_PATTERN = /^[!-.0-~]+$/
/** In no name: control characters, lone surrogates, line separators, and the slash that separates names in an address. */
const UNFIT = /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}/]/u
const IDENTIFIER = /^[A-Za-z0-9][\w.:-]{0,127}$/

/**
 * Whether the value can be the name of a stage: text of 1 to 128 bytes of UTF-8 in NFC, without control characters, `*`,
 * `?`, `/` and white space at its ends.
 */
export const isName = (value: unknown): value is string =>
  typeof value === 'string' && value.length <= NAME_MAX_BYTES && (PLAIN_NAME.test(value) || (!isPattern(value) && isText(value, NAME_MAX_BYTES)))

/** Whether the value can be the name of a namespace or a method. */
export const isIdentifier = (value: unknown): value is string => typeof value === 'string' && IDENTIFIER.test(value)

/** @throws StageError BAD_NAME */
export function checkName(value: unknown): string {
  if (isName(value)) return value
  const form = `1 to ${NAME_MAX_BYTES} bytes of text without control characters, "*", "?", "/" and white space at its ends`
  throw composable(value, isName) ?? new StageError('BAD_NAME', `${describe(value)} is not the name of a stage: expected ${form}`)
}

/** @throws StageError BAD_NAME */
export function checkIdentifier(value: unknown, what: string): string {
  if (isIdentifier(value)) return value
  throw new StageError('BAD_NAME', `${what} ${describe(value)} is not a name: expected a letter or a digit, then up to 127 letters, digits or one of "_ . : -"`)
}

/** @throws StageError BAD_NAME */
export function checkPattern(value: unknown): string {
  if (matchable(value)) return value
  const form = `1 to ${PATTERN_MAX_BYTES} bytes of text without control characters, "/" and white space at its ends`
  const wild = 'with "*" for any run of characters and "?" for any one of them'
  throw composable(value, matchable) ?? new StageError('BAD_NAME', `${describe(value)} is not a name or a pattern: expected ${form}, ${wild}`)
}

export const isPattern = (value: string): boolean => value.includes('*') || value.includes('?')

/** A name or a pattern in a message: quoted if its end would be unclear, so that no two lists of names look the same. */
export const named = (name: string): string => /[\s"]/.test(name) ? JSON.stringify(name) : name

/**
 * Whether `name` matches `pattern`: `*` stands for any run of characters, `?` for exactly one code point.
 * Two pointers and one point to fall back to, so a hostile pattern costs at most |pattern| × |name| steps.
 */
export function matches(pattern: string, name: string): boolean {
  let p = 0
  let n = 0
  let star = -1
  let resume = 0
  while (n < name.length) {
    const wanted = p < pattern.length ? pattern.charCodeAt(p) : END
    const found = name.charCodeAt(n)
    if (wanted === STAR) {
      star = p++
      resume = n
    } else if (wanted === found) {
      p++
      n++
    } else if (wanted === ONE) {
      p++
      n += isHigh(found) ? 2 : 1
    } else if (star >= 0) {
      p = star + 1
      n = ++resume // in the middle of a pair too: there, a `?` ends where it would have ended from the start of the pair
    } else return false
  }
  while (p < pattern.length && pattern.charCodeAt(p) === STAR) p++
  return p === pattern.length
}

/** No character: the pattern is at its end. */
const END = -1
const STAR = 0x2a
const ONE = 0x3f

/** The first half of a surrogate pair. */
const isHigh = (unit: number): boolean => unit >= 0xd800 && unit < 0xdc00

const matchable = (value: unknown): value is string =>
  typeof value === 'string' && value.length <= PATTERN_MAX_BYTES && (PLAIN_PATTERN.test(value) || isText(value, PATTERN_MAX_BYTES))

const isText = (text: string, maxBytes: number): boolean =>
  text !== '' && Buffer.byteLength(text) <= maxBytes && !UNFIT.test(text) && text.trim() === text && text.normalize() === text

/** The error for a text that would be good in composed form (NFC); undefined for every other text. */
function composable(value: unknown, isGood: (text: string) => boolean): StageError | undefined {
  if (typeof value !== 'string' || value.length > 4 * PATTERN_MAX_BYTES || !isGood(value.normalize())) return undefined
  const why = 'is not in the composed form of Unicode (NFC), so it differs from names that look the same'
  return new StageError('BAD_NAME', `${describe(value)} ${why}: pass it through .normalize()`)
}
