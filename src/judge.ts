import type { Clock, Timer } from './types.js'

/** Enough to read what came while our own loop stood still. */
const STALL_MS = 500
/** Later than this a timer says more about our own loop than about anybody else. */
const LATE_MS = 50
/** How often is looked again: a loop that is late each time has read in between what had come. */
const LOOKS_MAX = 3

/**
 * Calls `judge` at that time by the clock's `now()`, to find somebody dead. Where our own loop stood still shortly before,
 * what would speak for him may have come and lie unread behind this very timer: then there is time to read it first.
 */
export function judgeAt(clock: Clock, due: number, judge: () => void): Timer {
  let timer: Timer
  let looks = 0
  const wait = (until: number, last: boolean): void => {
    const began = clock.now()
    const at = Math.max(began, until)
    timer = clock.setTimeout(() => {
      const now = clock.now()
      if (now - at > LATE_MS && looks++ < LOOKS_MAX) wait(now + STALL_MS, true)
      else if (last) judge()
      else wait(due, true)
    }, at - began)
  }
  const now = clock.now()
  if (due < now) wait(now + STALL_MS, true)
  else wait(due - STALL_MS, false) // one look before it is due: a stall may end at just that time
  return { cancel: () => timer.cancel() }
}
