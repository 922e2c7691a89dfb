import { StageError } from '../../../src/errors.js'
import { Writer } from '../../../src/writer.js'
import type { Channel } from './channel.js'
import { ELSEWHERE } from '../../codec/hand.js'
import { MESSAGE_MAX_BYTES, PIECE_MAX_BYTES } from '../wire/messages.js'
import type { Budget } from './budget.js'

/** Each value on a channel: a kind (1 byte), its length (4), and the encoded value. */
const ITEM_HEAD = 5
export const VALUE = 0
/** The source failed; nothing follows. */
export const FAILURE = 1

/** How many values the source may be ahead of the reader, which reports each half of them as taken. */
export const AHEAD = 256

/** One value as it travels. @param encode  appends the value to the writer */
export function item(kind: number, encode: (writer: Writer) => void): Buffer {
  const writer = new Writer(256)
  writer.at = ITEM_HEAD
  encode(writer)
  writer.bytes[0] = kind
  writer.bytes.writeUInt32BE(writer.at - ITEM_HEAD, 1)
  return writer.bytes.subarray(0, writer.at)
}

const NOTHING = Buffer.alloc(0)

/** Cancels the channel of a reader that was collected before its end, so that the source is notified. */
export const abandoned = new FinalizationRegistry<Channel>((channel) => {
  channel.destroy(new StageError('CANCELLED', 'the reader was garbage-collected before the end of the stream'))
})

/**
 * The values of an async iterable of the peer, which begins when the first value is asked for. Leaving the loop, or dropping
 * the last reference to the iterable, ends the source.
 *
 * Received values that were not taken count as unread, so that a peer cannot make this end hold more than the windows of its
 * streams. Only an incomplete value takes room beyond, from a budget that all streams share: without room, as much of the
 * value comes as fits into the credit of its stream, and the rest when other values have been taken.
 */
export class Values<T = unknown> implements AsyncIterableIterator<T> {
  readonly #chunks: AsyncIterator<Buffer, undefined>
  /** Received bytes that were not taken: from `#from` to `#to`. */
  #bytes: Buffer = NOTHING
  #from = 0
  #to = 0
  #asked = false
  /** Room for the next value, in bytes. */
  #granted = 0
  #last: Promise<unknown> = Promise.resolve()
  #over = false
  #consumed = 0

  /**
   * @param budget  the caller leaves the budget for this channel once the channel is closed
   * @param decode  decodes the bytes from `at` to `end`; an error that it throws ends the channel
   * @param over    called when nothing more is read, and the last value is not in use any more
   */
  constructor(
    private readonly channel: Channel,
    private readonly budget: Budget,
    private readonly decode: (kind: number, bytes: Buffer, at: number, end: number) => T,
    private readonly over: () => void,
  ) {
    this.#chunks = channel.iterator({ destroyOnReturn: false })
    abandoned.register(this, channel, this)
  }

  next(): Promise<IteratorResult<T, undefined>> {
    const next = this.#last.then(() => this.#take())
    this.#last = next.catch(() => {})
    return next
  }

  return(): Promise<IteratorResult<T, undefined>> {
    this.#end(this.channel.readableEnded ? undefined : new StageError('CANCELLED', 'the reader has left'))
    return Promise.resolve({ done: true, value: undefined })
  }

  throw(error: unknown): Promise<IteratorResult<T, undefined>> {
    void this.return()
    return Promise.reject(error)
  }

  get [ELSEWHERE](): true {
    return true
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
      if (size !== undefined && this.#to - this.#from >= size) return { done: false, value: this.#read(size) }
      if (size !== undefined) this.#ask(size)
      const { done, value } = await this.#next()
      if (done && this.#to > this.#from) throw this.#fail('a stream of values that ended in the middle of a value')
      if (done) break
      this.#append(value)
    }
    this.#over = true
    this.over()
    abandoned.unregister(this) // read to the end, and the other direction may go on
    return { done: true, value: undefined }
  }

  async #next(): Promise<IteratorResult<Buffer, undefined>> {
    try {
      return await this.#chunks.next()
    } catch (error) {
      this.#end()
      throw error
    }
  }

  /** Size of the next value with its head; undefined while the head is incomplete. */
  #size(): number | undefined {
    if (this.#to - this.#from < ITEM_HEAD) return undefined
    const size = this.#bytes.readUInt32BE(this.#from + 1)
    if (size > MESSAGE_MAX_BYTES) throw this.#fail(`a value of ${size} bytes; at most ${MESSAGE_MAX_BYTES} are allowed`)
    return ITEM_HEAD + size
  }

  #ask(size: number): void {
    if (this.#asked) return
    this.#asked = true
    this.budget.ask(this.channel, size - ITEM_HEAD, () => {
      this.#granted = size
      this.#keep()
    })
  }

  #read(size: number): T {
    const bytes = this.#bytes
    const at = this.#from
    this.#from += size
    if (++this.#consumed % (AHEAD / 2) === 0) this.channel.took(AHEAD / 2)
    if (this.#asked) {
      this.#asked = false
      this.#granted = 0
      this.budget.leave(this.channel)
    }
    const left = this.#to - this.#from
    if (left * 4 < bytes.length) this.#move(left) // else a few bytes would keep a large buffer alive
    this.#keep()
    try {
      return this.decode(bytes[at], bytes, at + ITEM_HEAD, at + size)
    } catch (error) {
      this.#end(error as Error)
      throw error
    }
  }

  #append(chunk: Buffer): void {
    const left = this.#to - this.#from
    if (left === 0) {
      this.#bytes = chunk
      this.#from = 0
      this.#to = chunk.length
    } else {
      const needed = left + chunk.length
      if (this.#to + chunk.length > this.#bytes.length) {
        this.#move(this.#granted > 0 ? Math.max(needed, this.#granted + PIECE_MAX_BYTES) : 2 * needed)
      }
      this.#to += chunk.copy(this.#bytes, this.#to)
    }
    this.#keep()
  }

  /** Moves the bytes that were not taken into a buffer of that size. */
  #move(size: number): void {
    const bytes = size === 0 ? NOTHING : Buffer.allocUnsafeSlow(size)
    this.#to = this.#bytes.copy(bytes, 0, this.#from, this.#to)
    this.#from = 0
    this.#bytes = bytes
  }

  #keep(): void {
    this.channel.keep(Math.max(0, this.#to - this.#from - this.#granted))
  }

  #fail(message: string): StageError {
    const error = new StageError('PROTOCOL_ERROR', message)
    this.#end(error)
    return error
  }

  #end(error?: Error): void {
    this.#over = true
    this.over()
    this.#bytes = NOTHING
    this.#from = this.#to = 0
    this.channel.keep(0)
    this.budget.leave(this.channel)
    this.channel.destroy(error)
  }
}
