/** The store on MariaDB: the suite of stores, restarts, lost answers and limits. */
import test, { type ExecutionContext } from 'ava'
import { SqlRegistry } from '../../registries/sql/registry.js'
import { MAX_STATE_BYTES } from '../../src/store.js'
import type { Store } from '../../src/types.js'
import { claimOf, commitOf, hold } from '../helpers/claims.js'
import { Road } from '../helpers/road.js'
import { MariadbServer, NO_MARIADB, hasMariadb } from '../helpers/database-servers.js'
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
  let shared: MariadbServer
  test.before(async () => { shared = await MariadbServer.start() })
  test.after.always(() => shared?.close())
  const place = (): { url: string, prefix: string } => ({ url: shared.url, prefix: `store_${++count}_` })
  const own = async (t: ExecutionContext, ...settings: string[]): Promise<MariadbServer> => {
    const server = await MariadbServer.start(...settings)
    t.teardown(() => server.close())
    return server
  }

  storeSuite(test, async () => {
    const { url, prefix } = place()
    return {
      open: () => new SqlRegistry({ url, prefix }),
      forget: async (namespace, actor) => { await shared.run(`delete from test.${prefix}actors where namespace = '${namespace}' and actor = '${actor}'`) },
      empty: async () => { await shared.run(`delete from test.${prefix}actors`) },
      close: async () => {},
    }
  }, { name: 'mariadb' })

  test('what was acknowledged is there after the server was killed, and the owner goes on', async (t) => {
    const server = await own(t, 'innodb_flush_log_at_trx_commit=1')
    const store = connect(t, server.url)
    const owner = await hold(store, 'x')
    t.is(await store.commit('x', owner, commitOf(1, 'first', 5)), 'ok')
    await server.kill()
    await t.throwsAsync(store.look('x'), UNAVAILABLE)
    await server.up()
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
    t.is((await store.look('x'))!.epoch, 2 ** 53 - 9)
  })

  test('what was done although its answer was lost is recognised when it is tried again', async (t) => {
    const { prefix } = place()
    const proxy = await Road.start(t, shared.port)
    const store = connect(t, { url: `mariadb://root@127.0.0.1:${proxy.port}/test`, prefix })
    const direct = connect(t, { url: shared.url, prefix })
    await hold(store, 'other')
    const lost = async <T>(run: () => Promise<T>, done: () => Promise<boolean>): Promise<T> => {
      await store.look('other') // opens a connection, whose first answer would be lost otherwise
      proxy.state = 'losing'
      await t.throwsAsync(run(), { ...UNAVAILABLE, message: /closed|lost|reset/i })
      proxy.state = 'open'
      await until(done)
      return run()
    }
    const owner = await hold(store, 'x')
    for (const commit of [commitOf(1, 'first'), commitOf(2, 'second')]) t.is(await lost(() => store.commit('x', owner, commit), async () => (await direct.look('x'))!.version === commit.version), 'ok')
    t.is((await store.look('x'))!.version, 2)
    await lost(() => store.release('x', owner), async () => (await direct.look('x'))!.owner === undefined)
    const claim = claimOf()
    const next = await lost(() => hold(store, 'x', claim), async () => (await direct.look('x'))!.epoch === owner.epoch + 1)
    t.deepEqual([next.epoch, next.version], [owner.epoch + 1, 2])
  })

  test('a state that is larger than the server accepts is said with the setting to change', async (t) => {
    const server = await own(t, 'max_allowed_packet=1M')
    const store = connect(t, server.url)
    const owner = await hold(store, 'x')
    await t.throwsAsync(store.commit('x', owner, commitOf(1, Buffer.alloc(MAX_STATE_BYTES))), { ...UNAVAILABLE, message: /max_allowed_packet = 32M/ })
    t.is(await store.commit('x', owner, commitOf(1, Buffer.alloc(100_000))), 'ok')
  })

  test('a server that hangs is noticed, and the store works again when it goes on', async (t) => {
    const server = await own(t)
    const store = connect(t, server.url)
    const owner = await hold(store, 'x')
    await server.pause()
    const since = performance.now()
    const commit = commitOf(1, 'first')
    await t.throwsAsync(store.commit('x', owner, commit), { ...UNAVAILABLE, message: /in time/ })
    t.true(performance.now() - since < 8000)
    server.resume()
    t.is(await store.commit('x', owner, commit), 'ok')
    t.is((await store.look('x'))!.version, 1)
  })

  const LOSSES: [title: string, settings: string[], warning: RegExp | undefined][] = [
    ['innodb_flush_log_at_trx_commit', ['innodb_flush_log_at_trx_commit=2'], /^mariadb:\/\/127\.0\.0\.1:\d+\/test may lose the last commits when its machine fails, because innodb_flush_log_at_trx_commit is 2/],
    ['sync_binlog', ['innodb_flush_log_at_trx_commit=1', 'log-bin=log', 'sync_binlog=0'], /because sync_binlog is 0/],
    ['the defaults', ['innodb_flush_log_at_trx_commit=1'], undefined],
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

if (hasMariadb) tests()
else test.skip(NO_MARIADB, () => {})
