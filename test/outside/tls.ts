import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { Agent, createServer as createHttps, request } from 'node:https'
import { TLSSocket, connect, createServer, type ConnectionOptions, type Server } from 'node:tls'
import { selfSigned } from './certificate.js'
import { cut } from './differences.js'
import { closed, code, next, text, until, type Ends, type Program } from './program.js'

const { key, cert } = selfSigned()
const trusting: ConnectionOptions = { ca: cert, servername: 'far', ALPNProtocols: ['own'] }

const serving = <S extends Server>(ends: Ends, server: S): S => {
  ends.onconnection((stream) => { server.emit('connection', stream) })
  return server
}

/** Adds one line with the events of the socket, when it has closed. */
function events(who: string, socket: TLSSocket, lines: string[]): TLSSocket {
  const all: string[] = []
  socket.on('end', () => all.push('end')) // `finish` is left out: over a stream that is no net.Socket, the socket may be closed before it comes
  return socket.on('error', (error) => all.push(`error ${code(error)}`)).on('close', () => lines.push(`${who}: ${[...all, 'close'].join(', ')}`))
}

async function dial(ends: Ends, lines: string[], options: ConnectionOptions = trusting): Promise<TLSSocket> {
  const stream = await ends.dial()
  return events('client', connect({ socket: stream, ...options }), lines)
}

const talk: Program = {
  name: 'tls.connect() and tls.Server: a talk, ALPN, facts, an end by the client',
  run: async (ends) => {
    const [lines, told]: [string[], string[]] = [[], []]
    const over = new Promise<void>((resolve) => {
      serving(ends, createServer({ key, cert, ALPNProtocols: ['own'] }, (socket) => {
        events('server', socket, told)
        told.push(`alpn ${String(socket.alpnProtocol)}, ${String(socket.getProtocol())}`)
        socket.once('close', resolve)
        socket.pipe(socket)
      }))
    })
    const client = await dial(ends, lines)
    await once(client, 'secureConnect')
    lines.push(`authorized ${client.authorized}, alpn ${String(client.alpnProtocol)}, connecting ${client.connecting}`)
    lines.push(`returns itself: ${[client.setNoDelay(), client.setKeepAlive(), client.setTimeout(5000), client.ref(), client.unref()].every((one) => one === client)}`)
    client.ref().write(Buffer.alloc(300_000, 'x'))
    let left = 300_000
    client.on('data', (chunk: Buffer) => {
      left -= chunk.length
      if (left === 0) client.end()
    })
    await closed(client)
    await over
    return [...lines, ...told]
  },
}

const byServer: Program = {
  name: 'tls.TLSSocket as the server: an end by the server, and a destroy',
  differs: [...cut('client'), ...cut('dialled')],
  run: async (ends) => {
    const lines: string[] = []
    let how: 'end' | 'destroy' = 'end'
    ends.onconnection((stream) => {
      const socket = new TLSSocket(stream, { isServer: true, key, cert })
      socket.on('error', () => {}).once('data', () => { socket[how]() })
    })
    for (how of ['end', 'destroy'] as const) {
      const client = await dial(ends, lines, { ca: cert, servername: 'far' })
      client.resume().write('x')
      await closed(client)
    }
    return lines
  },
}

const refused: Program = {
  name: 'tls: a certificate that nobody vouches for, and something that is no TLS',
  differs: [...cut('tlsClientError ECONNRESET', 1, (code) => `tlsClientError ${code}`), ...cut('accepted'), ...cut('dialled')],
  run: async (ends) => {
    const lines: string[] = []
    const errors: string[] = []
    const server = serving(ends, createServer({ key, cert }))
    server.on('tlsClientError', (error) => errors.push(`tlsClientError ${code(error)}`))
    const client = await dial(ends, lines, { servername: 'far' })
    await closed(client)
    const near = await ends.dial()
    near.write('GET / HTTP/1.1\r\n\r\n')
    near.on('error', () => {}).resume()
    await closed(near)
    await until(() => errors.length === 2)
    return [...lines, ...errors.sort()]
  },
}

const idle: Program = {
  name: 'tls: idle timeouts, of the handshake as well',
  differs: cut('dialled'),
  run: async (ends) => {
    const [lines, told]: [string[], string[]] = [[], []]
    const server = serving(ends, createServer({ key, cert, handshakeTimeout: 600 }, (socket) => { events('server', socket, told).resume() }))
    server.on('tlsClientError', (error, socket) => { told.push(`tlsClientError ${code(error)}`); socket.destroy() })
    const client = await dial(ends, lines, { ca: cert, servername: 'far' })
    await once(client, 'secureConnect')
    client.resume().setTimeout(150, () => { lines.push('timeout'); client.end() })
    await closed(client)
    const near = await ends.dial()
    near.resume().on('error', () => {}).write(Buffer.of(0x16))
    await closed(near)
    return [...lines, ...told]
  },
}

const https: Program = {
  name: 'https.Agent that keeps alive, and https.Server',
  differs: [
    ...cut('accepted'),
    { way: /nothing by callback, in memory/, line: 'accepted', instead: 'accepted: end, error EPIPE, close', because: 'a stream in memory knows that nobody reads any more when the server says goodbye, where a kernel has taken that' },
  ],
  run: async (ends) => {
    const lines: string[] = []
    const server = serving(ends, createHttps({ key, cert }, (req, res) => { void text(req).then((body) => { res.end(`length ${body.length}`) }) }))
    server.keepAliveTimeout = 2000
    const agent = new Agent({ keepAlive: true, maxSockets: 1, maxCachedSessions: 0 })
    const stream = await ends.dial()
    Object.assign(agent, { createConnection: () => connect({ socket: stream, ca: cert, servername: 'far' }) })
    for (const size of [1, 200_000, 3]) {
      const asked = request({ agent, host: 'far', method: 'POST' })
      asked.end(Buffer.alloc(size))
      const answer = await next<IncomingMessage>(asked, 'response')
      lines.push(`${await text(answer)}, reused: ${asked.reusedSocket}`)
      await until(() => Object.keys(agent.freeSockets).length > 0)
    }
    agent.destroy()
    return lines
  },
}

export default [talk, byServer, refused, idle, https]
