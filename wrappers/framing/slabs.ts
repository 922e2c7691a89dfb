import { Writer } from '../../src/writer.js'

const SLAB_MIN = 1024
/** Two pieces of a stream, with their heads and a few small messages between them. */
const SLAB_MAX = 66 * 1024

/** Memory that messages are written into, and that goes to the carrier as it is. */
export class Slab extends Writer {
  /** Bytes that the carrier was given and has not let go of. */
  out = 0
}

/**
 * What waits to be written, in one piece. Memory is not written twice where a layer below may hold a chunk long after it
 * said that it took it; where the carrier gives back, two slabs serve for ever.
 */
export class Slabs {
  current = new Slab(SLAB_MIN)
  /** Where in the current one begins what was not taken. */
  #from = 0
  #spare: Slab | undefined

  /** @param again  what was given back may be written again */
  constructor(private readonly again: boolean) {}

  /** Bytes that were not taken. */
  get size(): number {
    return this.current.at - this.#from
  }

  /** The current one, with room for so many more bytes. */
  room(size: number): Slab {
    const { current } = this
    if (this.again && current.out === 0 && this.#from === current.at) this.#from = current.at = 0
    return current.at + size > current.bytes.length ? this.#move(size) : current
  }

  /** Takes so much from the front; `back` follows. */
  take(size: number): Buffer {
    const { current } = this
    const { bytes, at } = current
    const from = this.#from
    this.#from = from + size
    current.out += size
    // what is left of the slab serves the next batch, if one like this fits; the next slab is as large as this link's traffic asks for
    if (this.#from === at && (bytes.length - at < Math.max(SLAB_MIN, size) || bytes.length > SLAB_MAX)) {
      this.#fresh(Math.min(SLAB_MAX, Math.max(SLAB_MIN, size * 8)))
    }
    return bytes.subarray(from, from + size)
  }

  /** Takes what was written from `at` on, with its memory where it is large: to copy 4 MiB holds up everybody else. */
  cut(at: number): Buffer {
    const { current } = this
    const { bytes } = current
    const piece = bytes.subarray(at, current.at)
    current.at = at
    if (piece.length <= SLAB_MAX) return Buffer.from(piece)
    const rest = bytes.subarray(this.#from, at)
    const next = this.#fresh(Math.max(SLAB_MAX, rest.length))
    next.at = rest.copy(next.bytes)
    return piece
  }

  /** The carrier has let go of so much of a slab. */
  back(slab: Slab, size: number): void {
    slab.out -= size
    if (!this.again || slab.out > 0 || slab === this.current || slab.bytes.length !== SLAB_MAX) return
    slab.at = 0
    this.#spare = slab
  }

  /** With nothing in it, holds no more memory than a quiet link needs. */
  shrink(): void {
    this.#spare = undefined
    if (this.size === 0) this.#fresh(SLAB_MIN)
  }

  /** What was not taken goes into another one: growing would copy what was taken as well. */
  #move(size: number): Slab {
    const { bytes, at } = this.current
    const rest = bytes.subarray(this.#from, at)
    const next = this.#fresh(Math.max(bytes.length, rest.length * 2, rest.length + size))
    next.at = rest.copy(next.bytes)
    return next
  }

  #fresh(size: number): Slab {
    const spare = size === SLAB_MAX ? this.#spare : undefined
    if (spare) this.#spare = undefined
    this.#from = 0
    return this.current = spare ?? new Slab(size)
  }
}
