/** Limits how many calls may be retried, and computes the pause before a retry. */
import type { Random } from '../../../src/types.js'

const SLOTS = 10
const SLOT_MS = 1000
/** Calls that earn one retry: 10 %. */
const CALLS_PER_RETRY = 10
/**
 * Retries that a stage may make within the window in any case: one a second. Without this floor a stage that makes few calls
 * could never retry, as ten calls earn one retry. Finagle and Linkerd grant ten a second, which is too many where hundreds
 * of small stages call one service.
 */
const FLOOR = 10

const BACKOFF_MS = 50
const BACKOFF_MAX_MS = 1000

/**
 * A retry budget: in ten seconds at most one retry for ten calls, or ten if that is more. The budget keeps a failing service
 * from being sent a multiple of the calls that it could not answer. A ring of ten seconds makes each call cost the same.
 */
export class RetryBudget {
  /** Retries granted and refused so far; never reset. */
  retries = 0
  refused = 0
  readonly #calls = new Uint32Array(SLOTS)
  readonly #granted = new Uint32Array(SLOTS)
  /** The current second, since the clock's origin. */
  #second = 0

  /** Counts a call, but not its retries. @param now  by the clock's `now()` */
  count(now: number): void {
    const second = Math.floor(now / SLOT_MS)
    if (second !== this.#second) this.#move(second)
    this.#calls[second % SLOTS]++
  }

  /** Whether one retry may be made now; if so, counts the retry. */
  take(now: number): boolean {
    const second = Math.floor(now / SLOT_MS)
    if (second !== this.#second) this.#move(second)
    let calls = 0
    let granted = 0
    for (let i = 0; i < SLOTS; i++) {
      calls += this.#calls[i]
      granted += this.#granted[i]
    }
    if (granted >= Math.max(FLOOR, Math.floor(calls / CALLS_PER_RETRY))) {
      this.refused++
      return false
    }
    this.#granted[second % SLOTS]++
    this.retries++
    return true
  }

  /** Advances to a later second, and clears the slots of the seconds in between. */
  #move(second: number): void {
    for (let i = Math.min(SLOTS, second - this.#second); i > 0; i--) {
      const slot = (second - i + 1) % SLOTS
      this.#calls[slot] = 0
      this.#granted[slot] = 0
    }
    this.#second = second
  }
}

/** The pause before a retry: 50 ms, doubled with each up to a second, less a random part of up to half. @param made  retries so far */
export const backoffMs = (made: number, random: Random): number => Math.min(BACKOFF_MAX_MS, BACKOFF_MS * 2 ** made) * (1 - random.float() / 2)
