import { StageError } from '../../../src/errors.js'
import { Writer } from '../../../src/writer.js'
import type { Begun, Unfinished } from '../serving/held.js'
import { MESSAGE_MAX_BYTES, OPEN_CALLS_MAX, UNFINISHED_MAX } from './messages.js'

/** An incomplete message. */
export interface Parts {
  readonly writer: Writer
  readonly begun: Begun
}

/** The part of a carrier that the inbox of a link needs. */
interface Carrier {
  destroy(error: StageError): unknown
}

/** Messages that come in parts. The parts of each are joined as they come, since a peer may cut a message into single bytes. */
export class Inbox {
  readonly #all = new Map<number, Parts>()
  /** Bytes of all incomplete messages. */
  #bytes = 0

  /** @param unfinished  the account that counts the parts of all links */
  constructor(private readonly carrier: Carrier, private readonly unfinished: Unfinished) {}

  get size(): number {
    return this.#all.size
  }

  get(id: number): Parts | undefined {
    return this.#all.get(id)
  }

  begin(id: number, bytes: number): Parts {
    const parts = { writer: new Writer(bytes), begun: this.unfinished.begin((error) => this.carrier.destroy(error)) }
    this.#all.set(id, parts)
    return parts
  }

  /** @throws StageError PROTOCOL_ERROR the peer sends more than it may */
  add(parts: Parts, piece: Buffer): void {
    this.#bytes += piece.length
    if (parts.writer.at + piece.length > MESSAGE_MAX_BYTES) {
      throw new StageError('PROTOCOL_ERROR', `a message of more than ${MESSAGE_MAX_BYTES} bytes`)
    }
    if (this.#bytes > UNFINISHED_MAX * MESSAGE_MAX_BYTES || this.#all.size > OPEN_CALLS_MAX) {
      const allowed = `${UNFINISHED_MAX} of the largest, or ${OPEN_CALLS_MAX}`
      throw new StageError('PROTOCOL_ERROR', `more unfinished messages than ${allowed}`)
    }
    append(parts.writer, piece)
    this.unfinished.grow(parts.begun, piece.length)
  }

  /** The last piece of a message has come, or nobody wants the message any more: its parts count no longer. */
  drop(id: number, { writer, begun }: Parts): void {
    this.#all.delete(id)
    this.#bytes -= writer.at
    this.unfinished.end(begun)
  }

  clear(): void {
    for (const { begun } of this.#all.values()) this.unfinished.end(begun)
    this.#all.clear()
  }
}

export function append(writer: Writer, piece: Buffer): void {
  writer.need(piece.length, MESSAGE_MAX_BYTES)
  piece.copy(writer.bytes, writer.at)
  writer.at += piece.length
}
