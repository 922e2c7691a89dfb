/** Names that a peer only claims: what is shown by name is shown to those whom the registry lists under it. */
import test, { type ExecutionContext } from 'ava'
import { MemoryInterface, MemoryNetwork, MemoryRegistry, RedisRegistry, Stage, type Peer, type Registry, type StageError } from '../../src/index.js'
import { Raw, tcpMesh, u32, type TcpMesh } from '../helpers/raw-peer.js'
import { ERROR, METHODS, RESULT, call, frames } from '../helpers/mallory.js'
import { listed } from '../helpers/listed.js'
import { onRedis } from '../helpers/redis.js'
import { nothingUnhandled } from '../helpers/unhandled.js'
import { until } from '../helpers/until.js'
import { VirtualClock } from '../helpers/virtual-clock.js'
import type { Clock, View } from '../../src/types.js'

nothingUnhandled(test)

const SECRET = 'correct horse battery staple'
const EVIL = { id: 'mallory-0001', name: 'admin-evil' }
type Shown = string | Peer | (string | Peer)[]

const peer: Peer = { ...EVIL, namespace: 'default', addresses: [], meta: {} }
/** To whom something is shown, and whether one who is not listed gets it. */
const shown: [title: string, to: Shown, got: boolean][] = [
  ['everybody', '*', true],
  ['everybody, among others', ['*', 'admin-*'], true],
  ['a pattern', 'admin-*', false],
  ['its name', 'admin-evil', false],
  ['any name of ten letters', '??????????', false],
  ['a pattern that every name matches', '?*', false],
  ['a list of patterns', ['web', 'admin-*'], false],
  ['a peer of that id', peer, false],
  ['a list with a peer of that id', [peer, 'web'], false],
]

const answered = async (raw: Raw, id: number, method: string): Promise<boolean> => {
  raw.call(id, method)
  await until(() => raw.got(RESULT, id).length + raw.got(ERROR, id).length === 1)
  return raw.got(RESULT, id).length === 1
}

for (const secret of [undefined, SECRET]) {
  test(`whoever calls itself admin-evil and is not listed gets what * shows, ${secret ? 'with the secret' : 'where there is no secret'}`, async (t) => {
    const mesh = tcpMesh(t)
    const api = await mesh.stage('api', { secret })
    let ran = 0
    shown.forEach(([, to], index) => api.to(to).provide(`m${index}`, () => { ran++; return index }))
    const raw = await Raw.join(t, api.address, { ...EVIL, secret })
    for (const [index, [title,, got]] of shown.entries()) t.is(await answered(raw, 2 * index + 1, `m${index}`), got, title)
    t.is(ran, shown.filter(([,, got]) => got).length)
    await until(() => raw.got(METHODS).length === 1)
    for (const [index, [title,, got]] of shown.entries()) t.is(raw.got(METHODS)[0].body.includes(`m${index}`), got, title)
    // casts too: type 3, nothing carried, name, no arguments
    raw.message(3, 0, [0, 2], Buffer.from('m2'), [0x90])
    t.true(await answered(raw, 1001, 'm0'))
    t.is(ran, shown.filter(([,, got]) => got).length + 1)
  })
}

test('once it is listed it is told what it can call, gets it, and gets what is shown to its name in place of what is shown to all', async (t) => {
  const mesh = tcpMesh(t)
  const api = await mesh.stage('api')
  api.to('*').provide('who', () => 'all')
  api.to('admin-*').provide('who', () => 'admins')
  api.to('admin-*').provide('drop', () => 'dropped')
  const claims: (boolean | undefined)[] = []
  api.to('*').provide('claims', function () { claims.push(this.peer.claimed) })
  const raw = await Raw.join(t, api.address, EVIL)
  t.true(await answered(raw, 1, 'who'))
  t.true(raw.got(RESULT, 1)[0].body.includes('all'))
  t.false(await answered(raw, 3, 'drop'))
  await answered(raw, 5, 'claims')
  mesh.list({ ...EVIL, addresses: [] })
  await until(() => raw.got(METHODS).some(({ body }) => body.includes('drop')))
  t.true(await answered(raw, 7, 'drop'))
  t.true(await answered(raw, 9, 'who'))
  t.true(raw.got(RESULT, 9)[0].body.includes('admins'))
  await answered(raw, 11, 'claims')
  t.deepEqual(claims, [true, undefined])
})

test('a name that is not the one in the registry: WRONG_PEER, when it comes and when it is listed later', async (t) => {
  const mesh = tcpMesh(t)
  const api = await mesh.stage('api')
  api.to('admin-*').provide('drop', () => 'dropped')
  const ends: (StageError | undefined)[] = []
  api.on('unlink', (_, error) => ends.push(error))
  mesh.list({ id: 'web-00000001', name: 'web', addresses: [] })
  await until(() => api.lookup('web').length === 1)
  const error = await t.throwsAsync<StageError>(Raw.join(t, api.address, { id: 'web-00000001', name: 'admin-evil' }), { code: 'WRONG_PEER' })
  t.regex(error.message, /calls itself admin-evil, but the registry lists web-00000001 as web/)
  const raw = await Raw.join(t, api.address, EVIL)
  await until(() => api.links().length === 1)
  mesh.list({ id: EVIL.id, name: 'web', addresses: [] })
  await until(() => raw.closed)
  t.like(ends[0], { code: 'WRONG_PEER' })
})

/** A registry that answers looks when it is told to. */
class Slow implements Registry {
  open = true
  looks = 0
  readonly #waiting: (() => void)[] = []

  constructor(private readonly inner: Registry) {}

  get address(): string { return this.inner.address }
  publish: Registry['publish'] = (entry, ttlMs) => this.inner.publish(entry, ttlMs)
  close = (): Promise<void> => this.inner.close()

  async *watch(namespace: string, signal: AbortSignal): AsyncGenerator<View> {
    this.looks++
    if (!this.open) await new Promise<void>((resolve) => { this.#waiting.push(resolve); signal.addEventListener('abort', () => resolve()) })
    yield* this.inner.watch(namespace, signal)
  }

  answer(): void {
    this.open = true
    for (const go of this.#waiting.splice(0)) go()
  }
}

async function slow(t: ExecutionContext, clock?: Clock) {
  const mesh = tcpMesh(t, clock) as TcpMesh<VirtualClock>
  const room = mesh.registry.address.slice('memory:'.length)
  const registry = new Slow(new MemoryRegistry(room, { clock: mesh.clock }))
  const api = await mesh.stage('api', { registry })
  const began: string[] = []
  const note = (name: string) => (value?: unknown) => { began.push(value === undefined ? name : `${name} ${value as string}`); return name }
  api.to('*').provide('greet', note('greet'))
  api.to('admin-*').provide('drop', note('drop'))
  await until(() => api.peers().length === 0 && registry.looks > 0)
  return { mesh, registry, api, began }
}

test('a call that comes before the entry is held for one look, and what comes behind it keeps its place', async (t) => {
  const { registry, api, began } = await slow(t)
  registry.open = false
  const { looks } = registry // what it is shown depends on its name, so the first look may begin before join() is back
  const raw = await Raw.join(t, api.address, EVIL)
  raw.socket.write(frames([call(1, 'drop'), call(3, 'greet'), call(5, 'drop')]))
  await until(() => registry.looks > looks)
  t.deepEqual(began, [])
  t.is(raw.got(METHODS).length, 0, 'nor is it told half of what it can call')
  registry.answer()
  await until(() => raw.messages.filter(({ type }) => type === RESULT || type === ERROR).length === 3)
  t.deepEqual(raw.messages.filter(({ type }) => type === RESULT || type === ERROR).map(({ type, id }) => [type, id]), [[ERROR, 1], [RESULT, 3], [ERROR, 5]])
  t.deepEqual(began, ['greet'])
  const after = registry.looks
  t.false(await answered(raw, 7, 'drop'))
  t.is(registry.looks, after, 'the registry was asked once for this link')
})

test('of a call that is held: it is cancelled, its link ends, its stage closes', async (t) => {
  for (const way of ['cancel', 'end', 'close']) {
    const { registry, api, began } = await slow(t)
    registry.open = false
    const raw = await Raw.join(t, api.address, EVIL)
    raw.socket.write(frames([call(1, 'drop')]))
    await until(() => api.stats()['serving'] === 1)
    if (way === 'cancel') raw.message(6, 1)
    if (way === 'end') raw.socket.destroy()
    const closing = way === 'close' ? api.close() : undefined
    if (way !== 'close') await until(() => api.stats()['serving'] === 0)
    registry.answer()
    if (way === 'close') await until(() => raw.got(ERROR, 1).length === 1)
    raw.socket.destroy()
    await closing
    t.deepEqual(began, [], way)
  }
})

test('a registry that does not answer holds a call for two seconds, and then it is refused', async (t) => {
  const clock = new VirtualClock()
  const { registry, api } = await slow(t, clock)
  registry.open = false
  const raw = await Raw.join(t, api.address, EVIL)
  raw.message(1, 1, u32(60_000), [0, 4], Buffer.from('drop'), [0x90])
  await until(() => api.stats()['serving'] === 1)
  await clock.advance(1900)
  t.is(raw.got(ERROR, 1).length, 0)
  await clock.advance(200)
  await until(() => raw.got(ERROR, 1).length === 1)
  registry.answer()
})

test('what depends on no name asks the registry for nothing, whoever comes', async (t) => {
  const mesh = tcpMesh(t)
  const registry = new Slow(new MemoryRegistry(mesh.registry.address.slice('memory:'.length)))
  const api = await mesh.stage('api', { registry })
  api.to('*').provide('greet', () => 'hi')
  api.to('operator').provide('drop', () => 'dropped')
  const { looks } = registry
  for (let i = 0; i < 20; i++) {
    const raw = await Raw.join(t, api.address, { id: `mallory-00${10 + i}`, name: 'admin-evil' })
    t.true(await answered(raw, 1, 'greet'))
    t.false(await answered(raw, 3, 'drop'))
    raw.socket.destroy()
  }
  t.is(registry.looks, looks)
})

onRedis('an honest stage that dials the moment it is ready is served what is shown to its name, with its first call', async (t, server) => {
  const network = new MemoryNetwork()
  for (let i = 0; i < 15; i++) {
    const namespace = `honest-${i}`
    const [api, admin] = ['api', 'admin-7'].map((name) => new Stage(name, new RedisRegistry({ url: server.url }), new MemoryInterface(network), { namespace }))
    t.teardown(() => Promise.all([api.close(), admin.close()]))
    let cast: unknown
    api.to('*').provide('who', () => 'all')
    api.to('admin-*').provide('who', () => 'admins')
    api.to('admin-*').provide('line', (text) => { cast = text })
    await Promise.all([listed(api), listed(admin)])
    admin.to('api').cast('line', 'x')
    t.is(await admin.to('api').call('who'), 'admins')
    t.deepEqual(await admin.to('api').methods(), ['line', 'who'])
    await until(() => cast === 'x')
    await Promise.all([api.close(), admin.close()])
  }
})
