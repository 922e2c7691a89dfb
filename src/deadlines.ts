import type { Clock, Deadlines, Timer } from './types.js'

/** The least time between two sweeps, so that a thousand deadlines a second cost fifty sweeps and not a thousand. */
const SPACING_MS = 20
/** A sweep is followed by a pause of this many times its duration, however short the deadlines are that peers set. */
const SHARE = 20

/**
 * One timer for all deadlines of a stage. Holders keep their entries in maps of their own; this class only knows the
 * earliest moment at which a sweep can find anything. An entry that settles in time costs one comparison.
 */
export class DeadlineSweep implements Deadlines {
  #earliest = Infinity
  /** No sweep before this time. */
  #restsUntil = -Infinity
  #timer: Timer | undefined
  readonly #sweeps = new Set<(now: number) => number>()

  constructor(private readonly clock: Clock) {}

  note(at: number): void {
    if (at >= this.#earliest) return
    this.#earliest = at
    this.#arm(at)
  }

  add(sweep: (now: number) => number): () => void {
    this.#sweeps.add(sweep)
    return () => void this.#sweeps.delete(sweep)
  }

  close(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    this.#earliest = -Infinity
    this.#sweeps.clear()
  }

  #arm(at: number): void {
    this.#timer?.cancel()
    // a caller that waits for an answer keeps the process alive until then
    this.#timer = this.clock.setTimeout(() => this.#fire(), Math.max(0, Math.max(at, this.#restsUntil) - this.clock.now()), true)
  }

  #fire(): void {
    const now = this.clock.now()
    this.#earliest = Infinity
    let next = Infinity
    for (const sweep of this.#sweeps) next = Math.min(next, sweep(now))
    const ended = this.clock.now()
    this.#restsUntil = ended + (ended - now) * SHARE
    // a sweep may have noted a new deadline meanwhile
    next = Math.min(next, this.#earliest)
    this.#earliest = next
    if (next < Infinity) this.#arm(Math.max(next, now + SPACING_MS))
  }
}
