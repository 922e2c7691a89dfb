import type { Clock } from './types.js'

/** The only place where the library reads the machine's time. */
export const systemClock: Clock = {
  now: () => performance.now(),
  wall: () => Date.now(),
  setTimeout(fn, ms, hold = false) {
    const timer = setTimeout(fn, Math.min(ms, 2 ** 31 - 1))
    if (!hold) timer.unref()
    return { cancel: () => clearTimeout(timer) }
  },
}

/** Runs `fn` once the event loop has polled for what came in. No time is waited for, so it is the same on any clock. */
export const afterPoll = (fn: () => void): void => void setImmediate(fn)
