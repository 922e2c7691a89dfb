import { once } from 'node:events'
import { connect, createServer, constants, type ClientHttp2Session, type ClientHttp2Stream, type Http2Server, type IncomingHttpHeaders, type ServerHttp2Session } from 'node:http2'
import { closed, code, next, text, until, type Ends, type Program } from './program.js'

const serving = (ends: Ends, server: Http2Server): Http2Server => {
  ends.onconnection((stream) => server.emit('connection', stream))
  return server
}

/** `createConnection` of Node's HTTP/2 has no callback, so the stream has to exist already. */
async function dial(ends: Ends, lines: string[]): Promise<ClientHttp2Session> {
  const stream = await ends.dial()
  const session = connect('http://far', { createConnection: () => stream })
  session.on('error', (error) => lines.push(`session error ${code(error)}`)).on('close', () => lines.push('session close'))
  return session
}

async function ask(session: ClientHttp2Session, path: string, body?: Buffer): Promise<string> {
  const asked = session.request({ ':path': path, ':method': body ? 'POST' : 'GET' })
  // read from the beginning: over a stream that is no net.Socket, Node 24 closes a stream whose first reader comes after its end
  let said = ''
  let status: number | undefined
  asked.on('response', (headers) => { status = headers[':status'] }).on('data', (chunk) => { said += String(chunk) })
  asked.end(body)
  await closed(asked)
  return `${path}: ${status} ${said.slice(0, 20)}`
}

const requests: Program = {
  name: 'node:http2: many requests, large ones, trailers, a ping, a close',
  differs: [{ way: /./, line: 'encrypted: false, destroyed: false, remoteAddress is a string', instead: 'encrypted: false, destroyed: false, remoteAddress is a undefined', because: 'Node reads what is no net.Socket through a JSStreamSocket, which has no addresses' }],
  run: async (ends) => {
    const lines: string[] = []
    const told: string[] = []
    const server = serving(ends, createServer())
    server.on('session', (one: ServerHttp2Session) => { one.on('close', () => told.push('server session close')) })
    server.on('stream', (stream, headers) => {
      if (headers[':path'] === '/large') return void stream.end(Buffer.alloc(1_000_000, 'x'))
      if (headers[':path'] === '/trailers') {
        stream.respond({ ':status': 200 }, { waitForTrailers: true })
        stream.on('wantTrailers', () => { stream.sendTrailers({ sum: 'right' }) })
        return void stream.end('with trailers')
      }
      void text(stream).then((body) => { stream.end(`length ${body.length}`) })
    })
    const client = await dial(ends, lines)
    lines.push(await ask(client, '/'), await ask(client, '/body', Buffer.alloc(500_000)))
    lines.push(...await Promise.all(['/1', '/large', '/3'].map((path) => ask(client, path))))
    const trailed = client.request({ ':path': '/trailers' })
    trailed.end()
    trailed.resume()
    lines.push(JSON.stringify((await once(trailed, 'trailers') as [IncomingHttpHeaders])[0]['sum']))
    lines.push(`ping: ${await new Promise((resolve) => client.ping((error) => { resolve(error ?? 'answered') }))}`)
    lines.push(`encrypted: ${client.encrypted}, destroyed: ${client.destroyed}, remoteAddress is a ${typeof client.socket.remoteAddress}`)
    client.socket.setTimeout(5000)
    client.socket.ref()
    client.close()
    await closed(client)
    await until(() => told.length > 0)
    return [...lines, ...told]
  },
}

const goaway: Program = {
  name: 'node:http2: the server closes its session',
  run: async (ends) => {
    const lines: string[] = []
    const server = serving(ends, createServer())
    const session = next<ServerHttp2Session>(server, 'session')
    server.on('stream', (stream) => { stream.respond(); stream.end('ok') })
    const client = await dial(ends, lines)
    lines.push(await ask(client, '/'))
    ;(await session).close()
    await closed(client)
    return lines
  },
}

const timeouts: Program = {
  name: 'node:http2: the timeouts of sessions and of streams',
  run: async (ends) => {
    const lines: string[] = []
    const server = serving(ends, createServer())
    server.setTimeout(400, (one?: ServerHttp2Session) => { lines.push('server session timeout'); one?.close() })
    server.on('stream', (stream, headers) => {
      if (headers[':path'] === '/never') return void stream.setTimeout(100, () => { lines.push('server stream timeout'); stream.close(constants.NGHTTP2_CANCEL) })
      stream.respond()
      stream.end('ok')
    })
    const client = await dial(ends, lines)
    const never = client.request({ ':path': '/never' })
    const over = closed(never)
    never.on('error', (error) => lines.push(`stream error ${code(error)}`)).resume().end()
    await over
    lines.push(`rst ${never.rstCode}`, await ask(client, '/'))
    await closed(client)
    return lines
  },
}

const cut: Program = {
  name: 'node:http2: the connection is destroyed under a request',
  run: async (ends) => {
    const lines: string[] = []
    const server = serving(ends, createServer())
    server.on('sessionError', () => {})
    const aborted = new Promise<void>((resolve) => {
      server.on('stream', (stream) => {
        stream.on('error', () => {}).on('aborted', () => { lines.push('server stream aborted'); resolve() })
        stream.respond()
        stream.write('half')
      })
    })
    const client = await dial(ends, lines)
    const asked: ClientHttp2Stream = client.request({ ':path': '/', ':method': 'POST' })
    asked.on('error', (error) => lines.push(`stream error ${code(error)}`))
    await once(asked, 'data')
    const over = Promise.all([closed(client), closed(asked), aborted])
    client.destroy()
    await over
    return lines.sort()
  },
}

export default [requests, goaway, timeouts, cut]
