import { Duplex } from 'node:stream'
import { StageError } from '../../../src/errors.js'
import { isLetGo } from '../../../src/joint.js'
import { outside } from '../../../src/outside.js'
import { socketlike } from '../../../src/socketlike.js'
import { Writer } from '../../../src/writer.js'
import { PIECE_MAX_BYTES, STREAM_WINDOW_BYTES } from '../wire/messages.js'
import type { Source } from '../wire/scheduler.js'

/** Smaller pieces are joined while their reader is behind: each chunk costs a hundred bytes beside its data. */
const SMALL_BYTES = 1024

/** Idle time after which a closing stage abandons a stream; longer while an answer is due. */
const IDLE_MS = 500
const ASKED_MS = 9000

/** The services that a channel needs from the connection that carries it. */
export interface ChannelPort {
  /** Largest piece of one frame, in bytes. */
  readonly maxPieceBytes: number
  /** Whether the channel may send at once, without waiting for its turn. */
  free(): boolean
  /** Whether the message that opens the channel has not been sent yet; the channel is resumed once it has. */
  opening(channel: Channel): boolean
  /** How many bytes the channel may send. If only the link's credit is used up, the channel is resumed when there is more. */
  allowed(channel: Channel): number
  /** The channel has more to send, and waits for its turn. */
  wait(channel: Channel): void
  data(channel: Channel, piece: Buffer): void
  end(id: number): void
  /** The reader of this side has seen the end of the other side. */
  ended(channel: Channel): void
  /** The channel wants no more data, although the end has not come. */
  unwanted(channel: Channel): void
  reset(channel: Channel, error: Error | null): void
  /** So many of the received bytes were taken, and as many may come instead. */
  credit(channel: Channel, bytes: number): void
  /** So many of the received items were taken. */
  took(channel: Channel, items: number): void
  /** The channel is in use. */
  start(channel: Channel): void
  /** Smallest credit worth a message. */
  readonly worthBytes: number
  /** The channel is over on this side. */
  closed(channel: Channel): void
}

export interface ChannelOptions {
  /**
   * The channel ends once it was read to its end, as an accepted socket does, so that a handler that only reads leaves
   * nothing open. `allowHalfOpen = true` before the end lets the handler answer later.
   */
  accepted?: boolean
  /** The peer begins only when somebody reads or writes here. */
  lazy?: boolean
  /** The end that opened the stream by `to()`; undefined for a stream in a value. */
  opener?: 'us' | 'peer'
}

/**
 * A stream of a link. The reader gives back bytes as it takes them, and the writer is never further ahead than its window, so
 * that a slow reader holds up its own stream and no other.
 */
export class Channel extends Duplex implements Source {
  protected port!: ChannelPort
  /** Bytes sent that the peer has not given back. */
  outstanding = 0
  /** Bytes received that were not given back to the peer. */
  owed = 0
  /** The message that would have brought the stream never came to the peer. */
  unheard = false
  /** Somebody reads, or has read. */
  started: boolean
  /** When the stream last made progress in either direction, by the clock's `now()`. */
  movedAt = -Infinity
  /** Whether the last data was received, and not sent. */
  movedIn = false
  /** Bytes received, and bytes sent. */
  bytesRead = 0
  bytesWritten = 0
  /** Called when the peer has taken so many of the sent items. */
  ontook: ((items: number) => void) | undefined
  /** Bytes that were read but are only put aside by the reader, and callbacks that wait until there are none. */
  #kept = 0
  #unconsumed: (() => void)[] = []
  #waiting: { rest: Buffer; done: Done } | undefined
  /** Small pieces that came while the reader had enough: one chunk, once the reader asks. */
  #gathered: Writer | undefined
  /** The reader wants more, and nothing has come since. */
  #asked = false
  #ended = false
  /** The reader has seen the end, and ENDED was sent. */
  #read = false
  /** The same for the other direction: ENDED has come for the data written here. */
  #delivered = false
  /** All written data has left, and its end. */
  #endSent = false
  /** The peer reads no more of the data written here. */
  #unwanted = false
  #finishing: (() => void) | undefined

  readonly opener: ChannelOptions['opener']

  constructor(readonly id: number, port?: ChannelPort, { accepted = false, lazy = false, opener }: ChannelOptions = {}) {
    // the window limits how far ahead the peer may be; with a mark of 1 the reader has enough as soon as it has anything
    super({ allowHalfOpen: !accepted, readableHighWaterMark: 1, writableHighWaterMark: STREAM_WINDOW_BYTES / 4 })
    if (port) this.port = port
    this.started = !lazy
    this.opener = opener
    this.on('error', () => {}) // an error without a listener must not end the process
  }

  // ── from the peer ───────────────────────────────────────────────────────────────────────────────────────────────

  /** `owed` counts the piece already. @throws StageError PROTOCOL_ERROR when the peer sent more than it was granted */
  ondata(piece: Buffer): void {
    if (this.#ended) throw new StageError('PROTOCOL_ERROR', 'data after the end of a stream')
    if (!this.started) throw new StageError('PROTOCOL_ERROR', 'data on a stream that nobody reads yet')
    if (this.owed > STREAM_WINDOW_BYTES) throw new StageError('PROTOCOL_ERROR', 'more data on a stream than its credit allows')
    if (this.destroyed) return
    if (piece.length < SMALL_BYTES && this.readableLength > 0 && !this.#asked) return this.#gather(piece)
    this.#give()
    this.#asked = false
    this.push(own(piece))
  }

  #gather(piece: Buffer): void {
    if (this.#gathered && this.#gathered.at + piece.length > PIECE_MAX_BYTES) this.#give()
    const writer = this.#gathered ??= new Writer(SMALL_BYTES)
    writer.need(piece.length)
    writer.at += piece.copy(writer.bytes, writer.at)
  }

  /** Hands on the gathered pieces. @returns whether there were any */
  #give(): boolean {
    const gathered = this.#gathered
    if (!gathered) return false
    this.#gathered = undefined
    this.push(gathered.bytes.subarray(0, gathered.at))
    return true
  }

  /** No more data will come. */
  protected pushEnd(): void {
    this.#give()
    this.push(null)
    super.read(0) // lets `end` be emitted although nobody reads, as on a socket
  }

  onend(): void {
    if (this.#ended) throw new StageError('PROTOCOL_ERROR', 'a stream that ended twice')
    this.#ended = true
    if (this.destroyed) return
    this.pushEnd()
    // with nothing left to read, nothing can fail any more
    const told = (): void => this.#afterwards(() => this.#told())
    if (this.readableLength === 0) told()
    else this.once('end', told)
  }

  /** Calls `fn` once no bytes are put aside: until then they do not count as read, and may not leave the account. */
  #afterwards(fn: () => void): void {
    if (this.#kept > 0) this.#unconsumed.push(fn)
    else fn()
  }

  /** Called while a frame is being read, so errors of listeners are thrown later. */
  override push(chunk: unknown): boolean {
    try {
      return outside(super.push, this, chunk)
    } catch (thrown) {
      raise(thrown)
      return true
    }
  }

  #told(): void {
    this.#read = true
    this.port.ended(this)
    if (this.#delivered) this.parted()
  }

  /** Called once both directions have been read to their ends. */
  protected parted(): void {}

  /** All written data has been read: only now is the writer finished, and not while the data could still be refused. */
  onended(): void {
    if (!this.#endSent) return
    this.#delivered = true
    const finished = this.#finishing
    this.#finishing = undefined
    finished?.()
    if (this.#read) this.parted()
  }

  /**
   * The peer reads no more. If nothing is lost by that, this direction ends with the other direction.
   * @param lost  some of the written data was not taken
   */
  onunwanted(lost: boolean): void {
    if (this.destroyed || this.#unwanted || this.#delivered) return
    this.#unwanted = true
    if (lost || this.writableLength > 0) this.destroy(refused())
    else if (this.#endSent) this.onended()
    else if (this.readableEnded) this.end()
    else this.once('end', () => { this.end() })
  }

  /** There may be room again: goes on with the write that waits. */
  resumed(): void {
    if (this.#waiting) this.port.wait(this)
  }

  /** @returns whether the channel wants another turn */
  turn(): boolean {
    const waiting = this.#waiting
    if (!waiting) return false
    if (this.port.opening(this)) return false
    const size = Math.min(waiting.rest.length, this.port.allowed(this), this.port.maxPieceBytes)
    if (size <= 0) return false
    this.port.data(this, waiting.rest.subarray(0, size))
    if (size < waiting.rest.length) {
      waiting.rest = waiting.rest.subarray(size)
      return true
    }
    this.#waiting = undefined
    try {
      outside(waiting.done)
    } catch (thrown) {
      raise(thrown) // by a listener for 'drain'
    }
    return this.#waiting !== undefined
  }

  /**
   * Open for writing, with nothing in flight, for so long that a closing stage need not wait for the stream. If the
   * last data was a question, an answer may take as long as a stage waits at all.
   */
  idleAt(now: number): boolean {
    if (!this.opener || this.writableEnded || this.writableLength > 0 || this.readableLength > 0) return false
    const asked = this.opener === 'peer' ? this.movedIn || this.#ended : !this.movedIn && !this.#ended && this.movedAt > -Infinity
    return now - this.movedAt > (asked ? ASKED_MS : IDLE_MS)
  }

  /** The peer has still to read data that was written and ended before the stream was destroyed. */
  get lingers(): boolean {
    return this.#endSent && !this.#delivered && this.errored === null
  }

  /** Whether data or an end is still to come, to be read here, or to be read by the peer. */
  get incomplete(): boolean {
    return !(this.#read && this.writableFinished)
  }

  // ── from the user ───────────────────────────────────────────────────────────────────────────────────────────────

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: Done): void {
    this.#start()
    if (this.#unwanted) return done(refused())
    if (chunk.length === 0) return done()
    this.#waiting = { rest: chunk, done }
    while (this.port.free() && this.turn());
    if (this.#waiting) this.port.wait(this)
  }

  /** Called before the chunk being read has left the buffer, so the room that it makes is known a tick later. */
  override _read(): void {
    this.#start()
    this.#asked = !this.#give()
    process.nextTick(grant, this)
  }

  /** Grants credit, as `_read` is not called again before data comes, and data may not come before credit is given back. */
  override read(size?: number): unknown {
    const chunk: unknown = super.read(size)
    if (chunk !== null && this.#consumed >= this.port.worthBytes) process.nextTick(grant, this)
    return chunk
  }

  /** Gives back the bytes taken since, once they are worth a message. */
  grant(): void {
    const consumed = this.#consumed
    if (consumed < this.port.worthBytes || this.#ended || this.destroyed) return
    this.port.credit(this, consumed)
  }

  /** So many of the received items were taken. */
  took(items: number): void {
    if (!this.destroyed) this.port.took(this, items)
  }

  /** Wants no more data of the peer; the other direction goes on. */
  refuse(): void {
    if (this.#ended || this.destroyed) return
    this.#unwant()
    this.resume()
  }

  #unwant(): void {
    const consumed = this.#consumed
    if (consumed > 0) this.port.credit(this, consumed) // so that the peer knows what is lost
    this.port.unwanted(this)
  }

  /** Sets how many of the bytes that were read are only put aside by the reader: their credit must wait. */
  keep(bytes: number): void {
    this.#kept = bytes
    if (bytes === 0) for (const fn of this.#unconsumed.splice(0)) fn()
    if (this.#consumed >= this.port.worthBytes) process.nextTick(grant, this)
  }

  /** The part of `owed` that the reader has consumed. */
  get #consumed(): number {
    return this.owed - this.readableLength - this.#kept - (this.#gathered?.at ?? 0)
  }

  #start(): void {
    if (this.started) return
    this.started = true
    this.port.start(this)
  }

  override _final(done: () => void): void {
    this.#start() // nothing need have been written
    this.#finishing = done
    this.#afterwards(() => {
      this.#endSent = true
      this.port.end(this.id)
      if (this.#unwanted) this.onended() // the peer has sent UNWANTED before
    })
  }

  /** Node destroys streams that have ended in both directions: here not before the reader has taken the bytes put aside. */
  override destroy(error?: Error): this {
    if (isLetGo(this, error)) return this.end()
    if (error || this.#kept === 0 || !this.readableEnded || !this.writableFinished) return super.destroy(error)
    this.#unconsumed.push(() => super.destroy())
    return this
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    if (this.incomplete) {
      // data that was ended is complete, and its reader need not lose it
      if (error || !this.#endSent) this.port.reset(this, error)
      else if (!this.#read) this.#unwant()
    }
    this.port.closed(this)
    this.abandon(error)
    done(error)
  }

  /** Node notifies nobody while a write is under way, not even `end()` callbacks: so the write ends here with the stream's error. */
  protected abandon(error: Error | null): void {
    const done = this.#waiting?.done
    this.#waiting = this.#gathered = undefined
    if (!done) return
    const destroyed = 'the stream was destroyed during a write'
    process.nextTick(done, error ?? new StageError('CANCELLED', destroyed, { executed: 'unknown' }))
  }
}

socketlike(Channel.prototype)

type Done = (error?: Error | null) => void

export function refused(): StageError {
  const why = 'the other end stopped reading this stream, and the last data written to it is lost'
  return new StageError('CANCELLED', why, { executed: 'unknown' })
}

const grant = (channel: Channel): void => channel.grant()

/** A piece outlives the chunk that it came in: a large piece may keep the chunk alive, a small piece must not. */
function own(piece: Buffer): Buffer {
  return piece.length * 4 >= piece.buffer.byteLength ? piece : Buffer.from(piece)
}

/** An error of a listener while a frame is being read is no violation of the peer, and must not be caught here. */
const raise = (thrown: unknown): void => process.nextTick(() => { throw thrown })
