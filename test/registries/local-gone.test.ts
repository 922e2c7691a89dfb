/** The files by which a process that ended says so, as whoever comes later finds them; `processes/leaving.test.ts` has the processes. */
import { chmod, chown, mkdir, mkdtemp, readdir, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import test from 'ava'
import type { ExecutionContext } from 'ava'
import { Gone } from '../../registries/local/gone.js'
import { LocalRegistry } from '../../registries/local/registry.js'
import type { Entry, Lease } from '../../src/types.js'
import { until } from '../helpers/until.js'
import { sampleEntry, Watch } from '../suites/registry.js'

const NS = sampleEntry().namespace
const TTL_MS = 60_000
/** Some looks of a watch. */
const LOOKS_MS = 400

class Place {
  readonly registry: LocalRegistry
  readonly watch: Watch
  /** The folder of the files. */
  readonly gone: string

  private constructor(readonly path: string) {
    this.registry = new LocalRegistry(path)
    this.watch = new Watch(this.registry, NS)
    this.gone = join(path, 'gone')
  }

  static async make(t: ExecutionContext): Promise<Place> {
    const place = new Place(await mkdtemp(join(tmpdir(), 'stagemesh-test-')))
    t.teardown(async () => {
      await place.registry.close()
      await rm(place.path, { recursive: true, force: true })
    })
    await until(() => place.watch.view !== undefined)
    return place
  }

  /** Lists one, and waits until it is seen. */
  async list(change: Partial<Entry> = {}): Promise<{ entry: Entry, lease: Lease }> {
    const entry = sampleEntry(change)
    const lease = await this.registry.publish(entry, TTL_MS)
    if (entry.namespace === NS) await until(() => this.watch.ids.includes(entry.id))
    return { entry, lease }
  }

  /** As a process that ends does. */
  leave({ id }: Entry): void {
    new Gone(this.path).write(id)
  }

  async files(): Promise<string[] | undefined> {
    return await readdir(this.gone).then((names) => names.sort(), () => undefined)
  }

  /** Makes a file look as if it had been there for so long. */
  async age(name: string, ms: number): Promise<void> {
    const at = new Date(Date.now() - ms)
    await utimes(join(this.gone, name), at, at)
  }
}

test('whose file is there has left in its own namespace, and nobody else has', async (t) => {
  const place = await Place.make(t)
  const there = new Watch(place.registry, 'there')
  const [left, stays] = [await place.list({ unique: true, name: 'one' }), await place.list()]
  const other = await place.list({ namespace: 'there' })
  const views = place.watch.views.length
  place.leave(left.entry)
  await until(() => place.watch.ids.length === 1)
  t.is(place.watch.views.length, views + 1)
  t.deepEqual([place.watch.ids, place.watch.view!.lapsed], [[stays.entry.id], []], 'it left, it did not lapse')
  const later = new Watch(new LocalRegistry(place.path), NS)
  await until(() => later.view !== undefined)
  t.deepEqual(later.views.map(({ entries }) => entries.length), [1], 'nor has the first view of a new watch')
  t.falsy((await place.list({ unique: true, name: 'one' })).lease.lost, 'its name is free')
  place.leave(other.entry)
  await until(() => there.view !== undefined && there.ids.length === 0)
  t.is(await stays.lease.renew(), 'ok')
})

test('an id whose file is there is not listed again: its lease is lost', async (t) => {
  const place = await Place.make(t)
  const { entry, lease } = await place.list()
  place.leave(entry)
  t.is(await lease.renew(), 'lost', 'also for the process itself, should it live')
  const again = await place.registry.publish(entry, TTL_MS)
  t.true(again.lost)
  await sleep(LOOKS_MS)
  t.deepEqual(place.watch.ids, [])
})

test('a file is kept as long as its entry may come back, and deleted after, with the folder', async (t) => {
  const place = await Place.make(t)
  const { entry } = await place.list()
  place.leave(entry)
  await place.age(entry.id, 20_000)
  await sleep(1500) // longer than it takes to look for old ones
  t.deepEqual(await place.files(), [entry.id], 'its entry is still in the database')
  const { lease } = await place.list() // a step takes it out
  await until(async () => await place.files() === undefined)
  place.leave(entry)
  await sleep(1500)
  t.deepEqual(await place.files(), [entry.id], 'something may still be under way')
  t.is(await lease.renew(), 'ok')
})

test('a file of a namespace where nobody takes its entry out is deleted after a day', async (t) => {
  const place = await Place.make(t)
  const { entry } = await place.list({ namespace: 'deserted' })
  place.leave(entry)
  await place.age(entry.id, 80_000_000)
  await sleep(1500)
  t.deepEqual(await place.files(), [entry.id])
  await place.age(entry.id, 90_000_000)
  await until(async () => await place.files() === undefined)
})

test('names that are nobody\'s change nothing and stay', async (t) => {
  const place = await Place.make(t)
  const { entry, lease } = await place.list()
  await mkdir(place.gone, { mode: 0o700 })
  const names = ['data.mdb', '..data.mdb', `${entry.id}.`, ` ${entry.id}`, 'x'.repeat(65), 'ümlaut', '*', '%2e%2e', '\u001b[31m', 'line\nbreak'].sort()
  for (const name of names) {
    await writeFile(join(place.gone, name), 'x'.repeat(10_000))
    await place.age(name, 100_000_000)
  }
  await mkdir(join(place.gone, 'folder'))
  await place.age('folder', 100_000_000)
  await writeFile(join(place.gone, '__proto__'), '')
  await writeFile(join(place.gone, 'constructor'), '')
  await sleep(1500)
  t.deepEqual(await place.files(), [...names, '__proto__', 'constructor', 'folder'].sort())
  t.deepEqual(place.watch.ids, [entry.id])
  t.is(await lease.renew(), 'ok')
})

const notOurs: Record<string, (place: Place) => Promise<unknown>> = {
  'a link to a folder of our own': async ({ path, gone }) => {
    await mkdir(join(path, 'elsewhere'), { mode: 0o700 })
    await symlink(join(path, 'elsewhere'), gone)
  },
  'a folder that everybody can write to': async ({ gone }) => {
    await mkdir(gone)
    await chmod(gone, 0o777)
  },
  'a folder that the group can write to': async ({ gone }) => {
    await mkdir(gone)
    await chmod(gone, 0o770)
  },
  'a file': async ({ gone }) => writeFile(gone, ''),
}
if (process.getuid?.() === 0) { // only root can give a folder away
  notOurs['a folder of another user'] = async ({ gone }) => {
    await mkdir(gone, { mode: 0o700 })
    await chown(gone, 65_534, 65_534)
  }
}
for (const [what, make] of Object.entries(notOurs)) {
  test(`${what} is not believed, and nothing is written to it`, async (t) => {
    const place = await Place.make(t)
    const { entry, lease } = await place.list()
    await make(place)
    place.leave(entry)
    t.deepEqual(await place.files() ?? [], [])
    await writeFile(join(place.gone, entry.id), '').catch(() => {})
    await sleep(LOOKS_MS)
    t.deepEqual(place.watch.ids, [entry.id])
    t.is(await lease.renew(), 'ok')
  })
}

test('where nothing can be written nothing is thrown, and a folder that was deleted is not made anew', async (t) => {
  const place = await Place.make(t)
  const missing = join(place.path, 'missing')
  new Gone(missing).write('id')
  await t.throwsAsync(stat(missing), { code: 'ENOENT' })
  new Gone(join(place.path, 'data.mdb')).write('id')
  new Gone('/proc').write('id')
  t.deepEqual((await readdir(place.path)).sort(), ['data.mdb', 'lock.mdb', 'pids'])
})

// the listeners of the process are those of all tests in it
test.serial('the process has one listener for all that it has listed, and none when the last of it is gone', async (t) => {
  const warnings: Error[] = []
  const warn = (warning: Error): void => void warnings.push(warning)
  process.on('warning', warn)
  t.teardown(() => void process.off('warning', warn))
  const first = await Place.make(t) // lmdb adds a listener of its own with the first database, for good
  const before = process.listenerCount('exit')

  const places = [first, ...await Promise.all(Array.from({ length: 15 }, () => Place.make(t)))]
  const leases = await Promise.all(places.flatMap((place) => [place.list(), place.list({ namespace: 'there' })]))
  t.is(process.listenerCount('exit'), before + 1)
  await Promise.all(leases.map(({ lease }) => lease.close()))
  t.is(process.listenerCount('exit'), before, 'after the last lease was closed')

  await first.list()
  t.is(process.listenerCount('exit'), before + 1)
  await first.registry.close()
  t.is(process.listenerCount('exit'), before, 'after its registry was closed')

  const [, second] = places as [Place, Place]
  const { entry, lease } = await second.list({ unique: true, name: 'one' })
  second.leave(entry)
  t.is(await lease.renew(), 'lost')
  t.is(process.listenerCount('exit'), before, 'after it was lost')
  t.true((await second.registry.publish(entry, TTL_MS)).lost)
  t.is(process.listenerCount('exit'), before, 'nor by one that never began')

  const third = new LocalRegistry(second.path)
  const held = await third.publish(sampleEntry({ unique: true, name: 'one' }), TTL_MS)
  await t.throwsAsync(second.registry.publish(sampleEntry({ unique: true, name: 'one' }), TTL_MS), { code: 'NAME_TAKEN' })
  await held.close()
  t.is(process.listenerCount('exit'), before, 'nor by one that was refused')
  await third.close()
  const nowhere = new LocalRegistry(join(second.path, 'data.mdb', 'below')) // a file
  await t.throwsAsync(nowhere.publish(sampleEntry(), TTL_MS), { code: 'REGISTRY_UNAVAILABLE' })
  await nowhere.close()
  t.is(process.listenerCount('exit'), before)
  t.deepEqual(warnings, [])
})
