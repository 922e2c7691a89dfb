import { StageError, describe } from '../../src/errors.js'

export const ADDRESS_MAX_BYTES = 512
const SEGMENTS_MAX = 16
/** Describes an address in error messages. */
const EXPECTED = `parts like players.42, none of them empty, with no braces, control characters, "*" or "?", of at most ${ADDRESS_MAX_BYTES} bytes`

/** @throws StageError BAD_NAME */
export function checkAddress(value: unknown): string {
  if (isAddress(value)) return value
  throw new StageError('BAD_NAME', `${describe(value)} is not the address of an actor: expected ${EXPECTED}`)
}

function isAddress(value: unknown): value is string {
  if (typeof value !== 'string' || value === '' || /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}{}*?]/u.test(value)) return false
  return Buffer.byteLength(value) <= ADDRESS_MAX_BYTES && value.split('.').every((part) => part !== '')
}

/** `players.{id}`: parts separated by dots, each a word or a parameter, which matches one part. */
export class Pattern {
  readonly #parts: readonly { readonly word: string; readonly param: boolean }[]

  /** @throws TypeError */
  constructor(readonly text: string) {
    const names = new Set<string>()
    const parts = typeof text === 'string' ? text.split('.') : []
    this.#parts = parts.map((part) => {
      const name = /^\{([A-Za-z]\w*)\}$/.exec(part)?.[1]
      if (name === undefined && !/^[^{}*?\p{Cc}\p{Cs}\p{Zl}\p{Zp}]+$/u.test(part)) {
        throw this.#bad(`the part ${describe(part)} is neither a word nor a parameter like {id}`)
      }
      if (name !== undefined && names.has(name)) throw this.#bad(`it has two parameters named ${name}`)
      if (name !== undefined) names.add(name)
      return { word: name ?? part, param: name !== undefined }
    })
    if (parts.length === 0 || parts.length > SEGMENTS_MAX) throw this.#bad(`it has ${parts.length} parts; expected 1 to ${SEGMENTS_MAX}`)
    if (Buffer.byteLength(text) > ADDRESS_MAX_BYTES) throw this.#bad(`it is longer than ${ADDRESS_MAX_BYTES} bytes`)
  }

  /** Returns the values of the parameters in an address, or undefined if the address does not match. */
  match(address: string): Record<string, string> | undefined {
    const parts = address.split('.')
    if (parts.length !== this.#parts.length) return undefined
    const params: Record<string, string> = {}
    for (let i = 0; i < parts.length; i++) {
      const { word, param } = this.#parts[i]
      if (param) params[word] = parts[i]
      else if (word !== parts[i]) return undefined
    }
    return params
  }

  /** Whether some address matches both patterns. */
  overlaps(other: Pattern): boolean {
    if (this.#parts.length !== other.#parts.length) return false
    return this.#parts.every(({ word, param }, i) => param || other.#parts[i].param || word === other.#parts[i].word)
  }

  /** Whether both patterns match the same addresses; parameter names may differ. */
  isLike(other: Pattern): boolean {
    if (this.#parts.length !== other.#parts.length) return false
    return this.#parts.every(({ word, param }, i) => {
      const its = other.#parts[i]
      return param === its.param && (param || word === its.word)
    })
  }

  #bad(why: string): TypeError {
    return new TypeError(`${describe(this.text)} is not a pattern of addresses: ${why}`)
  }
}

const known = new Map<string, Pattern | undefined>()

/** Parses a pattern that another stage announces; undefined if the text is not a valid pattern. */
export function announced(text: unknown): Pattern | undefined {
  if (typeof text !== 'string') return undefined
  if (!known.has(text)) {
    if (known.size >= 1000) known.clear() // peers choose these texts, so the cache is bounded
    try {
      known.set(text, new Pattern(text))
    } catch {
      known.set(text, undefined)
    }
  }
  return known.get(text)
}
