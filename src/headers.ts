/** Headers: text that travels with a call, and on to the calls that are made within it. */
import { StageError, describe } from './errors.js'

/** Values by name, in lower case; frozen. */
export type Headers = Readonly<Record<string, string>>

/** The limit of names and values together, as UTF-8. */
export const HEADERS_MAX_BYTES = 8 * 1024
export const HEADERS_MAX = 64
/** The longest name. */
const NAME_MAX = 128
const NAME = /^[a-z0-9][a-z0-9!#$%&'*+.^_`|~-]*$/

/** A lone surrogate, which has no form in UTF-8. */
const UNPAIRED = /\p{Cs}/u

export const NO_HEADERS: Headers = Object.freeze({})

const bad = (message: string): StageError => new StageError('BAD_ARGUMENT', message)

/**
 * The headers of a call that is made within another: `given` adds to the inherited headers, and `undefined` removes a header.
 * @param given  text by name; names are matched without regard to case
 * @throws StageError BAD_ARGUMENT
 */
export function headersOf(given: Readonly<Record<string, string | undefined>>, inherited = NO_HEADERS): Headers {
  if (typeof given !== 'object' || given === null || Array.isArray(given)) throw bad(`headers are ${describe(given)}: expected an object with strings as values`)
  const headers: Record<string, string> = { ...inherited }
  const seen = new Set<string>()
  for (const [name, value] of Object.entries(given)) {
    const key = name.toLowerCase()
    if (!isHeaderName(key)) {
      const form = `a letter or a digit, then up to ${NAME_MAX - 1} letters, digits or one of ! # $ % & ' * + . ^ _ \` | ~ -`
      throw bad(`${describe(name)} cannot be the name of a header: expected ${form}`)
    }
    if (seen.has(key)) throw bad(`the header ${key} is given twice, with different case: names of headers are case-insensitive`)
    seen.add(key)
    if (value === undefined) delete headers[key]
    else if (typeof value === 'string' && !UNPAIRED.test(value)) headers[key] = value
    else throw bad(`the header ${key} is ${describe(value)}: expected well-formed text, or undefined to remove it`)
  }
  const count = Object.keys(headers).length
  if (count > HEADERS_MAX) throw bad(`there are ${count} headers: a call carries at most ${HEADERS_MAX}`)
  const bytes = bytesOf(headers)
  if (bytes > HEADERS_MAX_BYTES) throw bad(`the headers have ${bytes} bytes: a call carries at most ${HEADERS_MAX_BYTES}, names and values together`)
  return count === 0 ? NO_HEADERS : Object.freeze(headers)
}

/** Whether a name in lower case can be the name of a header. */
export const isHeaderName = (name: string): boolean => name.length <= NAME_MAX && NAME.test(name)

export function bytesOf(headers: Headers): number {
  let bytes = 0
  for (const [name, value] of Object.entries(headers)) bytes += name.length + Buffer.byteLength(value)
  return bytes
}
