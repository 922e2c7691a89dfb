/** Promises about names and identities: each title begins with its number. */
import test from 'ava'
import { MemoryInterface, MemoryRegistry, Stage, StageError, type Peer, type Registry, type StageOptions } from '../../src/index.js'
import { advance, virtualMesh } from '../helpers/mesh.js'
import { settle } from '../helpers/virtual-clock.js'

const names = (stage: Stage): string[] => stage.peers().map((peer) => peer.name).sort()

/** Every event of a stage that tells of others, in order. */
function events(stage: Stage): string[] {
  const told: string[] = []
  for (const name of ['join', 'timeout', 'link', 'unlink'] as const) stage.on(name, (peer: Peer) => told.push(`${name} ${peer.name}`))
  stage.on('part', (peer, reason) => told.push(`part ${peer.name} ${reason}`))
  return told
}

test('P1: an id that was reported gone never comes back; the stage does, under a new one', async (t) => {
  const { clock, stage, cutOff } = virtualMesh(t)
  const a = stage('a')
  const b = stage('b', { ttlMs: 3000 })
  b.to('*').provide('id', () => b.id)
  await advance(clock, Promise.all([a.ready(), b.ready()]))
  await advance(clock, a.to('b').call('id'))
  await clock.advance(20_000)
  const before = b.id
  const joined: string[] = []
  const parted: string[] = []
  a.on('join', (peer) => joined.push(peer.id))
  a.on('part', (peer) => parted.push(peer.id))
  cutOff(b, true)
  await clock.advance(6000)
  t.deepEqual(parted, [before])
  cutOff(b, false)
  await clock.advance(3000)
  t.not(b.id, before)
  t.deepEqual(joined, [b.id])
  t.is(await advance(clock, a.to('b').call('id')), b.id)
})

test('P1: an id that was listed without its stage hearing of it, and was taken out since, is not gone on with for a moment', async (t) => {
  const { clock, stage, registry, network } = virtualMesh(t)
  const a = stage('a', { ttlMs: 3000 })
  await advance(clock, a.ready())
  const told: string[] = []
  a.on('join', ({ id }) => told.push(`join ${id}`))
  a.on('part', ({ id }) => told.push(`part ${id}`))
  let way: 'no answer' | 'none' | 'open' = 'no answer'
  const away = (): StageError => new StageError('REGISTRY_UNAVAILABLE', 'the way there is bad')
  const inner = new MemoryRegistry(registry.address.slice('memory:'.length), { clock })
  const own: Registry = {
    address: inner.address,
    publish: async (entry, ttlMs) => {
      if (way === 'none') throw away()
      const lease = await inner.publish(entry, ttlMs)
      if (way === 'open') return lease
      way = 'none'
      throw away()
    },
    watch: (namespace, signal) => inner.watch(namespace, signal),
    close: () => inner.close(),
  }
  const b = new Stage('b', own, new MemoryInterface(network, { clock }), { ttlMs: 3000, clock } as StageOptions)
  t.teardown(() => advance(clock, b.close()))
  const first = b.id
  await clock.advance(20_000)
  t.deepEqual(told, [`join ${first}`, `part ${first}`])
  way = 'open'
  await clock.advance(1100) // until the next try
  t.not(b.id, first)
  t.deepEqual(told.slice(2), [`join ${b.id}`])
})

test('P1: one whose lease lapsed is cut off by those who were told', async (t) => {
  const { clock, stage, cutOff } = virtualMesh(t)
  const a = stage('a')
  const b = stage('b', { ttlMs: 3000 })
  b.to('*').provide('slow', () => new Promise(() => {}))
  await advance(clock, Promise.all([a.ready(), b.ready()]))
  await clock.advance(20_000)
  const pending = a.to('b', { timeoutMs: 60_000 }).call('slow')
  await clock.advance(10)
  const told = events(a)
  cutOff(b, true)
  const error = await t.throwsAsync(advance(clock, pending, 6000), { instanceOf: StageError })
  t.is(error.code, 'DISCONNECTED')
  t.is(error.executed, 'unknown')
  t.deepEqual(told.slice(0, 3), ['timeout b', 'unlink b', 'part b timeout'])
})

test('P1: a stage that lost its lease closes its links, also to those who were not told', async (t) => {
  const { clock, stage, cutOff } = virtualMesh(t)
  const [a, b, c] = [stage('a'), stage('b', { ttlMs: 3000 }), stage('c')] as const
  b.to('*').provide('slow', () => new Promise(() => {}))
  await advance(clock, Promise.all([a.ready(), b.ready(), c.ready()]))
  await clock.advance(20_000)
  const pending = a.to('b', { timeoutMs: 60_000 }).call('slow')
  await clock.advance(10)
  cutOff(a, true)
  cutOff(b, true)
  await clock.advance(6000)
  t.deepEqual(names(c), ['a'])
  t.is(a.links().length, 1)
  cutOff(b, false)
  const error = await t.throwsAsync(advance(clock, pending, 6000), { instanceOf: StageError })
  t.is(error.code, 'DISCONNECTED')
  cutOff(a, false)
})

test('P1: one that was taken out while the registry forgot it learns of it from the others, and comes back under a new id', async (t) => {
  const { clock, stage, registry, cutOff } = virtualMesh(t)
  const [a, b] = [stage('a', { ttlMs: 3000 }), stage('b', { ttlMs: 3000 })] as const
  b.to('*').provide('id', () => b.id)
  await advance(clock, Promise.all([a.ready(), b.ready()]))
  await clock.advance(20_000)
  const before = b.id
  cutOff(b, true)
  await clock.advance(6000)
  t.deepEqual(names(a), [])
  registry.empty() // and with it that b was taken out
  cutOff(b, false)
  await clock.advance(5000)
  t.not(b.id, before)
  t.is(await advance(clock, a.to('b').call('id')), b.id)
})

test('P2: a name may have many stages; a unique one fails with NAME_TAKEN, whichever of the two asked for it', async (t) => {
  const { clock, stage } = virtualMesh(t)
  const first = stage('leader', { unique: true })
  await advance(clock, first.ready())
  for (const options of [{ unique: true }, {}]) {
    const second = stage('leader', options)
    const error = await t.throwsAsync(advance(clock, second.ready()), { instanceOf: StageError })
    t.is(error.code, 'NAME_TAKEN')
    await advance(clock, second.close())
  }
  await advance(clock, first.close())
  await advance(clock, stage('leader', { unique: true }).ready())
  const [a, b] = [stage('many'), stage('many')]
  await advance(clock, Promise.all([a.ready(), b.ready()]))
  t.pass()
})

test('P3: a crashed stage leaves every view within TTL + grace, with timeout just before part', async (t) => {
  const { clock, stage, cutOff } = virtualMesh(t)
  const [a, b, c] = [stage('a'), stage('b'), stage('c')] as const
  await advance(clock, Promise.all([a.ready(), b.ready(), c.ready()]))
  await clock.advance(40_000) // long in contact: a stage judges others only after one TTL
  const told = events(a)
  cutOff(c, true)
  await clock.advance(17_000)
  t.deepEqual(names(a), ['b'])
  t.deepEqual(names(b), ['a'])
  t.deepEqual(told, ['timeout c', 'part c timeout'])
})

test('P3: one that was linked and whose connection was reset leaves the view of its peers within 3 s', async (t) => {
  const { clock, stage, network, cutOff } = virtualMesh(t)
  const a = stage('a')
  const b = stage('b')
  b.to('*').provide('f', () => 1)
  await advance(clock, Promise.all([a.ready(), b.ready()]))
  await advance(clock, a.to('b').call('f'))
  const [address] = a.lookup('b')[0].addresses
  const told = events(a)
  cutOff(b, true)
  network.refuse(address)
  network.cut(address)
  await clock.advance(3000)
  t.deepEqual(names(a), [])
  t.deepEqual(told, ['unlink b'], 'it is not reported gone before the registry knows')
  await clock.advance(17_000)
  t.deepEqual(told.slice(1), ['timeout b', 'part b timeout'])
})

test('P3: one that was suspected and shows signs of life is back', async (t) => {
  const { clock, stage, network } = virtualMesh(t)
  const a = stage('a')
  const b = stage('b')
  b.to('*').provide('f', () => 1)
  await advance(clock, Promise.all([a.ready(), b.ready()]))
  await advance(clock, a.to('b').call('f'))
  const [address] = a.lookup('b')[0].addresses
  network.refuse(address)
  network.cut(address)
  await clock.advance(3000)
  t.deepEqual(names(a), [])
  network.release(address)
  a.to('*').provide('g', () => 2)
  t.is(await advance(clock, b.to('a').call('g')), 2)
  t.deepEqual(names(a), ['b'])
})

test('P3: a closed one leaves every view within a second, and says so', async (t) => {
  const { clock, stage } = virtualMesh(t)
  const [a, b] = [stage('a'), stage('b')] as const
  await advance(clock, Promise.all([a.ready(), b.ready()]))
  await clock.advance(1000)
  const told = events(a)
  const closing = b.close()
  await clock.advance(1000)
  t.deepEqual(names(a), [])
  t.deepEqual(told, ['part b closed'])
  await advance(clock, closing)
})

test('P3: a closed one leaves the view of a peer that is linked to it within a second, though the registry says nothing', async (t) => {
  const { clock, stage, cutOff } = virtualMesh(t)
  const [a, b] = [stage('a'), stage('b')] as const
  b.to('*').provide('f', () => 1)
  await advance(clock, Promise.all([a.ready(), b.ready()]))
  await advance(clock, a.to('b').call('f'))
  cutOff(a, true)
  const closing = b.close()
  await clock.advance(1000)
  t.deepEqual(names(a), [])
  await advance(clock, closing)
  cutOff(a, false)
})

test('P5: while the registry is away, links and known names keep working and nobody is declared dead', async (t) => {
  const { clock, stage, registry } = virtualMesh(t)
  const [a, b, c] = [stage('a'), stage('b'), stage('c')] as const
  b.to('*').provide('f', () => 'b')
  c.to('*').provide('f', () => 'c')
  await advance(clock, Promise.all([a.ready(), b.ready(), c.ready()]))
  t.is(await advance(clock, a.to('b').call('f')), 'b')
  await clock.advance(1000)
  const told = events(a)
  registry.fail(true)
  await clock.advance(120_000)
  t.deepEqual(told.filter((line) => line.startsWith('part')), [])
  t.is(await advance(clock, a.to('b').call('f')), 'b')
  t.is(await advance(clock, a.to('c').call('f')), 'c', 'a name that is known can be dialled anew')
})

test('P5: when it is back, even empty, every stage is listed again within one heartbeat, same id, links untouched', async (t) => {
  const { clock, stage, registry } = virtualMesh(t)
  const stages = ['a', 'b', 'c'].map((name) => stage(name, { idleLinkMs: 600_000 }))
  const [a, b] = stages as [Stage, Stage, Stage]
  b.to('*').provide('f', () => 'b')
  await advance(clock, Promise.all(stages.map((one) => one.ready())))
  await advance(clock, a.to('b').call('f'))
  await clock.advance(20_000)
  const ids = stages.map((one) => one.id)
  const links = a.links().map((link) => link.id)
  const told = events(a)
  registry.fail(true)
  await clock.advance(60_000)
  registry.empty()
  registry.fail(false)
  await clock.advance(5500)
  const late = stage('late')
  await advance(clock, late.ready())
  await settle()
  t.deepEqual(names(late), ['a', 'b', 'c'])
  await clock.advance(60_000)
  t.deepEqual(stages.map((one) => one.id), ids)
  t.deepEqual(a.links().map((link) => link.id), links)
  t.deepEqual(told, ['join late'])
})

test('P5: one that never comes back after the registry was emptied is gone after one TTL, not before', async (t) => {
  const { clock, stage, registry, cutOff } = virtualMesh(t)
  const [a, b] = [stage('a'), stage('b')] as const
  await advance(clock, Promise.all([a.ready(), b.ready()]))
  await clock.advance(20_000)
  const told = events(a)
  cutOff(b, true)
  registry.empty()
  await clock.advance(15_000)
  t.deepEqual(told, [])
  await clock.advance(8000) // a heartbeat until the empty registry was noticed, and one TTL + grace from then on
  t.deepEqual(told, ['timeout b', 'part b timeout'])
})

test('ready() says why it is not listed, and a later one can resolve', async (t) => {
  const { clock, stage, registry } = virtualMesh(t)
  registry.fail(true)
  const a = stage('a')
  const heard: Error[] = []
  a.on('error', (error) => heard.push(error))
  const error = await t.throwsAsync(advance(clock, a.ready()), { instanceOf: StageError })
  t.is(error.code, 'REGISTRY_UNAVAILABLE')
  const call = await t.throwsAsync(advance(clock, a.to('b', { timeoutMs: 500 }).call('f')), { instanceOf: StageError })
  t.is(call.code, 'REGISTRY_UNAVAILABLE')
  registry.fail(false)
  await advance(clock, a.ready())
  t.true(heard.length > 0)
})
