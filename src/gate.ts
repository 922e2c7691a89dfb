import { Duplex } from 'node:stream'

/** Members of a socket that a wrapper may use. */
const SETTINGS = ['setNoDelay', 'setKeepAlive', 'setTimeout', 'ref', 'unref'] as const
const FACTS = [
  'localAddress', 'localPort', 'localFamily', 'remoteAddress', 'remotePort', 'remoteFamily', 'bytesRead', 'bytesWritten', 'givesBack',
] as const

type Settings = Partial<Record<(typeof SETTINGS)[number], (...args: unknown[]) => unknown>>

/**
 * The carrier, as a chain with wrappers of somebody's own sees it. The chain is built on the gate while the handshake still
 * uses the carrier: until `open()` nothing is read, and writes wait. A wrapper may take over the descriptor of a socket as
 * soon as it receives the socket (TLS does), so holding back the carrier's own reads and writes would not do.
 */
export class Gate extends Duplex {
  isOpen = false
  #held: (() => void) | undefined
  #innerClosed = false

  constructor(private readonly inner: Duplex) {
    super({ readableHighWaterMark: inner.readableHighWaterMark, writableHighWaterMark: inner.writableHighWaterMark })
    this.on('error', () => {}) // an error without a listener must not end the process
    for (const name of SETTINGS) {
      const setting = (inner as Settings)[name]
      if (typeof setting !== 'function') continue
      const value = (...args: unknown[]): this => {
        setting.apply(inner, args)
        return this
      }
      Object.defineProperty(this, name, { value })
    }
    for (const name of FACTS) if (name in inner) Object.defineProperty(this, name, { get: (): unknown => Reflect.get(inner, name) })
    inner.on('timeout', () => this.emit('timeout'))
    inner.on('error', (error) => this.destroy(error))
    inner.on('close', () => {
      this.#innerClosed = true
      if (!inner.readableEnded || !inner.writableFinished) this.destroy()
    })
  }

  /** The handshake is over: everything passes from now on. */
  open(): void {
    const { inner } = this
    this.isOpen = true
    inner.on('data', (chunk: Buffer) => { if (!this.push(chunk)) inner.pause() })
    inner.on('end', () => this.push(null))
    if (inner.readableEnded) this.push(null)
    const held = this.#held
    this.#held = undefined
    held?.()
  }

  override _read(): void {
    if (this.isOpen) this.inner.resume()
  }

  override _write(chunk: Buffer, encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#pass(() => this.inner.write(chunk, encoding, done))
  }

  override _writev(chunks: { chunk: Buffer; encoding: BufferEncoding }[], done: (error?: Error | null) => void): void {
    this.#pass(() => {
      this.inner.cork()
      chunks.forEach(({ chunk, encoding }, i) => this.inner.write(chunk, encoding, i === chunks.length - 1 ? done : undefined))
      this.inner.uncork()
    })
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#pass(() => this.inner.end(done))
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#held = undefined
    if (this.#innerClosed || !this.isOpen) return done(error) // the handshake still has to send its last message
    this.inner.once('close', () => done(error))
    this.inner.destroy(error ?? undefined)
  }

  #pass(step: () => void): void {
    if (this.isOpen) step()
    else this.#held = step
  }
}
