import type { Clock } from '../../src/index.js'
import type { Timer } from '../../src/types.js'
import type { VirtualClock } from '../helpers/virtual-clock.js'

interface Due {
  fn: () => void
  over: boolean
  timer?: Timer
}

/**
 * The clock of one process in the simulated world. It can stop with its process: time passes, but no timer fires. When it
 * resumes, overdue timers run first, and events that arrived meanwhile come after them, as in Node after a stall.
 */
export class HostClock implements Clock {
  paused = false
  #dead = false
  readonly #due = new Set<Due>()
  #timers: Due[] = []
  #arrived: Due[] = []

  constructor(private readonly world: VirtualClock) {}

  now(): number {
    return this.world.now()
  }

  wall(): number {
    return this.world.wall()
  }

  setTimeout(fn: () => void, ms: number): Timer {
    return this.#add(fn, ms, () => this.#timers)
  }

  /** An event reaches the process from outside, `ms` from now. */
  arrive(fn: () => void, ms: number): Timer {
    return this.#add(fn, ms, () => this.#arrived)
  }

  pause(): void {
    this.paused = true
  }

  /** @param then  runs after all overdue timers */
  resume(then: () => void): void {
    this.paused = false
    const late = [...this.#timers.splice(0), ...this.#arrived.splice(0)]
    for (const one of late) one.timer = this.world.setTimeout(() => this.#run(one), 0)
    this.world.setTimeout(then, 0)
  }

  /** The process is gone: none of its timers ever fires again. */
  die(): void {
    this.#dead = true
    for (const one of this.#due) one.timer?.cancel()
    this.#due.clear()
  }

  #add(fn: () => void, ms: number, late: () => Due[]): Timer {
    if (this.#dead) return { cancel: () => {} }
    const one: Due = { fn, over: false }
    this.#due.add(one)
    one.timer = this.world.setTimeout(() => {
      if (this.paused) late().push(one)
      else this.#run(one)
    }, ms)
    return { cancel: () => { one.over = true; one.timer?.cancel(); this.#due.delete(one) } }
  }

  #run(one: Due): void {
    if (one.over || this.#dead) return
    this.#due.delete(one)
    one.over = true
    one.fn()
  }
}
