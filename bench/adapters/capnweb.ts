/** Sessions of capnweb over `ws`. */
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { newWebSocketRpcSession, RpcTarget } from 'capnweb'
import { WebSocket, WebSocketServer } from 'ws'
import type { Adapter } from '../adapter.js'

type Echoes = { echo(value: unknown): Promise<unknown> }

globalThis.WebSocket ??= WebSocket as unknown as typeof globalThis.WebSocket // capnweb uses the WebSocket of browsers, which Node has from 22 on

/** The types of capnweb expect browser sockets; the sockets of ws behave the same. */
const session = (socket: WebSocket, api?: Api): unknown => newWebSocketRpcSession(socket as unknown as Parameters<typeof newWebSocketRpcSession>[0], api)

class Api extends RpcTarget {
  echo(value: unknown): unknown {
    return value
  }
}

export const capnweb: Adapter = {
  async serve() {
    const server = new WebSocketServer({ host: '127.0.0.1', port: 0 })
    server.on('connection', (socket) => session(socket, new Api()))
    await once(server, 'listening')
    return `ws://127.0.0.1:${(server.address() as AddressInfo).port}`
  },
  async connect(where) {
    const socket = new WebSocket(where)
    await once(socket, 'open')
    const api = session(socket) as Echoes
    return { call: (value) => api.echo(value) }
  },
}
