/** Size limits of a value, for every codec. */
import { knownOptions } from '../../src/known-options.js'

/** Limits of one value, the same for both directions, so that a receiver accepts every value that could be sent. */
export interface CodecLimits {
  /** Bytes of the encoded value. */
  maxBytes: number
  /** Elements, properties and entries in total. */
  maxNodes: number
  /** Nesting depth of containers. */
  maxDepth: number
}

export const DEFAULTS: Readonly<CodecLimits> = { maxBytes: 4 * 1024 * 1024, maxNodes: 250_000, maxDepth: 64 }

/** @throws TypeError a limit is not a positive integer */
export function checkedLimits(limits: Partial<CodecLimits>): CodecLimits {
  knownOptions('a codec', limits, Object.keys(DEFAULTS))
  const all: CodecLimits = { ...DEFAULTS, ...limits }
  for (const [name, limit] of Object.entries(all)) {
    if (!Number.isSafeInteger(limit) || limit < 1) throw new TypeError(`${name} must be a positive integer, not ${String(limit)}`)
  }
  return all
}
