import { Duplex } from 'node:stream'
import type { WebSocket } from 'ws'
import { StageError } from '../src/errors.js'
import { cutOff, ignore } from './shared/socket.js'

// A WebSocket ends both directions at once, and a close frame says nothing about data that was thrown away. So each direction
// says its own end, by an empty message, and an end without it is an error.

/** The most bytes of one message, which other ends refuse if it has more. */
export const MESSAGE_BYTES = 64 * 1024
const GOODBYE = Buffer.alloc(0)
const BINARY = { binary: true, compress: false }

/** The bytes of one WebSocket, in binary messages. */
export class WebSocketStream extends Duplex {
  /** A chunk is its writer's again when the write was called back. */
  readonly givesBack = true
  #heard = false
  #told = false

  constructor(private readonly socket: WebSocket, readonly remoteAddress: string | undefined, readonly remotePort: number | undefined) {
    super({ allowHalfOpen: true, highWaterMark: MESSAGE_BYTES })
    this.on('error', ignore)
    socket.binaryType = 'nodebuffer'
    socket.on('message', (message: Buffer, binary: boolean) => this.#receive(message, binary))
    socket.on('error', (error: Error) => { this.destroy(error) })
    socket.on('close', () => { if (!this.#heard) this.destroy(cutOff()) })
  }

  #receive(message: Buffer, binary: boolean): void {
    if (!binary) return void this.destroy(new StageError('PROTOCOL_ERROR', 'a text message on the WebSocket of a stage, which has binary messages only'))
    if (this.#heard) return void this.destroy(new StageError('PROTOCOL_ERROR', 'a message on a WebSocket behind the end of its data'))
    if (message.length > 0) {
      // the writer must learn that its data is lost
      if (this.destroyed) this.socket.terminate()
      else if (!this.push(message)) this.socket.pause()
      return
    }
    this.#heard = true
    if (this.destroyed) return
    this.push(null)
    this.read(0) // emits `end` although nobody reads, as a socket does
  }

  override _read(): void {
    if (this.socket.isPaused) this.socket.resume()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    let at = 0
    for (; at + MESSAGE_BYTES < chunk.length; at += MESSAGE_BYTES) this.#send(chunk.subarray(at, at + MESSAGE_BYTES), ignore)
    this.#send(at === 0 ? chunk : chunk.subarray(at), done)
  }

  override _writev(chunks: { chunk: Buffer }[], done: (error?: Error | null) => void): void {
    this._write(Buffer.concat(chunks.map(({ chunk }) => chunk)), 'binary', done)
  }

  #send(bytes: Buffer, done: (error?: Error | null) => void): void {
    if (this.socket.readyState === this.socket.OPEN) this.socket.send(bytes, BINARY, done)
    else done(Object.assign(new Error('write EPIPE: the WebSocket is closed'), { code: 'EPIPE', syscall: 'write' }))
  }

  override _final(done: () => void): void {
    this.#tell(() => done())
  }

  /** An error is ignored: a peer that is gone needs no goodbye, and its last data may still wait to be read. */
  #tell(done: () => void): void {
    this.#told = true
    this.#send(GOODBYE, () => done())
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    // discarding data that `write` had accepted is a reset; once all of it was sent, there is nothing to lose
    if (!this.#told && (error !== null || this.writableLength > 0)) this.socket.terminate()
    else {
      if (!this.#told) this.#tell(ignore)
      if (this.socket.isPaused) this.socket.resume() // to read the answer to the close
      this.socket.close(1000)
    }
    done(error)
  }
}
