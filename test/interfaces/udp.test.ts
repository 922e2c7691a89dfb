/** UDP: the suite of interfaces, datagrams, and packets of strangers. */
import test from 'ava'
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { readdir } from 'node:fs/promises'
import type { Duplex } from 'node:stream'
import { UdpInterface, type UdpOptions } from '../../interfaces/udp.js'
import { parseAddress } from '../../interfaces/shared/host.js'
import { MemoryRegistry, Stage, StageError } from '../../src/index.js'
import type { Datagrams } from '../../src/types.js'
import { seeded } from '../helpers/mesh.js'
import { endsByItself } from '../helpers/own-process.js'
import { opened } from '../helpers/opened.js'
import { until } from '../helpers/until.js'
import { interfaceSuite } from '../suites/interface.js'
import { readAll } from '../suites/stream.js'
import type { Assertions } from '../suites/test.js'

interfaceSuite(test, () => ({ listener: new UdpInterface(), dialler: new UdpInterface() }), { name: 'udp' })
interfaceSuite(test, () => ({ listener: new UdpInterface({ host: '::1' }), dialler: new UdpInterface() }), { name: 'udp over IPv6' })

const never = new AbortController().signal
let count = 0

async function ends(t: Assertions): Promise<{ near: Duplex & { datagrams: Datagrams }, far: Duplex & { datagrams: Datagrams }, address: string }> {
  const { address, accepted } = await opened(t, new UdpInterface())
  const near = await new UdpInterface().connect(address, never)
  t.teardown(() => void near.destroy())
  await until(() => accepted.length === 1)
  return { near, far: accepted[0], address } as never
}

test('datagrams pass beside the stream, both ways', async (t) => {
  const { near, far } = await ends(t)
  const got: [string[], string[]] = [[], []]
  near.datagrams.onmessage = (bytes) => got[0].push(bytes.toString())
  far.datagrams.onmessage = (bytes) => got[1].push(bytes.toString())
  near.datagrams.send(Buffer.from('ping'))
  far.datagrams.send(Buffer.alloc(far.datagrams.maxBytes, 'x'))
  near.end('the stream')
  t.is(Buffer.concat(await readAll(far)).toString(), 'the stream')
  await until(() => got[0].length === 1 && got[1].length === 1)
  t.deepEqual(got, [['x'.repeat(far.datagrams.maxBytes)], ['ping']])
})

test('packets of strangers make no stream, and get no more than they send', async (t) => {
  const { address, accepted } = await opened(t, new UdpInterface())
  const { host, port } = parseAddress(address, 'udp')
  const stranger = createSocket('udp4')
  t.teardown(() => void stranger.close())
  let sent = 0
  let received = 0
  let largest = 0
  stranger.on('message', (bytes) => { received += bytes.length; largest = Math.max(largest, bytes.length) })
  const noise = seeded('udp')
  const packets = [
    ...Array.from({ length: 200 }, (_, i) => noise.bytes(1 + i * 7)),
    ...[0, 1, 2, 3, 4, 5, 255].flatMap((kind) => [Buffer.concat([Buffer.from('STGU'), Buffer.of(kind)]), Buffer.concat([Buffer.from('STGU'), Buffer.of(kind), noise.bytes(24)]), Buffer.concat([Buffer.from('STGU'), Buffer.of(kind), noise.bytes(1000)])]),
    Buffer.alloc(0),
  ]
  for (const one of packets) {
    sent += one.length
    await new Promise((resolve) => { stranger.send(one, port, host, resolve) })
  }
  const stream = await new UdpInterface().connect(address, never)
  t.teardown(() => void stream.destroy())
  await until(() => accepted.length === 1)
  t.true(received <= sent && largest <= 29, `${received} bytes for ${sent}, the largest ${largest}`)
})

test('a stream whose bytes are no messages is cut off', async (t) => {
  const { far, near } = await ends(t)
  const raw = (near as unknown as { port: { stream: Duplex } }).port.stream
  far.resume()
  raw.write(Buffer.alloc(64, 0xff))
  await until(() => far.destroyed)
  t.truthy(far.errored)
})

test('an address to which there is no way is an error of the dial', async (t) => {
  const ending = new AbortController()
  setTimeout(() => ending.abort(new Error('enough')), 500)
  const error = await t.throwsAsync(new UdpInterface().connect('udp://[2001:db8::1]:4000', ending.signal)) as NodeJS.ErrnoException
  t.regex(`${error.code} ${error.message}`, /ENETUNREACH|EADDRNOTAVAIL|EHOSTUNREACH|enough/)
})

test('where nobody answers, the dial goes on until its signal fires', async (t) => {
  const silent = createSocket('udp4')
  await new Promise<void>((resolve) => { silent.bind(0, '127.0.0.1', resolve) })
  t.teardown(() => void silent.close())
  let packets = 0
  silent.on('message', () => packets++)
  const ending = new AbortController()
  const dial = new UdpInterface().connect(`udp://127.0.0.1:${silent.address().port}`, ending.signal)
  while (packets < 3) await once(silent, 'message')
  const reason = new Error('enough')
  ending.abort(reason)
  t.is(await t.throwsAsync(dial), reason)
})

/** A network between a client and a port: it loses a part of the packets, and delays the others. */
async function lossy(t: Assertions, port: number, loss: number, delayMs: number): Promise<number> {
  const chance = seeded('lossy')
  const near = createSocket('udp4')
  const ways = new Map<number, Socket>()
  const later = (send: () => void): void => { if (chance.float() >= loss) setTimeout(send, delayMs) }
  const ignore = (): void => {}
  near.on('message', (bytes, from) => {
    let far = ways.get(from.port)
    if (!far) {
      far = createSocket('udp4')
      far.on('error', ignore).on('message', (answer) => later(() => near.send(answer, from.port, '127.0.0.1', ignore)))
      ways.set(from.port, far)
    }
    const to = far
    later(() => to.send(bytes, port, '127.0.0.1', ignore))
  })
  await new Promise<void>((resolve) => { near.bind(0, '127.0.0.1', resolve) })
  t.teardown(() => void setTimeout(() => { for (const socket of [near, ...ways.values()]) socket.close() }, 500))
  return near.address().port
}

/** A stage, and a client that reaches it through such a network only. */
async function apart(t: Assertions, loss: number, delayMs: number) {
  const place = ++count
  const game = new Stage('game', { registry: new MemoryRegistry(`udp-game-${place}`), interfaces: new UdpInterface() })
  t.teardown(() => game.close())
  const [addresses] = await once(game, 'listening') as [string[]]
  const port = await lossy(t, parseAddress(addresses[0], 'udp').port, loss, delayMs)
  const registry = new MemoryRegistry(`udp-client-${place}`)
  await registry.publish({ id: game.id, name: 'game', namespace: 'default', addresses: [`udp://127.0.0.1:${port}`], unique: false, draining: false, ttlMs: 60_000, announces: {}, meta: {} }, 60_000)
  const client = new Stage('client', { registry, interfaces: new UdpInterface(), timeoutMs: 30_000 })
  t.teardown(() => client.close())
  return { game, client }
}

test('5 % loss and 50 ms: the stream arrives whole, datagrams as the network leaves them, and none waits behind a lost one', async (t) => {
  t.timeout(120_000)
  const { game, client } = await apart(t, 0.05, 50)
  const late: Record<string, number[]> = { unreliable: [], ordered: [] }
  game.to('*').provide({ move: (delivery: string, at: number) => { late[delivery].push(performance.now() - at) }, ping: () => 'pong' })
  const received = new Promise<Buffer>((resolve) => game.once('stream', (stream) => { void readAll(stream as Duplex).then((chunks) => resolve(Buffer.concat(chunks))) }))
  await client.to('game').call('ping')
  for (let i = 0; i < 1000; i++) {
    for (const delivery of ['unreliable', 'ordered'] as const) client.to('game', { delivery }).cast('move', delivery, performance.now())
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
  await until(() => late['ordered'].length === 1000, 30_000)
  t.is(client.stats()['datagrams'], 1000)
  const share = late['unreliable'].length / 1000
  t.true(share > 0.9 && share < 0.99, `${late['unreliable'].length} of 1000 arrived`)
  const waited = (one: string): number => late[one].filter((ms) => ms > 120).length
  t.log(`datagrams: ${share * 100} % arrived, ${waited('unreliable')} of them later than 120 ms; in order: ${waited('ordered')}`)
  t.true(waited('unreliable') < 0.05 * 1000, `${waited('unreliable')} datagrams were late`)
  t.true(waited('ordered') > 2 * waited('unreliable'), 'in order, many wait behind a lost one')
  const bytes = seeded('whole').bytes(1_000_000)
  client.to('game').end(bytes)
  t.true((await received).equals(bytes))
})

test('over a carrier without datagrams, and for a large message, the same cast arrives in order', async (t) => {
  const { game, client } = await apart(t, 0, 1)
  const got: number[] = []
  game.to('*').provide({ take: (bytes: Buffer) => { got.push(bytes.length) } })
  client.to('game', { delivery: 'unreliable' }).cast('take', Buffer.alloc(5000))
  client.to('game', { delivery: 'unordered' }).cast('take', Buffer.alloc(10))
  await until(() => got.length === 2)
  t.deepEqual(got, [5000, 10])
  t.is(client.stats()['datagrams'], 0)
  const over = new MemoryRegistry('udp-memory')
  const [a, b] = ['a', 'b'].map((name) => new Stage(name, { registry: over }))
  t.teardown(async () => void await Promise.all([a.close(), b.close()]))
  b.to('*').provide({ take: (bytes: Buffer) => { got.push(bytes.length) } })
  await a.to('b').call('take', Buffer.alloc(1))
  a.to('b', { delivery: 'unreliable' }).cast('take', Buffer.alloc(2))
  await until(() => got.length === 4)
  t.throws(() => a.to('b', { delivery: 'maybe' as never }), { code: 'BAD_ARGUMENT', message: /delivery is "maybe": expected 'ordered'/ })
})

test('datagrams that are no casts are dropped and counted, and the link goes on', async (t) => {
  const { game, client } = await apart(t, 0, 1)
  game.to('*').provide({ ping: () => 'pong' })
  const sent: Datagrams[] = []
  const { connect } = UdpInterface.prototype
  const udp = new UdpInterface()
  t.teardown(() => udp.close())
  const through = Object.assign(udp, {
    connect: async (address: string, signal: AbortSignal) => {
      const stream = await connect.call(udp, address, signal)
      sent.push((stream as Duplex & { datagrams: Datagrams }).datagrams)
      return stream
    },
  })
  const registry = new MemoryRegistry('udp-noise')
  await client.ready()
  await registry.publish({ ...client.peers('game')[0], unique: false, draining: false, ttlMs: 60_000, announces: {} }, 60_000)
  const noisy = new Stage('noisy', { registry, interfaces: through })
  t.teardown(() => noisy.close())
  t.is(await noisy.to('game').call('ping'), 'pong')
  const noise = seeded('datagrams')
  let i = 0
  await until(() => {
    // a burst would be lost in the buffers of the system
    sent[0].send(i % 2 ? noise.bytes(1 + i) : Buffer.concat([Buffer.of(i % 40, 0, 0, 0, 0), noise.bytes(i % 37)]))
    return ++i > 300 && game.stats()['datagramsDropped'] > 200
  })
  t.is(await noisy.to('game').call('ping'), 'pong')
})

test('misuse is told at once', async (t) => {
  for (const options of [{ port: -1 }, { secret: 'short' }, { host: '0.0.0.0' }, { bind: 'a b' }, { prt: 1 } as never]) {
    t.throws(() => new UdpInterface(options as UdpOptions), { instanceOf: TypeError }, JSON.stringify(options))
  }
  t.true(new UdpInterface({ bind: '0.0.0.0' }).exposed)
  for (const address of ['udp://127.0.0.1:99999', 'udp://:4000', 'tcp://127.0.0.1:1']) {
    t.is((await t.throwsAsync(new UdpInterface().connect(address, never), { instanceOf: StageError }) as StageError).code, 'BAD_ARGUMENT')
  }
})

test('it keeps its process alive while it listens, and no longer', async (t) => {
  await endsByItself(t, 'interfaces/udp.js', (module: { UdpInterface: new () => UdpInterface }) => new module.UdpInterface())
})

test('one host cannot take the room of all others', async (t) => {
  const { address, accepted } = await opened(t, new UdpInterface())
  const { host, port } = parseAddress(address, 'udp')
  const stranger = createSocket('udp4')
  t.teardown(() => void stranger.close())
  await new Promise<void>((resolve) => { stranger.bind(0, '127.0.0.9', resolve) })
  const answers: Buffer[] = []
  stranger.on('message', (bytes) => answers.push(bytes))
  const ask = (kind: number, nonce: number, cookie: Buffer): void => {
    const bytes = Buffer.alloc(29)
    bytes.write('STGU')
    bytes[4] = kind
    bytes.writeUInt32BE(nonce, 5)
    cookie.copy(bytes, 13)
    stranger.send(bytes, port, host)
  }
  /** A cookie. Packets of one socket keep their order here, so everything that was asked before has been read. */
  const cookieAgain = async (): Promise<Buffer> => {
    const before = answers.length
    ask(1, 0, Buffer.alloc(16))
    await until(() => answers.slice(before).some((bytes) => bytes[4] === 2))
    return answers.slice(before).find((bytes) => bytes[4] === 2)!.subarray(13)
  }
  const cookie = await cookieAgain()
  for (let nonce = 1; nonce <= 2500; nonce += 50) {
    for (let i = 0; i < 50; i++) ask(3, nonce + i, cookie)
    await cookieAgain()
  }
  t.is(accepted.length, 2000)
  const honest = await new UdpInterface().connect(address, never)
  t.teardown(() => void honest.destroy())
  await until(() => accepted.length === 2001)
  // those that said nothing are gone as soon as they are cut off, and make room
  for (const one of accepted.slice(0, 2000)) one.destroy()
  await until(() => { ask(3, 9999, cookie); return accepted.length === 2002 }, 1000)
  accepted[2001].destroy()
})

test('datagrams that are cast faster than they can be sent are dropped, and counted', async (t) => {
  t.timeout(60_000)
  const registry = `memory:udp-${++count}`
  const [a, b] = ['a', 'b'].map((name) => new Stage(name, { registry, interfaces: new UdpInterface() }))
  t.teardown(async () => void await Promise.all([a.close(), b.close()]))
  let got = 0
  b.to('*').provide('move', () => { got++ })
  b.to('*').provide('ping', () => 'pong')
  await Promise.all([a.ready(), b.ready()])
  t.is(await a.to('b').call('ping'), 'pong')
  const moves = a.to('b', { delivery: 'unreliable' })
  for (let i = 0; i < 20_000; i++) moves.cast('move', i)
  const { datagrams, datagramsDropped } = a.stats()
  t.is(datagrams! + datagramsDropped!, 20_000)
  t.true(datagrams! <= 1000, `${datagrams} wait to be sent`)
  await until(() => got > 0)
  t.is(await a.to('b').call('ping'), 'pong')
})

test('a port that is taken costs no descriptor, however often it is tried', async (t) => {
  const { address } = await opened(t, new UdpInterface())
  const { port } = parseAddress(address, 'udp')
  const open = async (): Promise<number> => (await readdir('/proc/self/fd')).length
  const before = await open()
  for (let i = 0; i < 30; i++) {
    await t.throwsAsync(new UdpInterface({ port }).listen(() => {}), { instanceOf: StageError, message: /is taken/ })
  }
  await until(async () => await open() < before + 15)
  t.pass()
})

test('only TCP takes a function for its host', (t) => {
  t.throws(() => new UdpInterface({ host: (() => '127.0.0.1') as never }), { instanceOf: TypeError, message: /only the TCP interface takes/ })
})
