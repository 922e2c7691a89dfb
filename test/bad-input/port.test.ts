/** Whatever reaches the port of a stage: strangers before the handshake, and peers that break the rules behind it. */
import test from 'ava'
import { StageError, type Peer, type Stage } from '../../src/index.js'
import { seeded } from '../helpers/mesh.js'
import { type Plain, Raw, carried, hello, listener, packet, plain, tcpMesh, u32 } from '../helpers/raw-peer.js'
import { nothingUnhandled } from '../helpers/unhandled.js'
import { until } from '../helpers/until.js'
import { VirtualClock } from '../helpers/virtual-clock.js'

nothingUnhandled(test)

// ── before the handshake ────────────────────────────────────────────────────────────────────────────────────────

/** It holds nothing of the strangers any more, and serves as before. */
async function unharmed(stage: Stage, other: Stage): Promise<boolean> {
  await until(() => stage.stats()['handshakes'] === 0)
  return stage.stats()['slots'] === stage.links().length && await other.to(stage.name).call('greet', 'bob') === 'hi there, bob'
}

const greets = <S extends Stage>(stage: S): S => {
  stage.to('*').provide('greet', (name: string) => `hi there, ${name}`)
  return stage
}

const tlsHello = Buffer.from('16030100a5010000a10303' + '5a'.repeat(160), 'hex')
const head = (length: number): Buffer => Buffer.concat([Buffer.from('STG1'), u32(length)])

const foreign: [title: string, bytes: Buffer, says: RegExp][] = [
  ['random bytes', seeded('noise').bytes(4096), /this port expects the handshake of a stage/],
  ['a megabyte of random bytes', seeded('noise').bytes(1 << 20), /this port expects the handshake of a stage/],
  ['an HTTP request', Buffer.from('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n'), /HTTP/],
  ['a TLS client hello', tlsHello, /TLS/],
  ['a wrong fourth byte', Buffer.from('STG2\0\0\0\x02{}'), /this port expects the handshake of a stage/],
  ['a length of 4 GiB', head(0xffffffff), /at most 4096/],
  ['a length one above the limit', head(4097), /at most 4096/],
  ['a length of 0', head(0), /not JSON/],
  ['no JSON', packet('{"protocol":'), /not JSON/],
  ['bytes that are no UTF-8', Buffer.concat([head(4), Buffer.from([0xff, 0xfe, 0x80, 0x80])]), /not JSON/],
  ['JSON nested too deeply to read', packet('['.repeat(4096)), /not JSON/],
  ...(['[]', 'null', '5', '"hello"', 'true'].map((json): [string, Buffer, RegExp] => [`JSON that is no object: ${json}`, packet(json), /malformed handshake: the message/])),
  ['an empty object', packet({}), /malformed handshake: protocol/],
]

const wrong: [field: string, ...values: unknown[]][] = [
  ['protocol', 1, '1', [], [1], [1, '1'], [1.5, 2], [1, 1, 1], {}],
  ['from', null, 5, 'mallory', [], {}],
  ['from', ...[undefined, 5, '', 'a b', 'x'.repeat(65), '__proto__é'].map((id) => ({ id, name: 'mallory', addresses: [] }))],
  ['from', ...[undefined, 5, '', ' a', 'a/b', 'a\n', 'a\u009b', 'a\u2028b', 'a\ud800', 'e\u0301', 'a*', 'x'.repeat(129), 'é'.repeat(65)].map((name) => ({ id: 'mallory-0001', name, addresses: [] }))],
  ['from', ...[undefined, null, 5, 'tcp://x:1', [5], [null], ['x'], ['ipc:///\u202e'], ['tcp://x:0'], Array(33).fill('tcp://x:1'), [`ipc:///${'x'.repeat(257)}`]].map((addresses) => ({ id: 'mallory-0001', name: 'mallory', addresses }))],
  ['nonce', undefined, 5, '', 'n'.repeat(42), 'n'.repeat(44), {}],
  ['chain', undefined, null, 'framing', [5], { length: 2 }, Array(33).fill('x')],
  ['keys', null, 5, 'x', {}, [5], [null], Array(5).fill('x'), ['x'.repeat(257)]],
  ['expect', null, 5, '', 'a b', {}],
  ['last', null, 5, 'closed', {}, { of: 5, state: 'closed' }, { of: 'x', state: 'open' }],
]

test('bytes that are no handshake are answered with what was wrong, and the stage goes on', async (t) => {
  const mesh = tcpMesh(t, new VirtualClock())
  const api = greets(await mesh.stage('api'))
  const web = await mesh.stage('web')
  for (const [title, bytes, says] of foreign) {
    const one = await plain(t, api.address)
    one.write(bytes)
    const error = await one.refused()
    // what was not read in time turns the end into a reset, which may overtake the reason
    if (bytes.length > 65_536 && error === undefined) continue
    t.is(error?.code, 'PROTOCOL_ERROR', title)
    t.regex(error?.message ?? '', says, title)
  }
  t.true(await unharmed(api, web))
})

test('a hello with wrong types names the field', async (t) => {
  const mesh = tcpMesh(t, new VirtualClock())
  const api = greets(await mesh.stage('api'))
  const web = await mesh.stage('web')
  await Promise.all(wrong.flatMap(([field, ...values]) => values.map(async (value) => {
    const one = await plain(t, api.address)
    one.write(packet(hello({ [field]: value })))
    const error = await one.refused()
    t.is(error?.code, 'PROTOCOL_ERROR', `${field}: ${JSON.stringify(value)}`)
    t.regex(error?.message ?? '', new RegExp(`malformed handshake: ${field}`))
  })))
  t.true(await unharmed(api, web))
})

test('P24: what a hello promises to be is never merged into anything', async (t) => {
  const mesh = tcpMesh(t, new VirtualClock())
  const api = greets(await mesh.stage('api'))
  const one = await plain(t, api.address)
  one.write(packet('{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}},"toString":5}'))
  t.is((await one.refused())?.code, 'PROTOCOL_ERROR')
  t.is(({} as { polluted?: number }).polluted, undefined)
})

const later: [title: string, second: unknown, code: string | undefined][] = [
  ['a proof that is a number', { proof: 5 }, 'AUTH_FAILED'],
  ['no proof', {}, 'AUTH_FAILED'],
  ['a proof where none is needed', { proof: 'x'.repeat(43) }, 'AUTH_FAILED'],
  ['an error with a code that is none of ours', { error: { code: 'EVIL', message: 5 } }, 'PROTOCOL_ERROR'],
  ['an error that is a string', { error: 'no' }, 'PROTOCOL_ERROR'],
  ['a second hello', hello(), 'AUTH_FAILED'],
]

test('a hello is right, and what follows is not', async (t) => {
  const mesh = tcpMesh(t, new VirtualClock())
  const api = greets(await mesh.stage('api'))
  const web = await mesh.stage('web')
  for (const [title, second, code] of later) {
    const one = await plain(t, api.address)
    one.write(packet(hello()))
    await until(() => one.packets.length === 1)
    one.write(packet(second))
    t.is((await one.refused())?.code, code, title)
  }
  t.true(await unharmed(api, web))
})

test('a verdict of the wrong type', async (t) => {
  const mesh = tcpMesh(t, new VirtualClock())
  const api = greets(await mesh.stage('api'))
  const web = await mesh.stage('web')
  for (const verdict of [5, null, 'ready', {}, { ready: 'now' }, { ready: null }, { duplicate: 5 }, []]) {
    const one = await plain(t, api.address)
    // the greater id is the arbiter
    one.write(Buffer.concat([packet(hello({ from: { id: 'z'.repeat(16), name: 'mallory', addresses: [] } })), packet({ proof: '' }), packet({ verdict })]))
    const error = await one.refused()
    t.is(error?.code, 'PROTOCOL_ERROR', JSON.stringify(verdict))
    t.regex(error?.message ?? '', /verdict/)
  }
  t.true(await unharmed(api, web))
})

test('an unfinished handshake is closed after 5 s: silence, half a hello, a hello and no more, a byte now and then', async (t) => {
  const mesh = tcpMesh(t, new VirtualClock())
  const api = greets(await mesh.stage('api'))
  const web = await mesh.stage('web')
  const [silent, half, stopped, slow] = await Promise.all([0, 1, 2, 3].map(() => plain(t, api.address)))
  half.write(packet(hello()).subarray(0, 100))
  stopped.write(packet(hello()))
  await until(() => stopped.packets.length === 1)
  await until(() => api.stats()['handshakes'] === 4)
  const drip = packet(hello())
  for (let second = 0; second < 4; second++) {
    slow.write(drip.subarray(second, second + 1))
    await mesh.clock.advance(1000)
  }
  await mesh.clock.advance(999)
  t.is(api.stats()['handshakes'], 4, 'nobody is closed too early')
  await mesh.clock.advance(1)
  for (const one of [silent, half, stopped, slow]) t.is((await one.refused())?.code, 'TIMEOUT')
  t.true(await unharmed(api, web))
})

test('a hello that ends in the middle, and one that is cut, leave nothing behind', async (t) => {
  const mesh = tcpMesh(t, new VirtualClock())
  const api = greets(await mesh.stage('api'))
  const web = await mesh.stage('web')
  const ended = await plain(t, api.address)
  ended.socket.end(packet(hello()).subarray(0, 50))
  const cut = await plain(t, api.address)
  cut.write(packet(hello()))
  await until(() => cut.packets.length === 1)
  cut.socket.resetAndDestroy()
  await until(() => ended.closed)
  t.true(await unharmed(api, web))
})

test('64 strangers at once stay; more make room, those from where most come first, and those that belong here come in', async (t) => {
  const mesh = tcpMesh(t, new VirtualClock())
  const api = greets(await mesh.stage('api'))
  const web = await mesh.stage('web')
  const strangers: Plain[] = []
  for (let i = 0; i < 64; i++) strangers.push(await plain(t, api.address))
  await until(() => api.stats()['handshakes'] === 64)
  const more = await Promise.all(Array.from({ length: 6 }, () => plain(t, api.address)))
  await until(() => api.stats()['handshakes'] === 70)
  t.is(strangers.filter((one) => one.closed).length, 0)
  await mesh.clock.advance(0)
  await mesh.clock.advance(0)
  await until(() => strangers.filter((one) => one.closed).length === 6)
  t.true(strangers.slice(0, 6).every((one) => one.closed), 'the oldest')
  t.is(more.filter((one) => one.closed).length, 0)
  t.is(api.stats()['handshakes'], 64)
  t.is(await web.to('api').call('greet', 'bob'), 'hi there, bob')
  await mesh.clock.advance(5000)
  await until(() => [...strangers, ...more].every((one) => one.closed))
  t.true(await unharmed(api, web))
})

test('two hundred strangers that come and go one after the other are not held', async (t) => {
  const mesh = tcpMesh(t)
  const api = greets(await mesh.stage('api'))
  const web = await mesh.stage('web')
  // each is let in under an id of its own, and leaves at once
  for (let i = 0; i < 200; i++) (await Raw.join(t, api.address, { id: `mallory-${10_000 + i}` })).socket.destroy()
  await until(() => api.links().length === 0 && api.stats()['slots'] === 0)
  t.true(await unharmed(api, web))
})

// ── the same, dialled ───────────────────────────────────────────────────────────────────────────────────────────

const answers: [title: string, answer: (one: Plain) => void, cause: string][] = [
  ['random bytes', (one) => one.write(seeded('noise').bytes(5000)), 'PROTOCOL_ERROR'],
  ['HTTP', (one) => one.write('HTTP/1.1 400 Bad Request\r\n\r\n'), 'PROTOCOL_ERROR'],
  ['an absurd length', (one) => one.write(head(1 << 30)), 'PROTOCOL_ERROR'],
  ['an error of no known code', (one) => one.write(packet({ error: { code: 'constructor', message: ['x'] } })), 'PROTOCOL_ERROR'],
  ['an error of 4 KiB', (one) => one.write(packet({ error: { code: 'REFUSED', message: 'x'.repeat(4000) } })), 'PROTOCOL_ERROR'],
  ['a hello of wrong types', (one) => one.write(packet(hello({ from: 5 }))), 'PROTOCOL_ERROR'],
  ['silence', () => {}, 'TIMEOUT'],
  ['its end', (one) => one.socket.end(), 'DISCONNECTED'],
  ['a reset', (one) => one.socket.resetAndDestroy(), 'DISCONNECTED'],
]

test('a call to what answers anything but a handshake ends at its deadline, and names address and reason', async (t) => {
  await Promise.all(answers.map(async ([title, answer, cause]) => {
    const mesh = tcpMesh(t, new VirtualClock())
    const web = await mesh.stage('web')
    const address = await listener(t, answer)
    mesh.list({ id: 'mallory-0001', addresses: [address] })
    const call = web.to('mallory', { timeoutMs: 6000 }).call('greet')
    call.catch(() => {})
    // connections are real and time is not: let each attempt come to its end before time goes on
    await until(async () => { await mesh.clock.advance(20); return mesh.clock.now() > 6000 }, 20_000)
    const error = await t.throwsAsync<StageError>(call, { instanceOf: StageError }, title)
    t.like(error, { code: 'TIMEOUT', phase: 'connecting', executed: 'no' }, title)
    t.true(error.message.includes(address), `${title}: ${error.message}`)
    t.is((error.cause as StageError).code, cause as never, title)
    t.true(error.message.length < 1500)
  }))
})

// ── behind the handshake ────────────────────────────────────────────────────────────────────────────────────────

const CALL = 1, REF = 2, CAST = 3, RESULT = 4, ERROR = 5, CANCEL = 6, RELEASE = 7, METHODS = 8
const OPEN = 10, DATA = 11, END = 12, RESET = 13, CREDIT = 14, PART = 15, START = 17
const str = (text: string): Buffer => Buffer.concat([Buffer.from([0xd9, text.length]), Buffer.from(text)])
const map = (...pairs: [string, Buffer | number[]][]): Buffer => Buffer.concat([Buffer.from([0x80 | pairs.length]), ...pairs.flatMap(([key, value]) => [str(key), Buffer.from(value)])])
const nothing = map()

interface Scene {
  api: Stage
  web: Stage
  raw: Raw
  /** How a link of mallory's ended. */
  ends: (StageError | undefined)[]
}

async function scene(t: Parameters<typeof tcpMesh>[0]): Promise<Scene> {
  const mesh = tcpMesh(t)
  const api = greets(await mesh.stage('api'))
  const web = await mesh.stage('web')
  const ends: (StageError | undefined)[] = []
  api.on('unlink', (peer: Peer, error) => { if (peer.name === 'mallory') ends.push(error) })
  api.on('stream', (stream) => { stream.on('data', () => {}).pause() })
  await web.to('api').call('greet', 'bob')
  const raw = await Raw.join(t, api.address)
  await until(() => api.links().length === 2 && raw.got(METHODS).length === 1)
  return { api, web, raw, ends }
}

const breaches: [title: string, (raw: Raw) => void][] = [
  ['a frame of an unknown kind', (raw) => raw.frame(Buffer.alloc(0), 3)],
  ['a ping with a payload', (raw) => raw.frame(Buffer.from('x'), 1)],
  ['a pong with a payload', (raw) => raw.frame(Buffer.from('x'), 2)],
  ['the head of a frame of 16 MiB', (raw) => void raw.socket.write(Buffer.from([0, 0xff, 0xff, 0xff]))],
  ['a frame one byte above the limit', (raw) => raw.message(PART, 1, Buffer.alloc(64 * 1024 + 512 - 5 + 1))],
  ['an empty frame', (raw) => raw.frame(Buffer.alloc(0))],
  ['a message shorter than its head', (raw) => raw.frame(Buffer.from([CALL, 0, 0, 0]))],
  ['a message of type 0', (raw) => raw.message(0, 1)],
  ['a message of an unknown type', (raw) => raw.message(19, 1)],
  ['ten thousand pings', (raw) => void raw.socket.write(Buffer.alloc(40_000, Buffer.from([1, 0, 0, 0])))],
  ['a message of type 255', (raw) => raw.message(255, 1)],
  ['an id used twice', (raw) => { raw.call(1, 'greet'); raw.call(1, 'greet') }],
  ['an id that goes back', (raw) => { raw.call(9, 'greet'); raw.call(7, 'greet') }],
  ['an id of the other end', (raw) => raw.call(2, 'greet')],
  ['the id 0', (raw) => raw.call(0, 'greet')],
  ['a stream under an id used twice', (raw) => { raw.call(1, 'greet'); raw.message(OPEN, 1) }],
  ['a stream under an id of the other end', (raw) => raw.message(OPEN, 2)],
  ['data beyond what was granted', (raw) => { raw.message(OPEN, 1); for (let i = 0; i < 5; i++) raw.message(DATA, 1, Buffer.alloc(60_000)) }],
  ['data beyond what was granted, on the stream of the link', (raw) => { for (let i = 0; i < 5; i++) raw.message(DATA, 0, Buffer.alloc(60_000)) }],
  ['data behind the end of a stream', (raw) => { raw.message(OPEN, 1); raw.message(END, 1); raw.message(DATA, 1, [1]) }],
  ['a cast that ends in its head and comes byte by byte', (raw) => { for (const byte of [0, 0, 0, 6, CAST, 0, 0, 0, 0, 0]) raw.socket.write(Buffer.from([byte])) }],
  ['a call that ends in its head', (raw) => raw.message(CALL, 1, [0, 0])],
  ['a call that ends before its context', (raw) => raw.message(CALL, 1, u32(1000))],
  ['a call that ends in the length of its context', (raw) => raw.message(CALL, 1, u32(1000), [1, 0])],
  ['a call that ends in its context', (raw) => raw.message(CALL, 1, u32(1000), [1, 0xff, 0xff, 0, 0, 0])],
  ['a call with a context of another kind', (raw) => raw.call(1, 'greet', [0x90], [2])],
  ['a call with an empty context', (raw) => raw.call(1, 'greet', [0x90], [1, 0, 0])],
  ['a call with more in its context than it says', (raw) => raw.call(1, 'greet', [0x90], carried({ more: [0] }))],
  ['a cast that ends in its context', (raw) => raw.message(CAST, 0, [1, 0, 9, 0])],
  ['a call that more turns wait for than calls can be deep', (raw) => raw.call(1, 'greet', [0x90], carried({ chain: Array<string>(34).fill('x') }))],
  ['the name of a turn that none can have', (raw) => raw.call(1, 'greet', [0x90], carried({ chain: ['x'.repeat(1025)] }))],
  ['headers of more bytes than may be', (raw) => raw.call(1, 'greet', [0x90], carried({ headers: [['a', 'x'.repeat(8192)]] }))],
  ['headers of more bytes than may be, together', (raw) => raw.call(1, 'greet', [0x90], carried({ headers: [['a', 'x'.repeat(5000)], ['b', 'x'.repeat(5000)]] }))],
  ['headers of more bytes than may be, with a cast', (raw) => raw.message(CAST, 0, carried({ headers: [['a', 'x'.repeat(8192)]] }), [5], Buffer.from('greet'), [0x90])],
  ['more headers than may be', (raw) => raw.call(1, 'greet', [0x90], carried({ headers: Array.from({ length: 65 }, (_, i) => [`h${i}`, ''] as const) }))],
  ['a header twice', (raw) => raw.call(1, 'greet', [0x90], carried({ headers: [['a', 'x'], ['a', 'y']] }))],
  ...['', 'Tenant', '__proto__', '-a', 'a b', 'a:b', 'é', 'x'.repeat(129)].map((name): (typeof breaches)[number] => [`a header named ${JSON.stringify(name.slice(0, 20))}`, (raw) => raw.call(1, 'greet', [0x90], carried({ headers: [[name, 'x']] }))]),
  ['a call whose name is longer than it', (raw) => raw.message(CALL, 1, u32(1000), [0, 200], [0x61])],
  ['a call without arguments', (raw) => raw.message(CALL, 1, u32(1000), [0, 5], Buffer.from('greet'))],
  ['arguments that are no list', (raw) => raw.call(1, 'greet', nothing)],
  ['arguments that go on behind their end', (raw) => raw.call(1, 'greet', [0x90, 0x90])],
  ['a list longer than the message', (raw) => raw.call(1, 'greet', [0xdd, 0xff, 0xff, 0xff, 0xff])],
  ['a string longer than the message', (raw) => raw.call(1, 'greet', [0x91, 0xdb, 0xff, 0xff, 0xff, 0xff])],
  ['a byte that is no msgpack', (raw) => raw.call(1, 'greet', [0x91, 0xc1])],
  ['an extension of an unknown type', (raw) => raw.call(1, 'greet', [0x91, 0xd4, 0x63, 0])],
  ['record definitions', (raw) => raw.call(1, 'greet', [0x91, 0xd5, 0x72, 0x40, 0x91, 0xa1, 0x61])],
  ['arguments nested too deeply', (raw) => raw.call(1, 'greet', [...Array<number>(100).fill(0x91), 0x90])],
  ['__proto__ in the arguments', (raw) => raw.call(1, 'greet', Buffer.concat([Buffer.from([0x91]), map(['__proto__', map(['polluted', [0xc3]])])]))],
  ['__proto__ deep in the arguments of a method that is not there', (raw) => raw.call(1, 'missing', Buffer.concat([Buffer.from([0x91, 0x91]), map(['__proto__', nothing])]))],
  ['malformed arguments of a cast', (raw) => raw.message(CAST, 0, [0, 5], Buffer.from('greet'), [0x91])],
  ['an empty cast', (raw) => raw.message(CAST, 0)],
  ['a malformed answer to nothing', (raw) => raw.message(RESULT, 2, [0xc1])],
  ['an answer to a call that nobody made', (raw) => raw.message(RESULT, 2, [0xc0])],
  ['the end of a stream that never was', (raw) => raw.message(END, 77)],
  ['data on a stream that never was', (raw) => raw.message(DATA, 77, [1])],
  ['data on a stream of ours that never was', (raw) => raw.message(DATA, 78, [1])],
  ['credit for a stream that never was', (raw) => raw.message(CREDIT, 77, u32(5))],
  ['the start of a stream that never was', (raw) => raw.message(START, 77)],
  ['more credit than was used', (raw) => { raw.message(OPEN, 1); raw.message(CREDIT, 1, u32(1)) }],
  ['as much credit as a number can say', (raw) => { raw.message(OPEN, 1); raw.message(CREDIT, 1, u32(0xffffffff)) }],
  ['no credit at all', (raw) => { raw.message(OPEN, 1); raw.message(CREDIT, 1, u32(0)) }],
  ['a stream that ends twice', (raw) => { raw.message(OPEN, 1); raw.message(END, 1); raw.message(END, 1) }],
  ['a call in parts under an id used before', (raw) => { raw.call(9, 'greet'); raw.message(PART, 7, [1]) }],
  ['a call in parts under the id 0', (raw) => { raw.message(PART, 0, u32(5000)); raw.message(CALL, 0, [0, 5], Buffer.from('greet'), [0x90]) }],
  ['a call in parts under an id of the other end', (raw) => { raw.message(PART, 0xfffffff0, u32(5000)); raw.message(CALL, 0xfffffff0, [0, 5], Buffer.from('greet'), [0x90]) }],
  ['another call between the parts of one, under its id', (raw) => { raw.message(PART, 1, [1]); raw.call(3, 'greet'); raw.call(1, 'greet') }],
  ['parts of an answer that was never asked for', (raw) => raw.message(PART, 2, [1])],
  ['a malformed error', (raw) => raw.message(ERROR, 2, [0xc1])],
  ['a list of methods that is none', (raw) => raw.message(METHODS, 0, [0x05])],
  ['idempotent methods that are numbers', (raw) => raw.message(METHODS, 0, map(['added', [0x90]], ['removed', [0x90]], ['idempotent', [0x91, 5]]))],
  ['idempotent methods that are no list', (raw) => raw.message(METHODS, 0, map(['added', [0x90]], ['removed', [0x90]], ['idempotent', str('greet')]))],
  ['a list of methods that are numbers', (raw) => raw.message(METHODS, 0, map(['added', [0x91, 5]], ['removed', [0x90]]))],
  ['credit without a number', (raw) => { raw.message(OPEN, 1); raw.message(CREDIT, 1, [1]) }],
  ['a release without a number', (raw) => raw.message(RELEASE, 1)],
  ['a call of a function without its number', (raw) => raw.message(REF, 1, u32(1000), [0], [1])],
  ['a reset that is malformed', (raw) => { raw.message(OPEN, 1); raw.message(RESET, 1, [0x91]) }],
  ['a message in endless parts', (raw) => { for (let i = 0; i < 80; i++) raw.message(PART, 1, Buffer.alloc(60_000)) }],
  ['many messages that never end', (raw) => { for (let i = 0; i < 400; i++) raw.message(PART, 2 * i + 1, Buffer.alloc(60_000)) }],
  ['more functions than can be held', (raw) => raw.call(1, 'greet', functions(10_001))],
]

/** A list of that many functions. */
function functions(count: number): Buffer {
  const list = Array.from({ length: count }, (_, i) => Buffer.concat([Buffer.from([0xd6, 1]), u32(i)]))
  return Buffer.concat([Buffer.from([0xdc, count >> 8, count & 255]), ...list])
}

for (const [title, attack] of breaches) {
  test(`P24: a peer that breaks the rules loses its link, and nobody else: ${title}`, async (t) => {
    const { api, web, raw, ends } = await scene(t)
    const [before] = web.links()
    attack(raw)
    await until(() => raw.closed, 30_000) // the largest takes a busy machine a while
    await until(() => ends.length === 1)
    t.is(ends[0]?.code, 'PROTOCOL_ERROR')
    t.is(({} as { polluted?: boolean }).polluted, undefined)
    t.is(await web.to('api').call('greet', 'bob'), 'hi there, bob')
    t.is(web.links()[0]?.id, before?.id)
    t.deepEqual(api.links().map(({ peer }) => peer.name), ['web'])
    t.like(api.stats(), { handshakes: 0, serving: 0, streams: 0, functions: 0 })
  })
}

/** A cast and a call, each byte in a turn of its own. */
async function byteByByte(raw: Raw): Promise<void> {
  const cast = [CAST, 0, 0, 0, 0, 0, 5, ...Buffer.from('greet'), 0x90]
  const call = [CALL, 0, 0, 0, 3, ...u32(5000), 0, 5, ...Buffer.from('greet'), 0x90]
  for (const byte of [cast, call].flatMap((message) => [0, 0, 0, message.length, ...message])) {
    raw.socket.write(Buffer.from([byte]))
    await new Promise((resolve) => setImmediate(resolve))
  }
}

const harmless: [title: string, (raw: Raw) => void | Promise<void>, undefined | ((raw: Raw) => boolean)][] = [
  ['a hundred pings', (raw) => void raw.socket.write(Buffer.alloc(400, Buffer.from([1, 0, 0, 0]))), (raw) => raw.pongs === 100],
  ['a pong that nobody asked for', (raw) => raw.frame(Buffer.alloc(0), 2), undefined],
  ['data for a stream that is gone', (raw) => { raw.message(OPEN, 77); raw.message(RESET, 77, nothing); raw.message(DATA, 77, Buffer.alloc(50_000)) }, undefined],
  ['end, reset, start and credit for a stream that is gone', (raw) => { raw.message(OPEN, 77); raw.message(RESET, 77, nothing); raw.message(END, 77); raw.message(RESET, 77, nothing); raw.message(START, 77); raw.message(CREDIT, 77, u32(5)) }, undefined],
  ['the cancelling of a call that nobody made', (raw) => raw.message(CANCEL, 99), undefined],
  ['the release of a function that was never passed', (raw) => raw.message(RELEASE, 99, u32(0xffffffff)), undefined],
  ['a call of a function that was never passed', (raw) => raw.message(REF, 1, u32(1000), [0], u32(99), [0x90]), (raw) => raw.got(ERROR, 1).length === 1],
  ['endless empty parts of a message', (raw) => { for (let i = 0; i < 20_000; i++) raw.message(PART, 1) }, undefined],
  ['a message in pieces of one byte', (raw) => { for (let i = 0; i < 20_000; i++) raw.message(PART, 1, [0]) }, undefined],
  ['frames that come byte by byte', byteByByte, (raw) => raw.got(RESULT, 3).length === 1],
  ['two thousand streams', (raw) => { for (let i = 0; i < 2000; i++) raw.message(OPEN, 2 * i + 1) }, (raw) => raw.got(RESET).length === 1000],
  ['idempotent methods of odd names, and such as were not added', (raw) => raw.message(METHODS, 0, map(['added', [0x90]], ['removed', [0x90]], ['idempotent', Buffer.concat([Buffer.from([0x92]), str('__proto__'), str('other')])])), undefined],
  ['methods of odd names', (raw) => raw.message(METHODS, 0, map(['added', Buffer.concat([Buffer.from([0x92]), str('__proto__'), str('constructor')])], ['removed', [0x90]])), undefined],
  ['names that every object has', (raw) => ['constructor', '__proto__', 'toString', 'hasOwnProperty', 'then', '_x', '', 'a b', '\xff'].forEach((name, i) => raw.message(CALL, 2 * i + 1, u32(1000), [0, name.length], Buffer.from(name, 'latin1'), [0x90])), (raw) => raw.got(ERROR).length === 9],
  ['depth 255', (raw) => raw.call(1, 'greet', [0x90], carried({ depth: 255 })), (raw) => raw.got(ERROR, 1).length === 1],
]

for (const [title, attack, seen] of harmless) {
  test(`odd but harmless: ${title}`, async (t) => {
    const { api, web, raw, ends } = await scene(t)
    await attack(raw)
    // a call behind it all: it is answered once everything before was read
    raw.call(100_001, 'greet')
    await until(() => raw.got(RESULT, 100_001).length === 1, 10_000)
    if (seen) await until(() => seen(raw))
    t.deepEqual(ends, [])
    t.is(await web.to('api').call('greet', 'bob'), 'hi there, bob')
    t.true(api.links().some(({ peer }) => peer.name === 'web'))
  })
}
