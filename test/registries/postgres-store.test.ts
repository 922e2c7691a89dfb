/** The store on Postgres: the suite of stores, restarts and lost answers. */
import { inspect } from 'node:util'
import test, { type ExecutionContext } from 'ava'
import { SqlRegistry } from '../../registries/sql/registry.js'
import { MAX_STATE_BYTES } from '../../src/store.js'
import type { Store } from '../../src/types.js'
import { claimOf, commitOf, hold } from '../helpers/claims.js'
import { Road } from '../helpers/road.js'
import { NO_POSTGRES, PostgresServer, hasPostgres } from '../helpers/database-servers.js'
import { until } from '../helpers/until.js'
import { storeSuite } from '../suites/store.js'

const NS = 'suite'
const UNAVAILABLE = { code: 'STORE_UNAVAILABLE' }

let count = 0

function connect(t: ExecutionContext, options: ConstructorParameters<typeof SqlRegistry>[0]): Store {
  const registry = new SqlRegistry(options)
  t.teardown(() => registry.close())
  return registry.store(NS)
}

function tests(): void {
  let shared: PostgresServer
  test.before(async () => { shared = await PostgresServer.start() })
  test.after.always(() => shared?.close())
  const place = (): { url: string, schema: string } => ({ url: shared.url, schema: `store_${++count}` })
  const own = async (t: ExecutionContext, ...settings: string[]): Promise<PostgresServer> => {
    const server = await PostgresServer.start(...settings)
    t.teardown(() => server.close())
    return server
  }

  storeSuite(test, async () => {
    const { url, schema } = place()
    return {
      open: () => new SqlRegistry({ url, schema }),
      forget: async (namespace, actor) => { await shared.run(`delete from ${schema}.stagemesh_actors where namespace = '${namespace}' and actor = '${actor}'`) },
      empty: async () => { await shared.run(`truncate ${schema}.stagemesh_actors`) },
      close: async () => {},
    }
  }, { name: 'postgres' })

  test('what was acknowledged is there after a restart, and the owner goes on', async (t) => {
    const server = await own(t, 'fsync=on')
    const store = connect(t, server.url)
    const owner = await hold(store, 'x')
    t.is(await store.commit('x', owner, commitOf(1, 'first', 5)), 'ok')
    await server.kill()
    const since = performance.now()
    await t.throwsAsync(store.look('x'), UNAVAILABLE)
    t.true(performance.now() - since < 6000)
    await until(() => server.up().then(() => true, () => false))
    t.is(await store.commit('x', owner, commitOf(2, 'second', 5)), 'ok')
    const next = await hold(store, 'x', claimOf({ over: owner.activation }))
    t.deepEqual([next.epoch, next.version, String(next.data)], [owner.epoch + 1, 2, 'second'])
    t.deepEqual((await store.due(1)).map(({ actor }) => actor), ['x'])
  })

  test('numbers are kept to the last digit', async (t) => {
    const store = connect(t, place())
    const owner = await hold(store, 'x', claimOf({ floor: 2 ** 53 - 10 }))
    t.is(owner.epoch, 2 ** 53 - 9)
    t.is(await store.commit('x', owner, commitOf(1, '', -8.64e15)), 'ok')
    t.deepEqual(await store.due(1), [{ actor: 'x', at: -8.64e15 }])
    t.is(await store.commit('x', owner, commitOf(2, '', 8.64e15)), 'ok')
    t.is((await store.look('x'))!.epoch, 2 ** 53 - 9)
  })

  test('what was done although its answer was lost is recognised when it is tried again', async (t) => {
    const { schema } = place()
    const proxy = await Road.start(t, shared.port)
    const store = connect(t, { url: `postgres://postgres@127.0.0.1:${proxy.port}/postgres`, schema })
    const direct = connect(t, { url: shared.url, schema })
    await hold(store, 'other')
    /** Runs it once with each answer lost, until the server has executed it. */
    const lost = async <T>(run: () => Promise<T>, done: () => Promise<boolean>): Promise<T> => {
      await store.look('other') // opens a connection, whose first answer would be lost otherwise
      proxy.state = 'losing'
      await t.throwsAsync(run(), { ...UNAVAILABLE, message: /closed|terminated|reset/i })
      proxy.state = 'open'
      await until(done)
      return run()
    }
    const claim = claimOf()
    const owner = await lost(() => hold(store, 'x', claim), async () => await direct.look('x') !== undefined)
    const known = (await store.look('x'))!
    t.deepEqual([known.epoch, known.owner?.activation], [owner.epoch, claim.activation])
    for (const commit of [commitOf(1, 'first'), commitOf(2, 'second')]) t.is(await lost(() => store.commit('x', owner, commit), async () => (await direct.look('x'))!.version === commit.version), 'ok')
    t.is((await store.look('x'))!.version, 2)
    await lost(() => store.release('x', owner), async () => (await direct.look('x'))!.owner === undefined)
  })

  test('commits of many actors travel together, and each gets an answer of its own', async (t) => {
    const { url, schema } = place()
    const store = connect(t, { url, schema })
    const actors = Array.from({ length: 200 }, (_, i) => `x${i}`)
    const old = await Promise.all(actors.map((actor) => hold(store, actor)))
    const owners = await Promise.all(actors.map((actor, i) => i % 5 === 0 ? hold(store, actor, claimOf({ over: old[i]!.activation })) : old[i]!))
    for (let version = 1; version <= 3; version++) {
      const commits = actors.map((_, i) => commitOf(version, Buffer.from([0, i, version, 255]), i % 2 ? i : undefined))
      const answers = await Promise.all(actors.map((actor, i) => Promise.all([
        store.commit(actor, owners[i]!, commits[i]!),
        store.commit(actor, owners[i]!, commits[i]!), // the same once more, perhaps in the same statement
        store.commit(actor, owners[i]!, commitOf(version + 2, 'too far')),
        ...i % 5 === 0 ? [store.commit(actor, old[i]!, commitOf(version, 'of an owner of the past'))] : [],
      ])))
      for (const [i, answer] of answers.entries()) t.deepEqual(answer, ['ok', 'ok', 'fenced', ...i % 5 === 0 ? ['fenced' as const] : []])
      const found = await Promise.all(actors.map((actor) => store.look(actor)))
      for (const [i, one] of found.entries()) t.deepEqual([one!.version, one!.data], [version, Buffer.from([0, i, version, 255])])
    }
    t.is((await store.due(1000)).length, 100)
    await shared.run(`alter table ${schema}.stagemesh_actors add constraint test_only check (actor <> 'x7' or version < 4)`)
    const last = await Promise.allSettled(actors.map((actor, i) => store.commit(actor, owners[i]!, commitOf(4))))
    t.deepEqual(last.flatMap(({ status }, i) => status === 'rejected' ? [i] : []), [7], 'a commit that the server refuses fails alone')
  })

  test('large states of several actors at once', async (t) => {
    const store = connect(t, place())
    const data = Buffer.alloc(MAX_STATE_BYTES, 0xff)
    await Promise.all(Array.from({ length: 4 }, async (_, i) => {
      const owner = await hold(store, `x${i}`)
      t.is(await store.commit(`x${i}`, owner, commitOf(1, data)), 'ok')
      t.true((await store.look(`x${i}`))!.data!.equals(data))
    }))
  })

  test('a user without rights and a read-only server are said with advice', async (t) => {
    const { url, schema } = place()
    const n = count
    const store = connect(t, { url, schema })
    const owner = await hold(store, 'x')
    await shared.run(`create user reader_${n} password 'reader-secret'`, `grant usage on schema ${schema} to reader_${n}`, `grant select on all tables in schema ${schema} to reader_${n}`)
    const reader = connect(t, { url: `postgres://reader_${n}:reader-secret@127.0.0.1:${shared.port}/postgres`, schema })
    t.is((await reader.look('x'))!.epoch, owner.epoch)
    const error = await t.throwsAsync(reader.commit('x', owner, commitOf(1)), { code: 'AUTH_FAILED', message: /permission denied.*grant it select, insert/ })
    t.false(inspect(error, { depth: 10, showHidden: true }).includes('reader-secret'))
    await shared.run(`create user fixed_${n} password 'x'`, `grant all on schema ${schema} to fixed_${n}`, `grant all on all tables in schema ${schema} to fixed_${n}`, `alter user fixed_${n} set default_transaction_read_only = on`)
    const fixed = connect(t, { url: `postgres://fixed_${n}:x@127.0.0.1:${shared.port}/postgres`, schema })
    await t.throwsAsync(fixed.commit('x', owner, commitOf(1)), { ...UNAVAILABLE, message: /read-only transaction.*address of the primary/ })
  })

  const LOSSES: [title: string, settings: string[], warning: RegExp | undefined][] = [
    ['synchronous_commit off', ['fsync=on', 'synchronous_commit=off'], /^postgres:\/\/127\.0\.0\.1:\d+\/postgres may lose the last commits when its machine fails, because synchronous_commit is off/],
    ['fsync off', ['fsync=off'], /because fsync is off/],
    ['the defaults', ['fsync=on'], undefined],
  ]
  for (const [title, settings, warning] of LOSSES) {
    test(`what it may lose: ${title}`, async (t) => {
      const server = await own(t, ...settings)
      const said = await connect(t, server.url).warning?.()
      if (warning) t.regex(said ?? '', warning)
      else t.is(said, undefined)
    })
  }
}

if (hasPostgres) tests()
else test.skip(NO_POSTGRES, () => {})
