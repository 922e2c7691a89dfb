import { Duplex, type Transform } from 'node:stream'
import pump from 'pump'
import { destroy } from './destroy.js'

/**
 * The stream of a wrapper: data from `inner` goes through `incoming`, and written data goes through `outgoing` to `inner`.
 * Backpressure passes through, an end passes in its own direction only, and a failure of one of the three streams destroys
 * all of them with the same error. `close` comes last, when `inner` has closed.
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
    // an error without a listener must not end the process
    this.on('error', () => {})
    // before pump, which destroys the other streams without the error
    for (const part of [inner, incoming, outgoing]) part.on('error', (error) => this.destroy(error))
    inner.once('close', () => { this.#innerClosed = true })
    // an error that comes only here is pump's own: a part closed without an error
    pump(inner, incoming, (error) => { if (error) this.destroy() })
    pump(outgoing, inner, (error) => {
      if (error) this.destroy()
      this.#carried = !error
      this.#sent?.()
    })
    incoming.on('readable', () => {
      this.#forward()
      if (incoming.readableLength === 0) incoming.read(0) // lets `end` come even if nobody reads, as on a socket
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
    // a copy: a transform releases a chunk before the carrier has taken it, and then the writer may reuse its buffer
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
