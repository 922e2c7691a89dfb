import { StageError } from '../../../src/errors.js'
import { outside } from '../../../src/outside.js'
import { iterate, leave } from '../../codec/dispose.js'
import { ELSEWHERE } from '../../codec/hand.js'

type Result = IteratorResult<unknown, undefined>

/** Converts each value, and an error, in transit. */
export interface Crossing {
  value(value: unknown): unknown
  failure(thrown: unknown): Error
}

const DONE: Result = { done: true, value: undefined }
/** Calls the close listeners of a reader that was garbage collected. */
const dropped = new FinalizationRegistry<Set<() => void>>((closing) => { for (const fn of closing) fn() })

/**
 * An iterable passed within one stage that behaves as over a link: its code runs in an empty async context. Leaving the
 * loop ends the source at once and settles pending `next()` calls, where a generator would only queue the `return()`.
 */
export class Through implements AsyncIterableIterator<unknown> {
  destroyed = false
  #iterator: AsyncIterator<unknown> | undefined
  #error: Error | undefined
  /** Settles each pending `next()`. */
  readonly #asked = new Set<(error?: Error) => void>()
  readonly #closing = new Set<() => void>()

  /** @param touch  called with each value that passes */
  constructor(private readonly source: AsyncIterable<unknown>, private readonly touch?: () => void, private readonly crossing?: Crossing) {
    dropped.register(this, this.#closing)
  }

  get [ELSEWHERE](): true {
    return true
  }

  once(_event: 'close', listener: () => void): void {
    this.#closing.add(listener)
  }

  async next(): Promise<Result> {
    if (this.destroyed) return this.#over()
    let settle!: (error?: Error) => void
    const left = new Promise<Result>((resolve, reject) => { settle = (error) => { if (error) reject(error); else resolve(DONE) } })
    this.#asked.add(settle)
    try {
      this.#iterator ??= outside(iterate, undefined, this.source)
      const result = await Promise.race([left, this.#next(this.#iterator)])
      if (result.done) this.#close()
      else this.touch?.()
      return result as Result
    } catch (error) {
      this.#close()
      throw error
    } finally {
      this.#asked.delete(settle)
    }
  }

  return(): Promise<Result> {
    this.destroy()
    return Promise.resolve(DONE)
  }

  throw(error: unknown): Promise<Result> {
    this.destroy()
    return Promise.reject(error)
  }

  /** Ends the source. @param error  the error that the reader gets next */
  destroy(error?: Error): void {
    if (this.destroyed) return
    const asked = [...this.#asked]
    if (asked.length === 0) this.#error = error
    this.#close()
    for (const settle of asked) settle(error)
    const iterator = this.#iterator ?? (this.source as { return?: () => unknown })
    leave(this.source, iterator, error ?? new StageError('CANCELLED', 'the reader has left'))
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return()
  }

  async #next(iterator: AsyncIterator<unknown>): Promise<IteratorResult<unknown>> {
    const { crossing } = this
    if (!crossing) return outside(() => iterator.next())
    let result: IteratorResult<unknown>
    try {
      result = await outside(() => iterator.next())
    } catch (thrown) {
      throw crossing.failure(thrown)
    }
    try {
      return result.done ? result : { done: false, value: crossing.value(result.value) }
    } catch (error) {
      leave(this.source, iterator)
      throw error
    }
  }

  #over(): Result {
    const error = this.#error
    this.#error = undefined
    if (error) throw error
    return DONE
  }

  #close(): void {
    this.destroyed = true
    for (const fn of this.#closing) fn()
    this.#closing.clear()
  }
}
