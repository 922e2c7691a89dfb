/**
 * Messages on a byte stream. A frame is a 4-byte head, big-endian, and its payload: the head's upper byte is the kind
 * (0 data, 1 ping, 2 pong), the lower three are the length of the payload in bytes.
 *
 * Used alone, the wrapper is a Duplex: each write becomes a frame (a large write several), and each frame a chunk. The next
 * wrapper may use a faster path instead: `begin` and `commit` append frames to one buffer that is written once per tick, and
 * `onframe` receives each payload inside the chunk in which it arrived. The bytes on the wire are the same.
 */
import { Duplex } from 'node:stream'
import { systemClock } from '../src/clock.js'
import { destroy } from '../src/destroy.js'
import { StageError } from '../src/errors.js'
import { knownOptions } from '../src/known-options.js'
import { outside } from '../src/outside.js'
import { DEFAULTS, frameBytes, type FramingOptions } from './framing/options.js'
import { Slabs, type Slab } from './framing/slabs.js'
import type { Writer } from '../src/writer.js'
import type { Clock, Datagrams, Layer, Timer, Top } from '../src/types.js'

const HEAD = 4
const DATA = 0
const PING = 1
const PONG = 2
/** Maximum bytes per write to the carrier, so that progress can be observed. */
const WRITE_MAX = 256 * 1024
/** Time limit for the rest of a frame once it has begun to arrive. */
const FRAME_MS = 10_000
/** How long a peer may leave all waiting data untaken. */
const STALL_MS = 30_000
/** A timer later than this says more about our own event loop than about the peer. */
const LATE_MS = 500
const LOOKS_MAX = 3
/** Pings that a peer may send within ten seconds; the pulse of a link needs one. */
const PINGS_MAX = 100
const PINGS_MS = 10_000

export type { FramingOptions } from './framing/options.js'

/** A stream of frames. */
export class Framed extends Duplex implements Top {
  /** The largest payload of one frame, in bytes. */
  readonly maxFrameBytes: number
  /** Receives each payload in place of the readable side: `bytes` from `start` to `end`, valid only during the call. */
  onframe: ((bytes: Buffer, start: number, end: number) => void) | undefined
  /**
   * Called with the beginning of a payload whose rest has not arrived. If it returns true, `onrest` receives the rest piece
   * by piece, so that no pieces have to be joined.
   */
  onpiece: ((bytes: Buffer, start: number, end: number) => boolean) | undefined
  /** Called with each further piece of a payload whose beginning `onpiece` has taken. */
  onrest: ((bytes: Buffer, start: number, end: number) => void) | undefined
  /** Set during `onframe` if the payload came in several chunks: its memory, which nobody else uses. */
  joined: Buffer | undefined
  /** Called when all held data has been handed to the carrier. */
  onflushed: (() => void) | undefined
  /** Frames to be written in this tick. */
  readonly #slabs: Slabs
  #begun = -1
  #scheduled = false
  #blocked = false
  #inFlight = 0
  #written: (() => void)[] = []
  /** Bytes received of an incomplete frame, counting its head, then its payload. */
  #partial = 0
  readonly #head = Buffer.alloc(HEAD)
  #joining: Buffer | undefined
  /** Bytes missing of a payload that is passed on in pieces. */
  #rest = 0
  /** The carrier has ended, between frames. */
  #whole = false
  #pings: { resolve(): void; reject(error: Error): void }[] = []
  #pinged = 0
  #pingedSince = -Infinity
  /** When the incomplete frame began to arrive. */
  #partialSince = 0
  /** When the carrier last took some of the waiting data. */
  #movedAt = 0
  #guard: Timer | undefined
  /** True if a write calls back once the data was taken. Streamx and streams before Node 0.10 signal that only by `drain`. */
  readonly #callsBack: boolean

  constructor(private readonly inner: Top, options: FramingOptions = {}, private readonly clock: Clock = systemClock) {
    super({ readableObjectMode: true, writableHighWaterMark: 64 * 1024 })
    this.maxFrameBytes = frameBytes(options)
    this.#slabs = new Slabs(inner.givesBack ?? false)
    this.#callsBack = '_writableState' in inner && !('destroying' in inner)
    this.on('error', () => {}) // an error without a listener must not end the process
    inner.on('data', (chunk: Buffer) => this.#take(chunk))
    inner.on('drain', () => this.#drained())
    inner.on('end', () => this.#ended())
    inner.on('error', (error) => this.destroy(error))
    inner.on('close', () => { if (!this.#whole) this.destroy(cut('the connection was cut off')) })
  }

  /** Bytes held for the peer: not yet written, or not yet taken by the carrier. */
  get held(): number {
    return this.#slabs.size + this.#inFlight
  }

  /** The datagrams of the carrier, which are no part of any frame. */
  get datagrams(): Datagrams | undefined {
    return this.inner.datagrams
  }

  /** The carrier accepts no data at the moment. */
  get full(): boolean {
    return this.#blocked
  }

  /**
   * Begins a frame. The caller appends the payload to the returned writer, then calls `commit`, `cancel` or `detach`.
   * @param size  bytes of payload that are certain to follow
   */
  begin(size = 64): Writer {
    if (this.#begun >= 0) {
      throw new StageError('BAD_ARGUMENT', 'a getter or Proxy in the arguments used the same link while they were being encoded')
    }
    const writer = this.#slabs.room(HEAD + size)
    this.#begun = writer.at
    writer.at += HEAD
    return writer
  }

  /** True between `begin` and `commit`, `cancel` or `detach`. */
  get encoding(): boolean {
    return this.#begun >= 0
  }

  /** Bytes of payload written so far into the begun frame. */
  get begun(): number {
    return this.#slabs.current.at - this.#begun - HEAD
  }

  /** Ends the frame that `begin` has begun. */
  commit(): void {
    const { bytes, at } = this.#slabs.current
    const length = at - this.#begun - HEAD
    if (length > this.maxFrameBytes) {
      this.cancel()
      throw new StageError('PROTOCOL_ERROR', `a frame of ${length} bytes; at most ${this.maxFrameBytes} are allowed`)
    }
    bytes.writeUInt32BE(length, this.#begun)
    this.#begun = -1
    this.#schedule()
  }

  /** Removes the begun frame and returns its payload, to be sent later or in parts. */
  detach(): Buffer {
    const from = this.#begun
    this.#begun = -1
    return this.#slabs.cut(from).subarray(HEAD)
  }

  /** Discards the begun frame. */
  cancel(): void {
    this.#slabs.current.at = this.#begun
    this.#begun = -1
  }

  /** Appends a whole payload as one frame. */
  frame(payload: Buffer): void {
    const writer = this.begin(payload.length)
    writer.at += payload.copy(writer.bytes, writer.at)
    this.commit()
  }

  ping(): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.destroyed) return reject(cut('the connection is closed'))
      this.#pings.push({ resolve, reject })
      // a link that was busy once must not keep the memory for that forever
      if (this.#begun < 0) this.#slabs.shrink()
      this.#control(PING)
    })
  }

  override _read(): void {
    if (!this.onframe) this.inner.resume()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    for (let at = 0; at === 0 || at < chunk.length; at += this.maxFrameBytes) this.frame(chunk.subarray(at, at + this.maxFrameBytes))
    if (this.#blocked || this.#slabs.size >= this.writableHighWaterMark) this.#written.push(done)
    else done()
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#flush()
    this.inner.end(this.#callsBack ? () => done() : undefined)
    if (!this.#callsBack) done()
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    const reason = error ?? cut('the connection was closed')
    for (const ping of this.#pings.splice(0)) ping.reject(reason)
    this.#guard?.cancel()
    this.#joining = undefined
    this.#written = []
    destroy(this.inner, error ?? undefined)
    done(error)
  }

  // ── out: one write per tick ─────────────────────────────────────────────────────────────────────────────────────

  #schedule(): void {
    if (this.#scheduled || this.#blocked) return
    this.#scheduled = true
    outside(process.nextTick, undefined, this.#flushNow) // the carrier's callbacks do not belong to the context of the first writer
  }

  readonly #flushNow = (): void => {
    this.#scheduled = false
    this.#flush()
  }

  #flush(): void {
    const slabs = this.#slabs
    while (!this.#blocked) {
      const size = Math.min(slabs.size, WRITE_MAX)
      if (size === 0 || this.destroyed || this.#begun >= 0) break
      const slab = slabs.current
      this.#inFlight += size
      const taken = (): void => this.#taken(slab, size)
      const more = this.inner.write(slabs.take(size), taken)
      if (!this.#callsBack) {
        if (more) process.nextTick(taken)
        else this.inner.once('drain', taken)
      }
      if (more) continue
      this.#blocked = true
      this.#movedAt = this.clock.now()
      this.#watch()
    }
    if (!this.#blocked) this.#roomy()
  }

  #taken(slab: Slab, size: number): void {
    this.#inFlight -= size
    this.#slabs.back(slab, size)
    if (this.#blocked) this.#movedAt = this.clock.now()
    else this.onflushed?.() // a carrier that is never full emits no `drain`, so its callback is the only signal
  }

  #drained(): void {
    this.#blocked = false
    this.#flush()
  }

  /** Lets waiting writers continue. */
  #roomy(): void {
    for (const done of this.#written.splice(0)) done()
    this.onflushed?.()
  }

  #control(kind: number): void {
    this.begin().bytes.writeUInt32BE(kind << 24, this.#begun)
    this.#begun = -1
    this.#schedule()
  }

  // ── in: read from the chunk, without a copy if the chunk contains the whole frame ───────────────────────────────

  #take(chunk: Buffer): void {
    if (this.destroyed) return // some streams emit data even after they were destroyed
    let at = 0
    if (this.#rest > 0) {
      at = Math.min(this.#rest, chunk.length)
      this.#rest -= at
      this.onrest?.(chunk, 0, at)
      if (this.destroyed) return
    } else if (this.#partial > 0) {
      at = this.#join(chunk, 0)
      if (this.#partial > 0 || this.destroyed) return
    }
    while (chunk.length - at >= HEAD) {
      const length = this.#length(chunk, at)
      if (length < 0) return
      const end = at + HEAD + length
      if (end > chunk.length) break
      this.#frame(chunk[at], chunk, at + HEAD, end)
      if (this.destroyed) return
      at = end
    }
    if (at === chunk.length) return
    const begun = chunk.length - at - HEAD
    if (begun > 0 && chunk[at] === DATA && this.onpiece?.(chunk, at + HEAD, chunk.length)) {
      this.#rest = chunk.readUIntBE(at + 1, 3) - begun
    } else this.#join(chunk, at)
    this.#partialSince = this.clock.now()
    this.#watch()
  }

  /** True while a frame has begun to arrive and is incomplete. */
  get #amidst(): boolean {
    return this.#partial > 0 || this.#rest > 0
  }

  /**
   * Collects a frame that spans several chunks, and passes it on once complete. Memory is allocated by the length in the
   * head, which was checked before.
   * @returns the offset in the chunk after the bytes that were used
   */
  #join(chunk: Buffer, at: number): number {
    if (this.#partial < HEAD) {
      const bytes = chunk.copy(this.#head, this.#partial, at)
      this.#partial += bytes
      at += bytes
      if (this.#partial < HEAD) return at
      const length = this.#length(this.#head, 0)
      if (length < 0) return at
      this.#joining = Buffer.allocUnsafeSlow(length)
    }
    const payload = this.#joining!
    const bytes = chunk.copy(payload, this.#partial - HEAD, at)
    this.#partial += bytes
    if (this.#partial < HEAD + payload.length) return at + bytes
    this.#partial = 0
    this.#joining = undefined
    this.joined = payload
    this.#frame(this.#head[0], payload, 0, payload.length)
    this.joined = undefined
    return at + bytes
  }

  /** The payload length in the head at `at`; -1 if the head is invalid, after destroying the stream. */
  #length(bytes: Buffer, at: number): number {
    const kind = bytes[at]
    const length = bytes.readUIntBE(at + 1, 3)
    if (kind === DATA ? length <= this.maxFrameBytes : kind <= PONG && length === 0) return length
    const allowed = kind === DATA ? this.maxFrameBytes : 0
    const tooLong = `a frame of ${length} bytes; at most ${allowed} are allowed`
    this.destroy(new StageError('PROTOCOL_ERROR', kind > PONG ? `a frame of the unknown kind ${kind}` : tooLong))
    return -1
  }

  #frame(kind: number, bytes: Buffer, start: number, end: number): void {
    if (kind === DATA) {
      if (this.onframe) this.onframe(bytes, start, end)
      else if (!this.push(bytes.subarray(start, end))) this.inner.pause()
    } else if (kind === PING) this.#pong()
    else this.#pings.shift()?.resolve()
  }

  #pong(): void {
    const now = this.clock.now()
    if (now - this.#pingedSince > PINGS_MS) {
      this.#pingedSince = now
      this.#pinged = 0
    }
    if (++this.#pinged > PINGS_MAX) this.destroy(new StageError('PROTOCOL_ERROR', `more than ${PINGS_MAX} pings within ${PINGS_MS} ms`))
    else this.#control(PONG)
  }

  // ── neither end may keep the other waiting forever ──────────────────────────────────────────────────────────────

  /** Keeps one timer while a frame is incomplete or the carrier is full, at most `FRAME_MS` ahead, so that it is never too late. */
  #watch(): void {
    if (this.#guard || this.destroyed) return
    const now = this.clock.now()
    const frameDue = this.#amidst ? this.#partialSince + FRAME_MS : Infinity
    const stallDue = this.#blocked ? this.#movedAt + STALL_MS : Infinity
    const due = Math.min(frameDue, stallDue, now + FRAME_MS)
    this.#guard = this.clock.setTimeout(() => this.#judge(due, 0), due - now)
  }

  #judge(due: number, looks: number): void {
    this.#guard = undefined
    const now = this.clock.now()
    if (now - due > LATE_MS && looks < LOOKS_MAX) {
      // the awaited event may be queued behind this timer: poll before judging, but not forever on a loop that is always late
      this.#guard = this.clock.setTimeout(() => this.#judge(now + LATE_MS, looks + 1), LATE_MS)
    } else if (this.#amidst && now - this.#partialSince >= FRAME_MS) {
      this.destroy(new StageError('PROTOCOL_ERROR', `a frame was begun and not finished within ${FRAME_MS} ms`))
    } else if (this.#blocked && now - this.#movedAt >= STALL_MS) {
      this.destroy(new StageError('SLOW_PEER', `the peer read none of the ${this.held} bytes sent to it for ${STALL_MS} ms`, { executed: 'unknown' }))
    } else if (this.#amidst || this.#blocked) this.#watch()
  }

  /** An end in mid-frame is an error, an end between frames a regular close. */
  #ended(): void {
    if (this.#amidst) return void this.destroy(cut('the connection ended in the middle of a frame'))
    this.#whole = true
    this.push(null)
  }
}

const cut = (why: string): StageError => new StageError('DISCONNECTED', why, { executed: 'unknown' })

/** Frames on one stream, for a custom chain: `stage.addStreamWrapper(socket => frame(socket))`. */
export const frame = (stream: Duplex, options?: FramingOptions): Framed => new Framed(stream, options)

/** The first layer of the default chain. */
export function framing(options: FramingOptions = {}): Layer<Duplex, Framed> {
  knownOptions('framing()', options, ['maxFrameBytes'])
  const bytes = frameBytes(options)
  const name = bytes === DEFAULTS.maxFrameBytes ? 'framing' : `framing:${bytes}`
  return { name, infallible: true, mount: ({ clock }) => ({ wrap: (stream) => new Framed(stream, options, clock) }) }
}
