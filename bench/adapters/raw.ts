/**
 * The minimum that Node allows: `net`, a 4-byte length, a 4-byte id, a promise per call, and one write per tick from
 * one buffer. It has no deadlines, bounds, errors or names, and everything else is measured against it.
 */
import { mkdtempSync } from 'node:fs'
import net from 'node:net'
import { join } from 'node:path'
import { Packr, Unpackr } from 'msgpackr'
import { count, RECEIVERS, VALUES, type Adapter, type Client } from '../adapter.js'
import { Batch, frames } from './framed.js'

interface Codec {
  encode(value: unknown): Buffer
  decode(payload: Buffer): unknown
}

const [CALLS, STREAM, RECEIVER] = [0, 1, 2] // the first byte of a connection, which says its use

/** As many bytes as the value takes in msgpack; their content is never read. */
const lengths = new Map<unknown, Buffer>([VALUES.small, VALUES.text].map((value) => [value, Buffer.alloc(new Packr({ useRecords: false }).pack(value).length, 'x')]))
const opaque: Codec = { encode: (value) => lengths.get(value) ?? (value as Buffer), decode: (payload) => payload }

const packr = new Packr({ useRecords: false })
const unpackr = new Unpackr({ useRecords: false })
const msgpack: Codec = { encode: (value) => packr.pack(value), decode: (payload) => unpackr.unpack(payload) as unknown }
const json: Codec = { encode: (value) => Buffer.from(JSON.stringify(value)), decode: (payload) => JSON.parse(payload.toString()) as unknown }

type Listening = (folder: string) => net.ListenOptions
const tcp: Listening = () => ({ host: '127.0.0.1', port: 0 })
const ipc: Listening = (folder) => ({ path: join(mkdtempSync(join(folder, 'raw-')), 'socket') })

function adapter(codec: Codec, listening: Listening = tcp): Adapter {
  return {
    serve({ folder }) {
      let received = 0
      const server = net.createServer({ noDelay: true, allowHalfOpen: true }, (socket) => {
        socket.on('error', () => {})
        socket.once('data', (first) => {
          if (first.length > 1) socket.unshift(first.subarray(1))
          if (first[0] === STREAM) return count(socket)
          const out = new Batch(socket)
          frames(socket, (id, payload) => {
            if (id === 0) return out.add(0, Buffer.from(String(received)))
            const value = codec.decode(payload)
            if (first[0] === RECEIVER) received++
            else out.add(id, codec.encode(value))
          })
        })
      })
      return new Promise((resolve) => server.listen(listening(folder), () => resolve(JSON.stringify(server.address()))))
    },
    async connect(where) {
      const found = JSON.parse(where) as net.AddressInfo | string
      const place = typeof found === 'string' ? { path: found } : { port: found.port, host: '127.0.0.1' }
      const open = (as: number): net.Socket => {
        const socket = net.connect({ ...place, noDelay: true, allowHalfOpen: true })
        socket.write(Buffer.of(as))
        return socket
      }
      const socket = open(CALLS)
      const out = new Batch(socket)
      const waiting = new Map<number, (payload: Buffer) => void>()
      let next = 1
      frames(socket, (id, payload) => {
        const done = waiting.get(id)
        waiting.delete(id)
        done?.(payload)
      })
      const receivers = Array.from({ length: RECEIVERS }, () => new Batch(open(RECEIVER)))
      const client: Client = {
        call: (value) => new Promise((done) => {
          const id = next++
          waiting.set(id, (payload) => done(codec.decode(payload)))
          out.add(id, codec.encode(value))
        }),
        stream: () => open(STREAM),
        cast(value) {
          for (const receiver of receivers) receiver.add(1, codec.encode(value))
        },
        received: () => new Promise((done) => {
          waiting.set(0, (payload) => done(Number(payload.toString()))) // no call has the id 0
          out.add(0, Buffer.alloc(0))
        }),
      }
      return client
    },
  }
}

export const raw = adapter(opaque)
export const rawIpc = adapter(opaque, ipc)
export const rawMsgpack = adapter(msgpack)
export const rawJson = adapter(json)
