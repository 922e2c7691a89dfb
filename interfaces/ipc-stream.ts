import type { Socket } from 'node:net'
import { cutOff, ending, ignore, proto } from './socket.js'

// A unix socket knows no reset: a peer that broke off, or was killed, looks to the reader like one that said goodbye.
// So the goodbye is said in the stream. What is written goes out in pieces, each behind its length of six bytes; a
// piece of no length is the goodbye, and an end without one is an error.

const HEAD = 6
const GOODBYE = Buffer.alloc(HEAD)
/** Up to here one write of a copy costs less than two. */
const COPY_MAX = 8192

/** The socket itself, in whose stream an end must be said to be believed. Both ends need this. */
export function said(socket: Socket): Socket {
  const plain = proto(socket)
  let got = 0
  let length = 0
  /** Of the piece that is coming in. */
  let left = 0
  let heard = false
  let told = false
  /** What is being written has its head: Bun's `_writev` writes all of it by the socket's own `_write`, which is ours. */
  let whole = false

  const tell = (done: () => void): void => {
    told = true
    // one who is gone needs no goodbye, and what came from him may still wait to be read
    plain._write.call(socket, GOODBYE, 'buffer' as BufferEncoding, () => done())
  }
  const send = (bytes: readonly Buffer[], done: (error?: Error | null) => void): void => {
    const size = bytes.reduce((sum, one) => sum + one.length, 0)
    if (size === 0) return done()
    const small = size <= COPY_MAX
    const head = Buffer.allocUnsafe(small ? HEAD + size : HEAD)
    head.writeUIntBE(size, 0, HEAD)
    if (!small) {
      whole = true
      plain._writev!.call(socket, Object.assign([head, ...bytes].map((chunk) => ({ chunk })), { allBuffers: true }) as never, done)
      whole = false
      return
    }
    let at = HEAD
    for (const one of bytes) at += one.copy(head, at)
    plain._write.call(socket, head, 'buffer' as BufferEncoding, done)
  }

  // errors between now and the owner's own listener must not end the process
  socket.on('error', ignore)
  socket._write = (chunk: Buffer | string, encoding, done) => whole ? plain._write.call(socket, chunk, encoding, done) : send([bytesOf(chunk, encoding)], done)
  socket._writev = (chunks: { chunk: Buffer | string; encoding: BufferEncoding }[], done) => send(chunks.map(({ chunk, encoding }) => bytesOf(chunk, encoding)), done)
  socket._final = (done) => tell(() => plain._final.call(socket, done))
  socket._destroy = (error, done) => {
    // if there is no room for it now, the end will be taken for an error: nobody waits for a peer that does not read
    if (!told && !socket.connecting && (error ? ending(socket) : socket.writableLength === 0)) tell(ignore)
    plain._destroy.call(socket, error, done)
  }
  socket.push = (chunk: Buffer | null) => {
    if (heard) return false
    if (chunk === null) {
      socket.destroy(cutOff())
      return false
    }
    let more = true
    for (let at = 0; at < chunk.length && !socket.destroyed;) {
      if (left > 0) {
        const piece = chunk.subarray(at, at + left)
        at += piece.length
        left -= piece.length
        more = plain.push.call(socket, piece)
      } else {
        length = length * 256 + chunk[at++]
        if (++got < HEAD) continue
        left = length
        got = length = 0
        if (left > 0) continue
        heard = true
        plain.push.call(socket, null)
        socket.read(0) // lets `end` come though nobody reads, as the socket's own end would
        return false // nothing more is read: the system may call what follows a reset
      }
    }
    return more
  }
  return Object.assign(socket, { givesBack: true })
}

const bytesOf = (chunk: Buffer | string, encoding: BufferEncoding): Buffer => typeof chunk === 'string' ? Buffer.from(chunk, encoding) : chunk
