import type { Clock } from '../../src/types.js'
import { VirtualClock } from '../suites/virtual-clock.js'

export { VirtualClock, settle } from '../suites/virtual-clock.js'

/** Resolves when so much time has passed by that clock, which the test moves. */
export const passed = (clock: Pick<Clock, 'setTimeout'>, ms: number): Promise<void> => new Promise((resolve) => { clock.setTimeout(resolve, ms) })

/** The clock of a loop that is so late each time. */
export function lateClock(ms: () => number): VirtualClock {
  const clock = new VirtualClock()
  const inner = clock.setTimeout.bind(clock)
  clock.setTimeout = (fn, wait) => inner(fn, wait + ms())
  return clock
}
