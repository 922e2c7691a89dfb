import { outside } from '../../src/outside.js'

/** An async iterable that was passed within one stage: its code begins in an empty context, as that of one that came over a link does. */
export class Apart implements AsyncIterableIterator<unknown> {
  #begun: AsyncIterator<unknown> | undefined

  /** @param touch  called with each value */
  constructor(private readonly source: AsyncIterable<unknown>, private readonly touch?: () => void) {}

  async next(): Promise<IteratorResult<unknown>> {
    const result = await outside(() => this.#iterator.next())
    if (!result.done) this.touch?.()
    return result
  }

  async return(): Promise<IteratorResult<unknown>> {
    await outside(async () => this.#iterator.return?.())
    return { done: true, value: undefined }
  }

  async throw(error: unknown): Promise<IteratorResult<unknown>> {
    await this.return()
    throw error
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  get #iterator(): AsyncIterator<unknown> {
    return this.#begun ??= this.source[Symbol.asyncIterator]()
  }
}
