import type { Clock, Timer } from './types.js'

/** How long a selection waits for a match that is there and can be reached. */
export class Patience {
  over: boolean
  readonly #timer: Timer | undefined

  /** @param waitMs  0: the wait is over at once; undefined: never @param onover  called when the wait is over later */
  constructor(clock: Clock, waitMs: number | undefined, onover: () => void) {
    this.over = waitMs === 0
    if (waitMs) this.#timer = clock.setTimeout(onover, waitMs, true)
  }

  cancel(): void {
    this.#timer?.cancel()
  }
}
