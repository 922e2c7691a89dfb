import type { Clock } from './types.js'

/** The only place where the library reads the machine's time. */
export const systemClock: Clock = {
  now: () => performance.now(),
  wall: () => Date.now(),
  setTimeout(fn, ms, hold = false) {
    if (ms <= 0) {
      const immediate = setImmediate(fn)
      if (!hold) immediate.unref()
      return { cancel: () => clearImmediate(immediate) }
    }
    const timer = setTimeout(fn, Math.min(ms, 2 ** 31 - 1))
    if (!hold) timer.unref()
    return { cancel: () => clearTimeout(timer) }
  },
}
