import { dispose } from '../../codec/dispose.js'
import { ELSEWHERE } from '../../codec/hand.js'
import type { Answer } from '../types.js'

/** The answers of a `callAll`, in the order of their arrival. Leaving the loop early calls `stop`. */
export class Answers<T> implements AsyncIterableIterator<Answer<T>> {
  readonly #ready: Answer<T>[] = []
  readonly #asking: { resolve(result: IteratorResult<Answer<T>>): void; reject(error: Error): void }[] = []
  #open = Infinity
  #error: Error | undefined

  constructor(private readonly stop: () => void) {}

  /** Sets how many answers are still to come. */
  expect(count: number): void {
    this.#open = count
    this.#flush()
  }

  push(answer: Answer<T>): void {
    this.#ready.push(answer)
    this.#open--
    this.#flush()
  }

  /** Ends with an error, without answers: no match could be asked. */
  fail(error: Error): void {
    this.#error = error
    this.#open = 0
    this.#flush()
  }

  next(): Promise<IteratorResult<Answer<T>>> {
    return new Promise((resolve, reject) => {
      this.#asking.push({ resolve, reject })
      this.#flush()
    })
  }

  return(): Promise<IteratorResult<Answer<T>>> {
    for (const answer of this.#ready.splice(0)) dispose(answer.value)
    this.#open = 0
    this.stop()
    this.#flush()
    return Promise.resolve({ done: true, value: undefined })
  }

  get [ELSEWHERE](): true {
    return true
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  #flush(): void {
    while (this.#asking.length > 0) {
      const answer = this.#ready.shift()
      if (!answer && this.#open > 0) return
      const asking = this.#asking.shift()
      if (answer) asking?.resolve({ done: false, value: answer })
      else if (this.#error) {
        asking?.reject(this.#error)
        this.#error = undefined
      } else asking?.resolve({ done: true, value: undefined })
    }
  }
}
