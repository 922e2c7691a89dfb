import { StageError } from '../../../src/errors.js'
import type { Writer } from '../../../src/writer.js'
import { dispose } from '../../codec/dispose.js'
import type { Channel } from './channel.js'
import { AHEAD, FAILURE, VALUE, item } from './values.js'

/** Appends a value to the writer. @throws StageError BAD_ARGUMENT */
export type Encode = (value: unknown, writer: Writer) => void

/** Sends values over a channel, one by one, and no further ahead of their reader than allowed. */
export class ItemWriter {
  #ahead = 0
  #go: (() => void) | undefined

  constructor(private readonly channel: Channel, private readonly encode: Encode) {
    channel.ontook = (items) => {
      if (items > this.#ahead) throw new StageError('PROTOCOL_ERROR', `credit for ${items} items, but only ${this.#ahead} were sent`)
      this.#ahead -= items
      this.#go?.()
    }
    channel.once('close', () => this.#go?.())
  }

  /** @returns resolves when the next value may come; undefined: at once @throws StageError BAD_ARGUMENT the value cannot be sent */
  value(value: unknown): Promise<void> | undefined {
    let bytes: Buffer
    try {
      bytes = item(VALUE, (writer) => this.encode(value, writer))
    } catch (error) {
      dispose(value) // a stream in the value cannot be sent, and has no other owner
      throw error
    }
    return this.#send(bytes)
  }

  /** Sends the last item: the reason why there are no more. */
  failure(error: { cause?: unknown }): Promise<void> | undefined {
    const send = (what: object): Promise<void> | undefined => this.#send(item(FAILURE, (writer) => this.encode(what, writer)))
    try {
      return send(error)
    } catch {
      return send({ ...error, cause: undefined })
    }
  }

  #send(bytes: Buffer): Promise<void> | undefined {
    const { channel } = this
    if (channel.destroyed) return undefined
    this.#ahead++
    const free = channel.write(bytes)
    if (free && this.#ahead < AHEAD) return undefined
    return new Promise((resolve) => {
      const look = (): void => {
        if (!channel.destroyed && (this.#ahead >= AHEAD || channel.writableNeedDrain)) return
        channel.off('drain', look)
        this.#go = undefined
        resolve()
      }
      this.#go = look
      channel.on('drain', look)
    })
  }
}
