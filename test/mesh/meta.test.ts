/** Facts that a stage tells about itself. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import test, { type ExecutionContext } from 'ava'
import { LocalRegistry, MemoryInterface, MemoryRegistry, RedisRegistry, Stage, StageError, encodeEntry, parseEntry, type CallContext, type Peer, type Registry, type StageOptions } from '../../src/index.js'
import type { Entry, Lease, View } from '../../src/types.js'
import { listed } from '../helpers/listed.js'
import { advance, virtualMesh } from '../helpers/mesh.js'
import { Raw, tcpMesh } from '../helpers/raw-peer.js'
import { onRedis } from '../helpers/redis.js'
import { until } from '../helpers/until.js'
import { settle } from '../helpers/virtual-clock.js'

type Meta = Record<string, string>
type Context = CallContext & { peer: Peer }

const wrong: unknown[] = [
  null, 5, 'zone', true, [], ['a'], new Map([['a', 'b']]), new Date(0), () => {}, Symbol('a'), { zone: 5 }, { zone: undefined }, { zone: null }, { zone: {} }, { zone: ['a'] }, { '': 'x' }, { ['__proto__']: 'x' },
  { zone: 'a\ud800' }, { 'a\udc00': 'x' }, { much: 'x'.repeat(2048 - 10) }, { much: 'é'.repeat(1020) }, Object.fromEntries(Array.from({ length: 400 }, (_, i) => [`k${i}`, ''])), JSON.parse('{"__proto__":"x"}'),
]
/** Of exactly 2 KiB as JSON. */
const largest = { much: 'x'.repeat(2048 - 11) }

test('is a flat object of text to text, and nothing else: by option it throws, by setMeta() it rejects and nothing has changed', async (t) => {
  const { clock, stage } = virtualMesh(t)
  const a = stage('a', { meta: { zone: 'a' } })
  await advance(clock, a.ready())
  for (const meta of wrong) {
    const error = t.throws<StageError>(() => new Stage('a', new MemoryRegistry('none'), new MemoryInterface(), { meta: meta as Meta }), { instanceOf: StageError, code: 'BAD_ARGUMENT' }, inspect(meta))
    t.regex(error.message, /meta/)
    t.true(error.message.length < 500)
    await t.throwsAsync(a.setMeta(meta as Meta), { instanceOf: StageError, code: 'BAD_ARGUMENT' }, inspect(meta))
  }
  await t.throwsAsync(a.setMeta(undefined as unknown as Meta), { code: 'BAD_ARGUMENT' })
  t.deepEqual(a.meta, { zone: 'a' })
  t.is(({} as { x?: unknown }).x, undefined)
  for (const meta of [{}, { a: '' }, { 'a b': '\n\0"' }, { constructor: 'x', toString: 'y' }, largest, Object.assign(Object.create(null) as Meta, { a: 'b' })] as Meta[]) {
    await advance(clock, a.setMeta(meta))
    t.deepEqual(a.meta, { ...meta })
  }
})

test('a copy is taken, and what others see of it is frozen', async (t) => {
  const { clock, stage } = virtualMesh(t)
  const given: Meta = { zone: 'a' }
  const [a, b] = [stage('a', { meta: given }), stage('b')]
  given['zone'] = 'changed'
  await advance(clock, Promise.all([a.ready(), b.ready()]))
  await settle()
  const [peer] = b.lookup('a')
  t.deepEqual(peer.meta, { zone: 'a' })
  for (const meta of [peer.meta, a.meta, b.meta, a.lookup('b')[0].meta]) t.throws(() => { (meta as Meta)['zone'] = 'b' }, { instanceOf: TypeError })
})

test('is on every peer, wherever one is told, and {} where none was given', async (t) => {
  const { clock, stage } = virtualMesh(t)
  const [a, b] = [stage('a', { meta: { zone: 'a' } }), stage('b')]
  const told: Record<string, unknown> = {}
  for (const event of ['join', 'link', 'unlink', 'part', 'methodAdded', 'stream'] as const) b.on(event as 'join', (...args: unknown[]) => { told[event] = (args.find((one) => typeof (one as Peer | undefined)?.id === 'string') as Peer).meta })
  a.to('*').provide('facts', function (this: Context) { return this.peer.meta })
  b.to('*').provide('facts', function (this: Context) { return this.peer.meta })
  await advance(clock, Promise.all([a.ready(), b.ready()]))
  await settle()
  t.deepEqual([a.meta, b.meta, b.peers()[0].meta, b.lookup('*')[0].meta, a.peers()[0].meta], [{ zone: 'a' }, {}, { zone: 'a' }, { zone: 'a' }, {}])
  t.deepEqual(await advance(clock, Promise.all([a.to('b').call('facts'), b.to('a').call('facts'), a.to('a').call('facts')])), [{ zone: 'a' }, {}, { zone: 'a' }])
  const answers: unknown[] = []
  await advance(clock, (async () => { for await (const { peer } of b.to('*').callAll('facts')) answers.push([peer.name, peer.meta]) })())
  t.deepEqual(answers.sort(), [['a', { zone: 'a' }], ['b', {}]])
  await advance(clock, b.each('a', (peer) => { told['each'] = peer.meta }))
  t.deepEqual(b.links()[0].peer.meta, { zone: 'a' })
  a.to('b').end('x')
  await settle()
  await advance(clock, a.close())
  t.deepEqual(told, Object.fromEntries(['join', 'link', 'unlink', 'part', 'methodAdded', 'stream', 'each'].map((name) => [name, { zone: 'a' }])))
})

test('a change is told once, with `update`, and reaches links that stand', async (t) => {
  const { clock, stage } = virtualMesh(t)
  const [a, b] = [stage('a'), stage('b', { meta: { zone: 'b' } })]
  for (const one of [a, b]) one.to('*').provide('facts', function (this: Context) { return this.peer.meta })
  await advance(clock, Promise.all([a.ready(), b.ready()]))
  await advance(clock, Promise.all([a.to('b').call('facts'), b.to('a').call('facts'), a.to('a').call('facts'), a.to('*').callAll('facts').next()]))
  const told: string[] = []
  for (const event of ['join', 'part', 'link', 'unlink', 'update'] as const) b.on(event as 'update', (peer: Peer) => told.push(`${event} ${peer.name} ${JSON.stringify(peer.meta)}`))
  a.on('update', () => t.fail('of oneself nothing is told'))
  const id = a.id
  await advance(clock, a.setMeta({ zone: 'a', weight: '3' }))
  await settle()
  t.deepEqual(told, ['update a {"zone":"a","weight":"3"}'])
  t.deepEqual(b.lookup('a')[0].meta, { zone: 'a', weight: '3' })
  t.deepEqual(await advance(clock, Promise.all([a.to('b').call('facts'), a.to('a').call('facts'), b.to('a').call('facts')])), [{ zone: 'a', weight: '3' }, { zone: 'a', weight: '3' }, { zone: 'b' }])
  t.deepEqual([a.links()[0].peer.meta, b.links()[0].peer.meta], [{ zone: 'b' }, { zone: 'a', weight: '3' }])
  const answers: unknown[] = []
  await advance(clock, (async () => { for await (const { peer } of a.to('*').callAll('facts')) answers.push(peer.meta) })())
  t.deepEqual(answers, [{ zone: 'b' }, { zone: 'a', weight: '3' }])
  await advance(clock, a.setMeta({ zone: 'a' }))
  await advance(clock, a.setMeta({ zone: 'a' }))
  await advance(clock, a.setMeta({}))
  await settle()
  t.deepEqual(told.slice(1), ['update a {"zone":"a"}', 'update a {}'], 'replaced, not merged; the same again is no change')
  t.is(a.id, id)
  const late = stage('late')
  await advance(clock, late.ready())
  await clock.advance(30_000)
  t.deepEqual(told.slice(3), ['join late {}'])
  t.deepEqual(late.lookup('b')[0].meta, { zone: 'b' })
})

test('what a layer announces is no `update`', async (t) => {
  const { clock, stage, registry } = virtualMesh(t)
  const [a, b] = [stage('a', { store: registry }), stage('b')]
  await advance(clock, Promise.all([a.ready(), b.ready()]))
  await settle()
  b.on('update', () => t.fail())
  const before = b.lookup('a')[0]
  a.define({ pattern: 'things.{id}', create: () => ({}) })
  await clock.advance(1000)
  t.not(b.lookup('a')[0], before)
})

test('addresses that changed are an `update`', async (t) => {
  const mesh = tcpMesh(t)
  const api = await mesh.stage('api')
  mesh.list({ id: 'mallory-0001', addresses: [] })
  await until(() => api.lookup('mallory').length === 1)
  const told: unknown[] = []
  api.on('update', ({ addresses, meta }) => told.push([addresses, meta]))
  mesh.list({ id: 'mallory-0001', addresses: ['tcp://127.0.0.1:9'] })
  mesh.list({ id: 'mallory-0001', addresses: ['tcp://127.0.0.1:9'], meta: { a: 'b' } })
  await until(() => told.length > 0 && api.lookup('mallory')[0].meta['a'] === 'b')
  t.deepEqual(told.at(-1), [['tcp://127.0.0.1:9'], { a: 'b' }])
})

test('a peer that is not listed has none; once it is, its link knows', async (t) => {
  const mesh = tcpMesh(t)
  const api = await mesh.stage('api')
  const facts: unknown[] = []
  api.to('*').provide('facts', function (this: Context) { facts.push(this.peer.meta) })
  api.on('link', (peer) => facts.push(peer.meta))
  const raw = await Raw.join(t, api.address)
  raw.call(1, 'facts')
  await until(() => facts.length === 2)
  mesh.list({ id: raw.id, addresses: [], meta: { zone: 'a' } })
  await until(() => api.lookup('mallory').length === 1)
  raw.call(3, 'facts')
  await until(() => facts.length === 3)
  t.deepEqual(facts, [{}, {}, { zone: 'a' }])
})

test('setMeta() before the first use is none: namespace and chain can still be set, and it is listed with the first entry', async (t) => {
  const { clock, stage } = virtualMesh(t)
  const b = stage('b', { namespace: 'own' })
  const seen: unknown[] = []
  b.on('join', ({ meta }) => seen.push(meta))
  b.on('update', () => t.fail())
  await advance(clock, b.ready())
  const a = stage('a', { meta: { zone: 'a' } })
  const setting = Promise.all([a.setMeta({ zone: 'b' }), a.setMeta({ zone: 'c' })])
  t.deepEqual(a.meta, { zone: 'c' })
  a.setPeerNamespace('own')
  await advance(clock, setting)
  t.deepEqual(b.lookup('a')[0].meta, { zone: 'c' })
  t.deepEqual(seen, [{ zone: 'c' }])
})

/** A registry whose renewals wait until they are let go. */
function slow(inner: Registry): { registry: Registry; renewals: { entry: Entry | undefined; go(): void }[] } {
  const renewals: { entry: Entry | undefined; go(): void }[] = []
  return {
    renewals,
    registry: {
      address: inner.address,
      publish: async (entry, ttlMs): Promise<Lease> => {
        const lease = await inner.publish(entry, ttlMs)
        return { close: () => lease.close(), renew: async (changed) => { await new Promise<void>((go) => { renewals.push({ entry: changed, go }) }); return lease.renew(changed) } }
      },
      watch: (namespace, signal): AsyncIterable<View> => inner.watch(namespace, signal),
      close: () => inner.close(),
    },
  }
}

test('setMeta() resolves when that very meta is listed, not with a heartbeat that was under way', async (t) => {
  const { clock, registry: room } = virtualMesh(t)
  const { registry, renewals } = slow(new MemoryRegistry(room.address.slice('memory:'.length), { clock }))
  const a = new Stage('a', registry, new MemoryInterface(undefined, { clock }), { clock, ttlMs: 15_000 } as StageOptions)
  await advance(clock, a.ready())
  await clock.advance(5600)
  t.is(renewals.length, 1)
  const over: string[] = []
  for (const zone of ['a', 'b']) void a.setMeta({ zone }).then(() => over.push(zone))
  renewals[0]!.go()
  await settle()
  await clock.advance(1)
  t.deepEqual(over, [])
  t.deepEqual(renewals[1]?.entry?.meta, { zone: 'b' })
  renewals[1]!.go()
  await settle()
  t.deepEqual(over, ['a', 'b'])
  await clock.advance(1)
  t.is(renewals.length, 2)
  await advance(clock, a.close())
})

test('setMeta() says why it is not listed; it will be, once it can', async (t) => {
  const { clock, stage, registry } = virtualMesh(t)
  const [a, b] = [stage('a'), stage('b')]
  await advance(clock, Promise.all([a.ready(), b.ready()]))
  registry.fail()
  await t.throwsAsync(advance(clock, a.setMeta({ zone: 'a' })), { code: 'REGISTRY_UNAVAILABLE' })
  t.deepEqual(a.meta, { zone: 'a' })
  registry.fail(false)
  await clock.advance(10_000)
  t.deepEqual(b.lookup('a')[0].meta, { zone: 'a' })
  const pending = a.setMeta({ zone: 'b' })
  await advance(clock, Promise.all([pending, a.close()]))
  await t.throwsAsync(a.setMeta({}), { code: 'CLOSED' })
  const never = stage('never')
  registry.fail()
  const setting = never.setMeta({ zone: 'a' })
  setting.catch(() => {})
  await advance(clock, never.close())
  await t.throwsAsync(setting, { instanceOf: StageError })
})

test('one that makes the entry too large is refused, and the stage stays listed as it was', async (t) => {
  const { clock, stage, registry } = virtualMesh(t)
  const [a, b] = [stage('a', { store: registry, ttlMs: 3000, meta: { zone: 'a' } }), stage('b')]
  for (let i = 0; i < 16; i++) a.define({ pattern: `${'x'.repeat(400)}${i}.{id}`, create: () => ({}) })
  a.on('error', (error) => t.fail(error.message))
  await advance(clock, Promise.all([a.ready(), b.ready()]))
  await t.throwsAsync(a.setMeta(largest), { code: 'BAD_ARGUMENT', message: /8192/ })
  await clock.advance(10_000)
  t.deepEqual(b.lookup('a')[0].meta, { zone: 'a' })
})

test('entries without it are as they were, and those of a registry of one\'s own may lack it', async (t) => {
  const old = '{"id":"a-0000001","name":"a","namespace":"default","addresses":[],"unique":false,"draining":false,"ttlMs":15000,"announces":{}}'
  const entry = parseEntry(old, 'default')!
  t.deepEqual(entry.meta, {})
  t.is(encodeEntry(entry), old)
  t.is(encodeEntry(JSON.parse(old) as Entry), old)
  t.deepEqual(parseEntry(encodeEntry({ ...entry, meta: { zone: 'a' } }), 'default')?.meta, { zone: 'a' })
  for (const meta of [{ zone: 5 }, { much: 'x'.repeat(2048) }]) t.throws(() => encodeEntry({ ...entry, meta: meta as unknown as Meta }), { code: 'BAD_ARGUMENT' })
  const { clock, registry: room } = virtualMesh(t)
  const inner = new MemoryRegistry(room.address.slice('memory:'.length), { clock })
  const bare: Registry = {
    address: 'own:', publish: (given, ttlMs) => inner.publish(given, ttlMs), close: () => inner.close(),
    watch: async function* (namespace, signal) {
      for await (const view of inner.watch(namespace, signal)) yield { ...view, entries: [...view.entries, JSON.parse(old) as Entry, { ...JSON.parse(old) as Entry, id: 'b-0000001', name: 'b', meta: { zone: 'b' } }] }
    },
  }
  const web = new Stage('web', bare, new MemoryInterface(undefined, { clock }), { namespace: 'default', clock } as StageOptions)
  await advance(clock, web.ready())
  await settle()
  t.deepEqual(web.peers().map(({ name, meta }) => [name, meta]), [['a', {}], ['b', { zone: 'b' }]])
  await advance(clock, web.close())
})

// ── on each registry ────────────────────────────────────────────────────────────────────────────────────────────

async function told(t: ExecutionContext, registry: Registry): Promise<void> {
  const make = (name: string, options: StageOptions = {}): Stage => {
    const stage = new Stage(name, registry, new MemoryInterface(), options)
    t.teardown(() => stage.close())
    return stage
  }
  const [a, b] = [make('a', { meta: { zone: 'ä' } }), make('b')]
  const updates: Meta[] = []
  b.on('update', (peer) => updates.push(peer.meta))
  await Promise.all([a, b].map(listed))
  await until(() => b.lookup('a').length === 1)
  t.deepEqual(b.lookup('a')[0].meta, { zone: 'ä' })
  await a.setMeta(largest)
  await until(() => updates.length === 1)
  await a.setMeta({ emoji: '😀', quotes: '"\\' })
  await until(() => updates.length === 2)
  t.deepEqual(updates, [largest, { emoji: '😀', quotes: '"\\' }])
  t.deepEqual(b.lookup('a')[0].meta, updates[1])
}

test('on memory', (t) => told(t, new MemoryRegistry(`meta-${process.pid}`)))

test('on a folder', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'stagemesh-meta-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  await told(t, new LocalRegistry(folder))
})

onRedis('on Redis', (t, server) => told(t, new RedisRegistry({ url: server.url })))

test('all forms of the constructor take it', async (t) => {
  const url = `memory:meta-forms-${process.pid}`
  const before = process.env['STAGE_REGISTRY']
  process.env['STAGE_REGISTRY'] = url
  const stages = [new Stage('a', { meta: { form: 'options' } }), new Stage('b', url, undefined, { meta: { form: 'url' } }), new Stage('c', new MemoryRegistry(url.slice('memory:'.length)), [new MemoryInterface()], { meta: { form: 'objects' } }), new Stage('d', url, undefined, { meta: undefined })]
  if (before === undefined) delete process.env['STAGE_REGISTRY']
  else process.env['STAGE_REGISTRY'] = before
  t.teardown(() => Promise.all(stages.map((stage) => stage.close())))
  await Promise.all(stages.map((stage) => stage.ready()))
  await everybodySees(stages)
  t.deepEqual(stages.map((stage) => stage.meta), [{ form: 'options' }, { form: 'url' }, { form: 'objects' }, {}])
  t.deepEqual(stages[3]!.peers().map(({ meta }) => meta['form']).sort(), ['objects', 'options', 'url'])
})

const everybodySees = (stages: Stage[]): Promise<void> => until(() => stages.every((stage) => stage.peers().length === stages.length - 1))
