/** Time that a test moves: the option `clock` of stages, interfaces, networks and registries. Published as `stagemesh/testing`. */
import { AsyncResource } from 'node:async_hooks'
import type { Clock, Timer } from '../../src/types.js'
import { scope } from '../../wrappers/actors/hosting/turn.js'

interface Waiting {
  at: number
  fn: () => void
}

/** How many timers one turn of the loop serves at most. */
const ROW = 32

/** Lets everything run that waits for no time: microtasks, nextTicks, immediates and what they begin. */
export async function settle(turns = 4): Promise<void> {
  for (let i = 0; i < turns; i++) await new Promise((resolve) => setImmediate(resolve))
}

/** A clock that stands still until it is advanced. Timers fire in the order of their time, then of their making. */
export class VirtualClock implements Clock {
  #now = 0
  #shift = 0
  readonly #timers: Waiting[] = []

  /** @param start  what the calendar says at the beginning, in milliseconds since 1970 */
  constructor(private readonly start = Date.UTC(2030, 0, 1)) {}

  now(): number {
    return this.#now
  }

  wall(): number {
    return this.start + this.#now + this.#shift
  }

  setTimeout(fn: () => void, ms: number): Timer {
    // timers of Node keep the context that they were made in; binding costs too much to do it for those that have none
    const waiting = { at: this.#now + Math.max(0, Number.isFinite(ms) ? ms : 0), fn: scope.getStore() ? AsyncResource.bind(fn) : fn }
    let low = 0
    for (let high = this.#timers.length; low < high;) {
      const middle = (low + high) >>> 1
      if (this.#timers[middle].at <= waiting.at) low = middle + 1
      else high = middle
    }
    this.#timers.splice(low, 0, waiting)
    return {
      cancel: () => {
        const index = this.#timers.indexOf(waiting)
        if (index >= 0) this.#timers.splice(index, 1)
      },
    }
  }

  /** How many timers wait: none, after everything was closed. */
  get pending(): number {
    return this.#timers.length
  }

  /** Moves time on, firing what falls due on the way and letting it run to its end before the next. */
  async advance(ms: number): Promise<void> {
    const until = this.#now + ms
    await settle()
    while (this.#timers[0] && this.#timers[0].at <= until) {
      const { at, fn } = this.#timers.shift()!
      this.#now = Math.max(this.#now, at)
      fn()
      await settle()
    }
    this.#now = Math.max(this.#now, until)
    await settle()
  }

  /**
   * The same for a world in which nothing but timers, ticks and microtasks happens: no sockets, no immediates. Node runs
   * every tick and microtask between two immediates, so a row of them serves a timer each without a turn of the loop.
   */
  async run(ms: number): Promise<void> {
    const until = this.#now + ms
    await settle(1)
    while (this.#timers.length > 0 && this.#timers[0].at <= until) {
      await new Promise<void>((resolve, reject) => {
        const fire = (): void => {
          if (this.#timers.length === 0 || this.#timers[0].at > until) return
          const { at, fn } = this.#timers.shift()!
          this.#now = at
          try {
            fn()
          } catch (error) {
            reject(error)
          }
        }
        for (let i = 0; i < ROW; i++) setImmediate(fire)
        setImmediate(resolve)
      })
    }
    this.#now = until
  }

  /** Time passes in which the event loop is busy, as with a handler that computes: timers fire late. */
  burn(ms: number): void {
    this.#now += ms
  }

  /** The calendar jumps, as when somebody sets it; the monotonic time does not notice. */
  jump(ms: number): void {
    this.#shift += ms
  }
}
