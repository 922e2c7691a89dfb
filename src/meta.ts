import { StageError, describe } from './errors.js'

/** The limit in bytes of JSON: every stage of the namespace holds the facts of all. */
const META_MAX_BYTES = 2048

export type Meta = Readonly<Record<string, string>>

export const NO_META: Meta = Object.freeze({})

/**
 * Checks the facts that a stage publishes about itself, and returns a frozen copy.
 * @throws StageError BAD_ARGUMENT not a flat object of text to text, or too large
 */
export function checkMeta(value: unknown): Meta {
  const expected = 'expected a flat object with strings as values, such as { zone: "a" }'
  if (Object.prototype.toString.call(value) !== '[object Object]') throw new StageError('BAD_ARGUMENT', `meta is ${describe(value)}: ${expected}`)
  const facts = Object.entries(value as object)
  for (const [key, text] of facts) {
    if (key === '' || key === '__proto__' || !isText(key)) throw new StageError('BAD_ARGUMENT', `${describe(key)} cannot be a key of meta: ${expected}`)
    if (typeof text !== 'string' || !isText(text)) throw new StageError('BAD_ARGUMENT', `meta has ${describe(text)} under ${describe(key)}: ${expected}`)
  }
  const meta = Object.freeze(Object.fromEntries(facts) as Record<string, string>)
  const bytes = Buffer.byteLength(JSON.stringify(meta))
  if (bytes > META_MAX_BYTES) throw new StageError('BAD_ARGUMENT', `meta has ${bytes} bytes as JSON, but at most ${META_MAX_BYTES} are published: shorten it`)
  return meta
}

/** A lone surrogate would come back from UTF-8 as something else. */
const isText = (text: string): boolean => !/\p{Cs}/u.test(text)
