import type { Clock, Timer } from '../../../src/types.js'

/** Limit of requested watches without an answer, so that a link has room for other calls. */
const ASKED_MAX = 4000
const ROUND_MS = 1000
/** If fewer are answered in a round, some wait for an owner that is gone, and no longer count against the limit. */
const ANSWERED_LEAST = 1000

/** Requests a watch. @param done  called once with whether the watch is established */
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
 * Limits the rate at which watches are requested when there are very many: in order of arrival, watches of loops without a
 * value before watches that move to another owner. A failed request keeps its slot until the round is over, because
 * otherwise all waiting requests would try and fail at once.
 */
export class Starts {
  #first = new Queue()
  #again = new Queue()
  #asked = 0
  /** Watches established in this round. */
  #stand = 0
  #failed = 0
  /** Incremented when unanswered requests stop counting; later answers to them are ignored. */
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
    if (this.#beginning) return // re-entered by a request that ends synchronously
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
