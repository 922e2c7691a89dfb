import { Duplex, type Transform } from 'node:stream'
import pump from 'pump'
import { destroy } from './destroy.js'

/**
 * The stream that a wrapper returns: what comes in from `inner` goes through `incoming`, what is written goes through
 * `outgoing` to `inner`. Pressure passes, an end passes in its own direction only, and whatever breaks one of the
 * three breaks them all with the same error. `close` comes last, when `inner` has closed.
 */
export function around(inner: Duplex, incoming: Transform, outgoing: Transform): Duplex {
  return new Around(inner, incoming, outgoing)
}

class Around extends Duplex {
  #wanted = false
  #sent: ((error?: Error | null) => void) | undefined
  #carried = false
  #innerClosed = false

  constructor(private readonly inner: Duplex, private readonly incoming: Transform, private readonly outgoing: Transform) {
    super({ allowHalfOpen: true })
    // an error that nobody listens to must not end the process
    this.on('error', () => {})
    // before pump, which destroys the others without the error
    for (const part of [inner, incoming, outgoing]) part.on('error', (error) => this.destroy(error))
    inner.once('close', () => { this.#innerClosed = true })
    // an error that comes only here is pump's word for a part that closed without one
    pump(inner, incoming, (error) => { if (error) this.destroy() })
    pump(outgoing, inner, (error) => {
      if (error) this.destroy()
      this.#carried = !error
      this.#sent?.()
    })
    incoming.on('readable', () => {
      this.#forward()
      if (incoming.readableLength === 0) incoming.read(0) // lets `end` come though nobody reads, as a socket's would
    })
    incoming.on('end', () => {
      this.push(null)
      this.read(0)
    })
    if (inner.destroyed) process.nextTick(() => this.destroy(inner.errored ?? undefined))
  }

  override _read(): void {
    this.#wanted = true
    this.#forward()
  }

  #forward(): void {
    let chunk: unknown
    while (this.#wanted && (chunk = this.incoming.read()) !== null) this.#wanted = this.push(chunk)
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    // a transform lets go of a chunk before the carrier has taken it; whoever writes may reuse it then
    this.outgoing.write(Buffer.from(chunk), done)
  }

  override _final(done: (error?: Error | null) => void): void {
    if (this.#carried) return done()
    this.#sent = done
    this.outgoing.end()
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    const { inner, incoming, outgoing } = this
    if (this.#innerClosed || inner.closed) done(error)
    else inner.once('close', () => done(error))
    destroy(inner, error ?? undefined)
    incoming.destroy()
    outgoing.destroy()
  }
}
