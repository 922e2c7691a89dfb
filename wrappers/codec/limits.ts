/** What a value may have at most, for every codec. */

/** The same for both directions, so that what was sent can be received. */
export interface CodecLimits {
  /** Of one value, encoded. */
  maxBytes: number
  /** Elements, properties and entries altogether. */
  maxNodes: number
  /** Containers within containers. */
  maxDepth: number
}

export const DEFAULTS: Readonly<CodecLimits> = { maxBytes: 4 * 1024 * 1024, maxNodes: 250_000, maxDepth: 64 }

/** @throws TypeError a limit is not a positive integer */
export function checkedLimits(limits: Partial<CodecLimits>): CodecLimits {
  const all: CodecLimits = { ...DEFAULTS, ...limits }
  for (const [name, limit] of Object.entries(all)) {
    if (!Number.isSafeInteger(limit) || limit < 1) throw new TypeError(`${name} must be a positive integer, not ${String(limit)}`)
  }
  return all
}
