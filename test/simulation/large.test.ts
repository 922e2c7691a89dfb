/** A namespace of 10 000 stages: views stay correct, a change costs what changed, and a known peer takes little memory. */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import test from 'ava'
import { Views } from '../../registries/shared/views.js'
import { MemoryInterface, MemoryNetwork, MemoryRegistry, Stage, encodeEntry } from '../../src/index.js'
import type { Lease, Registry, View } from '../../src/types.js'
import { advance, seeded } from '../helpers/mesh.js'
import { VirtualClock } from '../helpers/virtual-clock.js'
import { sampleEntry } from '../suites/registry.js'

const COUNT = 10_000
const WATCHERS = 5
/** Stages that join or leave in one step. */
const STEP = 100
const TTL_MS = 15_000

/** Counts what the watches of one stage bring: views, and the entries and ids in them. */
function counting(inner: Registry, counted: { views: number, items: number, bytes: number }): Registry {
  return {
    address: inner.address,
    publish: (entry, ttlMs) => inner.publish(entry, ttlMs),
    async *watch(namespace, signal): AsyncGenerator<View> {
      for await (const view of inner.watch(namespace, signal)) {
        counted.views++
        counted.items += view.entries.length + (view.removed?.length ?? 0)
        counted.bytes += JSON.stringify(view).length
        yield view
      }
    },
    close: () => inner.close(),
  }
}

test('P28: 10 000 stages join, rest and leave', async (t) => {
  const clock = new VirtualClock()
  const random = seeded(1)
  const network = new MemoryNetwork({ clock, random })
  const registry = new MemoryRegistry('large', { clock, random })
  const counts = Array.from({ length: WATCHERS }, () => ({ views: 0, items: 0, bytes: 0 }))
  const stages = counts.map((counted, i) => {
    const own = counting(new MemoryRegistry('large', { clock, random }), counted)
    return new Stage(`watcher-${i}`, { registry: own, interfaces: new MemoryInterface(network, { clock }), clock, random })
  })
  t.teardown(async () => {
    const closing = Promise.all([...stages.map((stage) => stage.close()), registry.close()])
    await advance(clock, closing, 60_000, 1000)
  })
  await advance(clock, Promise.all(stages.map((stage) => stage.ready())))
  const others = WATCHERS - 1
  const leases = new Map<string, Lease>()
  const right = (): void => {
    for (const stage of stages) {
      const known = stage.peers().map(({ id }) => id)
      if (known.length !== leases.size + others || !known.every((id) => leases.has(id) || stages.some((one) => one.id === id))) t.fail(`${known.length} are known, ${leases.size + others} are listed`)
    }
  }
  const took = counts.map((counted) => ({ ...counted }))
  for (let joined = 0; joined < COUNT; joined += STEP) {
    for (let i = 0; i < STEP; i++) {
      const entry = sampleEntry({ name: `stage-${joined + i}`, namespace: 'default', addresses: [`tcp://10.0.${i}.1:4000`] })
      leases.set(entry.id, await registry.publish(entry, TTL_MS))
    }
    await clock.advance(10)
  }
  await clock.advance(100)
  right()
  t.is(stages[0]!.peers().length, COUNT + others)
  for (let rested = 0; rested < 15_000; rested += 5000) {
    await clock.advance(5000)
    for (const lease of leases.values()) await lease.renew()
  }
  right()
  const resting = counts.map(({ items }) => items)
  for (const [id, lease] of leases) {
    if (leases.size % STEP === 0) await clock.advance(10)
    await lease.close()
    leases.delete(id)
  }
  await clock.advance(100)
  right()
  t.is(stages[0]!.peers().length, others)
  for (const [i, { views, items, bytes }] of counts.entries()) {
    const changes = 2 * COUNT
    t.log(`watcher ${i}: ${((views - took[i]!.views) / changes).toFixed(3)} views, ${((items - took[i]!.items) / changes).toFixed(2)} entries and ids, and ${Math.round((bytes - took[i]!.bytes) / changes)} bytes for one change`)
    t.true((items - took[i]!.items) / changes < 1.5, 'a change is told once')
    t.is(items - resting[i]!, COUNT, 'nothing is told while all rest')
  }
})

test('P28: a known peer takes at most 1 KiB, with its record', async (t) => {
  setFlagsFromString('--expose-gc')
  const gc = runInNewContext('gc') as () => void
  const used = (): number => { gc(); return process.memoryUsage().heapUsed }
  // the views of a registry over a network, without the registry itself
  const views = new Views('default', 'given:')
  const record = (i: number): [string, string] => {
    const entry = sampleEntry({ name: `stage-${i}`, namespace: 'default', addresses: [`tcp://10.0.0.1:${4000 + i}`, `ipc:///tmp/stagemesh/${i}`], announces: { actors: { types: ['players.{id}'], objects: false } } })
    return [entry.id, encodeEntry(entry)]
  }
  const registry: Registry = {
    address: 'given:',
    publish: (entry) => {
      views.change([[entry.id, encodeEntry(entry)]], [])
      return Promise.resolve({ renew: () => Promise.resolve('ok' as const), close: () => Promise.resolve() })
    },
    watch: (_, signal) => views.watch(signal),
    close: () => Promise.resolve(views.end()),
  }
  views.replace('g', [], [])
  const stage = new Stage('s', { registry, interfaces: new MemoryInterface() })
  t.teardown(() => stage.close())
  await stage.ready()
  const known = async (count: number): Promise<void> => { while (stage.peers().length < count) await new Promise((resolve) => setImmediate(resolve)) }
  views.change(Array.from({ length: 100 }, (_, i) => record(i)), [])
  await known(100)
  const before = used()
  views.change(Array.from({ length: COUNT }, (_, i) => record(100 + i)), [])
  await known(COUNT + 100)
  const each = (used() - before) / COUNT
  t.log(`${Math.round(each)} bytes for each peer`)
  t.true(each <= 1024, `${each} bytes`)
})
