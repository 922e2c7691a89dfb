import { Duplex } from 'node:stream'
import { StageError } from '../../../src/errors.js'
import { isLetGo } from '../../../src/joint.js'
import { outside } from '../../../src/outside.js'
import { socketlike } from '../../../src/socketlike.js'
import { Writer } from '../../../src/writer.js'
import { PIECE_MAX_BYTES, STREAM_WINDOW_BYTES } from '../wire/messages.js'
import type { Source } from '../wire/scheduler.js'

/** Below it pieces are put together while their reader is behind: each chunk costs a hundred bytes beside its own. */
const SMALL_BYTES = 1024

/** Idle time after which a closing stage abandons a stream; longer while an answer is due. */
const IDLE_MS = 500
const ASKED_MS = 9000

/** What a channel needs of the connection that carries it. */
export interface ChannelPort {
  /** Largest piece of one frame, in bytes. */
  readonly maxPieceBytes: number
  /** Whether it may send at once, without waiting for its turn. */
  free(): boolean
  /** Not even the message that opens it has been sent; it is told when it has. */
  opening(channel: Channel): boolean
  /** How much it may send: nothing where only the link's credit is used up, and then it is told when there is more. */
  allowed(channel: Channel): number
  /** It has more to send, and waits for its turn. */
  wait(channel: Channel): void
  data(channel: Channel, piece: Buffer): void
  end(id: number): void
  /** The reader of this side has seen the end of the other. */
  ended(channel: Channel): void
  /** It wants no more, though the end has not come. */
  unwanted(channel: Channel): void
  reset(channel: Channel, error: Error | null): void
  /** So much of what came was taken, and so much may come instead. */
  credit(channel: Channel, bytes: number): void
  /** So many of the items that came were taken. */
  took(channel: Channel, items: number): void
  /** It is in use. */
  start(channel: Channel): void
  /** Smallest credit worth a message. */
  readonly worthBytes: number
  /** It is over on this side. */
  closed(channel: Channel): void
}

export interface ChannelOptions {
  /**
   * It ends with what it read, as an accepted socket does, so that one who only reads leaves nothing open.
   * `allowHalfOpen = true` before the end lets it answer later.
   */
  accepted?: boolean
  /** The peer begins only when somebody reads or writes here. */
  lazy?: boolean
  /** It is one of `to()`, and not one in a value: who opened it. */
  opener?: 'us' | 'peer'
}

/**
 * One of the streams of a link. The reader gives back bytes as it takes them and the writer is never further ahead than
 * its window, so that a slow reader holds up its own stream and no other.
 */
export class Channel extends Duplex implements Source {
  protected port!: ChannelPort
  /** Bytes sent that the peer has not given back. */
  outstanding = 0
  /** Bytes received that were not given back to the peer. */
  owed = 0
  /** The message that would have brought it never came to the peer. */
  unheard = false
  /** Somebody reads, or has read. */
  started: boolean
  /** When something of it last came or went, by the clock's `now()`. */
  movedAt = -Infinity
  /** That was something that came. */
  movedIn = false
  /** Bytes that came, and bytes that were sent. */
  bytesRead = 0
  bytesWritten = 0
  /** Called when the peer has taken so many of the items that were sent. */
  ontook: ((items: number) => void) | undefined
  /** Bytes read that are still held for what is behind them, and what waits until there are none. */
  #kept = 0
  #unconsumed: (() => void)[] = []
  #waiting: { rest: Buffer; done: Done } | undefined
  /** Small pieces that came while the reader had enough: one chunk, once it asks. */
  #gathered: Writer | undefined
  /** The reader wants more, and nothing came since. */
  #asked = false
  #ended = false
  /** The reader has seen the end, and ENDED was sent. */
  #read = false
  /** The same of what was written here. */
  #delivered = false
  /** All that was written has left, and its end. */
  #endSent = false
  /** The peer reads no more of what is written here. */
  #unwanted = false
  #finishing: (() => void) | undefined

  readonly opener: ChannelOptions['opener']

  constructor(readonly id: number, port?: ChannelPort, { accepted = false, lazy = false, opener }: ChannelOptions = {}) {
    // the window says how far ahead the peer may be; that the reader has enough is said as soon as it has anything
    super({ allowHalfOpen: !accepted, readableHighWaterMark: 1, writableHighWaterMark: STREAM_WINDOW_BYTES / 4 })
    if (port) this.port = port
    this.started = !lazy
    this.opener = opener
    this.on('error', () => {}) // nobody need listen for the process to live on
  }

  // ── from the peer ───────────────────────────────────────────────────────────────────────────────────────────────

  /** `owed` counts it already. @throws StageError PROTOCOL_ERROR when the peer sent more than it was granted */
  ondata(piece: Buffer): void {
    if (this.#ended) throw new StageError('PROTOCOL_ERROR', 'data behind the end of a stream')
    if (!this.started) throw new StageError('PROTOCOL_ERROR', 'data on a stream that nobody reads yet')
    if (this.owed > STREAM_WINDOW_BYTES) throw new StageError('PROTOCOL_ERROR', 'more data on a stream than was granted')
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

  /** Hands on what was gathered. @returns whether there was anything */
  #give(): boolean {
    const gathered = this.#gathered
    if (!gathered) return false
    this.#gathered = undefined
    this.push(gathered.bytes.subarray(0, gathered.at))
    return true
  }

  /** Nothing comes behind what has come. */
  protected pushEnd(): void {
    this.#give()
    this.push(null)
    super.read(0) // lets `end` come though nobody reads, as a socket's would
  }

  onend(): void {
    if (this.#ended) throw new StageError('PROTOCOL_ERROR', 'a stream that ended twice')
    this.#ended = true
    if (this.destroyed) return
    this.pushEnd()
    // with nothing left to read there is nothing that could still fail
    const told = (): void => this.#afterwards(() => this.#told())
    if (this.readableLength === 0) told()
    else this.once('end', told)
  }

  /** Once nothing is put aside: until then it is not read, and may not leave the account. */
  #afterwards(fn: () => void): void {
    if (this.#kept > 0) this.#unconsumed.push(fn)
    else fn()
  }

  /** Called while a frame is being read. */
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

  /** Both directions have been read to their ends. */
  protected parted(): void {}

  /** All that was written has been read: only now is it finished, and not while it could still be refused. */
  onended(): void {
    if (!this.#endSent) return
    this.#delivered = true
    const finished = this.#finishing
    this.#finishing = undefined
    finished?.()
    if (this.#read) this.parted()
  }

  /**
   * The peer reads no more. Where nothing is lost by that, this direction ends with the other one.
   * @param lost  some of what was written was not taken
   */
  onunwanted(lost: boolean): void {
    if (this.destroyed || this.#unwanted || this.#delivered) return
    this.#unwanted = true
    if (lost || this.writableLength > 0) this.destroy(refused())
    else if (this.#endSent) this.onended()
    else if (this.readableEnded) this.end()
    else this.once('end', () => { this.end() })
  }

  /** There may be room again: goes on with what waits. */
  resumed(): void {
    if (this.#waiting) this.port.wait(this)
  }

  /** @returns whether it wants another turn */
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
      raise(thrown) // of a listener for 'drain'
    }
    return this.#waiting !== undefined
  }

  /**
   * Open for writing, with nothing on its way, for so long that a stage which closes need not wait for it. Where
   * the last thing was a question, an answer may take as long as a stage waits at all.
   */
  idleAt(now: number): boolean {
    if (!this.opener || this.writableEnded || this.writableLength > 0 || this.readableLength > 0) return false
    const asked = this.opener === 'peer' ? this.movedIn || this.#ended : !this.movedIn && !this.#ended && this.movedAt > -Infinity
    return now - this.movedAt > (asked ? ASKED_MS : IDLE_MS)
  }

  /** It is destroyed, and the peer has still to read what was ended. */
  get lingers(): boolean {
    return this.#endSent && !this.#delivered && this.errored === null
  }

  /** Whether something of it is still to come, to be read here, or to be read by the peer. */
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

  /** Called before what is being read has left the buffer: what that makes room for is known a moment later. */
  override _read(): void {
    this.#start()
    this.#asked = !this.#give()
    process.nextTick(grant, this)
  }

  /** `_read` is not called again before something comes, and nothing may come before what is taken here was given back. */
  override read(size?: number): unknown {
    const chunk: unknown = super.read(size)
    if (chunk !== null && this.#consumed >= this.port.worthBytes) process.nextTick(grant, this)
    return chunk
  }

  /** Gives back what was taken since, once it is worth a message. */
  grant(): void {
    const consumed = this.#consumed
    if (consumed < this.port.worthBytes || this.#ended || this.destroyed) return
    this.port.credit(this, consumed)
  }

  /** So many of the items that came are in use. */
  took(items: number): void {
    if (!this.destroyed) this.port.took(this, items)
  }

  /** Wants nothing more of what the peer writes; the other direction goes on. */
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

  /** So many of the bytes that were read are only put aside: what can come instead of them must wait. */
  keep(bytes: number): void {
    this.#kept = bytes
    if (bytes === 0) for (const fn of this.#unconsumed.splice(0)) fn()
    if (this.#consumed >= this.port.worthBytes) process.nextTick(grant, this)
  }

  /** Of what is owed, what the reader has. */
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
      if (this.#unwanted) this.onended() // its reader has said so before
    })
  }

  /** Node destroys what has ended in both directions: not before its reader has taken what it put aside. */
  override destroy(error?: Error): this {
    if (isLetGo(this, error)) return this.end()
    if (error || this.#kept === 0 || !this.readableEnded || !this.writableFinished) return super.destroy(error)
    this.#unconsumed.push(() => super.destroy())
    return this
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    if (this.incomplete) {
      // what was ended is whole, and its reader need not lose it
      if (error || !this.#endSent) this.port.reset(this, error)
      else if (!this.#read) this.#unwant()
    }
    this.port.closed(this)
    this.abandon(error)
    done(error)
  }

  /** Node tells those who wait for an end, but nobody while a write is under way: it ends with the error of the stream. */
  protected abandon(error: Error | null): void {
    const done = this.#waiting?.done
    this.#waiting = this.#gathered = undefined
    if (!done) return
    const destroyed = 'the stream was destroyed while it was written to'
    process.nextTick(done, error ?? new StageError('CANCELLED', destroyed, { executed: 'unknown' }))
  }
}

socketlike(Channel.prototype)

type Done = (error?: Error | null) => void

export function refused(): StageError {
  const why = 'the other end reads no more of this stream, and what was written to it last is lost'
  return new StageError('CANCELLED', why, { executed: 'unknown' })
}

const grant = (channel: Channel): void => channel.grant()

/** A piece outlives the chunk that it came in; a large one may keep it, a small one must not. */
function own(piece: Buffer): Buffer {
  return piece.length * 4 >= piece.buffer.byteLength ? piece : Buffer.from(piece)
}

/** What a listener throws while a frame is being read is no breach of the peer's, and nobody's here to catch. */
const raise = (thrown: unknown): void => process.nextTick(() => { throw thrown })
