/** The least time between two events of one kind. */
const OFTEN_MS = 5000
/** The most kinds that are remembered; the kind that came up longest ago makes room. */
const KINDS_MAX = 256

/** Lets one event of each kind pass per period, and counts the others: peers decide how often they happen. */
export class Often {
  readonly #kinds = new Map<string, { at: number; more: number }>()

  constructor(private readonly clock: { now(): number }, private readonly everyMs = OFTEN_MS) {}

  /** @returns how many events of the kind were held back since the last one that passed; undefined: this one is held back, too */
  passes(kind: string): number | undefined {
    const now = this.clock.now()
    const known = this.#kinds.get(kind)
    if (known && now - known.at < this.everyMs) {
      known.more++
      return undefined
    }
    this.#kinds.delete(kind) // and added at the end below: the first kind is the oldest
    if (this.#kinds.size >= KINDS_MAX) this.#kinds.delete(this.#kinds.keys().next().value as string)
    this.#kinds.set(kind, { at: now, more: 0 })
    return known?.more ?? 0
  }
}

/** For a line that stands for `more` others. */
export const andMore = (more: number): string => more > 0 ? ` (and ${more} more since the last report)` : ''
