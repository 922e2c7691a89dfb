/** Receives streams, and afterwards verifies that the last stream arrived complete. */
import { createHash } from 'node:crypto'
import { Writable } from 'node:stream'
import pump from 'pump'
import { Stage } from 'stagemesh'
import { play } from './role.js'

const stage = new Stage('receiver')
let received: Promise<{ bytes: number; sha256: string }> = Promise.reject(new Error('no stream has come yet'))
received.catch(() => {})

stage.on('stream', (stream) => {
  const hash = createHash('sha256')
  let bytes = 0
  const sink = new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      hash.update(chunk)
      bytes += chunk.length
      done()
    },
  })
  received = new Promise((resolve, reject) => {
    pump(stream, sink, (error) => error ? reject(error) : resolve({ bytes, sha256: hash.digest('hex') }))
  })
  stream.end() // nothing is sent in the other direction
})
stage.to('*').provide('verify', async (sha256: string) => {
  const found = await received
  return { bytes: found.bytes, same: found.sha256 === sha256 }
})
stage.to('*').provide('role', () => `receiver ${process.pid}`)

await play(stage)
