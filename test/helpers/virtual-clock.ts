import type { Clock } from '../../src/types.js'
import { VirtualClock } from '../suites/virtual-clock.js'

export { VirtualClock, settle } from '../suites/virtual-clock.js'

/** Resolves when that much time has passed by the clock, which the test moves. */
export const passed = (clock: Pick<Clock, 'setTimeout'>, ms: number): Promise<void> => new Promise((resolve) => { clock.setTimeout(resolve, ms) })

/** The clock of an event loop whose timers are late by that much. */
export function lateClock(ms: () => number): VirtualClock {
  const clock = new VirtualClock()
  const inner = clock.setTimeout.bind(clock)
  clock.setTimeout = (fn, wait) => inner(fn, wait + ms())
  return clock
}
