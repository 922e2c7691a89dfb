import { Duplex } from 'node:stream'
import { StageError } from '../../src/errors.js'

/** What a channel needs of the connection that carries it. */
export interface ChannelPort {
  /** Largest piece of one frame, in bytes. */
  readonly maxPieceBytes: number
  /** The carrier has more than enough to write: wait for `pump`. */
  congested(): boolean
  data(id: number, piece: Buffer): void
  end(id: number): void
  /** The reader of this side has seen the end of the other. */
  ended(id: number): void
  reset(id: number, error: Error | null): void
  credit(id: number, bytes: number): void
  /** It is over on this side. */
  closed(id: number): void
}

/** How many bytes a sender may be ahead of the reader. */
const WINDOW_BYTES = 256 * 1024

/**
 * One of the streams of a link. The reader grants bytes as it takes them and the writer never sends more, so that
 * a slow reader holds up its own stream and no other.
 */
export class Channel extends Duplex {
  protected port!: ChannelPort
  #credit = WINDOW_BYTES
  #received = 0
  #granted = WINDOW_BYTES
  #waiting: { rest: Buffer; done: () => void } | undefined
  #ended = false
  #finishing: (() => void) | undefined

  /**
   * @param accepted  the peer opened it: it ends with what it read, as an accepted socket does, so that one who only
   *                  reads leaves nothing open. `allowHalfOpen = true` before the end lets it answer later.
   */
  constructor(readonly id: number, port?: ChannelPort, accepted = false) {
    super({ allowHalfOpen: !accepted, readableHighWaterMark: WINDOW_BYTES / 4, writableHighWaterMark: WINDOW_BYTES / 4 })
    if (port) this.port = port
    this.on('error', () => {}) // nobody need listen for the process to live on
  }

  // ── from the peer ───────────────────────────────────────────────────────────────────────────────────────────────

  /** @throws StageError PROTOCOL_ERROR when the peer sent more than it was granted */
  ondata(piece: Buffer): void {
    this.#received += piece.length
    if (this.#ended || this.#received > this.#granted) throw new StageError('PROTOCOL_ERROR', this.#ended ? 'data behind the end of a stream' : 'more data on a stream than was granted')
    if (!this.destroyed) this.push(piece)
  }

  onend(): void {
    this.#ended = true
    if (this.destroyed) return
    this.push(null)
    // with nothing left to read there is nothing that could still fail
    if (this.readableLength === 0) this.port.ended(this.id)
    else this.once('end', () => this.port.ended(this.id))
  }

  /** All that was written has been read: only now is it finished, and not while it could still be refused. */
  onended(): void {
    const finished = this.#finishing
    this.#finishing = undefined
    finished?.()
  }

  oncredit(bytes: number): void {
    this.#credit += bytes
    this.pump()
  }

  /** There is room again: goes on with what waited. */
  pump(): void {
    const waiting = this.#waiting
    if (!waiting) return
    this.#waiting = undefined
    this.#send(waiting.rest, waiting.done)
  }

  /** Whether it has begun or ended without being whole. */
  get incomplete(): boolean {
    return !(this.#ended && this.writableFinished)
  }

  // ── from the user ───────────────────────────────────────────────────────────────────────────────────────────────

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.#send(chunk, done)
  }

  /** Called before what is being read has left the buffer: what that makes room for is known a moment later. */
  override _read(): void {
    process.nextTick(grant, this)
  }

  /** Grants as much as was taken since, in halves of the window and not for every chunk. */
  grant(): void {
    const ahead = this.#granted - (this.#received - this.readableLength)
    if (WINDOW_BYTES - ahead < WINDOW_BYTES / 2 || this.#ended || this.destroyed) return
    this.#granted += WINDOW_BYTES - ahead
    this.port.credit(this.id, WINDOW_BYTES - ahead)
  }

  override _final(done: () => void): void {
    this.#finishing = done
    this.port.end(this.id)
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#waiting = undefined
    if (this.incomplete) this.port.reset(this.id, error)
    this.port.closed(this.id)
    done(error)
  }

  #send(chunk: Buffer, done: () => void): void {
    let at = 0
    while (at < chunk.length && this.#credit > 0 && !this.port.congested()) {
      const size = Math.min(chunk.length - at, this.#credit, this.port.maxPieceBytes)
      this.port.data(this.id, chunk.subarray(at, at + size))
      this.#credit -= size
      at += size
    }
    if (at === chunk.length) done()
    else this.#waiting = { rest: chunk.subarray(at), done }
  }
}

const grant = (channel: Channel): void => channel.grant()
