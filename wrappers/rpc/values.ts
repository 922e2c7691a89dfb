import { StageError } from '../../src/errors.js'
import { Writer } from '../../src/writer.js'
import type { Channel } from './channel.js'
import { MESSAGE_MAX_BYTES } from './messages.js'

/** Each value on a channel: a kind (1 byte), its length (4), and the encoded value. */
const ITEM_HEAD = 5
export const VALUE = 0
/** The source failed; nothing follows. */
export const FAILURE = 1

/** How many values the source may be ahead of the reader, who says on the way back, a byte each, when it took half of them. */
export const AHEAD = 256

/** One value as it travels. @param encode  appends it to the writer */
export function item(kind: number, encode: (writer: Writer) => void): Buffer {
  const writer = new Writer(256)
  writer.at = ITEM_HEAD
  encode(writer)
  writer.bytes[0] = kind
  writer.bytes.writeUInt32BE(writer.at - ITEM_HEAD, 1)
  return writer.bytes.subarray(0, writer.at)
}

const TOOK = Buffer.alloc(1)

/** Somebody who let go of one without a word: its source has to be told. */
const abandoned = new FinalizationRegistry<Channel>((channel) => channel.destroy(new StageError('CANCELLED', 'nobody holds what would read it')))

/**
 * The values of an async iterable of the peer's, which begins when the first one is asked for. Leaving the loop, or
 * letting go of it, ends the source.
 */
export class Values<T = unknown> implements AsyncIterableIterator<T> {
  readonly #chunks: AsyncIterator<Buffer, undefined>
  readonly #came = new Writer(0)
  #from = 0
  #last: Promise<unknown> = Promise.resolve()
  #over = false
  #taken = 0

  /** @param decode  of the bytes from `at` to `end`; what it throws is a violation of the protocol */
  constructor(private readonly channel: Channel, private readonly decode: (kind: number, bytes: Buffer, at: number, end: number) => T) {
    this.#chunks = channel[Symbol.asyncIterator]()
    abandoned.register(this, channel)
  }

  next(): Promise<IteratorResult<T, undefined>> {
    const next = this.#last.then(() => this.#take())
    this.#last = next.catch(() => {})
    return next
  }

  return(): Promise<IteratorResult<T, undefined>> {
    this.#over = true
    this.channel.destroy(this.channel.readableEnded ? undefined : new StageError('CANCELLED', 'the reader wants no more'))
    return Promise.resolve({ done: true, value: undefined })
  }

  throw(error: unknown): Promise<IteratorResult<T, undefined>> {
    void this.return()
    return Promise.reject(error)
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return()
  }

  async #take(): Promise<IteratorResult<T, undefined>> {
    while (!this.#over) {
      const size = this.#size()
      if (size !== undefined && this.#came.at - this.#from >= size) return { done: false, value: this.#read(size) }
      const { done, value } = await this.#chunks.next()
      if (done && this.#came.at > this.#from) throw this.#fail('a stream of values that ended in the middle of one')
      if (done) break
      this.#append(value)
    }
    this.#over = true
    return { done: true, value: undefined }
  }

  /** Of the next value with its head; undefined while not even that is there. */
  #size(): number | undefined {
    if (this.#came.at - this.#from < ITEM_HEAD) return undefined
    const size = this.#came.bytes.readUInt32BE(this.#from + 1)
    if (size > MESSAGE_MAX_BYTES) throw this.#fail(`a value of ${size} bytes; at most ${MESSAGE_MAX_BYTES} are allowed`)
    return ITEM_HEAD + size
  }

  #read(size: number): T {
    const { bytes } = this.#came
    const at = this.#from
    this.#from += size
    if (++this.#taken % (AHEAD / 2) === 0) this.channel.write(TOOK)
    try {
      return this.decode(bytes[at], bytes, at + ITEM_HEAD, at + size)
    } catch (error) {
      this.#over = true
      this.channel.destroy(error as Error)
      throw error
    }
  }

  #append(chunk: Buffer): void {
    const came = this.#came
    if (this.#from > 0) {
      came.bytes.copyWithin(0, this.#from, came.at)
      came.at -= this.#from
      this.#from = 0
    }
    came.need(chunk.length)
    came.at += chunk.copy(came.bytes, came.at)
  }

  #fail(message: string): StageError {
    const error = new StageError('PROTOCOL_ERROR', message)
    this.#over = true
    this.channel.destroy(error)
    return error
  }
}
