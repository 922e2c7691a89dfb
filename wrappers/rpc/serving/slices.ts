import type { Clock } from '../../../src/types.js'
import { Scheduler, type Source } from '../wire/scheduler.js'

/** How long calls are begun in a row before the rest of the process gets its turn. */
const SLICE_MS = 10

/**
 * The time slices in which one stage begins calls. Under overload its links are still read, so that calls wait where they
 * can be counted, cancelled and refused, and not in the kernel's buffers where nobody knows of them.
 */
export class Slices {
  #endsAt = 0
  readonly #scheduler = new Scheduler(() => this.over(this.clock.now()))

  constructor(private readonly clock: Clock) {}

  /** Whether calls have been begun for long enough; `now` by the clock. */
  over(now: number): boolean {
    if (this.#endsAt === 0) {
      this.#endsAt = now + SLICE_MS
      this.clock.setTimeout(this.#next, 0, true)
    }
    return now >= this.#endsAt
  }

  /** Adds a link with waiting calls: links take turns, a call each. */
  add(source: Source): void {
    this.#scheduler.add(source)
  }

  remove(source: Source): void {
    this.#scheduler.remove(source)
  }

  #next = (): void => {
    this.#endsAt = 0
    this.#scheduler.pump()
  }
}
