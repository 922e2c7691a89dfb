import { Duplex } from 'node:stream'
import { StageError } from '../../src/errors.js'
import { cutOff, ignore } from './socket.js'

// A stream over a channel of messages, such as a MessagePort. A channel takes everything at once, so the writer counts what
// the reader has not consumed, and waits above a window; the reader tells how much it has consumed.

export interface PortStreamOptions {
  /** At the dialling end: called when somebody took the other end, or with the reason why nobody did. */
  onaccepted?: (error?: Error) => void
  /** The error if nobody takes the other end. */
  refusal?: () => Error
  /** The most bytes that may be under way and unread before the writer waits. */
  window?: number
}

export const WINDOW = 256 * 1024
/** The most bytes of one message, and by so much the window may be exceeded. */
export const PIECE = 64 * 1024
/** The reader tells what it has consumed each time that it amounts to this part of the window. */
const CREDIT_PART = 4

/**
 * Bytes; a number of bytes that were consumed; or a change of the stream: its writer ended it, its holder destroyed it after all
 * was sent, or before.
 */
export type PortMessage = Uint8Array | number | 'accepted' | 'refused' | 'end' | 'gone' | 'reset'

/** One end of a channel that carries messages in order, and reports its end behind the last of them. */
export interface Port {
  post(message: PortMessage): void
  /** @param onclose  the other end is gone, or has closed */
  open(onmessage: (message: PortMessage) => void, onclose: () => void): void
  /** Messages that were posted still arrive. */
  close(): void
}

/** The bytes of one channel. */
export class PortStream extends Duplex {
  /** A chunk is copied, so it is its writer's again at once. */
  readonly givesBack = true
  /** Bytes sent that the other end's reader has not consumed. */
  #unread = 0
  /** The chunk that is being written, and how much of it was sent. */
  #blocked: { chunk: Buffer; at: number; done(error?: Error): void } | undefined
  /** Bytes received for which the writer has no credit yet. */
  #uncredited = 0
  /** Bytes received that our reader has not consumed, and bytes consumed of which the writer does not know. */
  #held = 0
  #owed = 0
  #heard = false
  #otherGone = false
  #told = false
  #onaccepted: ((error?: Error) => void) | undefined
  readonly #refusal: () => Error
  readonly #window: number

  constructor(private readonly port: Port, { onaccepted, refusal = cutOff, window = WINDOW }: PortStreamOptions = {}) {
    super({ allowHalfOpen: true, highWaterMark: WINDOW / CREDIT_PART })
    this.on('error', ignore)
    this.#onaccepted = onaccepted
    this.#refusal = refusal
    this.#window = window
    port.open((message) => this.#receive(message), () => this.#onclose())
  }

  #receive(message: PortMessage): void {
    if (typeof message === 'number') {
      if (!(message > 0 && message <= this.#unread)) return void this.destroy(malformed('a credit for data that was not sent'))
      this.#unread -= message
      this.#send()
    } else if (typeof message !== 'string') this.#take(message)
    else if (message === 'accepted') this.#accepted()
    else if (message === 'refused') this.destroy(this.#refusal())
    else if (message === 'reset') this.destroy(cutOff())
    else {
      // the writer must learn that data was thrown away
      if (message === 'gone') this.#left(this.#unread > 0)
      else this.#end()
    }
  }

  #accepted(error?: Error): void {
    const accepted = this.#onaccepted
    this.#onaccepted = undefined
    accepted?.(error)
  }

  /** The other end takes no more. */
  #left(lost: boolean): void {
    this.#otherGone = true
    this.#unblock(broken())
    if (lost) this.destroy(cutOff())
    else this.#end()
  }

  #end(): void {
    if (this.#heard) return
    this.#heard = true
    if (this.destroyed) return
    this.push(null)
    this.read(0) // emits `end` although nobody reads, as a socket does
  }

  #take(bytes: Uint8Array): void {
    if (this.destroyed) return
    this.#uncredited += bytes.byteLength
    if (this.#uncredited > this.#window + PIECE) return void this.destroy(malformed('more data than this end has admitted'))
    const buffer = Buffer.from(bytes.buffer as ArrayBuffer, bytes.byteOffset, bytes.byteLength)
    if (this.push(buffer)) this.#consumed(bytes.byteLength)
    else this.#held += bytes.byteLength
  }

  override _read(): void {
    const held = this.#held
    this.#held = 0
    if (held > 0) this.#consumed(held)
  }

  #consumed(bytes: number): void {
    this.#owed += bytes
    if (this.#owed < this.#window / CREDIT_PART || this.destroyed) return
    this.#credit(this.#owed)
    this.#owed = 0
  }

  #credit(bytes: number): void {
    this.#uncredited -= bytes
    this.port.post(bytes)
  }

  #onclose(): void {
    this.#left(!this.#heard)
  }

  #unblock(error?: Error): void {
    const done = this.#blocked?.done
    this.#blocked = undefined
    if (done) process.nextTick(done, error)
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error) => void): void {
    if (this.#otherGone) return done(broken())
    this.#blocked = { chunk, at: 0, done }
    this.#send()
  }

  /** Sends as much of the written chunk as the other end admits. */
  #send(): void {
    const blocked = this.#blocked
    if (!blocked) return
    const { chunk } = blocked
    while (blocked.at < chunk.length && this.#unread <= this.#window) {
      const piece = chunk.length <= PIECE ? chunk : chunk.subarray(blocked.at, blocked.at + PIECE)
      blocked.at += piece.length
      this.#unread += piece.length
      this.port.post(piece)
    }
    if (blocked.at < chunk.length) return
    // the next chunk waits for room, so that a writer feels it at once
    if (this.#unread <= this.#window) {
      this.#blocked = undefined
      blocked.done()
    }
  }

  override _writev(chunks: { chunk: Buffer }[], done: (error?: Error) => void): void {
    this._write(Buffer.concat(chunks.map(({ chunk }) => chunk)), 'binary', done)
  }

  override _final(done: () => void): void {
    this.#told = true
    if (!this.#otherGone) this.port.post('end')
    done()
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    // discarding data that `write` had accepted is a reset, not a goodbye
    const lost = !this.#told && (error !== null || this.writableLength > 0)
    if (!this.#otherGone) {
      // what was read to the end is consumed, although nobody asked for more
      const owed = this.#owed + (this.readableEnded ? this.#held : 0)
      if (owed > 0) this.#credit(owed)
      this.port.post(lost ? 'reset' : 'gone')
    }
    this.#unblock(error ?? cutOff())
    this.#accepted(error ?? cutOff())
    this.port.close()
    done(error)
  }
}

const malformed = (what: string): StageError => new StageError('PROTOCOL_ERROR', `${what} came over a stream`)

const broken = (): Error => Object.assign(new Error('write EPIPE: the other end is closed'), { code: 'EPIPE', syscall: 'write' })
