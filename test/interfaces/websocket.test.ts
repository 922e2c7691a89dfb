/** WebSocket: the suite of interfaces, servers of the user's, and what is no stage. */
import test from 'ava'
import { once } from 'node:events'
import { createServer, request } from 'node:http'
import { createServer as createHttps } from 'node:https'
import { connect as connectPlain, createServer as createPlain, type AddressInfo, type Socket } from 'node:net'
import { join } from 'node:path'
import { WebSocket, WebSocketServer } from 'ws'
import { WebSocketInterface, type WebSocketOptions } from '../../interfaces/websocket.js'
import { Stage, StageError } from '../../src/index.js'
import { authorityFor, needingOpenssl, pem } from '../helpers/authority.js'
import { tempFolder } from '../helpers/process.js'
import { opened } from '../helpers/opened.js'
import { until } from '../helpers/until.js'
import { interfaceSuite } from '../suites/interface.js'
import type { Assertions } from '../suites/test.js'

const never = new AbortController().signal
const authority = authorityFor(test)
const onTls = needingOpenssl(test)

interfaceSuite(test, () => ({ listener: new WebSocketInterface(), dialler: new WebSocketInterface() }), { name: 'websocket' })
interfaceSuite(test, async (t) => {
  const server = createServer((_request, response) => response.end('the application'))
  t.teardown(() => void server.close())
  await listening(server)
  return { listener: new WebSocketInterface({ server, path: '/mesh' }), dialler: new WebSocketInterface() }
}, { name: 'websocket on a server of the user\'s' })
if (authority) {
  const tls = { ...pem(authority.certify('IP:127.0.0.1')) }
  interfaceSuite(test, () => ({ listener: new WebSocketInterface({ tls }), dialler: new WebSocketInterface({ tls }) }), { name: 'wss' })
}

async function listening(server: { listen(port: number, host: string, done: () => void): unknown, address(): unknown }): Promise<number> {
  await new Promise<void>((resolve) => { server.listen(0, '127.0.0.1', resolve) })
  return (server.address() as AddressInfo).port
}

const at = (address: string): { host: string, port: number } => {
  const { hostname, port } = new URL(address)
  return { host: hostname, port: Number(port) }
}

test('a stage on the HTTP server of an application, beside its requests and its own WebSockets', async (t) => {
  const server = createServer((_request, response) => response.end('the application'))
  const others = new WebSocketServer({ noServer: true })
  server.on('upgrade', (incoming, socket, head) => {
    if (incoming.url === '/chat') others.handleUpgrade(incoming, socket, head, (chat) => chat.send('chat'))
  })
  const port = await listening(server)
  t.teardown(() => { others.close(); server.close() })
  const registry = 'memory:websocket'
  const api = new Stage('api', { registry, interfaces: new WebSocketInterface({ server, url: `ws://localhost:${port}/stagemesh`, insecure: true }) })
  const client = new Stage('client', { registry, interfaces: new WebSocketInterface() })
  t.teardown(() => Promise.all([api.close(), client.close()]))
  api.to('*').provide('greet', (name: string) => `hello ${name}`)
  t.is(await client.to('api').call('greet', 'bob'), 'hello bob')
  t.is(await (await fetch(`http://127.0.0.1:${port}/`)).text(), 'the application')
  const chat = new WebSocket(`ws://127.0.0.1:${port}/chat`)
  t.is(String((await once(chat, 'message'))[0]), 'chat')
  chat.close()
  await api.close()
  t.is(await (await fetch(`http://127.0.0.1:${port}/`)).text(), 'the application', 'the server stays')
})

test('a stage waits for the server of the user to listen', async (t) => {
  const server = createServer()
  t.teardown(() => void server.close())
  const listener = new WebSocketInterface({ server })
  const begun = listener.listen((stream) => stream.destroy())
  const port = await listening(server)
  t.deepEqual(await begun, [`ws://127.0.0.1:${port}/stagemesh`])
  await listener.close()
})

test('an interface that waits for a server can be closed', async (t) => {
  const server = createServer()
  const listener = new WebSocketInterface({ server })
  void listener.listen((stream) => stream.destroy())
  await listener.close()
  t.is(server.listenerCount('upgrade'), 0)
})

/** A proxy that cuts connections on which nothing was sent for that long. */
async function proxy(t: Assertions, port: number, idleMs: number): Promise<number> {
  const server = createPlain((near) => {
    const far = connectPlain(port, '127.0.0.1')
    for (const [from, to] of [[near, far], [far, near]] as [Socket, Socket][]) {
      from.setTimeout(idleMs, () => { near.destroy(); far.destroy() })
      from.on('error', () => {}).on('close', () => to.destroy()).pipe(to)
    }
  })
  t.teardown(() => void server.close())
  return listening(server)
}

test('a link through a proxy that cuts what is idle stands: pings of stages pass it', async (t) => {
  t.timeout(60_000)
  const server = createServer()
  const port = await listening(server)
  t.teardown(() => void server.close())
  const through = await proxy(t, port, 14_000)
  const registry = 'memory:websocket-idle'
  const api = new Stage('api', { registry, interfaces: new WebSocketInterface({ server, url: `ws://127.0.0.1:${through}/stagemesh`, insecure: true }) })
  const client = new Stage('client', { registry, interfaces: new WebSocketInterface() })
  t.teardown(() => Promise.all([api.close(), client.close()]))
  api.to('*').provide('greet', () => 'hello')
  let unlinks = 0
  client.on('unlink', () => unlinks++)
  t.is(await client.to('api').call('greet'), 'hello')
  await new Promise((resolve) => setTimeout(resolve, 32_000))
  t.is(await client.to('api').call('greet'), 'hello')
  t.is(unlinks, 0)
})

test('requests, pages of browsers and other WebSockets are refused with a reason', async (t) => {
  const { address, accepted } = await opened(t, new WebSocketInterface())
  const plain = await fetch(address.replace('ws:', 'http:'))
  t.is(plain.status, 426)
  t.regex(await plain.text(), /WebSocket of a stage/)
  const tried: [string, string | undefined, Record<string, string>, number][] = [
    [address, 'stagemesh', { origin: 'http://evil.example' }, 403],
    [address, undefined, {}, 400],
    [address, 'graphql-ws', {}, 400],
    [address.replace('/stagemesh', '/other'), 'stagemesh', {}, 404],
  ]
  for (const [url, protocol, headers, status] of tried) {
    const socket = new WebSocket(url, protocol ? [protocol] : [], { headers })
    const [error] = await once(socket, 'error').catch((thrown: Error) => [thrown]) as [Error]
    t.is(error.message, `Unexpected server response: ${status}`)
  }
  t.is(accepted.length, 0)
})

test('what answers in place of a stage is named', async (t) => {
  const server = createServer((_request, response) => response.writeHead(503).end())
  server.on('upgrade', (_request, socket) => socket.end('HTTP/1.1 502 Bad Gateway\r\n\r\n'))
  t.teardown(() => void server.close())
  const port = await listening(server)
  const error = await t.throwsAsync(new WebSocketInterface().connect(`ws://127.0.0.1:${port}/stagemesh`, never), { instanceOf: StageError }) as StageError
  t.is(error.code, 'DISCONNECTED')
  t.regex(error.message, /answered with HTTP 502: what is in front/)
})

test('a peer that breaks the form of the stream is cut off', async (t) => {
  const { address, accepted } = await opened(t, new WebSocketInterface())
  const send: Record<string, (socket: WebSocket) => void> = {
    'a text': (socket) => socket.send('text'),
    'a message of more than 64 KiB': (socket) => socket.send(Buffer.alloc(64 * 1024 + 1)),
    'a message behind the end': (socket) => { socket.send(Buffer.alloc(0)); socket.send(Buffer.from('more')) },
    'noise': (socket) => { (socket as unknown as { _socket: Socket })._socket.write(Buffer.alloc(100, 0xff)) },
    'half a frame, and gone': (socket) => { (socket as unknown as { _socket: Socket })._socket.end(Buffer.from([0x82, 0xfe])) },
  }
  for (const [what, act] of Object.entries(send)) {
    const socket = new WebSocket(address, 'stagemesh')
    socket.on('error', () => {})
    await once(socket, 'open')
    const stream = accepted.at(-1)!
    stream.resume()
    act(socket)
    await until(() => stream.destroyed)
    t.truthy(stream.errored, what)
    socket.terminate()
  }
})

test('connections that never become WebSockets do not keep others out', async (t) => {
  t.timeout(60_000)
  const { address, accepted } = await opened(t, new WebSocketInterface())
  const silent = await Promise.all(Array.from({ length: 300 }, async (_, i) => {
    const socket = connectPlain(at(address))
    socket.on('error', () => {}).resume()
    await once(socket, 'connect')
    if (i % 3 === 1) socket.write('GET /stagemesh HTTP/1.1\r\nHost: x\r\n')
    if (i % 3 === 2) socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
    return socket
  }))
  t.teardown(() => { for (const socket of silent) socket.destroy() })
  const stream = await new WebSocketInterface().connect(address, never)
  t.teardown(() => void stream.destroy())
  await until(() => accepted.length === 1)
  await until(() => silent.every((socket) => socket.destroyed || socket.readableEnded), 20_000)
  t.false(stream.destroyed)
})

test('misuse is told at once', (t) => {
  const server = createServer()
  const wrong: [WebSocketOptions, RegExp][] = [
    [{ server, port: 80 }, /port is for a port of the interface's own/], [{ server: {} as never }, /expected an http\.Server/],
    [{ path: 'mesh' }, /begins with "\/"/], [{ path: '/a?b' }, /begins with "\/"/], [{ url: 'http://x/' }, /expected ws:\/\//], [{ url: 'ws://user:pass@x/' }, /without a user/],
    [{ port: 70_000 }, /0 to 65535/], [{ secret: 'short' }, /16 bytes/], [{ pth: '/' } as never, /pth/],
  ]
  for (const [options, told] of wrong) t.throws(() => new WebSocketInterface(options), { instanceOf: TypeError, message: told })
})

test('a server of the user\'s may be reached from anywhere, so it needs a secret', (t) => {
  const server = createServer()
  t.true(new WebSocketInterface({ server }).exposed)
  t.false(new WebSocketInterface({ server, insecure: true }).exposed)
  t.false(new WebSocketInterface().exposed)
  t.true(new WebSocketInterface({ bind: '0.0.0.0' }).exposed)
})

test('malformed addresses are not dialled', async (t) => {
  for (const address of ['ws://', 'http://127.0.0.1/', 'ws://a:b@127.0.0.1/', 'ws://127.0.0.1/#x', 'wss://127.0.0.1:99999/']) {
    const error = await t.throwsAsync(new WebSocketInterface().connect(address, never), { instanceOf: StageError }) as StageError
    t.is(error.code, 'BAD_ARGUMENT', address)
  }
})

onTls('behind a load balancer that ends TLS, with an authority of one\'s own; another authority is refused', async (t) => {
  const files = pem(authority!.certify('DNS:localhost'))
  const secret = 'sixteen bytes or more'
  const server = createServer()
  const port = await listening(server)
  const balancer = createHttps(files)
  balancer.on('upgrade', (incoming, near: Socket, head: Buffer) => {
    const outgoing = request({ port, host: '127.0.0.1', path: incoming.url, headers: incoming.headers })
    outgoing.on('upgrade', (response, far) => {
      near.write(`HTTP/1.1 101 Switching Protocols\r\n${Object.entries(response.headers).map(([name, value]) => `${name}: ${String(value)}\r\n`).join('')}\r\n`)
      far.write(head)
      for (const [from, to] of [[near, far], [far, near]]) from.on('error', () => {}).on('close', () => to.destroy()).pipe(to)
    })
    outgoing.end()
  })
  const front = await listening(balancer)
  t.teardown(() => { balancer.close(); server.close() })
  const registry = 'memory:websocket-balancer'
  const api = new Stage('api', { registry, secret, interfaces: new WebSocketInterface({ server, url: `wss://localhost:${front}/stagemesh` }) })
  const client = new Stage('client', { registry, secret, interfaces: new WebSocketInterface({ tls: pem(authority!.certify('DNS:client')) }) })
  const stranger = new Stage('stranger', { registry, secret, interfaces: new WebSocketInterface(), timeoutMs: 2000 })
  t.teardown(() => Promise.all([api.close(), client.close(), stranger.close()]))
  api.to('*').provide('greet', () => 'hello')
  t.is(await client.to('api').call('greet'), 'hello')
  const error = await t.throwsAsync(stranger.to('api').call('greet'), { instanceOf: StageError }) as StageError
  t.is(error.code, 'AUTH_FAILED')
  t.regex(error.message, /certificate of .* is not accepted/)
})


test('an upgrade that nobody wants is refused, on a server of the user\'s too', async (t) => {
  const server = createServer()
  const port = await listening(server)
  t.teardown(() => void server.close())
  const listener = new WebSocketInterface({ server })
  t.teardown(() => listener.close())
  await listener.listen((stream) => stream.destroy())
  const socket = connectPlain(port, '127.0.0.1')
  t.teardown(() => void socket.destroy())
  socket.write('GET /other HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n')
  t.regex(String((await once(socket, 'data'))[0]), /^HTTP\/1\.1 404/)
})

test('an attempt to listen that failed leaves nothing on the server', async (t) => {
  const server = createServer()
  t.teardown(() => void server.close())
  const path = join(await tempFolder(t), 'socket')
  await new Promise<void>((resolve) => { server.listen(path, resolve) })
  const listener = new WebSocketInterface({ server })
  for (let i = 0; i < 3; i++) await t.throwsAsync(listener.listen((stream) => stream.destroy()), { instanceOf: StageError, message: /pass the address that they can as `url`/ })
  t.is(server.listenerCount('upgrade'), 0)
  await listener.close()
})

onTls('with mutual certificates an address without TLS is not dialled', async (t) => {
  const { address } = await opened(t, new WebSocketInterface())
  const dialler = new WebSocketInterface({ tls: { ...pem(authority!.certify('DNS:a')), mutual: true } })
  t.is((await t.throwsAsync(dialler.connect(address, never), { instanceOf: StageError }) as StageError).code, 'AUTH_FAILED')
})
