import type { Clock, Timer } from '../../../src/types.js'

/** So that other calls find room beside them on a link. */
const ASKED_MAX = 4000
const ROUND_MS = 1000
/** Where fewer are answered in one round, some wait for an owner that is gone: they hold up the next ones no longer. */
const ANSWERED_LEAST = 1000

/** Something to begin. @param done  called once: whether it stands */
type Start = (done: (stands: boolean) => void) => void

class Queue {
  #list: Start[] = []
  #at = 0

  get length(): number {
    return this.#list.length - this.#at
  }

  push(start: Start): void {
    this.#list.push(start)
  }

  take(): Start {
    const start = this.#list[this.#at++]
    if (this.#at * 2 > this.#list.length) {
      this.#list = this.#list.slice(this.#at)
      this.#at = 0
    }
    return start
  }
}

/**
 * Which watches are asked for when there are very many: in the order in which they came, those of loops without a value
 * before those that go on elsewhere. One that fails keeps its place until the round is over, or each of those that wait
 * would try and fail at once.
 */
export class Starts {
  #first = new Queue()
  #again = new Queue()
  #asked = 0
  /** In this round. */
  #stand = 0
  #failed = 0
  /** Counted up when those that have no answer are not waited for any longer. */
  #given = 0
  #timer: Timer | undefined
  #beginning = false
  #closed = false

  constructor(private readonly clock: Clock) {}

  add(start: Start, again: boolean): void {
    (again ? this.#again : this.#first).push(start)
    this.#next()
  }

  close(): void {
    this.#closed = true
    this.#timer?.cancel()
    this.#first = new Queue()
    this.#again = new Queue()
  }

  #next(): void {
    if (this.#beginning) return // one that ends at once comes by here again
    this.#beginning = true
    while (this.#asked < ASKED_MAX && this.#waiting > 0) this.#begin((this.#first.length > 0 ? this.#first : this.#again).take())
    this.#beginning = false
    if (this.#waiting > 0) this.#arm()
  }

  #arm(): void {
    if (!this.#closed) this.#timer ??= this.clock.setTimeout(() => this.#round(), ROUND_MS)
  }

  get #waiting(): number {
    return this.#first.length + this.#again.length
  }

  #begin(start: Start): void {
    const given = this.#given
    this.#asked++
    start((stands) => {
      if (given !== this.#given) return
      if (!stands) {
        this.#failed++
        return this.#arm()
      }
      this.#stand++
      this.#asked--
      this.#next()
    })
  }

  #round(): void {
    this.#timer = undefined
    this.#asked -= this.#failed
    if (this.#stand < ANSWERED_LEAST) {
      this.#asked = 0
      this.#given++
    }
    this.#stand = this.#failed = 0
    this.#next()
  }
}
