/** What a person, or a bug of somebody else's, may have written into the registry; and no registry at all. */
import test from 'ava'
import { RedisRegistry, Stage, StageError, TcpInterface, type Peer } from '../../src/index.js'
import { advance, virtualMesh } from '../helpers/mesh.js'
import { closedPort, tcpMesh } from '../helpers/raw-peer.js'
import { nothingUnhandled } from '../helpers/unhandled.js'
import { until } from '../helpers/until.js'
import { VirtualClock } from '../helpers/virtual-clock.js'

nothingUnhandled(test)

const good = { id: 'ghost-0000001', name: 'ghost', namespace: 'default', addresses: ['tcp://127.0.0.1:9'], unique: false, draining: false, ttlMs: 15_000, announces: {} }
const but = (change: object): string => JSON.stringify({ ...good, ...change })

const records: [title: string, text: string][] = [
  ['no JSON', '{"id":"ghost-0000001"'],
  ['nothing', ''],
  ['JSON that is no object', '[]'],
  ['null', 'null'],
  ['a number', '42'],
  ['9 KiB', but({ announces: { x: 'x'.repeat(9000) } })],
  ['no id', but({ id: undefined })],
  ['another id than that of its place', but({ id: 'ghost-0000002' })],
  ['an id of a wrong form', but({ id: 'a b' })],
  ['an id that is a number', but({ id: 5 })],
  ['no name', but({ name: undefined })],
  ['names that are none: a space at its end', but({ name: 'ghost ' })],
  ['names that are none: a pattern', but({ name: 'ghost*' })],
  ['names that are none: a slash', but({ name: 'gh/ost' })],
  ['names that are none: a newline', but({ name: 'ghost\n' })],
  ['names that are none: nothing', but({ name: '' })],
  ['names that are none: too long', but({ name: 'g'.repeat(513) })],
  ['names that are none: not in NFC', but({ name: 'gho\u0301st' })],
  ['names that are none: half a pair', but({ name: 'ghost\ud83d' })],
  ['names that are none: a terminal escape of one byte', but({ name: 'ghost\u009b31m' })],
  ['a name that is a list', but({ name: ['ghost'] })],
  ['another namespace', but({ namespace: 'prod' })],
  ['no namespace', but({ namespace: undefined })],
  ['addresses that are no list', but({ addresses: 'tcp://127.0.0.1:9' })],
  ['addresses that are numbers', but({ addresses: [9] })],
  ['no addresses', but({ addresses: undefined })],
  ['too many addresses', but({ addresses: Array(100).fill('tcp://127.0.0.1:9') })],
  ['port 99999', but({ addresses: ['tcp://127.0.0.1:99999'] })],
  ['port 0', but({ addresses: ['tcp://127.0.0.1:0'] })],
  ['an address of control characters', but({ addresses: ['tcp://127.0.0.1:9\r\nX: 1'] })],
  ['an address that turns the direction of text', but({ addresses: ['ipc:///tmp/\u202egnp.exe'] })],
  ['an address without scheme', but({ addresses: ['127.0.0.1:9'] })],
  ['unique: "yes"', but({ unique: 'yes' })],
  ['draining: 1', but({ draining: 1 })],
  ['a lease of -1 ms', but({ ttlMs: -1 })],
  ['a lease of a year', but({ ttlMs: 3e10 })],
  ['a lease that is a string', but({ ttlMs: '15000' })],
  ['announces that are a list', but({ announces: [] })],
  ['__proto__', JSON.stringify(good).replace('"announces":{}', '"announces":{"__proto__":{"polluted":1}}')],
  ['__proto__ in escapes', JSON.stringify(good).replace('"announces":{}', '"announces":{"\\u005f_proto__":{"polluted":1}}')],
]

for (const [title, text] of records) {
  test(`an entry edited by hand is skipped, and the others stand: ${title}`, async (t) => {
    const mesh = virtualMesh(t)
    const [api, web] = [mesh.stage('api', { namespace: 'default' }), mesh.stage('web', { namespace: 'default' })]
    api.to('*').provide('greet', () => 'hi')
    await Promise.all([api.ready(), web.ready()])
    const parts: string[] = []
    web.on('part', (peer) => parts.push(peer.name))
    mesh.registry.edit('default', good.id, text)
    await mesh.clock.advance(6000)
    t.deepEqual(web.peers().map(({ name }) => name), ['api'])
    t.deepEqual(parts, [])
    t.is(await web.to('*', { self: false }).call('greet'), 'hi')
    const late = mesh.stage('late', { namespace: 'default' })
    await advance(mesh.clock, late.ready())
    t.deepEqual(late.peers().map(({ name }) => name).sort(), ['api', 'web'])
    t.is(({} as { polluted?: number }).polluted, undefined)
  })
}

test('the good form of those entries is not skipped', async (t) => {
  const mesh = virtualMesh(t)
  const web = mesh.stage('web', { namespace: 'default' })
  await web.ready()
  mesh.registry.edit('default', good.id, but({}))
  await mesh.clock.advance(0)
  t.deepEqual(web.peers().map(({ name }) => name), ['ghost'])
})

test('the entry of a live stage spoilt by hand: gone for those who look, and its own next heartbeat mends it', async (t) => {
  const mesh = virtualMesh(t)
  const [api, web] = [mesh.stage('api', { namespace: 'default' }), mesh.stage('web', { namespace: 'default' })]
  await Promise.all([api.ready(), web.ready()])
  await mesh.clock.advance(100)
  const before = api.id
  mesh.registry.edit('default', before, '{"spoilt":')
  await mesh.clock.advance(6000)
  const late = mesh.stage('late', { namespace: 'default' })
  await advance(mesh.clock, late.ready())
  t.true(late.peers().some(({ name, id }) => name === 'api' && id === api.id))
})

const unreachable: [title: string, addresses: (port: number) => string[], cause: string, says: (port: number) => string][] = [
  ['nobody listens', (port) => [`tcp://127.0.0.1:${port}`], 'DISCONNECTED', (port) => `tcp://127.0.0.1:${port}: connect ECONNREFUSED`],
  ['nobody listens at any of two', (port) => [`tcp://127.0.0.1:${port}`, `tcp://localhost:${port}`], 'DISCONNECTED', (port) => `tcp://localhost:${port}`],
  ['a scheme that nobody here serves', () => ['carrier-pigeon://rooftop'], 'DISCONNECTED', () => 'carrier-pigeon://rooftop'],
  ['no address at all', () => [], 'DISCONNECTED', () => 'none'],
]

test('a peer that nobody can reach: the caller is told the address and the reason', async (t) => {
  const port = await closedPort()
  await Promise.all(unreachable.map(async ([title, addresses, cause, says]) => {
    const mesh = tcpMesh(t, new VirtualClock())
    const web = await mesh.stage('web')
    mesh.list({ id: 'ghost-0000001', name: 'ghost', addresses: addresses(port) })
    const call = web.to('ghost', { timeoutMs: 2000 }).call('greet')
    call.catch(() => {})
    await until(async () => { await mesh.clock.advance(20); return mesh.clock.now() > 2000 })
    const error = await t.throwsAsync<StageError>(call, { instanceOf: StageError })
    t.like(error, { code: 'TIMEOUT', phase: 'connecting', executed: 'no' }, title)
    t.true(error.message.includes(says(port)), `${title}: ${error.message}`)
    t.is((error.cause as StageError).code, cause as never, title)
    t.is((error.peer as Peer).name, 'ghost')
  }))
})

test('an address that cannot be dialled ends the call at its deadline at the latest, and names it', async (t) => {
  for (const address of ['tcp://', 'tcp://host', 'tcp://[::1', 'tcp://a:b@127.0.0.1:9', 'tcp://127.0.0.1:9/path']) {
    const mesh = tcpMesh(t, new VirtualClock())
    const web = await mesh.stage('web')
    mesh.list({ id: 'ghost-0000001', name: 'ghost', addresses: [address] })
    await until(() => web.peers().length === 1 || mesh.clock.now() > 100)
    const call = web.to('ghost', { timeoutMs: 1000 }).call('greet')
    const error = await t.throwsAsync<StageError>(advance(mesh.clock, call, 2000), { instanceOf: StageError })
    t.true(error.message.includes(address), error.message)
    t.is(error.executed, 'no')
  }
})

test('one address of several that is no good does not matter', async (t) => {
  const mesh = tcpMesh(t)
  const [api, web] = await Promise.all([mesh.stage('api'), mesh.stage('web')])
  api.to('*').provide('greet', () => 'hi')
  mesh.list({ id: api.id, name: 'api', addresses: ['foo://bar', 'tcp://nowhere', `tcp://127.0.0.1:${await closedPort()}`, api.address] })
  await until(() => web.peers()[0]?.addresses.length === 4)
  t.is(await web.to('api').call('greet'), 'hi')
})

// ── no server at all ────────────────────────────────────────────────────────────────────────────────────────────

test('no registry where it should be: ready() and calls name the address and what to try', async (t) => {
  const address = `redis://127.0.0.1:${await closedPort()}`
  const stage = new Stage('x', address, new TcpInterface())
  t.teardown(() => stage.close())
  const ready = await t.throwsAsync<StageError>(stage.ready(), { instanceOf: StageError })
  const begun = performance.now()
  const call = await t.throwsAsync<StageError>(stage.to('y', { timeoutMs: 200 }).call('greet'), { instanceOf: StageError })
  const took = performance.now() - begun
  t.true(took >= 195 && took < 2000, `${took} ms`)
  for (const error of [ready, call]) {
    t.like(error, { code: 'REGISTRY_UNAVAILABLE', executed: 'no' })
    t.true(error.message.includes(address), error.message)
    t.regex(error.message, /local:/)
  }
  t.deepEqual(stage.peers(), [])
})

test('without a registry nothing hangs and nothing is thrown at nobody', async (t) => {
  const address = `redis://127.0.0.1:${await closedPort()}`
  const stage = new Stage('x', address, new TcpInterface(), { timeoutMs: 100 }) // no listener of `error`, and nobody asks ready()
  const stream = stage.to('y')
  const failed = new Promise<Error>((resolve) => stream.once('error', resolve))
  stream.write('x')
  stage.to('y').cast('line')
  const all: unknown[] = []
  await t.throwsAsync(async () => { for await (const answer of stage.to('*').callAll('greet')) all.push(answer) }, { code: 'REGISTRY_UNAVAILABLE' })
  await t.throwsAsync(stage.to('y').methods(), { code: 'REGISTRY_UNAVAILABLE' })
  t.is((await failed as StageError).code, 'REGISTRY_UNAVAILABLE')
  await t.throwsAsync(stage.each('*', () => {}), { code: 'REGISTRY_UNAVAILABLE' })
  const told = await new Promise<StageError | null>((resolve) => { stage.to('y', (error) => { resolve(error) }) })
  t.is(told?.code, 'REGISTRY_UNAVAILABLE')
  t.deepEqual(all, [])
  const call = stage.to('y', { timeoutMs: 10_000 }).call('greet')
  const ready = stage.ready()
  await Promise.all([
    t.throwsAsync(call, { code: 'CLOSED' }),
    t.throwsAsync(ready),
    stage.close(),
  ])
})

test('a stage serves itself without a registry', async (t) => {
  const stage = new Stage('x', `redis://127.0.0.1:${await closedPort()}`, new TcpInterface())
  t.teardown(() => stage.close())
  stage.to('*').provide('greet', () => 'hi')
  t.is(await stage.to('x').call('greet'), 'hi')
})

test('a password is in no message', async (t) => {
  const port = await closedPort()
  const registry = new RedisRegistry(`redis://me:hunter2@127.0.0.1:${port}`)
  const stage = new Stage('x', registry, new TcpInterface())
  t.teardown(() => stage.close())
  const error = await t.throwsAsync<StageError>(stage.ready())
  t.false(JSON.stringify([error.message, String(error.cause), registry.address, error.stack]).includes('hunter2'))
})

test('what is no registry at all is said by the constructor', (t) => {
  for (const url of ['', 'x', 'http://127.0.0.1', 'postgress://x', '127.0.0.1:6379', 'REDIS://x', 'toString:']) {
    const error = t.throws<StageError>(() => new Stage('x', url), { instanceOf: StageError }, url)
    t.is(error.code, 'BAD_ARGUMENT')
    t.regex(error.message, /local:/)
  }
  t.throws(() => new Stage('x', 'redis://127.0.0.1:99999'), { instanceOf: TypeError })
})

test('what a registry of one\'s own lists and is no entry goes no further', async (t) => {
  const good = { id: 'idididid', name: 'good', namespace: 'default', addresses: ['tcp://127.0.0.1:1'], unique: false, draining: false, ttlMs: 1000, announces: {} }
  const bad = [null, 7, {}, { ...good, id: 5 }, { ...good, name: 'a b' }, { ...good, addresses: 'tcp://x' }, { ...good, namespace: 'other' }, { ...good, addresses: ['tcp://127.0.0.1:99999'] }]
  const registry = {
    address: 'own:',
    publish: () => Promise.resolve({ renew: () => Promise.resolve('ok' as const), close: () => Promise.resolve() }),
    async *watch(_namespace: string, signal: AbortSignal) {
      yield { generation: '1', entries: [...bad, good] as never[], lapsed: [] }
      await new Promise((resolve) => signal.addEventListener('abort', resolve))
    },
    close: () => Promise.resolve(),
  }
  const stage = new Stage('x', registry, new TcpInterface())
  t.teardown(() => stage.close())
  await until(() => stage.peers().length > 0)
  t.deepEqual(stage.peers().map((peer) => peer.name), ['good'])
})
