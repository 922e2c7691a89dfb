import { Duplex } from 'node:stream'

/** One end of a pair of streams in memory: each end reads the writes of the other, backpressure and ends included. */
class End extends Duplex {
  other!: End
  #taken: (() => void) | undefined

  override _read(): void {
    const taken = this.#taken
    this.#taken = undefined
    taken?.()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    process.nextTick(() => {
      if (this.other.destroyed || this.other.push(chunk)) done()
      else this.other.#taken = done
    })
  }

  override _final(done: () => void): void {
    process.nextTick(() => {
      if (!this.other.destroyed) this.other.push(null)
      done()
    })
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this._read()
    // after a goodbye from both sides the other end may still have data to read; anything else cuts it off
    const clean = !error && this.writableFinished && this.readableEnded
    if (!clean) process.nextTick(() => this.other.destroy(error ?? undefined))
    done(error)
  }
}

/** Two streams, each the other's end: the carrier of a stage's link to itself. */
export function pair(): [Duplex, Duplex] {
  const a = new End()
  const b = new End()
  a.other = b
  b.other = a
  return [a, b]
}
