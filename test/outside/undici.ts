import { createServer } from 'node:http'
import type { Socket } from 'node:net'
import { Client, Pool, type Dispatcher, type buildConnector } from 'undici'
import { broken, cut } from './differences.js'
import { code, connector, text, type Ends, type Program } from './program.js'

const connect = (ends: Ends): buildConnector.connector => (options, done) => {
  const made = connector(ends)(options, (error, stream) => { if (error) done(error, null); else done(null, stream) })
  if (made) process.nextTick(done, null, made) // undici does not expect to be called back synchronously
}

const get = async (client: Dispatcher, path: string, options: Partial<Dispatcher.RequestOptions> = {}): Promise<string> => {
  try {
    const { statusCode, body } = await client.request({ path, method: 'GET', ...options })
    return `${path}: ${statusCode} ${(await body.text()).slice(0, 20)}`
  } catch (error) {
    return `${path}: ${code(error)}`
  }
}

const serve = (ends: Ends): void => {
  const server = createServer((req, res) => {
    if (req.url === '/never') return
    if (req.url === '/half') return void res.writeHead(200, { 'content-length': 100 }).write('half')
    if (req.url === '/cut') {
      res.writeHead(200, { 'content-length': 100 }).write('half')
      return void setTimeout(() => { req.socket.destroy() }, 20)
    }
    if (req.url === '/large') return void res.end(Buffer.alloc(1_000_000, 'x'))
    void text(req).then((body) => res.end(`length ${body.length}`), () => {})
  })
  ends.onconnection((stream) => server.emit('connection', stream))
}

function events(client: Dispatcher, lines: string[]): void {
  client.on('connect', () => lines.push('connect'))
  client.on('disconnect', (_, __, error) => lines.push(`disconnect: ${code(error)}`))
  client.on('connectionError', (_, __, error) => lines.push(`connectionError: ${code(error)}`))
}

const client: Program = {
  name: 'undici.Client',
  differs: [
    ...broken('accepted', 2), ...cut('/cut: UND_ERR_SOCKET', 1, (code) => `/cut: ${code}`),
    ...cut('disconnect: UND_ERR_SOCKET', 1, (code) => `disconnect: ${code}`), ...cut('dialled: end, error UND_ERR_SOCKET, close'),
  ],
  run: async (ends) => {
    const [lines, told]: [string[], string[]] = [[], []]
    serve(ends)
    const client = new Client('http://far', { connect: connect(ends), pipelining: 2 })
    events(client, told)
    lines.push(await get(client, '/'), await get(client, '/', { method: 'POST', body: Buffer.alloc(500_000) }), await get(client, '/large'))
    lines.push(...await Promise.all(['/1', '/2', '/3'].map((path) => get(client, path))))
    const gone = new AbortController()
    setTimeout(() => { gone.abort() }, 50)
    lines.push(await get(client, '/never', { signal: gone.signal }))
    lines.push(await get(client, '/again'))
    lines.push(await get(client, '/cut'), await get(client, '/again'))
    await client.close()
    return [...lines, ...told]
  },
}

const timeouts: Program = {
  name: 'undici: timeouts of headers, of a body, of what is kept alive',
  differs: broken('accepted', 4),
  run: async (ends) => {
    const [lines, told]: [string[], string[]] = [[], []]
    serve(ends)
    const client = new Client('http://far', { connect: connect(ends), headersTimeout: 400, bodyTimeout: 400, keepAliveMaxTimeout: 150 })
    events(client, told)
    lines.push(await get(client, '/'), await get(client, '/never'), await get(client, '/half'), await get(client, '/'))
    const idle = new Promise<void>((resolve) => client.once('disconnect', () => { resolve() }))
    await idle
    lines.push(await get(client, '/'))
    await client.destroy()
    return [...lines, ...told]
  },
}

const pool: Program = {
  name: 'undici.Pool',
  differs: broken('accepted', 2),
  run: async (ends) => {
    serve(ends)
    const pool = new Pool('http://far', { connect: connect(ends), connections: 2 })
    const lines = await Promise.all(['/1', '/2', '/3', '/4', '/large', '/6'].map((path) => get(pool, path)))
    const before = `${pool.stats.connected} connected`
    await pool.close()
    return [...lines, before]
  },
}

const upgrade: Program = {
  name: 'undici: upgrade',
  run: async (ends) => {
    const server = createServer()
    ends.onconnection((stream) => server.emit('connection', stream))
    server.on('upgrade', (_, socket: Socket) => {
      socket.write('HTTP/1.1 101 so be it\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n')
      socket.pipe(socket)
    })
    const client = new Client('http://far', { connect: connect(ends) })
    const { socket } = await client.upgrade({ path: '/', protocol: 'echo' })
    socket.end('through')
    const said = await text(socket)
    await client.destroy()
    return [said]
  },
}

export default [client, timeouts, pool, upgrade]
