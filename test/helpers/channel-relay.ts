/** A forked process that passes on the messages of its channel over a socket, and those of the socket over its channel. */
import { connect } from 'node:net'
import { deserialize, serialize } from 'node:v8'

const socket = connect(Number(process.argv[2]), '127.0.0.1')
socket.on('error', () => process.exit())
process.on('disconnect', () => process.exit())
process.on('message', (message) => {
  const bytes = serialize(message)
  const head = Buffer.alloc(4)
  head.writeUInt32BE(bytes.length)
  socket.write(Buffer.concat([head, bytes]))
})
let rest = Buffer.alloc(0)
socket.on('data', (chunk) => {
  rest = Buffer.concat([rest, chunk])
  while (rest.length >= 4 && rest.length >= 4 + rest.readUInt32BE()) {
    const length = rest.readUInt32BE()
    process.send?.(deserialize(rest.subarray(4, 4 + length)))
    rest = rest.subarray(4 + length)
  }
})
socket.on('close', () => process.exit())
