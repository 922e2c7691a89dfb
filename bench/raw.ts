/**
 * The floor that Node allows: `net`, a 4-byte length, a 4-byte id, opaque bytes, a promise per call, and one write per
 * tick out of one buffer. What it leaves out is what everything else is measured against.
 */
import net from 'node:net'
import type { Contender } from './contender.js'

class Batch {
  #buffer = Buffer.allocUnsafe(64 * 1024)
  #at = 0
  #scheduled = false
  constructor(private readonly socket: net.Socket) {}
  add(id: number, payload: Buffer): void {
    if (this.#at + 8 + payload.length > this.#buffer.length) this.#flush()
    this.#buffer.writeUInt32BE(payload.length, this.#at)
    this.#buffer.writeUInt32BE(id, this.#at + 4)
    payload.copy(this.#buffer, this.#at + 8)
    this.#at += 8 + payload.length
    if (this.#scheduled) return
    this.#scheduled = true
    process.nextTick(() => { this.#scheduled = false; this.#flush() })
  }
  #flush(): void {
    if (this.#at === 0) return
    this.socket.write(this.#buffer.subarray(0, this.#at))
    this.#buffer = Buffer.allocUnsafe(64 * 1024)
    this.#at = 0
  }
}

function frames(socket: net.Socket, each: (id: number, payload: Buffer) => void): void {
  let rest: Buffer | undefined
  socket.on('data', (chunk) => {
    if (rest) chunk = Buffer.concat([rest, chunk])
    let at = 0
    while (chunk.length - at >= 8) {
      const end = at + 8 + chunk.readUInt32BE(at)
      if (end > chunk.length) break
      each(chunk.readUInt32BE(at + 4), chunk.subarray(at + 8, end))
      at = end
    }
    rest = at < chunk.length ? chunk.subarray(at) : undefined
  })
}

export const raw: Contender = {
  serve() {
    return new Promise((resolve) => {
      const server = net.createServer({ noDelay: true }, (socket) => {
        const out = new Batch(socket)
        socket.on('error', () => {})
        frames(socket, (id, payload) => out.add(id, payload))
      })
      server.listen(0, '127.0.0.1', () => resolve(String((server.address() as net.AddressInfo).port)))
    })
  },
  connect(place) {
    return new Promise((resolve) => {
      const socket = net.connect({ port: Number(place), host: '127.0.0.1', noDelay: true }, () => {
        const out = new Batch(socket)
        const waiting = new Map<number, (payload: Buffer) => void>()
        let next = 1
        frames(socket, (id, payload) => {
          const done = waiting.get(id)
          waiting.delete(id)
          done?.(payload)
        })
        const payload = Buffer.alloc(130, 'x')
        resolve(() => new Promise((done) => {
          const id = next++
          waiting.set(id, done)
          out.add(id, payload)
        }))
      })
    })
  },
}
