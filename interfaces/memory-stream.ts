import { Duplex } from 'node:stream'
import { isError } from '../src/realm.js'
import type { Clock, Timer } from '../src/types.js'

// A stream inside one process that behaves like TCP where it matters: each direction ends separately, a broken stream is
// reset, a slow reader holds back its writer, and data arrives in order or not at all.

/** The network that carries a stream. */
export interface Carrier {
  readonly clock: Clock
  /** Streams with something in flight, and streams not destroyed yet. */
  readonly streams: Set<MemoryStream>
  /** True while nothing is delivered in this direction; `schedule` is called when that is over. */
  isHeld(from: string, to: string): boolean
  /** Arrival time, by the clock, of something sent now. */
  arrival(from: string, to: string): number
  /** Runs `fn` without delay, but asynchronously. */
  soon(fn: () => void): void
  /** A dial has arrived at this end, which is now handed to the listener or refused. */
  accept(stream: MemoryStream): void
}

const WINDOW = 64 * 1024
const ignore = () => {}

/** An error in the form of the system's own. */
export const failure = (code: string, syscall: string, address: string): Error =>
  Object.assign(new Error(`${syscall} ${code} ${address}`), { code, syscall, address })

type Parcel = { readonly at: number; readonly what: Buffer | 'dial' | 'accepted' | 'end' | 'gone' | Error }

/** One end of a stream, and its sent parcels in flight. */
export class MemoryStream extends Duplex {
  other!: MemoryStream
  /** Called at the dialling end when the other end was handed to the listener. */
  onaccepted: () => void = ignore
  #flight: Parcel[] = []
  #timer: Timer | undefined
  #scheduled = false
  /** Bytes sent that the other end's reader has not consumed. */
  #unread = 0
  #blocked: ((error?: Error) => void) | undefined
  /** Bytes received that our reader has not consumed. */
  #owed = 0
  #otherGone = false
  #ended = false

  constructor(private readonly carrier: Carrier, readonly from: string, readonly to: string) {
    super({ allowHalfOpen: true, highWaterMark: WINDOW })
    this.on('error', ignore)
    carrier.streams.add(this)
  }

  send(what: Parcel['what']): void {
    this.#flight.push({ at: this.carrier.arrival(this.from, this.to), what })
    this.schedule()
  }

  /** The first parcel in flight arrives next, even if later parcels have an earlier arrival time. */
  schedule(): void {
    const first = this.#flight[0]
    if (this.#scheduled || !first || this.carrier.isHeld(this.from, this.to)) return
    this.#scheduled = true
    const wait = first.at - this.carrier.clock.now()
    if (wait > 0) this.#timer = this.carrier.clock.setTimeout(this.#deliver, wait, true)
    else this.carrier.soon(this.#deliver)
  }

  #deliver = (): void => {
    this.#scheduled = false
    while (this.#flight[0] && !this.carrier.isHeld(this.from, this.to) && this.#flight[0].at <= this.carrier.clock.now()) {
      const { what } = this.#flight.shift() as Parcel
      this.other.#receive(what)
    }
    this.schedule()
    this.#forget()
  }

  #receive(what: Parcel['what']): void {
    if (what === 'dial') this.carrier.accept(this)
    else if (what === 'accepted') this.onaccepted()
    else if (Buffer.isBuffer(what)) this.#take(what)
    else if (isError(what)) this.destroy(what)
    else {
      this.#otherGone = what === 'gone'
      if (this.#otherGone) this.#unblock(failure('EPIPE', 'write', this.to))
      if (!this.#ended && !this.destroyed) {
        this.push(null)
        this.read(0) // emits `end` although nobody reads, as a socket does
      }
      this.#ended = true
    }
  }

  #take(bytes: Buffer): void {
    // data written to a destroyed end is lost, and the writer must learn of it
    if (this.destroyed) this.send(failure('ECONNRESET', 'read', this.from))
    else if (this.push(bytes)) this.other.#taken(bytes.length)
    else this.#owed += bytes.length
  }

  override _read(): void {
    const owed = this.#owed
    this.#owed = 0
    if (owed > 0) this.other.#taken(owed)
  }

  #taken(size: number): void {
    this.#unread -= size
    if (this.#unread <= WINDOW) this.#unblock()
  }

  #unblock(error?: Error): void {
    const done = this.#blocked
    this.#blocked = undefined
    if (done) process.nextTick(done, error)
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error) => void): void {
    if (this.#otherGone) return done(failure('EPIPE', 'write', this.to))
    this.#unread += chunk.length
    // like a kernel buffer: it keeps a copy, and the writer waits while more than 64 KiB are unread
    this.send(Buffer.from(chunk))
    if (this.#unread <= WINDOW) done()
    else this.#blocked = done
  }

  override _final(done: () => void): void {
    this.send('end')
    done()
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    // discarding data that `write` had accepted is a reset, not a goodbye
    const lost = error !== null || this.writableLength > 0
    const parted = !lost && this.writableFinished && this.readableEnded
    if (!parted && !this.other.destroyed) this.send(lost ? failure('ECONNRESET', 'read', this.to) : 'gone')
    this.#unblock(error ?? failure('ECONNRESET', 'write', this.to))
    this.#forget()
    done(error)
  }

  /** Breaks this end, as a failing network would. */
  reset(): void {
    this.destroy(failure('ECONNRESET', 'read', this.to))
    this.#timer?.cancel()
    this.#flight = []
    this.#forget()
  }

  #forget(): void {
    if (this.destroyed && this.#flight.length === 0) this.carrier.streams.delete(this)
  }
}
