import { outside } from './outside.js'
import type { Clock } from './types.js'

/** The only place where the library reads the machine's time. What it calls back runs outside of the context of the caller. */
export const systemClock: Clock = {
  now: () => performance.now(),
  wall: () => Date.now(),
  setTimeout(fn, ms, hold = false) {
    if (ms <= 0) {
      // never unref'd: it holds the process for one round only, and a loop that waits for nothing else would not come to it
      const immediate = outside(() => setImmediate(fn))
      return { cancel: () => clearImmediate(immediate) }
    }
    const timer = outside(() => setTimeout(fn, Math.min(ms, 2 ** 31 - 1)))
    if (!hold) timer.unref()
    return { cancel: () => clearTimeout(timer) }
  },
}
