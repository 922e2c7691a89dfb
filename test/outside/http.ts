import { once } from 'node:events'
import { Agent, createServer, request, type ClientRequest, type IncomingMessage, type RequestOptions, type Server } from 'node:http'
import type { Socket } from 'node:net'
import { cut } from './differences.js'
import { closed, connector, code, next, pause, text, until, type Ends, type Program } from './program.js'

const serving = (ends: Ends, server: Server): Server => {
  ends.onconnection((stream) => server.emit('connection', stream))
  return server
}

class OwnAgent extends Agent {
  constructor(ends: Ends, options: { timeout?: number; maxSockets?: number } = {}) {
    super({ keepAlive: true, ...options })
    Object.assign(this, { createConnection: connector(ends) })
  }

  get freeCount(): number {
    return Object.values(this.freeSockets).flat().length
  }

  get busyCount(): number {
    return Object.values(this.sockets).flat().length
  }
}

/** One request and its answer; the agent has the socket again when this resolves. */
async function ask(agent: Agent, options: RequestOptions, body?: string | Buffer): Promise<string> {
  const asked = request({ agent, host: 'far', ...options })
  asked.end(body)
  const answer = await next<IncomingMessage>(asked, 'response')
  const said = await text(answer)
  if (!asked.shouldKeepAlive) return `${answer.statusCode} ${said.slice(0, 40)}`
  const reused = asked.reusedSocket
  await until(() => Object.keys(agent.freeSockets).length > 0)
  return `${options.method ?? 'GET'} ${options.path}: ${answer.statusCode} ${said.slice(0, 40)}${reused ? ', reused' : ''}`
}

const keepAlive: Program = {
  name: 'http.Agent that keeps alive, requests of each kind',
  differs: cut('accepted'),
  run: async (ends) => {
    const lines: string[] = []
    const server = serving(ends, createServer((req, res) => {
      if (req.url === '/chunks') return void (async () => {
        for (const part of ['one ', 'two ', 'three']) { res.write(part); await pause(10) }
        res.end()
      })()
      if (req.url === '/large') return void res.end(Buffer.alloc(1_000_000, 'x'))
      void text(req).then((body) => {
        lines.push(`${req.method} ${req.url} with ${body.length}, remoteAddress is a ${typeof req.socket.remoteAddress}`)
        res.end(`length ${body.length}`)
      })
    }))
    server.on('checkContinue', (req, res) => { lines.push('checkContinue'); res.writeContinue(); server.emit('request', req, res) })
    const agent = new OwnAgent(ends, { maxSockets: 1 })
    lines.push(await ask(agent, { path: '/' }))
    lines.push(await ask(agent, { path: '/', method: 'POST' }, Buffer.alloc(500_000)))
    lines.push(await ask(agent, { path: '/chunks' }))
    const continued = request({ agent, host: 'far', path: '/', method: 'POST', headers: { expect: '100-continue' } })
    continued.flushHeaders()
    await once(continued, 'continue')
    lines.push('continue')
    continued.end('body')
    lines.push(await text(await next<IncomingMessage>(continued, 'response')))
    await until(() => agent.freeCount > 0)
    lines.push(await ask(agent, { path: '/', method: 'HEAD' }))
    lines.push(await ask(agent, { path: '/large' }))
    lines.push(`${agent.freeCount} free, ${agent.busyCount} busy`)
    agent.destroy()
    return lines
  },
}

const closeAfter: Program = {
  name: 'http without keep-alive: the server closes after its answer',
  run: async (ends) => {
    const lines: string[] = []
    serving(ends, createServer((req, res) => { void text(req).then((body) => { res.end(Buffer.alloc(body.length, 'x')) }) }))
    for (const size of [0, 1, 500_000]) {
      const stream = await ends.dial()
      const asked = request({ createConnection: () => stream, method: 'POST', host: 'far', headers: { connection: 'close' } })
      asked.on('error', (error) => lines.push(`request error ${code(error)}`)).end(Buffer.alloc(size))
      const answer = await next<IncomingMessage>(asked, 'response')
      lines.push(await text(answer).then((body) => `${body.length} came`, (error: unknown) => `error ${code(error)}`))
    }
    return lines
  },
}

const agentTimeout: Program = {
  name: 'http.Agent closes what was idle for its timeout',
  differs: cut('accepted', 2),
  run: async (ends) => {
    const lines: string[] = []
    serving(ends, createServer((_, res) => { res.end('ok') }))
    const agent = new OwnAgent(ends, { timeout: 100 })
    lines.push(await ask(agent, { path: '/' }), `${agent.freeCount} free`)
    await until(() => agent.freeCount === 0)
    lines.push(`${agent.freeCount} free`)
    lines.push(await ask(agent, { path: '/' }))
    agent.destroy()
    return lines
  },
}

const serverKeepAliveTimeout: Program = {
  name: 'http.Server closes what was idle for its keepAliveTimeout',
  differs: cut('dialled'),
  run: async (ends) => {
    const server = serving(ends, createServer((_, res) => { res.end('ok') }))
    server.keepAliveTimeout = 1 // Node adds up to a second of its own
    const near = await ends.dial()
    near.write('GET / HTTP/1.1\r\nhost: far\r\n\r\n')
    let came = ''
    near.on('data', (chunk) => { came += String(chunk) })
    await closed(near)
    return [came.split('\r\n')[0] as string]
  },
}

const serverTimeout: Program = {
  name: 'http.Server.setTimeout()',
  differs: [...cut('request error ECONNRESET', 1, (code) => `request error ${code}`), ...cut('dialled')],
  run: async (ends) => {
    const lines: string[] = []
    const server = serving(ends, createServer(() => {}))
    server.setTimeout(100, (socket: Socket) => { lines.push('timeout'); socket.destroy() })
    const asked = request({ agent: new OwnAgent(ends), host: 'far', path: '/' })
    asked.on('error', (error) => lines.push(`request error ${code(error)}`)).end()
    await closed(asked)
    return lines
  },
}

const requestTimeout: Program = {
  name: 'http.ClientRequest.setTimeout(), and abort',
  differs: cut('accepted', 2),
  run: async (ends) => {
    const [lines, told]: [string[], string[]] = [[], []]
    const ended = new Promise<void>((resolve) => {
      serving(ends, createServer((req, res) => {
        if (req.url === '/quick') return void res.end('ok')
        res.once('close', () => { told.push(`the response is closed, finished: ${res.writableFinished}`); resolve() })
      }))
    })
    const agent = new OwnAgent(ends)
    const events = (asked: ClientRequest): ClientRequest => {
      for (const event of ['timeout', 'close']) asked.on(event, () => lines.push(`request ${event}`))
      return asked.on('error', (error) => lines.push(`request error ${code(error)}`))
    }
    lines.push(await ask(agent, { path: '/quick' }))
    const asked = events(request({ agent, host: 'far', path: '/slow', timeout: 100 }))
    asked.on('timeout', () => { asked.destroy() })
    asked.end()
    await closed(asked)
    await ended
    lines.push(`${agent.freeCount} free, ${agent.busyCount} busy`, await ask(agent, { path: '/quick' }))
    agent.destroy()
    return [...lines, ...told]
  },
}

const upgrade: Program = {
  name: 'http upgrade and CONNECT',
  run: async (ends) => {
    const lines: string[] = []
    const server = serving(ends, createServer())
    for (const event of ['upgrade', 'connect']) {
      server.on(event, (_: IncomingMessage, socket: Socket, head: Buffer) => {
        lines.push(`${event}, ${head.length} bytes of head`)
        socket.write(event === 'upgrade' ? 'HTTP/1.1 101 so be it\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n' : 'HTTP/1.1 200 OK\r\n\r\n')
        socket.pipe(socket)
      })
    }
    for (const [event, options] of [['upgrade', { headers: { connection: 'upgrade', upgrade: 'echo' } }], ['connect', { method: 'CONNECT', path: 'elsewhere:80' }]] as const) {
      const asked = request({ agent: new OwnAgent(ends), host: 'far', ...options })
      asked.end()
      const socket = await new Promise<Socket>((resolve) => asked.once(event, (_, it: Socket) => { resolve(it) }))
      socket.end('through')
      lines.push(await text(socket))
    }
    return lines
  },
}

const closing: Program = {
  name: 'http.Server ends its idle connections',
  differs: [...cut('request error ECONNRESET', 1, (code) => `request error ${code}`), ...cut('dialled'), ...cut('dialled')],
  run: async (ends) => {
    const lines: string[] = []
    const server = serving(ends, createServer((req, res) => { if (req.url === '/quick') res.end('ok') }))
    server.listen(0, '127.0.0.1') // the server does not count its connections before it listens
    await once(server, 'listening')
    const agent = new OwnAgent(ends)
    lines.push(await ask(agent, { path: '/quick' }), `${agent.freeCount} free`)
    server.closeIdleConnections()
    await until(() => agent.freeCount === 0)
    lines.push(`${agent.freeCount} free after closeIdleConnections()`)
    const asked = request({ agent, host: 'far', path: '/never' }).on('error', (error) => lines.push(`request error ${code(error)}`))
    const come = once(server, 'request')
    asked.end()
    await come
    server.closeIdleConnections()
    await pause(50)
    lines.push(`${agent.busyCount} busy`)
    server.closeAllConnections()
    await closed(asked)
    lines.push(`${agent.busyCount} busy after closeAllConnections()`)
    server.close()
    return lines
  },
}

const clientGone: Program = {
  name: 'http: the client goes in the middle of its body',
  differs: cut('accepted: end, error HPE_INVALID_EOF_STATE, close'),
  run: async (ends) => {
    const lines: string[] = []
    const over = new Promise<void>((resolve) => {
      serving(ends, createServer((req) => {
        req.on('error', (error) => lines.push(`body error ${code(error)}`)).on('aborted', () => lines.push('aborted')).on('close', resolve).on('data', () => {})
        req.once('data', () => { asked.destroy() })
      }))
    })
    const asked = request({ agent: new OwnAgent(ends), host: 'far', method: 'POST', headers: { 'content-length': 1000 } })
    asked.on('error', (error) => lines.push(`request error ${code(error)}`))
    asked.write('half')
    await over
    return lines.sort()
  },
}

export default [keepAlive, closeAfter, agentTimeout, serverKeepAliveTimeout, serverTimeout, requestTimeout, upgrade, closing, clientGone]
