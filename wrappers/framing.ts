/**
 * Messages on a byte stream. A frame is a 4-byte head, big-endian, and its payload: the head's upper byte is the kind
 * (0 data, 1 ping, 2 pong), the lower three are the length of the payload in bytes.
 *
 * Alone it is a Duplex: each write becomes a frame (a larger one several), each frame a chunk. The next wrapper may take
 * the faster lane instead: `begin` / `commit` append frames to one buffer that is written once per tick, and `onframe`
 * is handed each payload inside the chunk it came in. The bytes on the wire are the same.
 */
import { Duplex } from 'node:stream'
import { systemClock } from '../src/clock.js'
import { destroy } from '../src/destroy.js'
import { StageError } from '../src/errors.js'
import { outside } from '../src/outside.js'
import { DEFAULTS, frameBytes, type FramingOptions } from './framing/options.js'
import { Slabs, type Slab } from './framing/slabs.js'
import type { Writer } from '../src/writer.js'
import type { Clock, Layer, Timer, Top } from '../src/types.js'

const HEAD = 4
const DATA = 0
const PING = 1
const PONG = 2
/** The most that is handed to the carrier at once, so that it can be seen to move. */
const WRITE_MAX = 256 * 1024
/** A frame that was begun is whole by then. */
const FRAME_MS = 10_000
/** A peer takes something of what waits for it by then. */
const STALL_MS = 30_000
/** Later than this a timer says more about our own loop than about the peer. */
const LATE_MS = 500
const LOOKS_MAX = 3
/** Pings that a peer may send within ten seconds; its own pulse needs one. */
const PINGS_MAX = 100
const PINGS_MS = 10_000

export type { FramingOptions } from './framing/options.js'

/** A stream of frames. */
export class Framed extends Duplex implements Top {
  readonly maxFrameBytes: number
  /** Takes each payload instead of the readable side: `bytes` from `start` to `end`, good only during the call. */
  onframe: ((bytes: Buffer, start: number, end: number) => void) | undefined
  /**
   * Asked with the beginning of a payload whose rest has not come: whoever takes it gets the rest as it comes, by
   * `onrest`, so that nothing has to be joined.
   */
  onpiece: ((bytes: Buffer, start: number, end: number) => boolean) | undefined
  onrest: ((bytes: Buffer, start: number, end: number) => void) | undefined
  /** What `onframe` is given if it came in several chunks: memory that nobody else has. */
  joined: Buffer | undefined
  /** Called when everything that was held has been handed to the carrier. */
  onflushed: (() => void) | undefined
  /** The batch of this tick. */
  readonly #slabs: Slabs
  #begun = -1
  #scheduled = false
  #blocked = false
  #inFlight = 0
  #written: (() => void)[] = []
  /** What came of a frame that is not whole yet: so many bytes, first of its head, then of its payload. */
  #partial = 0
  readonly #head = Buffer.alloc(HEAD)
  #joining: Buffer | undefined
  /** What is still to come of a payload that is passed on in pieces. */
  #rest = 0
  /** The carrier has ended, between frames. */
  #whole = false
  #pings: { resolve(): void; reject(error: Error): void }[] = []
  #pinged = 0
  #pingedSince = -Infinity
  /** When the frame that is not whole was begun. */
  #partialSince = 0
  /** When the carrier last took something of what waited. */
  #movedAt = 0
  #guard: Timer | undefined
  /** Not so streamx and the streams before Node 0.10: of what they have not taken only `drain` tells. */
  readonly #callsBack: boolean

  constructor(private readonly inner: Top, options: FramingOptions = {}, private readonly clock: Clock = systemClock) {
    super({ readableObjectMode: true, writableHighWaterMark: 64 * 1024 })
    this.maxFrameBytes = frameBytes(options)
    this.#slabs = new Slabs(inner.givesBack ?? false)
    this.#callsBack = '_writableState' in inner && !('destroying' in inner)
    this.on('error', () => {}) // an error that nobody listens to must not end the process
    inner.on('data', (chunk: Buffer) => this.#take(chunk))
    inner.on('drain', () => this.#drained())
    inner.on('end', () => this.#ended())
    inner.on('error', (error) => this.destroy(error))
    inner.on('close', () => { if (!this.#whole) this.destroy(cut('the connection was cut off')) })
  }

  /** Bytes that are held for the peer: not yet written, or not yet taken by the carrier. */
  get held(): number {
    return this.#slabs.size + this.#inFlight
  }

  /** The carrier takes nothing at the moment. */
  get full(): boolean {
    return this.#blocked
  }

  /**
   * Begins a frame: the payload is appended to the writer that is returned, then `commit` or `cancel` follows.
   * @param size  bytes of payload that are sure to come
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

  /** A frame was begun and is not yet whole. */
  get encoding(): boolean {
    return this.#begun >= 0
  }

  /** Bytes of payload written so far into the frame that was begun. */
  get begun(): number {
    return this.#slabs.current.at - this.#begun - HEAD
  }

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

  /** Takes back what was begun, to be sent later or in parts. */
  detach(): Buffer {
    const from = this.#begun
    this.#begun = -1
    return this.#slabs.cut(from).subarray(HEAD)
  }

  /** Takes back what was begun. */
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
      // a link that was busy once need not hold the memory for it for ever
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
    outside(process.nextTick, undefined, this.#flushNow) // the carrier calls back long after the one who wrote first
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
    else this.onflushed?.() // a carrier that takes all it is given says only by this that it has done so
  }

  #drained(): void {
    this.#blocked = false
    this.#flush()
  }

  /** Whoever waited for room goes on. */
  #roomy(): void {
    for (const done of this.#written.splice(0)) done()
    this.onflushed?.()
  }

  #control(kind: number): void {
    this.begin().bytes.writeUInt32BE(kind << 24, this.#begun)
    this.#begun = -1
    this.#schedule()
  }

  // ── in: out of the chunk, without a copy where the frame lies in one ────────────────────────────────────────────

  #take(chunk: Buffer): void {
    if (this.destroyed) return // not all streams are silent from then on
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

  /** A frame has begun and not ended. */
  get #amidst(): boolean {
    return this.#partial > 0 || this.#rest > 0
  }

  /**
   * Takes what comes of a frame that lies in several chunks, and hands it on once it is whole; its memory is as large as
   * its head says, which has been checked.
   * @returns where the chunk goes on
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

  /** The length in the head at `at`, or -1 after the stream was destroyed for it. */
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

  // ── neither end may keep the other waiting for ever ─────────────────────────────────────────────────────────────

  /** One timer while something is half done, however often that changes: at most `FRAME_MS` ahead, so never too late. */
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
      // what we wait for may be waiting behind this timer: poll before judging, but not for ever where we are always late
      this.#guard = this.clock.setTimeout(() => this.#judge(now + LATE_MS, looks + 1), LATE_MS)
    } else if (this.#amidst && now - this.#partialSince >= FRAME_MS) {
      this.destroy(new StageError('PROTOCOL_ERROR', `a frame was begun and not finished within ${FRAME_MS} ms`))
    } else if (this.#blocked && now - this.#movedAt >= STALL_MS) {
      this.destroy(new StageError('SLOW_PEER', `the peer took nothing of ${this.held} bytes for ${STALL_MS} ms`, { executed: 'unknown' }))
    } else if (this.#amidst || this.#blocked) this.#watch()
  }

  /** An end in mid-frame is an error, an end between frames a goodbye. */
  #ended(): void {
    if (this.#amidst) return void this.destroy(cut('the connection ended in the middle of a frame'))
    this.#whole = true
    this.push(null)
  }
}

const cut = (why: string): StageError => new StageError('DISCONNECTED', why, { executed: 'unknown' })

/** Frames on one stream, for a chain of one's own: `stage.addStreamWrapper(socket => frame(socket))`. */
export const frame = (stream: Duplex, options?: FramingOptions): Framed => new Framed(stream, options)

/** The first layer of the default chain. */
export function framing(options: FramingOptions = {}): Layer<Duplex, Framed> {
  const bytes = frameBytes(options)
  const name = bytes === DEFAULTS.maxFrameBytes ? 'framing' : `framing:${bytes}`
  return { name, infallible: true, mount: ({ clock }) => ({ wrap: (stream) => new Framed(stream, options, clock) }) }
}
