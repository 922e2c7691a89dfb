import type { Clock, Timer } from './types.js'

/** Enough time to read everything that came while our own loop stood still. */
const STALL_MS = 500
/** A timer that is later than this says more about our own loop than about anybody else. */
const LATE_MS = 50
/** How often a late timer waits again: a loop that is late each time has read in between all that had come. */
const LOOKS_MAX = 3

/**
 * Calls `judge` at `due`, by the clock's `now()`, to declare a peer dead. If our own loop stood still shortly before, a sign
 * of life may have come and lie unread behind this very timer. The judgement then leaves time to read it first.
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
  else wait(due - STALL_MS, false) // one look before `due`: a stall may end at just that time
  return { cancel: () => timer.cancel() }
}
