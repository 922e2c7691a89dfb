/**
 * The contract of a registry, as tests. To run the suite on your own registry:
 *
 *     import test from 'ava'
 *     import { registrySuite } from 'stagemesh/test/suites/registry'
 *     registrySuite(test, async () => ({ open: () => new MyRegistry(…), close: async () => {} }))
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { StageError } from '../../src/errors.js'
import { GRACE_MS, complete } from '../../src/registry.js'
import type { Entry, Lease, Registry, View } from '../../src/types.js'

/** The part of a test runner that the suite uses; compatible with AVA's `test`. */
export interface Test {
  (title: string, run: (t: Assertions) => Promise<void>): void
}
/** Assertions that the suite uses, as those of AVA. */
export interface Assertions {
  /** Fails unless both are the same value. */
  is<T>(actual: T, expected: T, message?: string): unknown
  /** Fails unless both are equal, also deep inside. */
  deepEqual<T>(actual: T, expected: T, message?: string): unknown
  /** Fails unless it is `true`. */
  true(actual: boolean, message?: string): unknown
  /** Fails unless it is `false`. */
  false(actual: boolean, message?: string): unknown
  /** Runs `fn` after the test, however that ends. */
  teardown(fn: () => Promise<void>): void
}

/** An empty registry that nobody else uses. */
export interface Place {
  /** Opens one more client of the registry. */
  open(): Registry
  /** Lets `ms` pass for the registry and its clients; without `advance` the suite waits in real time. */
  advance?(ms: number): Promise<void>
  /**
   * Writes a record directly into the storage, leased for a while; only clients that are opened later need to see it. Without
   * `edit` the tests of edited records are skipped.
   */
  edit?(namespace: string, id: string, text: string): Promise<void>
  /** Deletes all data of the registry. Without `empty` the tests of a reset registry are skipped. */
  empty?(): Promise<void>
  close(): Promise<void>
}

/** Options of the suite. */
export interface RegistrySuiteOptions {
  /** Prefix of the titles; default `registry`. */
  name?: string
  /** The shortest lease to test with, in milliseconds; default 900. */
  ttlMs?: number
}

/** TTL of leases that are not meant to lapse during a test. */
const LONG_MS = 15_000
const NS = 'suite'
let count = 0

/** A new entry with a unique id. */
export function sampleEntry(change: Partial<Entry> = {}): Entry {
  const id = `id-${process.pid}-${++count}`
  return { id, name: 'api', namespace: NS, addresses: [`memory://${id}`], unique: false, draining: false, ttlMs: LONG_MS, announces: {}, meta: {}, ...change }
}

/** The contract of a registry, as tests: `factory` brings a place that registries of the same kind can be opened on. */
export function registrySuite(test: Test, factory: (t: Assertions) => Promise<Place>, options: RegistrySuiteOptions = {}): void {
  const { name = 'registry', ttlMs = 900 } = options
  const check = (title: string, run: (t: Assertions, scene: Scene) => Promise<void>) =>
    test(`${name}: ${title}`, async (t) => {
      const scene = new Scene(await factory(t))
      t.teardown(() => scene.close())
      await run(t, scene)
    })

  check('a published entry is seen by watchers from before and after', async (t, scene) => {
    const before = scene.watch()
    await scene.until(() => before.view !== undefined)
    t.deepEqual(before.ids, [], 'the current set is yielded at once, even an empty one')
    const entry = sampleEntry({ addresses: ['tcp://10.0.0.5:4000', 'ipc:///tmp/x'], draining: true, announces: { actors: ['a', { b: 1 }] } })
    await scene.registry.publish(entry, LONG_MS)
    const after = scene.watch()
    await scene.until(() => before.ids.length === 1 && after.ids.length === 1)
    t.deepEqual(before.view!.entries[0], entry)
    t.deepEqual(after.view!.entries[0], entry)
  })

  check('each view is the complete set', async (t, scene) => {
    const watch = scene.watch()
    const ids = []
    for (let i = 0; i < 3; i++) ids.push((await scene.publish({ name: `n${i}` })).id)
    await scene.until(() => watch.ids.length === 3)
    t.deepEqual(watch.ids, [...ids].sort())
    t.true(watch.views.every((view) => view.entries.length <= 3))
  })

  check('P28: views that hold changes lead to the same set as a complete view', async (t, scene) => {
    const watch = scene.watch()
    const second = scene.open()
    const rounds = [scene.registry, second, scene.registry, second]
    const leases: Lease[] = []
    for (const [i, registry] of rounds.entries()) {
      const entries = Array.from({ length: 8 }, (_, j) => sampleEntry({ name: `n${i}-${j}` }))
      leases.push(...await Promise.all(entries.map((entry) => registry.publish(entry, LONG_MS))))
      await leases.at(-1)!.renew({ ...entries.at(-1)!, meta: { round: String(i) } })
      for (const lease of leases.splice(0, 5)) await lease.close()
      const fresh = scene.watch(NS, second)
      await scene.until(() => fresh.view !== undefined)
      await scene.until(() => watch.ids.join() === fresh.ids.join())
      t.deepEqual(byId(watch.view!.entries), byId(fresh.view!.entries))
      fresh.stop()
      await scene.until(() => fresh.ended)
    }
    t.is(watch.yielded[0].removed, undefined, 'the first view is complete')
    for (const { entries, removed } of watch.yielded) for (const { id } of entries) t.false(removed?.includes(id) ?? false)
  })

  check('several stages may share a name', async (t, scene) => {
    const [a, b] = [await scene.publish(), await scene.publish()]
    const watch = scene.watch()
    await scene.until(() => watch.ids.length === 2)
    t.deepEqual(watch.ids, [a.id, b.id].sort())
  })

  check('namespaces do not see each other', async (t, scene) => {
    const here = scene.watch(NS)
    const there = scene.watch('other')
    const prefix = scene.watch('suit')
    const entry = await scene.publish()
    const other = await scene.publish({ namespace: 'other' })
    await scene.until(() => here.ids.length === 1 && there.ids.length === 1 && prefix.view !== undefined)
    t.deepEqual([here.ids, there.ids, prefix.ids], [[entry.id], [other.id], []])
  })

  check('fifty entries published concurrently are all seen', async (t, scene) => {
    const watch = scene.watch()
    const second = scene.open()
    const entries = Array.from({ length: 50 }, (_, i) => sampleEntry({ name: `n${i}` }))
    await Promise.all(entries.map((entry, i) => (i % 2 ? scene.registry : second).publish(entry, LONG_MS)))
    await scene.until(() => watch.ids.length === 50)
    t.deepEqual(watch.ids, entries.map(({ id }) => id).sort())
  })

  check('a heartbeat renews the lease and publishes changes of the entry', async (t, scene) => {
    const watch = scene.watch()
    const entry = sampleEntry()
    const lease = await scene.registry.publish(entry, LONG_MS)
    t.is(await lease.renew(), 'ok')
    t.is(await lease.renew({ ...entry, draining: true }), 'ok')
    await scene.until(() => watch.view?.entries[0]?.draining === true)
    t.is(await lease.renew(), 'ok')
    await scene.pass(300)
    t.true(watch.view!.entries[0].draining, 'a renewal without an entry keeps the previous entry')
  })

  check('an entry stays listed as long as its lease is renewed', async (t, scene) => {
    const watch = scene.watch()
    const entry = await scene.publish({}, ttlMs * 6)
    const other = await scene.publish({ name: 'other' }, ttlMs * 6)
    for (let i = 0; i < 8; i++) {
      await scene.pass(ttlMs)
      t.deepEqual([await entry.lease.renew(), await other.lease.renew()], ['ok', 'ok'])
    }
    t.deepEqual([watch.ids.length, watch.view!.lapsed.length], [2, 0])
  })

  check('publishing the same id again replaces the entry', async (t, scene) => {
    const watch = scene.watch()
    const entry = sampleEntry({ unique: true })
    await scene.registry.publish(entry, LONG_MS)
    await scene.registry.publish({ ...entry, announces: { again: true } }, LONG_MS)
    await scene.until(() => watch.view?.entries[0]?.announces['again'] === true)
    t.is(watch.ids.length, 1)
  })

  check('a unique name is refused to a second stage, whichever of the two is unique', async (t, scene) => {
    const first = await scene.publish({ name: 'first', unique: true })
    const second = await scene.publish({ name: 'second' })
    const errors = [await scene.refused({ name: 'first' }), await scene.refused({ name: 'second', unique: true }), await scene.refused({ name: 'first', unique: true })]
    t.deepEqual(errors.map(({ code }) => code), ['NAME_TAKEN', 'NAME_TAKEN', 'NAME_TAKEN'])
    t.true(errors[0].message.includes(first.id), errors[0].message)
    t.true(errors[1].message.includes(second.addresses[0]), errors[1].message)
    await scene.publish({ name: 'first', unique: true, namespace: 'other' })
    await scene.publish({ name: 'firs' })
    await first.lease.close()
    await scene.publish({ name: 'first', unique: true })
  })

  check('names of any text stay apart, and each of them can be unique', async (t, scene) => {
    const watch = scene.watch()
    const names = ['my', 'my app', 'my app 0 x', 'my%20app', 'my%2520app', 'my!', '!my', '3d-printer', 'ünï', '日本', '😀', '"my"', 'my\\u0020app', '{my}', '%s', '\u202emy', '__proto__', 'x'.repeat(128)]
    const listed = []
    for (const name of names) listed.push(await scene.publish({ name, unique: true }))
    await scene.until(() => watch.ids.length === names.length)
    t.deepEqual(watch.view?.entries.map(({ name }) => name).sort(), [...names].sort())
    for (const name of names) t.is((await scene.refused({ name })).code, 'NAME_TAKEN', name)
    for (const { lease } of listed) await lease.close()
    for (const name of names) await scene.publish({ name, unique: true })
  })

  check('of two concurrent publishes of a unique name one succeeds', async (t, scene) => {
    const second = scene.open()
    const tries = await Promise.allSettled([0, 1, 2, 3, 4, 5].map((i) => (i % 2 ? scene.registry : second).publish(sampleEntry({ unique: true }), LONG_MS)))
    t.is(tries.filter(({ status }) => status === 'fulfilled').length, 1)
  })

  check('closing a lease removes its entry', async (t, scene) => {
    const watch = scene.watch()
    const entry = await scene.publish()
    const other = await scene.publish()
    await scene.until(() => watch.ids.length === 2)
    await Promise.all([entry.lease.close(), entry.lease.close()])
    await scene.until(() => watch.ids.length === 1)
    t.deepEqual([watch.ids, watch.view!.lapsed], [[other.id], []])
    t.is((await code(entry.lease.renew())), 'CLOSED')
    await scene.pass(300)
    t.deepEqual(watch.ids, [other.id])
  })

  check('an entry that is not renewed is removed by the others within TTL and grace, and its id is gone for good', async (t, scene) => {
    const watch = scene.watch()
    const other = await scene.publish({ name: 'other' }, ttlMs)
    const beat = () => other.lease.renew()
    await scene.pass(ttlMs * 1.1, ttlMs / 4, beat)
    const silent = await scene.publish({ name: 'silent', unique: true }, ttlMs)
    await scene.until(() => watch.ids.length === 2)
    const since = scene.now()
    await scene.until(() => watch.ids.length === 1, ttlMs + GRACE_MS + scene.slackMs, ttlMs / 4, beat)
    t.true(scene.now() - since >= ttlMs + GRACE_MS / 2 - scene.slackMs, 'not before its lease and some grace have passed')
    t.deepEqual([watch.ids, watch.view!.lapsed], [[other.id], [silent.id]])
    t.is(await silent.lease.renew(), 'lost')
    t.is(await silent.lease.renew({ ...silent.entry, draining: true }), 'lost')
    await silent.lease.close()
    await scene.publish({ name: 'silent', unique: true })
    const late = scene.watch()
    await scene.until(() => late.view !== undefined)
    t.true(late.view!.lapsed.includes(silent.id), 'later watchers are notified, too')
    t.false(late.ids.includes(silent.id))
  })

  check('publishing a removed id does not list it again', async (t, scene) => {
    const watch = scene.watch()
    const other = await scene.publish({ name: 'other' }, ttlMs)
    const silent = await scene.publish({ name: 'silent' }, ttlMs)
    await scene.until(() => watch.view?.lapsed[0] === silent.id, 2 * ttlMs + GRACE_MS + scene.slackMs, ttlMs / 4, () => other.lease.renew())
    const again = await scene.registry.publish(silent.entry, LONG_MS)
    t.is(await again.renew(), 'lost')
    t.false(watch.ids.includes(silent.id))
  })

  check('a renewal after the end of the lease, but before the removal, answers late and keeps the entry', async (t, scene) => {
    const watch = scene.watch()
    const entry = await scene.publish({}, ttlMs)
    await scene.pass(ttlMs * 1.3)
    t.deepEqual(await scene.refused({ unique: true }).then((e) => e.code), 'NAME_TAKEN', 'its name is not free yet')
    t.is(await entry.lease.renew(), 'late')
    t.is(await entry.lease.renew(), 'ok')
    t.deepEqual([watch.ids, watch.view!.lapsed], [[entry.id], []])
  })

  check('a client without contact for a whole TTL removes no entries', async (t, scene) => {
    const silent = await scene.publish({ name: 'silent' }, ttlMs)
    await scene.pass(ttlMs + GRACE_MS + 200)
    const watch = scene.watch()
    const back = await scene.publish({ name: 'back' }, ttlMs * 4)
    await back.lease.renew()
    await scene.pass(ttlMs * 2)
    t.true(watch.ids.includes(silent.id))
    t.is(await silent.lease.renew(), 'late')
  })

  check('every watcher is notified, and one may end without the others', async (t, scene) => {
    const [first, second] = [scene.watch(), scene.watch()]
    await scene.publish()
    await scene.until(() => first.ids.length === 1 && second.ids.length === 1)
    first.stop()
    await scene.until(() => first.ended)
    t.is(first.error, undefined, 'it ends without an error')
    await scene.publish()
    await scene.until(() => second.ids.length === 2)
    t.is(first.ids.length, 1)
  })

  check('a watch that begins while another is open yields the current set at once', async (t, scene) => {
    const open = scene.watch()
    await scene.until(() => open.view !== undefined)
    const second = scene.open()
    for (let i = 0; i < 5; i++) {
      const entry = sampleEntry()
      await second.publish(entry, LONG_MS)
      const views = scene.registry.watch(NS, new AbortController().signal)[Symbol.asyncIterator]()
      const { value } = await views.next() as { value: View }
      await views.return?.()
      t.true(value.entries.some(({ id }) => id === entry.id), `${value.entries.length} are listed, but not the entry from before the watch`)
    }
  })

  check('a watch whose signal has fired already ends at once', async (t, scene) => {
    const watch = scene.watch()
    watch.stop()
    await scene.until(() => watch.ended)
    t.is(watch.error, undefined)
    for await (const view of scene.registry.watch(NS, AbortSignal.abort())) t.is(view, undefined)
  })

  check('closing ends the leases and watches of the instance, once, and leaves others alone', async (t, scene) => {
    const second = scene.open()
    const mine = scene.watch(NS, second)
    const theirs = scene.watch()
    const lease = await second.publish(sampleEntry(), LONG_MS)
    await scene.until(() => mine.ids.length === 1 && theirs.ids.length === 1)
    await Promise.all([second.close(), second.close()])
    await second.close()
    await scene.until(() => mine.ended)
    t.is(mine.error, undefined)
    t.is(await code(second.publish(sampleEntry(), LONG_MS)), 'CLOSED')
    t.is(await code(lease.renew()), 'CLOSED')
    t.is(await code(second.watch(NS, new AbortController().signal)[Symbol.asyncIterator]().next()), 'CLOSED')
    await scene.publish()
    await scene.until(() => theirs.ids.length === 2)
  })

  check('an unused instance can be closed', async (t, scene) => {
    const registry = scene.open()
    const publishing = code(registry.publish(sampleEntry(), LONG_MS))
    await registry.close()
    t.true([undefined, 'CLOSED'].includes(await publishing), 'it was published, or refused as CLOSED')
    await scene.open().close()
  })

  check('meta is listed as published, and as replaced by a renewal', async (t, scene) => {
    const watch = scene.watch()
    const meta = (): unknown => watch.view?.entries[0]?.meta
    const { lease, entry } = await scene.publish({ meta: { zone: 'a', 'größe': '\u0000 "\\" 😀', constructor: 'x' } })
    await scene.until(() => watch.ids.length === 1)
    t.deepEqual(meta(), { zone: 'a', 'größe': '\u0000 "\\" 😀', constructor: 'x' })
    t.is(await lease.renew({ ...entry, meta: { zone: 'b' } }), 'ok')
    await scene.until(() => Object.keys(meta() as object).length === 1)
    t.deepEqual(meta(), { zone: 'b' })
    t.is(await lease.renew({ ...entry, meta: {} }), 'ok')
    await scene.until(() => Object.keys(meta() as object).length === 0)
  })

  check('an entry without meta, or with an invalid one, is listed with an empty meta', async (t, scene) => {
    if (!scene.place.edit) return void t.true(true)
    await scene.publish()
    const wrong: unknown[] = [undefined, null, [], 'zone', 5, { zone: 5 }, { zone: { a: 'b' } }, { '': 'x' }, { much: 'x'.repeat(2048) }]
    for (const [i, meta] of wrong.entries()) await scene.place.edit(NS, `old-${i}`, JSON.stringify({ ...sampleEntry(), id: `old-${i}`, meta }))
    const watch = scene.watch(NS, scene.open())
    await scene.until(() => watch.ids.length > 0)
    t.deepEqual(watch.ids.filter((id) => id.startsWith('old-')), wrong.map((_, i) => `old-${i}`).sort())
    for (const { meta } of watch.view!.entries) t.deepEqual(meta, {})
  })

  check('an entry that is too large is refused', async (t, scene) => {
    t.is(await code(scene.registry.publish(sampleEntry({ announces: { much: 'x'.repeat(9000) } }), LONG_MS)), 'BAD_ARGUMENT')
  })

  check('records that are not valid entries are skipped', async (t, scene) => {
    if (!scene.place.edit) return void t.true(true)
    const open = scene.watch()
    const good = await scene.publish()
    const bad = badRecords()
    for (const [id, text] of bad) await scene.place.edit(NS, id, text)
    const last = await scene.publish()
    await scene.until(() => open.ids.includes(last.id))
    t.deepEqual(open.ids.filter((id) => id !== 'edited'), [good.id, last.id].sort())
    const watch = scene.watch(NS, scene.open())
    await scene.until(() => watch.ids.includes(last.id))
    t.deepEqual(watch.ids, [good.id, last.id, 'edited'].sort())
    await scene.publish({ name: 'mine', unique: true }) // the bad records do not block a unique name
    t.is(await good.lease.renew(), 'ok')
  })

  check('an emptied registry begins a new generation, in which every stage lists itself again under its id', async (t, scene) => {
    if (!scene.place.empty) return void t.true(true)
    const watch = scene.watch()
    const [a, b] = [await scene.publish(), await scene.publish()]
    await scene.until(() => watch.ids.length === 2)
    const { generation } = watch.view!
    await scene.place.empty()
    t.is(await a.lease.renew(), 'ok')
    t.is(await b.lease.renew(), 'ok')
    await scene.until(() => watch.ids.length === 2 && watch.view!.generation !== generation)
    t.deepEqual([watch.ids, watch.view!.lapsed], [[a.id, b.id].sort(), []])
    t.deepEqual([await a.lease.renew(), await b.lease.renew()], ['ok', 'ok'])
  })

  check('of successive holders of a unique name one has it after the registry was emptied', async (t, scene) => {
    if (!scene.place.empty) return void t.true(true)
    for (const [before, after] of [[true, true], [true, false], [false, true]]) {
      const first = await scene.publish({ name: 'alone', unique: before })
      await scene.place.empty()
      const second = await scene.publish({ name: 'alone', unique: after })
      t.is(await first.lease.renew(), 'lost', 'the first to be listed again has the name')
      t.is(await second.lease.renew(), 'ok')
      await second.lease.close()
    }
  })

  check('an id that returns more than a TTL after the registry was emptied is gone', async (t, scene) => {
    if (!scene.place.empty) return void t.true(true)
    const watch = scene.watch()
    const early = await scene.publish({}, LONG_MS)
    const late = await scene.publish({}, ttlMs)
    await scene.place.empty()
    t.is(await early.lease.renew(), 'ok')
    await scene.pass(ttlMs * 1.3)
    t.is(await late.lease.renew(), 'lost')
    await scene.until(() => watch.ids.length === 1)
    t.deepEqual(watch.ids, [early.id])
  })
}

const byId = (entries: readonly Entry[]): Entry[] => [...entries].sort((a, b) => a.id < b.id ? -1 : 1)

/** Pairs of [id, text] as people write them by hand; only the last is a valid entry. */
function badRecords(): [string, string][] {
  const change = (id: string, change: object): [string, string] => [id, JSON.stringify({ ...sampleEntry({ name: 'mine' }), id, ...change })]
  return [
    ['json', '{"id": "json", '],
    ['null', 'null'],
    ['list', '[]'],
    ['empty', '{}'],
    change('port', { addresses: ['tcp://10.0.0.5:99999'] }),
    change('port0', { addresses: ['tcp://10.0.0.5:0'] }),
    change('addresses', { addresses: 'tcp://10.0.0.5:4000' }),
    change('address', { addresses: [4000] }),
    change('name', { name: 'no/name' }),
    change('blank', { name: 'mine ' }),
    change('control', { name: 'mine\u009b' }),
    change('decomposed', { name: 'mi\u0301ne' }),
    change('half', { name: 'mine\ud83d' }),
    change('id', { id: undefined }),
    change('another', { id: 'one' }),
    change('namespace', { namespace: 'other' }),
    change('unique', { unique: 'yes' }),
    change('ttl', { ttlMs: -1 }),
    change('announces', { announces: null }),
    ['proto', JSON.stringify({ ...sampleEntry(), id: 'proto', announces: { x: 1 } }).replace('"x"', '"__proto__"')],
    ['escaped', JSON.stringify({ ...sampleEntry(), id: 'escaped', announces: { x: 1 } }).replace('"x"', '"\\u005f_proto__"')],
    change('big', { announces: { much: 'x'.repeat(9000) } }),
    change('edited', { name: 'edited' }),
  ]
}

const code = (promise: Promise<unknown>): Promise<string | undefined> =>
  promise.then(() => undefined, (error: unknown) => error instanceof StageError ? error.code : String(error))

/** One test's registry, clients and watches. */
class Scene {
  readonly registry: Registry
  /** How late events may be on a busy machine, in milliseconds; less when the place controls time. */
  readonly slackMs: number
  #passed = 0
  readonly #opened: Registry[] = []
  readonly #watches: Watch[] = []

  constructor(readonly place: Place) {
    this.slackMs = place.advance ? 300 : 1500
    this.registry = this.open()
  }

  open(): Registry {
    const registry = this.place.open()
    this.#opened.push(registry)
    return registry
  }

  watch(namespace = NS, registry = this.registry): Watch {
    const watch = new Watch(registry, namespace)
    this.#watches.push(watch)
    return watch
  }

  async publish(change: Partial<Entry> = {}, ttlMs = LONG_MS): Promise<Entry & { entry: Entry, lease: Lease }> {
    const entry = sampleEntry({ ...change, ttlMs })
    return { ...entry, entry, lease: await this.registry.publish(entry, ttlMs) }
  }

  async refused(change: Partial<Entry>): Promise<StageError> {
    return this.registry.publish(sampleEntry(change), LONG_MS).then(
      () => { throw new Error('publish() was expected to be refused, and succeeded') },
      (error: unknown) => error as StageError,
    )
  }

  /** Milliseconds, virtual if the place controls time, else real. */
  now(): number {
    return this.place.advance ? this.#passed : performance.now()
  }

  /** Lets `ms` pass, calling `each` every `step` milliseconds. */
  async pass(ms: number, step = ms, each?: () => Promise<unknown>): Promise<void> {
    for (let left = ms; left > 0; left -= step) {
      const part = Math.min(step, left)
      await (this.place.advance ? this.place.advance(part) : sleep(part))
      this.#passed += part
      await each?.()
    }
  }

  /** Waits for a condition, calling `each` every `step` milliseconds. */
  async until(done: () => boolean, ms = 20_000, step = 20, each?: () => Promise<unknown>): Promise<void> {
    let next = this.now() + step
    for (const end = this.now() + ms; !done();) {
      if (this.now() > end) {
        const cause = this.#watches.find(({ error }) => error !== undefined)?.error
        throw new Error(`expected within ${Math.round(ms)} ms: ${done.toString()}${cause === undefined ? '' : '; a watch threw, see the cause'}`, { cause })
      }
      await this.pass(Math.min(20, step))
      if (each && this.now() >= next) {
        next += step
        await each()
      }
    }
  }

  async close(): Promise<void> {
    for (const watch of this.#watches) watch.stop()
    await Promise.all(this.#opened.map((registry) => registry.close()))
    await this.place.close()
  }
}

/** Follows one watch. */
export class Watch {
  /** All views so far, as the registry yielded them. */
  readonly yielded: View[] = []
  /** The same, each complete. */
  readonly views: View[] = []
  /** The watch is over. */
  ended = false
  /** Why the watch failed, if it did. */
  error: unknown
  readonly #ending = new AbortController()

  constructor(registry: Registry, namespace: string) {
    void this.#run(registry, namespace)
  }

  /** The last view. */
  get view(): View | undefined {
    return this.views.at(-1)
  }

  /** The ids of the present view, sorted. */
  get ids(): string[] {
    return (this.view?.entries ?? []).map(({ id }) => id).sort()
  }

  /** Ends the watch. */
  stop(): void {
    this.#ending.abort()
  }

  async #run(registry: Registry, namespace: string): Promise<void> {
    try {
      for await (const view of registry.watch(namespace, this.#ending.signal)) {
        this.yielded.push(view)
        this.views.push(complete(this.view, view))
      }
    } catch (error) {
      this.error = error
    } finally {
      this.ended = true
    }
  }
}
