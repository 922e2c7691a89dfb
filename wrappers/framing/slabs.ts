import { Writer } from '../../src/writer.js'

const SLAB_MIN = 1024
/** Room for two pieces of a stream, with their heads and a few small messages between them. */
const SLAB_MAX = 66 * 1024

/** Memory into which messages are written, passed to the carrier without a copy. */
export class Slab extends Writer {
  /** Bytes handed to the carrier and not yet released. */
  out = 0
}

/**
 * Data waiting to be written, in one contiguous piece. Memory is not reused above a layer that may keep a chunk long after its
 * write callback; with a carrier that gives memory back (`givesBack`), two slabs are enough forever.
 */
export class Slabs {
  current = new Slab(SLAB_MIN)
  /** Offset of the untaken data in the current slab. */
  #from = 0
  #spare: Slab | undefined

  /** @param again  memory that was given back may be reused */
  constructor(private readonly again: boolean) {}

  /** Bytes not taken yet. */
  get size(): number {
    return this.current.at - this.#from
  }

  /** The current slab, with room for `size` more bytes. */
  room(size: number): Slab {
    const { current } = this
    if (this.again && current.out === 0 && this.#from === current.at) this.#from = current.at = 0
    return current.at + size > current.bytes.length ? this.#move(size) : current
  }

  /** Takes `size` bytes from the front; the caller later calls `back`. */
  take(size: number): Buffer {
    const { current } = this
    const { bytes, at } = current
    const from = this.#from
    this.#from = from + size
    current.out += size
    // the rest of the slab serves the next batch if one of this size fits; otherwise the next slab is sized by this link's traffic
    if (this.#from === at && (bytes.length - at < Math.max(SLAB_MIN, size) || bytes.length > SLAB_MAX)) {
      this.#fresh(Math.min(SLAB_MAX, Math.max(SLAB_MIN, size * 8)))
    }
    return bytes.subarray(from, from + size)
  }

  /** Removes and returns the data from `at` on; large data keeps its memory, as copying 4 MiB would delay all other links. */
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

  /** The carrier has released `size` bytes of a slab. */
  back(slab: Slab, size: number): void {
    slab.out -= size
    if (!this.again || slab.out > 0 || slab === this.current || slab.bytes.length !== SLAB_MAX) return
    slab.at = 0
    this.#spare = slab
  }

  /** Reduces memory to the needs of a quiet link, if no data is waiting. */
  shrink(): void {
    this.#spare = undefined
    if (this.size === 0) this.#fresh(SLAB_MIN)
  }

  /** Moves the untaken data into a new slab; growing the old slab would copy the taken data too. */
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
