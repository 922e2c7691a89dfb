import { Readable, Writable } from 'node:stream'

/** A prime, so that a missing or repeated piece of any size is detected; the length detects the rest. */
const PERIOD = 1_048_583
const PIECE = 64 * 1024
/** The longest piece that is compared at once. */
const LONGEST = 1024 * 1024

const block = make()

/** Cheap pseudo-random bytes from a fixed seed; the beginning is repeated at the end, so that no piece wraps around. */
function make(): Buffer {
  const bytes = Buffer.allocUnsafeSlow(PERIOD + LONGEST)
  let state = 0x9e3779b9
  for (let at = 0; at < PERIOD; at++) {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    bytes[at] = state
  }
  bytes.copy(bytes, PERIOD, 0, LONGEST)
  return bytes
}

const piece = (at: number, size: number): Buffer => block.subarray(at % PERIOD, at % PERIOD + size)

/** That many bytes of the pattern. */
export class Pattern extends Readable {
  #at = 0

  constructor(private readonly size = Infinity) {
    super({ highWaterMark: PIECE })
  }

  override _read(): void {
    const size = Math.min(PIECE, this.size - this.#at)
    if (size === 0) return void this.push(null)
    const next = piece(this.#at, size)
    this.#at += size
    this.push(next)
  }
}

/** The pace of a reader that takes that many bytes, and then nothing for a while. */
export interface Pace {
  burstBytes: number
  pauseMs: number
}

/** Reads the pattern, and fails on any other byte. */
export class Check extends Writable {
  at = 0
  #burst = 0

  constructor(private readonly pace?: Pace) {
    super({ highWaterMark: PIECE })
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error) => void): void {
    for (let from = 0; from < chunk.length; from += LONGEST) {
      const part = chunk.subarray(from, from + LONGEST)
      if (part.compare(piece(this.at, part.length)) !== 0) return done(new Error(`another byte than was sent, at or behind ${this.at}`))
      this.at += part.length
    }
    this.#burst += chunk.length
    if (!this.pace || this.#burst < this.pace.burstBytes) return done()
    this.#burst = 0
    setTimeout(done, this.pace.pauseMs)
  }
}
