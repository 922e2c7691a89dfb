import { performance } from 'node:perf_hooks'
import { outside } from './outside.js'
import type { Clock } from './types.js'

/** The only place where the library reads the machine's time. Callbacks run outside of the context of the caller. */
export const systemClock: Clock = {
  now: () => performance.now(),
  wall: () => Date.now(),
  setTimeout(fn, ms, hold = false) {
    if (ms <= 0) {
      // never unref'd: it holds the process for one round only, and a loop with nothing else to wait for would not reach it
      const immediate = outside(() => setImmediate(fn))
      return { cancel: () => clearImmediate(immediate) }
    }
    const timer = outside(() => setTimeout(fn, Math.min(ms, 2 ** 31 - 1)))
    if (!hold) timer.unref()
    return { cancel: () => clearTimeout(timer) }
  },
}
