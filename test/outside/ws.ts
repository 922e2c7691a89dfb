import { createServer } from 'node:http'
import { WebSocket, WebSocketServer, createWebSocketStream } from 'ws'
import { cut } from './differences.js'
import { closed, code, next, text, type Ends, type Program } from './program.js'

function serve(ends: Ends): WebSocketServer {
  const http = createServer()
  const server = new WebSocketServer({ noServer: true })
  http.on('upgrade', (req, socket, head) => { server.handleUpgrade(req, socket, head, (one) => server.emit('connection', one, req)) })
  ends.onconnection((stream) => http.emit('connection', stream))
  return server
}

/** Opens a client; the stream has to exist already, because its `createConnection` returns one. */
async function open(ends: Ends, lines: string[], path = '/'): Promise<WebSocket> {
  const stream = await ends.dial()
  const socket = new WebSocket(`ws://far${path}`, { createConnection: () => stream, perMessageDeflate: false })
  socket.on('error', (error) => lines.push(`client error ${code(error)}`)).on('close', (status, why) => lines.push(`client close ${status} ${String(why)}`))
  await next(socket, 'open')
  return socket
}

const both: Program = {
  name: 'ws: messages both ways, ping, a close by the client',
  run: async (ends) => {
    const lines: string[] = []
    const told: string[] = []
    const server = serve(ends)
    const over = new Promise<void>((resolve) => {
      server.on('connection', (socket) => {
        socket.on('message', (data, binary) => { socket.send(data, { binary }) })
        socket.on('close', (status, why) => { told.push(`server close ${status} ${String(why)}`); resolve() })
        socket.on('ping', (data) => told.push(`server ping ${String(data)}`))
      })
    })
    const client = await open(ends, lines)
    for (const message of ['text', Buffer.from('bytes'), Buffer.alloc(300_000, 'x')]) {
      client.send(message)
      lines.push(await new Promise((resolve) => client.once('message', (data: Buffer, binary) => { resolve(`${binary ? 'bytes' : 'text'} ${data.length}`) })))
    }
    client.ping('are you there')
    lines.push(`pong ${String(await next(client, 'pong'))}`)
    client.close(4000, 'bye')
    await Promise.all([closed(client), over])
    return [...lines, ...told]
  },
}

const byServer: Program = {
  name: 'ws: a close by the server, and its terminate()',
  differs: cut('dialled'),
  run: async (ends) => {
    const lines: string[] = []
    const server = serve(ends)
    server.on('connection', (socket, req) => {
      socket.once('message', () => { if (req.url === '/terminate') socket.terminate(); else socket.close(4001, 'go') })
    })
    for (const path of ['/close', '/terminate']) {
      const client = await open(ends, lines, path)
      client.send('x')
      await closed(client)
    }
    return lines
  },
}

const refused: Program = {
  name: 'ws: a handshake that is refused, and one that takes too long',
  differs: cut('accepted', 2),
  run: async (ends) => {
    const lines: string[] = []
    const http = createServer((_, res) => { res.writeHead(403).end('no') })
    http.on('upgrade', (req, socket) => { if (req.url === '/no') socket.end('HTTP/1.1 401 no\r\nconnection: close\r\n\r\n') })
    ends.onconnection((stream) => http.emit('connection', stream))
    for (const path of ['/no', '/slow']) {
      const stream = await ends.dial()
      const socket = new WebSocket(`ws://far${path}`, { createConnection: (options: unknown) => stream.setTimeout((options as { timeout?: number }).timeout ?? 0), handshakeTimeout: 800 })
      socket.on('error', (error) => lines.push(`${path} ${code(error)}`)).on('close', (status) => lines.push(`${path} close ${status}`))
      await closed(socket)
    }
    return lines
  },
}

const asStream: Program = {
  name: 'ws as a stream, and a compressed one',
  run: async (ends) => {
    const http = createServer()
    const server = new WebSocketServer({ noServer: true, perMessageDeflate: { threshold: 0 } })
    http.on('upgrade', (req, socket, head) => { server.handleUpgrade(req, socket, head, (one) => { const it = createWebSocketStream(one); it.pipe(it) }) })
    ends.onconnection((stream) => http.emit('connection', stream))
    const stream = await ends.dial()
    const client = createWebSocketStream(new WebSocket('ws://far/', { createConnection: () => stream, perMessageDeflate: true }))
    client.end('x'.repeat(200_000))
    return [`${(await text(client)).length}`]
  },
}

export default [both, byServer, refused, asStream]
