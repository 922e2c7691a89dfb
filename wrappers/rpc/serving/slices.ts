import type { Clock } from '../../../src/types.js'
import { Scheduler, type Source } from '../wire/scheduler.js'

/** So long are calls begun in a row before everything else in the process gets its turn. */
const SLICE_MS = 10

/**
 * The time in which one stage begins calls. Under more load than it carries its links are still read, so that calls wait
 * where they can be counted, cancelled and refused, and not in the kernel's buffers where nobody knows of them.
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

  /** It has calls that wait: links take turns, a call each. */
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
