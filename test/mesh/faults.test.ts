/** Faults that two stages meet together: registries that hang, ends that close at once. */
import test from 'ava'
import { Directory } from '../../src/directory.js'
import { HostClock } from '../simulation/host-clock.js'
import { GRACE_MS } from '../../src/registry.js'
import { Sweeper } from '../../registries/shared/sweeper.js'
import { Tenure } from '../../src/tenure.js'
import { MemoryInterface, MemoryRegistry, Stage, StageError, type Registry, type StageOptions } from '../../src/index.js'
import type { Entry, Lease, View } from '../../src/types.js'
import { advance, seeded, virtualMesh, type Mesh } from '../helpers/mesh.js'
import type { Assertions } from '../suites/test.js'
import { VirtualClock } from '../helpers/virtual-clock.js'

// What the simulation has found, each by its symptom.

/** A stage whose leases behave as `change` makes them, and whose views come so late. */
function odd(t: Pick<Assertions, 'teardown'>, { clock, network, registry }: Mesh<VirtualClock>, name: string, options: StageOptions, change: (lease: Lease) => Lease, viewMs = 0): Stage {
  const inner = new MemoryRegistry(registry.address.slice('memory:'.length), { clock })
  const own: Registry = {
    address: inner.address,
    publish: async (entry, ttlMs) => change(await inner.publish(entry, ttlMs)),
    async *watch(namespace, signal) {
      for await (const view of inner.watch(namespace, signal)) {
        if (viewMs > 0) await new Promise<void>((resolve) => { clock.setTimeout(resolve, viewMs) })
        yield view
      }
    },
    close: () => inner.close(),
  }
  const stage = new Stage(name, own, new MemoryInterface(network, { clock }), { ...options, clock, random: seeded(name) } as StageOptions)
  t.teardown(async () => { await advance(clock, stage.close(), 20_000) })
  return stage
}

test('a registry that hangs while an id is given up does not keep the new one from being listed', async (t) => {
  const mesh = virtualMesh(t)
  const { clock, stage, registry } = mesh
  let away = false
  const a = stage('a', { ttlMs: 3000 })
  const b = odd(t, mesh, 'b', { ttlMs: 3000 }, (lease) => ({
    renew: async (entry) => { if (away) throw new Error('away'); return lease.renew(entry) },
    close: () => new Promise(() => {}),
  }))
  await advance(clock, Promise.all([a.ready(), b.ready()]))
  await clock.advance(20_000)
  const before = b.id
  away = true
  await clock.advance(6000)
  t.deepEqual(a.peers(), [])
  registry.empty() // and with it that b was taken out: it learns that from a
  away = false
  await clock.advance(15_000)
  t.not(b.id, before)
  t.deepEqual(a.peers().map((peer) => peer.id), [b.id])
})

test('two that close at once let the streams between them end, and nothing is left', async (t) => {
  const mesh = virtualMesh(t, { latencyMs: 20 })
  const { clock } = mesh
  const [a, b] = ['a', 'b'].map((name) => odd(t, mesh, name, {}, (lease) => lease, 200)) // each hears of it from the other first
  let got = 0
  let ended = false
  b.on('stream', (stream) => stream.on('data', (piece: Buffer) => { got += piece.length }).on('end', () => { ended = true }))
  await advance(clock, Promise.all([a.ready(), b.ready()]))
  await clock.advance(500)
  const stream = a.to('b')
  stream.end(Buffer.alloc(1_000_000))
  await clock.advance(200)
  t.true(got > 0 && got < 1_000_000)
  await advance(clock, Promise.all([a.close(), b.close()]))
  t.deepEqual([got, ended], [1_000_000, true])
  for (const one of [a, b]) t.deepEqual(Object.entries(one.stats()).filter(([, count]) => count !== 0), [], one.name)
})

test('one end gives up a handshake that the other end has finished: its calls fail as DISCONNECTED, not as foreign bytes', async (t) => {
  const { clock, stage, network } = virtualMesh(t, { latencyMs: 10 })
  const two = [stage('a'), stage('b')]
  await advance(clock, Promise.all(two.map((one) => one.ready())))
  await clock.advance(100)
  const [less, arbiter] = two.sort((x, y) => x.id < y.id ? -1 : 1)
  const [address] = less.lookup(arbiter.name)[0].addresses
  let failed: Promise<StageError> | undefined
  arbiter.once('link', () => {
    network.hold((from) => from === address) // the verdict is under way
    failed = arbiter.to(less.name).call('f').then(() => t.fail(), (error: StageError) => error) as Promise<StageError>
  })
  less.to(arbiter.name).call('f').catch(() => {})
  await clock.advance(9000)
  t.is((await failed)?.code, 'DISCONNECTED')
  network.release()
})

test('a stage that leaves is gone to others, and goes on under its id until what it began has ended', async (t) => {
  const mesh = virtualMesh(t, { latencyMs: 20 })
  const { clock, stage } = mesh
  const a = odd(t, mesh, 'a', {}, (lease) => ({
    // others know before it does
    renew: async (entry) => { const answer = await lease.renew(entry); await new Promise<void>((resolve) => { clock.setTimeout(resolve, 300) }); return answer },
    close: () => lease.close(),
  }))
  const [b, c] = [stage('b'), stage('c')] as const
  c.to('*').provide('slow', () => new Promise((resolve) => clock.setTimeout(() => resolve('done'), 2000)))
  await advance(clock, Promise.all([a.ready(), b.ready(), c.ready()]))
  await clock.advance(100)
  const { id } = a
  const slow = a.to('c').call('slow')
  await clock.advance(200)
  a.to('b').call('f').catch(() => {}) // b is dialled when it learns that a leaves
  const closing = a.close()
  t.is(await advance(clock, slow), 'done')
  await advance(clock, closing)
  t.is(a.id, id)
})

test('a link that ended with a goodbye is dialled again without the back-off of long ago', async (t) => {
  const { clock, stage, network } = virtualMesh(t)
  const [a, b] = [stage('a'), stage('b', { idleLinkMs: 1000 })] as const
  await advance(clock, Promise.all([a.ready(), b.ready()]))
  await clock.advance(100)
  network.refuse(a.lookup('b')[0].addresses[0])
  a.keep('b')
  await clock.advance(40_000)
  network.release()
  await clock.advance(15_000)
  let links = 0
  a.on('link', () => links++)
  await clock.advance(20_000)
  t.true(links > 8, `${links} links in 20 s, where each is closed after one`)
})

test('one that stood still while the registry was away does not judge those who are late for it', async (t) => {
  const clock = new VirtualClock()
  let swept = 0
  const sweeper = new Sweeper(clock, seeded(1), 15_000, () => { swept++; return Promise.resolve({ now: clock.now(), earliest: Infinity }) })
  const beat = async (earliest: number): Promise<void> => {
    sweeper.renewed(clock.now(), earliest)
    await clock.advance(5000)
  }
  for (let n = 0; n < 5; n++) await beat(Infinity)
  sweeper.renewed(clock.now(), Infinity)
  await clock.advance(20_000)
  for (let n = 0; n < 3; n++) await beat(clock.now() - 3000)
  t.is(swept, 0)
  await beat(clock.now() - 3000)
  t.is(swept, 1)
})

test('P3: leases that end one after another between two heartbeats are each swept within the grace period', async (t) => {
  const clock = new VirtualClock()
  const ends = [9000, 9400, 10_300, 11_200, 30_000]
  const late: number[] = []
  let sweeps = 0
  const answer = () => ({ now: clock.now(), earliest: ends[0]! })
  const sweeper = new Sweeper(clock, seeded(1), 6000, () => {
    sweeps++
    while (ends[0]! + GRACE_MS * 0.75 <= clock.now()) late.push(clock.now() - ends.shift()!)
    return Promise.resolve(answer())
  })
  for (let beat = 0; beat < 10; beat++) {
    sweeper.renewed(answer().now, answer().earliest)
    await clock.advance(2000)
  }
  t.is(late.length, 4)
  t.true(Math.max(...late) <= GRACE_MS, `swept ${late.join(', ')} ms after their leases had ended`)
  t.true(sweeps <= 4, `${sweeps} sweeps for 4 leases`)
})

test('two who tell a stage at once that its id is gone make it give up one id, not the next one as well', async (t) => {
  const clock = new VirtualClock()
  const lease = { renew: () => Promise.resolve('ok' as const), close: () => new Promise<void>((resolve) => { clock.setTimeout(resolve, 100) }) }
  const lost: string[] = []
  const tenure = new Tenure({
    registry: { address: 'own:', publish: () => Promise.resolve(lease), watch: () => { throw new Error('unused') }, close: () => Promise.resolve() },
    clock, random: seeded(1), ttlMs: 3000, entry: (id) => ({ id }) as Entry, look: () => Promise.resolve(), onrenewed: () => {}, onlost: (before) => lost.push(before), onerror: () => {},
  })
  tenure.start()
  await clock.advance(100)
  const { id } = tenure
  void tenure.renounce()
  await clock.advance(50)
  void tenure.renounce()
  await clock.advance(20_000)
  t.deepEqual(lost, [id])
  void tenure.close()
  await clock.advance(1000)
})

test('one that stood still hears the registry before it declares dead whom the registry had forgotten', async (t) => {
  const world = new VirtualClock()
  const clock = new HostClock(world)
  const b: Entry = { id: 'b-b-b-b-b', name: 'b', namespace: 'default', addresses: [], unique: false, draining: false, ttlMs: 3000, announces: {}, meta: {} }
  const parted: string[] = []
  const directory = new Directory({
    registry: {
      address: 'own:', publish: () => Promise.reject(new Error('unused')), close: () => Promise.resolve(),
      async *watch(_namespace, signal): AsyncGenerator<View> {
        yield { generation: '1', entries: [b], lapsed: [] }
        yield { generation: '2', entries: [], lapsed: [] }
        await new Promise<void>((resolve) => { clock.arrive(resolve, 1000) })
        yield { generation: '2', entries: [b], lapsed: [] }
        await new Promise<void>((resolve) => { signal.addEventListener('abort', () => resolve()) })
      },
    },
    clock, random: seeded(1), namespace: 'default', who: 'a', own: () => false,
    onjoin: () => {}, onpart: (peer) => parted.push(peer.id), onupdate: () => {}, onzombie: () => {}, onforgot: () => {}, onchange: () => {}, onlook: () => {}, onerror: () => {},
  })
  directory.start()
  await world.advance(100)
  clock.pause()
  await world.advance(8000)
  clock.resume(() => {})
  await world.advance(3000)
  t.deepEqual(parted, [])
  await directory.close()
})
