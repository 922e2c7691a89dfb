/**
 * A growing buffer that several parts append to: a layer begins a frame in it, the codec writes its value behind, and
 * the framing hands all frames of one tick to the carrier as one chunk. Nobody keeps `bytes`: it may be replaced.
 */
export class Writer {
  bytes: Buffer
  /** The place of the next byte; moving it back discards the bytes behind it. */
  at = 0

  constructor(size = 4096) {
    this.bytes = Buffer.allocUnsafeSlow(size)
  }

  /** Makes room for `size` more bytes. @param most  the size that it grows to in advance at most */
  need(size: number, most = Infinity): void {
    if (this.at + size > this.bytes.length) this.#grow(size, most)
  }

  #grow(size: number, most: number): void {
    const grown = Buffer.allocUnsafeSlow(Math.max(Math.min(this.bytes.length * 2, most), this.at + size))
    this.bytes.copy(grown, 0, 0, this.at)
    this.bytes = grown
  }
}
