import type { Socket } from 'node:net'
import { cutOff, ending, ignore, proto } from './socket.js'

// A unix socket has no reset: to the reader, a peer that aborted or was killed looks like a peer that ended its stream. So
// the goodbye is sent in the stream itself. Data goes out in pieces, each prefixed with its length in six bytes; a piece of
// length zero is the goodbye, and an end without a goodbye is an error.

const HEAD = 6
const GOODBYE = Buffer.alloc(HEAD)
/** Up to this size, copying head and data into one write costs less than two writes. */
const COPY_MAX = 8192

/** Makes the socket announce its end in the stream and trust only an announced end. Needed at both ends. */
export function said<S extends Socket>(socket: S): S {
  const plain = proto(socket)
  let got = 0
  let length = 0
  /** Bytes missing of the piece that is being received. */
  let left = 0
  let heard = false
  let told = false
  /** The bytes being written have their head already: Bun's `_writev` writes through the socket's own `_write`, which is ours. */
  let whole = false

  const tell = (done: () => void): void => {
    told = true
    // an error is ignored: a peer that is gone needs no goodbye, and its last data may still wait to be read
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

  // an error before the owner adds its own listener must not end the process
  socket.on('error', ignore)
  socket._write = (chunk: Buffer | string, encoding, done) => whole ? plain._write.call(socket, chunk, encoding, done) : send([bytesOf(chunk, encoding)], done)
  socket._writev = (chunks: { chunk: Buffer | string; encoding: BufferEncoding }[], done) => send(chunks.map(({ chunk, encoding }) => bytesOf(chunk, encoding)), done)
  socket._final = (done) => tell(() => plain._final.call(socket, done))
  socket._destroy = (error, done) => {
    // without room for the goodbye now, the peer sees an error: closing does not wait for a peer that does not read
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
        socket.read(0) // emits `end` although nobody reads, as the socket's own end would
        return false // reading stops here: the system may report a reset after the goodbye
      }
    }
    return more
  }
  return Object.assign(socket, { givesBack: true })
}

const bytesOf = (chunk: Buffer | string, encoding: BufferEncoding): Buffer => typeof chunk === 'string' ? Buffer.from(chunk, encoding) : chunk
