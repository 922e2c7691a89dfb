/** The registry that is memory: the suite of registries, and what is its own. */
import test from 'ava'
import { Ledger, snapshot } from '../../registries/shared/ledger.js'
import type { Table } from '../../registries/shared/ledger.js'
import { MemoryRegistry } from '../../registries/memory.js'
import { registrySuite, sampleEntry, Watch } from '../suites/registry.js'
import { VirtualClock, settle } from '../helpers/virtual-clock.js'

let count = 0

registrySuite(test, async () => {
  const clock = new VirtualClock()
  const name = `suite-${++count}`
  const admin = new MemoryRegistry(name, { clock })
  return {
    open: () => new MemoryRegistry(name, { clock }),
    advance: (ms) => clock.advance(ms),
    edit: async (namespace, id, text) => admin.edit(namespace, id, text),
    empty: async () => admin.empty(),
    close: async () => {
      await admin.close()
      if (clock.pending > 0) throw new Error(`${clock.pending} timers were left`)
    },
  }
}, { name: 'memory', ttlMs: 15_000 })

test('a registry told to fail rejects everything and throws from watches, until it is told otherwise', async (t) => {
  const clock = new VirtualClock()
  const registry = new MemoryRegistry('failing', { clock })
  const entry = sampleEntry()
  const lease = await registry.publish(entry, 15_000)
  const watch = new Watch(registry, entry.namespace)
  await settle()
  t.deepEqual(watch.ids, [entry.id])
  registry.fail()
  await settle()
  t.like(watch.error, { code: 'REGISTRY_UNAVAILABLE' })
  await t.throwsAsync(lease.renew(), { code: 'REGISTRY_UNAVAILABLE' })
  await t.throwsAsync(registry.publish(sampleEntry(), 15_000), { code: 'REGISTRY_UNAVAILABLE' })
  await t.throwsAsync(registry.watch('x', new AbortController().signal).next(), { code: 'REGISTRY_UNAVAILABLE' })
  registry.fail(false)
  t.is(await lease.renew(), 'ok')
  const again = new Watch(registry, entry.namespace)
  await settle()
  t.deepEqual(again.ids, [entry.id])
  await registry.close()
  t.is(clock.pending, 0)
})

test('a room is forgotten when the last one has left it', async (t) => {
  const [first, second] = [new MemoryRegistry('room'), new MemoryRegistry('room')]
  const entry = sampleEntry()
  await first.publish(entry, 15_000)
  await first.close()
  const seen = new Watch(second, entry.namespace)
  await settle()
  t.is(seen.ids.length, 1)
  await second.close()
  const third = new MemoryRegistry('room')
  const empty = new Watch(third, entry.namespace)
  await settle()
  t.is(empty.ids.length, 0)
  await third.close()
})

test('a sweep takes out only who lapsed long enough ago, whoever calls it and however often', (t) => {
  const rows = new Map<string, Map<string, string>>()
  const kind = (name: string) => rows.get(name) ?? rows.set(name, new Map()).get(name)!
  const table: Table = {
    get: (name, id) => kind(name).get(id),
    put: (name, id, text) => void kind(name).set(id, text),
    remove: (name, id) => void kind(name).delete(id),
    list: (name) => kind(name),
    log: () => {},
  }
  const at = (now: number) => new Ledger(table, 'suite', now, `at ${now}`)
  const ids = () => snapshot(table)!.records.map(([id]) => id)
  const list = (id: string, now: number) => at(now).publish({ id, name: 'a', unique: false, ttlMs: 1000, text: '{}' })
  list('one', 0)
  list('two', 400)
  at(2499).sweep('two')
  t.deepEqual(ids(), ['one', 'two'])
  at(2500).sweep('one')
  t.deepEqual(ids(), ['one', 'two'], 'its own is left alone')
  at(2899).sweep('')
  t.deepEqual(ids(), ['two'])
  const before = snapshot(table)
  at(2899).sweep('')
  t.deepEqual(snapshot(table), before, 'once more changes nothing')
  at(2900).sweep('')
  t.deepEqual([ids(), snapshot(table)!.lapsed], [[], ['one', 'two']])
  at(2899 + 60_000).sweep('')
  t.deepEqual(snapshot(table)!.lapsed, ['one', 'two'], 'for a minute at least')
  at(2900 + 200_000).sweep('')
  t.deepEqual(snapshot(table)!.lapsed, [], 'but not for ever')
})
