import type { Clock, Timer } from '../src/types.js'
import type { Port, PortMessage } from './shared/port-stream.js'
import type { UdxStream } from './udx.js'

// The messages of a port on a stream of UDX, each behind a head of four bytes: its kind, and the length of what follows.

const HEAD = 4
const BYTES = 0
const NUMBER = 1
const WORDS = ['accepted', 'refused', 'end', 'gone', 'reset'] as const
/** The most bytes of one message: a larger chunk is cut, so that a head cannot announce more than this. */
const MESSAGE_BYTES = 64 * 1024
/** How long the other end may take to end its direction. */
const CUT_MS = 3000

export class UdpPort implements Port {
  #onmessage: (message: PortMessage) => void = () => {}
  #onclose: () => void = () => {}
  #parts: Buffer[] = []
  #held = 0
  /** Bytes that the message at the front needs, as far as is known. */
  #needed = HEAD
  #closed = false
  #cut: Timer | undefined
  /** The other end has sent something. */
  #heard = false

  /** @param accepted  the other end has opened the stream */
  constructor(private readonly stream: UdxStream, private readonly clock: Clock, private readonly accepted: boolean, onclosed: () => void) {
    stream.on('data', (chunk: Buffer) => this.#take(chunk))
    stream.on('error', () => {}) // `close` follows
    stream.on('end', () => this.#end())
    stream.on('close', () => {
      this.#cut?.cancel()
      this.#end()
      onclosed()
    })
  }

  open(onmessage: (message: PortMessage) => void, onclose: () => void): void {
    this.#onmessage = onmessage
    this.#onclose = onclose
  }

  post(message: PortMessage): void {
    if (this.#closed) return
    if (typeof message === 'number') {
      const bytes = Buffer.alloc(HEAD + 4)
      bytes.writeUInt32BE(NUMBER * 2 ** 24 + 4)
      bytes.writeUInt32BE(message, HEAD)
      this.stream.write(bytes)
    } else if (typeof message === 'string') {
      const bytes = Buffer.alloc(HEAD)
      bytes[0] = 2 + WORDS.indexOf(message)
      this.stream.write(bytes)
    } else {
      for (let at = 0; at < message.length; at += MESSAGE_BYTES) {
        const part = message.subarray(at, at + MESSAGE_BYTES)
        const bytes = Buffer.allocUnsafe(HEAD + part.length)
        bytes.writeUInt32BE(part.length)
        bytes.set(part, HEAD)
        this.stream.write(bytes)
      }
    }
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    // a stranger that opened it and was silent would have it stay for CUT_MS, and with it the room of another
    if (this.accepted && !this.#heard) return void this.stream.destroy()
    this.stream.end()
    this.stream.resume()
    // a stream of UDX closes when both ends have ended it, and the other end may never do so
    this.#cut = this.clock.setTimeout(() => this.stream.destroy(), CUT_MS)
  }

  #end(): void {
    const told = this.#onclose
    this.#onclose = () => {}
    this.#onmessage = () => {}
    told()
    this.close()
  }

  #take(chunk: Buffer): void {
    this.#heard = true
    this.#parts.push(chunk)
    this.#held += chunk.length
    if (this.#held < this.#needed) return
    let bytes = this.#parts.length === 1 ? chunk : Buffer.concat(this.#parts)
    this.#needed = HEAD
    while (bytes.length >= HEAD) {
      const kind = bytes[0]
      const length = bytes.readUIntBE(1, 3)
      if (length > MESSAGE_BYTES || kind > 1 + WORDS.length || (kind === NUMBER && length !== 4)) {
        this.stream.destroy(new Error('a malformed message on a UDP stream'))
        return
      }
      this.#needed = HEAD + length
      if (bytes.length < this.#needed) break
      const body = bytes.subarray(HEAD, this.#needed)
      bytes = bytes.subarray(this.#needed)
      this.#needed = HEAD
      if (kind === BYTES) this.#onmessage(body)
      else this.#onmessage(kind === NUMBER ? body.readUInt32BE() : WORDS[kind - 2])
    }
    this.#parts = bytes.length > 0 ? [bytes] : []
    this.#held = bytes.length
  }
}
