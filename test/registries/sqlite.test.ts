/** The registry in a file of SQLite: the suite of registries, the file, its lock, and URLs. */
import { renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import test, { type ExecutionContext } from 'ava'
import { CamelCasePlugin, Kysely, SqliteDialect } from 'kysely'
import { SqlRegistry, schemaSql, type SqlRegistryOptions } from '../../registries/sql/registry.js'
import { NO_SQLITE, SqlitePlace, hasSqlite } from '../helpers/sqlite.js'
import { until } from '../helpers/until.js'
import { registrySuite, sampleEntry, Watch } from '../suites/registry.js'

const NS = sampleEntry().namespace
const UNAVAILABLE = { code: 'REGISTRY_UNAVAILABLE' }
const LONG_MS = 15_000

function placeFor(t: ExecutionContext): SqlitePlace {
  const place = new SqlitePlace()
  t.teardown(() => place.close())
  return place
}

function connect(t: ExecutionContext, options: SqlRegistryOptions | string): SqlRegistry {
  const registry = new SqlRegistry(options)
  t.teardown(() => registry.close())
  return registry
}

function tests(): void {
  registrySuite(test, async () => {
    const place = new SqlitePlace()
    place.run(...schemaSql('sqlite').trim().split(';\n')) // people edit tables that are there
    return {
      open: () => new SqlRegistry(place.url),
      edit: async (namespace, id, text) => {
        place.run(
          `insert into stagemesh_entries (namespace, id, name, lease_end, record) values ('${namespace}', '${id}', '', ${Date.now() + 60_000}, '${text.replaceAll("'", "''")}')`,
          `update stagemesh_spaces set revision = revision + 1 where namespace = '${namespace}'`,
        )
      },
      empty: async () => void place.run(...['spaces', 'entries', 'lapsed', 'changes', 'actors'].map((name) => `delete from stagemesh_${name}`)),
      close: async () => place.close(),
    }
  }, { name: 'sqlite' })

  test('registries that start at once make the tables together, each prefix its own', async (t) => {
    const { url } = placeFor(t)
    for (const prefix of ['stagemesh_', 'mine_']) {
      const registries = Array.from({ length: 12 }, () => connect(t, { url: `${url}?prefix=${prefix}` }))
      await Promise.all(registries.map((registry) => registry.publish(sampleEntry(), LONG_MS)))
      const watch = new Watch(registries[0]!, NS)
      await until(() => watch.ids.length === registries.length)
      t.is(watch.error, undefined)
      watch.stop()
    }
  })

  test('a change is seen within a second', async (t) => {
    const { url } = placeFor(t)
    const [registry, other] = [connect(t, url), connect(t, url)]
    const watch = new Watch(registry, NS)
    await other.publish(sampleEntry(), LONG_MS)
    await until(() => watch.ids.length === 1)
    await sleep(1500)
    await other.publish(sampleEntry(), LONG_MS)
    const since = performance.now()
    await until(() => watch.ids.length === 2)
    t.true(performance.now() - since < 1000)
  })

  test('a file that was deleted or replaced is made again, and every stage is listed again', async (t) => {
    const place = placeFor(t)
    const [registry, idle] = [connect(t, place.url), connect(t, place.url)]
    const entry = sampleEntry()
    const lease = await registry.publish(entry, LONG_MS)
    const second = await idle.publish(sampleEntry(), LONG_MS) // comes later than others to the new file
    const watch = new Watch(registry, NS)
    await until(() => watch.ids.length === 2)
    for (const away of [() => { for (const end of ['', '-wal', '-shm']) rmSync(place.path + end, { force: true }) }, () => renameSync(place.path, join(place.folder, 'old.db'))]) {
      away()
      t.is(await lease.renew(), 'ok')
      const other = connect(t, place.url)
      const newcomer = sampleEntry()
      await other.publish(newcomer, LONG_MS)
      const seen = new Watch(other, NS)
      await until(() => seen.ids.includes(entry.id) && seen.ids.includes(newcomer.id))
      await until(() => watch.ids.includes(entry.id) && watch.ids.includes(newcomer.id))
      t.is(await second.renew(), 'ok')
    }
    t.is(watch.error, undefined)
  })

  for (const linked of [false, true]) test(`a file that takes the place of another is not used with the log of the other${linked ? ', behind a link' : ''}`, async (t) => {
    const [place, backup] = [placeFor(t), placeFor(t)]
    const link = join(place.folder, 'link.db')
    symlinkSync(place.path, link)
    const registry = connect(t, linked ? `sqlite:${link}` : place.url)
    const lease = await registry.publish(sampleEntry(), LONG_MS)
    const saved = connect(t, backup.url)
    await saved.store(NS).claim('kept', { stage: 's', activation: 'a' })
    await saved.close()
    renameSync(backup.path, place.path)
    await t.throwsAsync(lease.renew(), { ...UNAVAILABLE, message: /replaced without its log.*-wal and -shm/ })
    for (const end of ['-wal', '-shm']) rmSync(place.path + end, { force: true })
    t.is(await lease.renew(), 'ok')
    t.is((await registry.store(NS).look('kept'))?.owner?.activation, 'a')
  })

  test('a lock that is held for a moment only delays others, and the event loop is free meanwhile', async (t) => {
    const place = placeFor(t)
    const registry = connect(t, place.url)
    const lease = await registry.publish(sampleEntry(), LONG_MS)
    const handle = place.open()
    place.one(handle, 'begin immediate')
    let ticks = 0
    const timer = setInterval(() => ticks++, 10)
    const renewing = lease.renew()
    await sleep(1000)
    t.true(ticks > 5, `${ticks}`)
    clearInterval(timer)
    place.one(handle, 'commit')
    t.is(await renewing, 'ok')
    handle.close()
  })

  test('a lock that is held for long is reported, and nobody is lost by it', async (t) => {
    const place = placeFor(t)
    const registry = connect(t, place.url)
    const [lease, other] = [await registry.publish(sampleEntry(), 2000), await registry.publish(sampleEntry(), 2000)]
    const watch = new Watch(registry, NS)
    await until(() => watch.ids.length === 2)
    const handle = place.open()
    place.one(handle, 'begin immediate')
    const error = await t.throwsAsync(lease.renew(), { ...UNAVAILABLE, message: /database is locked.*another process holds its lock/ })
    t.true(error.message.includes(place.url))
    place.one(handle, 'rollback')
    handle.close()
    for (const one of [lease, other]) t.not(await one.renew(), 'lost')
    t.is(watch.ids.length, 2)
  })

  test('a Kysely instance of one\'s own is used as it is, and stays open', async (t) => {
    const place = placeFor(t)
    const handle = place.open()
    const kysely = new Kysely<unknown>({ dialect: new SqliteDialect({ database: handle }), plugins: [new CamelCasePlugin()] })
    const [registry, other] = [connect(t, { kysely, prefix: 'own_' }), connect(t, { kysely, prefix: 'own_' })]
    const watch = new Watch(registry, NS)
    const lease = await registry.publish(sampleEntry(), LONG_MS)
    await other.publish(sampleEntry(), LONG_MS)
    await until(() => watch.ids.length === 2)
    t.is(await lease.renew(), 'ok')
    await registry.close()
    await other.close()
    t.is(place.one(handle, 'select id from own_entries').length, 2)
    await t.throwsAsync(connect(t, { kysely, schema: 'x' }).publish(sampleEntry(), LONG_MS), { code: 'BAD_ARGUMENT', message: /use prefix/ })
    await kysely.destroy()
  })

  const UNUSABLE: [title: string, path: (place: SqlitePlace) => string, message: RegExp][] = [
    ['a folder that is not there', ({ folder }) => join(folder, 'none', 'x.db'), /check that the folder exists/],
    ['a folder', ({ folder }) => folder, /check that the folder exists/],
    ['a file of another kind', ({ folder }) => {
      const path = join(folder, 'text.db')
      writeFileSync(path, 'a text, and no database\n'.repeat(100))
      return path
    }, /not a database of SQLite/],
  ]
  for (const [title, path, message] of UNUSABLE) {
    test(`${title} is reported with its path`, async (t) => {
      const url = `sqlite:${path(placeFor(t))}`
      const error = await t.throwsAsync(connect(t, url).publish(sampleEntry(), LONG_MS), { ...UNAVAILABLE, message })
      t.true(error.message.includes(url))
    })
  }
}

const INVALID = ['sqlite:', 'sqlite::memory:', 'sqlite://host/x', 'sqlite:/x?schema=y', 'sqlite:/x?mode=ro', 'sqlite:/x?prefix=1', 'sqlite:/x?prefix=sqlite_', 'sqlite://u:secret@host/x']
for (const url of INVALID) {
  test(`${url} is not a place`, (t) => {
    const error = t.throws(() => new SqlRegistry(url), { instanceOf: TypeError })
    t.false(error.message.includes('secret'))
  })
}

test('what is a place, and the SQL for it', (t) => {
  t.is(new SqlRegistry('sqlite:/tmp/x.db?prefix=a_').address, 'sqlite:/tmp/x.db')
  t.is(new SqlRegistry('sqlite:///tmp/x.db').address, 'sqlite:/tmp/x.db')
  t.is(new SqlRegistry('sqlite:x.db').address, `sqlite:${join(process.cwd(), 'x.db')}`)
  t.throws(() => new SqlRegistry({ url: 'sqlite:/tmp/x.db', schema: 'a' }), { instanceOf: TypeError, message: /use prefix/ })
  t.is(new SqlRegistry('SQLITE:/tmp/x.db').address, 'sqlite:/tmp/x.db')
  for (const wrong of [{ kysely: {} }, { kysely: 'x' }, { url: 5 }]) t.throws(() => new SqlRegistry(wrong as never), { instanceOf: TypeError, message: /is not an instance of Kysely|expected a text/ })
  t.throws(() => schemaSql('sqlite', { schema: 'a' }), { instanceOf: TypeError, message: /use prefix/ })
})

if (hasSqlite) tests()
else test.skip(NO_SQLITE, () => {})
