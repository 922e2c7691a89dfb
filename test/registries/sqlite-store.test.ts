/** The store in a file of SQLite: the suite of stores, several processes, numbers, and what it may lose. */
import { setTimeout as sleep } from 'node:timers/promises'
import test, { type ExecutionContext } from 'ava'
import { Kysely, SqliteDialect } from 'kysely'
import { SqlRegistry } from '../../registries/sql/registry.js'
import type { Store } from '../../src/types.js'
import { claimOf, commitOf, hold } from '../helpers/claims.js'
import { NO_SQLITE, SqlitePlace, hasSqlite } from '../helpers/sqlite.js'
import { storeSuite } from '../suites/store.js'

const NS = 'suite'

function placeFor(t: ExecutionContext): SqlitePlace {
  const place = new SqlitePlace()
  t.teardown(() => place.close())
  return place
}

function connect(t: ExecutionContext, options: ConstructorParameters<typeof SqlRegistry>[0]): Store {
  const registry = new SqlRegistry(options)
  t.teardown(() => registry.close())
  return registry.store(NS)
}

function tests(): void {
  storeSuite(test, async () => {
    const place = new SqlitePlace()
    return {
      open: () => new SqlRegistry(place.url),
      forget: async (namespace, actor) => void place.run(`delete from stagemesh_actors where namespace = '${namespace}' and actor = '${actor}'`),
      empty: async () => void place.run('delete from stagemesh_actors'),
      close: async () => place.close(),
    }
  }, { name: 'sqlite' })

  test('numbers are kept to the last digit', async (t) => {
    const store = connect(t, placeFor(t).url)
    const owner = await hold(store, 'x', claimOf({ floor: 2 ** 53 - 10 }))
    t.is(owner.epoch, 2 ** 53 - 9)
    t.is(await store.commit('x', owner, commitOf(1, '', -8.64e15)), 'ok')
    t.deepEqual(await store.due(1), [{ actor: 'x', at: -8.64e15 }])
  })

  test('commits of many actors that come together are each answered for themselves', async (t) => {
    const store = connect(t, placeFor(t).url)
    const names = Array.from({ length: 100 }, (_, i) => `a${i}`)
    const owners = await Promise.all(names.map((name) => hold(store, name)))
    const wrong = (i: number): boolean => i % 10 === 3
    const fences = owners.map((owner, i) => wrong(i) ? { ...owner, activation: 'somebody-else' } : owner)
    for (let version = 1; version <= 3; version++) {
      const answers = await Promise.all(names.map((name, i) => store.commit(name, fences[i]!, commitOf(version, name))))
      t.deepEqual(answers, names.map((_, i) => wrong(i) ? 'fenced' : 'ok'))
    }
    t.is((await store.look('a3'))!.version, 0)
    t.is((await store.look('a0'))!.version, 3)
  })

  test('commits wait for a lock that somebody holds, and each is made once', async (t) => {
    const place = placeFor(t)
    const store = connect(t, place.url)
    const names = Array.from({ length: 20 }, (_, i) => `a${i}`)
    const owners = await Promise.all(names.map((name) => hold(store, name)))
    const handle = place.open()
    place.one(handle, 'begin immediate')
    const commits = Promise.all(names.map((name, i) => store.commit(name, owners[i]!, commitOf(1, name))))
    await sleep(500)
    t.is((await store.look('a0'))!.version, 0)
    place.one(handle, 'commit')
    handle.close()
    t.deepEqual(await commits, names.map(() => 'ok'))
    t.is((await store.look('a19'))!.version, 1)
  })

  test('what it may lose: nothing, unless a Kysely instance of one\'s own does not wait for the disk', async (t) => {
    const place = placeFor(t)
    t.is(await connect(t, place.url).warning?.(), undefined)
    const handle = place.open()
    place.one(handle, 'pragma synchronous = normal')
    const kysely = new Kysely<unknown>({ dialect: new SqliteDialect({ database: handle }) })
    t.teardown(() => kysely.destroy())
    t.regex(await connect(t, { kysely }).warning?.() ?? '', /because synchronous is 1: set synchronous = full/)
  })
}

if (hasSqlite) tests()
else test.skip(NO_SQLITE, () => {})
