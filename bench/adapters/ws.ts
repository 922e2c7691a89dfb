/** A hand-written protocol: JSON with an id over a WebSocket; no deadline, no errors. */
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { WebSocket, WebSocketServer, type RawData } from 'ws'
import type { Adapter } from '../adapter.js'

interface Message { id: number; value: unknown }
const read = (data: RawData): Message => JSON.parse((data as Buffer).toString()) as Message

export const ws: Adapter = {
  async serve() {
    const server = new WebSocketServer({ host: '127.0.0.1', port: 0 })
    server.on('connection', (socket) => socket.on('message', (data) => socket.send(JSON.stringify(read(data)))))
    await once(server, 'listening')
    return `ws://127.0.0.1:${(server.address() as AddressInfo).port}`
  },
  async connect(where) {
    const socket = new WebSocket(where)
    await once(socket, 'open')
    const waiting = new Map<number, (value: unknown) => void>()
    let next = 1
    socket.on('message', (data) => {
      const { id, value } = read(data)
      waiting.get(id)?.(value)
      waiting.delete(id)
    })
    return {
      call: (value) => new Promise((done) => {
        const id = next++
        waiting.set(id, done)
        socket.send(JSON.stringify({ id, value }))
      }),
    }
  },
}
