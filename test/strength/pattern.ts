import { Readable, Writable } from 'node:stream'

/** A prime, so that a piece that is missing or comes twice shows, whatever its size; the length tells the rest. */
const PERIOD = 1_048_583
const PIECE = 64 * 1024
/** The longest that is compared in one go. */
const LONGEST = 1024 * 1024

const block = make()

/** Cheap bytes without order, from a fixed seed; the beginning comes again at the end, so that no piece wraps around. */
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

/** So many bytes of the pattern. */
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

/** A reader that takes so much, and then nothing for a while. */
export interface Pace {
  burstBytes: number
  pauseMs: number
}

/** Takes the pattern, and fails where another byte comes. */
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
