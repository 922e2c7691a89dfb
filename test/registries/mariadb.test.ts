/** The registry on MariaDB: the suite of registries, tables, restarts, locks and credentials. */
import { setTimeout as sleep } from 'node:timers/promises'
import { inspect } from 'node:util'
import test, { type ExecutionContext } from 'ava'
import { CamelCasePlugin, Kysely, MysqlDialect } from 'kysely'
import mysql from 'mysql2'
import { SqlRegistry, schemaSql, type SqlRegistryOptions } from '../../registries/sql/registry.js'
import { MariadbServer, NO_MARIADB, hasMariadb } from '../helpers/database-servers.js'
import { freePort } from '../helpers/free-port.js'
import { Road } from '../helpers/road.js'
import { until as within } from '../helpers/until.js'
import { registrySuite, sampleEntry, Watch } from '../suites/registry.js'

const NS = sampleEntry().namespace
const UNAVAILABLE = { code: 'REGISTRY_UNAVAILABLE' }
const LONG_MS = 15_000
const until = (done: () => boolean | Promise<boolean>, ms = 15_000): Promise<void> => within(done, ms)

function connect(t: ExecutionContext, options: SqlRegistryOptions | string): SqlRegistry {
  const registry = new SqlRegistry(options)
  t.teardown(() => registry.close())
  return registry
}

/** The error of an operation that cannot work, which must say where, and not with which password. */
async function refusal(t: ExecutionContext, promise: Promise<unknown>, expected: { code: string, message?: RegExp }, secret?: string): Promise<string> {
  const error = await t.throwsAsync(promise, expected)
  t.regex(error.message, /(mariadb|mysql):\/\/127\.0\.0\.1:\d+/)
  if (secret) t.false(inspect(error, { depth: 10, showHidden: true }).includes(secret), inspect(error, { depth: 10 }))
  return error.message
}

function tests(): void {
  let shared: MariadbServer
  let count = 0
  test.before(async () => { shared = await MariadbServer.start() })
  test.after.always(() => shared?.close())
  /** A prefix that no other test uses. */
  const place = (): { url: string, prefix: string } => ({ url: shared.url, prefix: `registry_${++count}_` })
  const own = async (t: ExecutionContext, ...settings: string[]): Promise<MariadbServer> => {
    const server = await MariadbServer.start(...settings)
    t.teardown(() => server.close())
    return server
  }

  registrySuite(test, async () => {
    const { url, prefix } = place()
    await shared.run('use test', ...schemaSql('mysql', { prefix }).trim().split(';\n')) // people edit tables that are there
    return {
      open: () => new SqlRegistry({ url, prefix }),
      edit: async (namespace, id, text) => {
        await shared.run(
          `insert into test.${prefix}entries (namespace, id, name, lease_end, record) values ('${namespace}', '${id}', '', ${Date.now() + 60_000}, x'${Buffer.from(text).toString('hex')}')`,
          `update test.${prefix}spaces set revision = revision + 1 where namespace = '${namespace}'`,
        )
      },
      empty: async () => { await shared.run(...['spaces', 'entries', 'lapsed', 'changes', 'actors'].map((name) => `delete from test.${prefix}${name}`)) },
      close: async () => {},
    }
  }, { name: 'mariadb', ttlMs: 2000 })

  // alone, because all of these instances wait for one lock, whose holder waits for the event loop that all tests share
  test.serial('stages that start at once make the tables together, with a prefix or in a database', async (t) => {
    for (const options of [place(), { url: shared.url, schema: `own_${++count}` }]) {
      const registries = Array.from({ length: 12 }, () => connect(t, options))
      await Promise.all(registries.map((registry) => registry.publish(sampleEntry(), LONG_MS)))
      const watch = new Watch(registries[0]!, NS)
      await until(() => watch.ids.length === registries.length)
      t.is(watch.error, undefined)
      watch.stop()
    }
  })

  test('who may not create tables gets the SQL to run, and needs no more rights than those on the tables', async (t) => {
    const schema = `closed_${++count}`
    const user = `poor_${count}`
    await shared.run(`create database ${schema}`, `create user ${user} identified by 'poor-secret'`, `grant usage on *.* to ${user}`, `grant select on ${schema}.* to ${user}`)
    const registry = connect(t, `mysql://${user}:poor-secret@127.0.0.1:${shared.port}/${schema}`)
    const message = await refusal(t, registry.publish(sampleEntry(), LONG_MS), { code: 'AUTH_FAILED', message: /may create tables run this.*create table/ }, 'poor-secret')
    await shared.run(`use ${schema}`, ...message.slice(message.indexOf('create table if')).split('; ').map((text) => text.replace(/;$/, '')))
    await refusal(t, registry.publish(sampleEntry(), LONG_MS), { code: 'AUTH_FAILED', message: /grant it select/ })
    await shared.run(`grant select, insert, update, delete on ${schema}.* to ${user}`)
    const lease = await registry.publish(sampleEntry(), LONG_MS)
    t.is(await lease.renew(), 'ok')
    t.is((await registry.store(NS).claim('x', { stage: 's', activation: 'a' })).owner, undefined)
    await lease.close()
  })

  test('tables that were dropped are made again, and every stage is listed again', async (t) => {
    const { url, prefix } = place()
    const registry = connect(t, { url, prefix })
    const lease = await registry.publish(sampleEntry(), LONG_MS)
    await shared.run(...['spaces', 'entries', 'lapsed', 'changes', 'actors', 'schema_version'].map((name) => `drop table test.${prefix}${name}`))
    t.is(await lease.renew(), 'ok')
  })

  test('a change is seen within one poll, and at once by the next heartbeat', async (t) => {
    const options = place()
    const [registry, other] = [connect(t, options), connect(t, options)]
    const watch = new Watch(registry, NS)
    const lease = await registry.publish(sampleEntry(), LONG_MS)
    await until(() => watch.ids.length === 1)
    await other.publish(sampleEntry(), LONG_MS)
    await until(() => watch.ids.length === 2, 7000)
    await sleep(1000)
    await other.publish(sampleEntry(), LONG_MS)
    const since = performance.now()
    t.is(await lease.renew(), 'ok')
    await until(() => watch.ids.length === 3)
    t.true(performance.now() - since < 800)
  })

  test('after a restart everybody is still there, and the watch has said that the server was away', async (t) => {
    const server = await own(t)
    const registry = connect(t, server.url)
    const entry = sampleEntry()
    const lease = await registry.publish(entry, LONG_MS)
    const watch = new Watch(registry, NS)
    await until(() => watch.ids.length === 1)
    const { generation } = watch.view!
    await server.stop()
    await until(() => watch.ended, 10_000)
    t.like(watch.error, UNAVAILABLE)
    await refusal(t, lease.renew(), { ...UNAVAILABLE, message: /ECONNREFUSED.*no database server answers/ })
    await server.up()
    t.is(await lease.renew(), 'ok')
    const again = new Watch(registry, NS)
    await until(() => again.ids.length === 1)
    t.deepEqual([again.ids, again.view!.generation], [[entry.id], generation])
  })

  test('connections that the server ends are replaced, and nothing is left of an instance that is closed', async (t) => {
    const server = await own(t)
    const registry = connect(t, server.url)
    const lease = await registry.publish(sampleEntry(), LONG_MS)
    const watch = new Watch(registry, NS)
    await until(() => watch.view !== undefined)
    for (let i = 0; i < 3; i++) {
      const ids = await server.run(`select id from information_schema.processlist where command <> 'Daemon' and id <> connection_id()`)
      await server.run(...ids.map(({ id }) => `kill ${id}`)).catch(() => {}) // one may have ended itself
      await sleep(100)
      t.is(await lease.renew(), 'ok')
    }
    await lease.close()
    t.deepEqual((await server.run('select id from test.stagemesh_entries')).length, 0)
    await registry.close()
    await until(async () => await server.clients() === 0)
    t.true(watch.ended)
  })

  test('a server that hangs is noticed by a heartbeat and by the watch, and both recover', async (t) => {
    const server = await own(t)
    const registry = connect(t, server.url)
    const lease = await registry.publish(sampleEntry(), 60_000)
    const watch = new Watch(registry, NS)
    await until(() => watch.ids.length === 1)
    await server.pause()
    const since = performance.now()
    await refusal(t, lease.renew(), { ...UNAVAILABLE, message: /in time/ })
    await refusal(t, lease.renew(), { ...UNAVAILABLE, message: /in time/ })
    t.true(performance.now() - since < 9000)
    await until(() => watch.ended, 20_000)
    t.like(watch.error, UNAVAILABLE)
    server.resume()
    t.is(await lease.renew(), 'ok')
    const again = new Watch(registry, NS)
    await until(() => again.ids.length === 1)
  })

  test('what was done although its answer was lost is recognised when it is tried again', async (t) => {
    const { prefix } = place()
    const proxy = await Road.start(t, shared.port)
    const registry = connect(t, { url: `mariadb://root@127.0.0.1:${proxy.port}/test`, prefix })
    const lease = await registry.publish(sampleEntry(), LONG_MS)
    proxy.state = 'losing'
    await t.throwsAsync(lease.renew(), { ...UNAVAILABLE, message: /closed|lost|reset/i })
    proxy.state = 'open'
    t.is(await lease.renew(), 'ok')
  })

  test('while somebody holds the lock on the namespace, heartbeats go on, and changes fail with advice', async (t) => {
    const { url, prefix } = place()
    const registry = connect(t, { url, prefix })
    const lease = await registry.publish(sampleEntry(), LONG_MS)
    const admin = mysql.createConnection({ host: '127.0.0.1', port: shared.port, user: 'root', database: 'test' }).promise()
    t.teardown(() => admin.end())
    await admin.query('start transaction')
    await admin.query(`select * from ${prefix}spaces for update`)
    const publishing = refusal(t, registry.publish(sampleEntry(), LONG_MS), { ...UNAVAILABLE, message: /lock|in time/ })
    for (let i = 0; i < 5; i++) t.is(await lease.renew(), 'ok')
    await publishing
    await admin.query('commit')
    await registry.publish(sampleEntry(), LONG_MS)
  })

  test('a client that stops in the middle of a transaction holds up the others for some seconds only', async (t) => {
    const { url, prefix } = place()
    const registry = connect(t, { url, prefix })
    await registry.publish(sampleEntry(), LONG_MS)
    const road = await Road.start(t, shared.port)
    const stopped = connect(t, { url: `mariadb://root@127.0.0.1:${road.port}/test`, prefix })
    road.lastWords = 'for update'
    await refusal(t, stopped.publish(sampleEntry(), LONG_MS), { ...UNAVAILABLE, message: /in time/ })
    await until(() => registry.publish(sampleEntry(), LONG_MS).then(() => true, () => false), 20_000)
  })

  test('heartbeats, publishes and removals at the same time leave the views of all equal', async (t) => {
    const options = place()
    const registries = Array.from({ length: 4 }, () => connect(t, options))
    const watches = registries.map((registry) => new Watch(registry, NS))
    const kept = await Promise.all(registries.flatMap((registry) => Array.from({ length: 5 }, async (_, i) => {
      const entry = sampleEntry({ name: `n${i}` })
      const lease = await registry.publish(entry, LONG_MS)
      for (let j = 0; j < 5; j++) {
        t.is(await lease.renew(), 'ok')
        t.is(await lease.renew({ ...entry, meta: { round: String(j) } }), 'ok')
      }
      if (i % 2) return entry.id
      await lease.close()
      return undefined
    })))
    const ids = kept.filter((id) => id !== undefined).sort()
    for (const watch of watches) await until(() => watch.ids.join() === ids.join())
    for (const watch of watches) await until(() => watch.view!.entries.every(({ meta }) => meta['round'] === '4'))
    t.is(Number((await shared.run(`select count(*) as n from test.${options.prefix}changes`))[0]!['n']), 1 + 20 + 100 + 12)
  })

  test('an idle stage sends two statements with each heartbeat, and no others', async (t) => {
    const server = await own(t)
    const registry = connect(t, server.url)
    const lease = await registry.publish(sampleEntry(), LONG_MS)
    const watch = new Watch(registry, NS)
    await until(() => watch.view !== undefined)
    await sleep(2000)
    await lease.renew()
    const questions = async () => Number((await server.run(`show global status like 'Questions'`))[0]!['Value'])
    const before = await questions()
    let late = 0 // heartbeats of a busy machine: a poll comes first
    for (let i = 0; i < 4; i++) {
      const since = performance.now()
      await sleep(4500)
      await lease.renew()
      if (performance.now() - since > 5000) late++
    }
    const used = await questions() - before - 1
    t.log(`${used} statements in 18 s`)
    t.true(used >= 8 && used <= 9 + 2 * late, `${used}`)
  })

  test('pools of one\'s own, and a Kysely instance, are used as they are and stay open', async (t) => {
    const at = { host: '127.0.0.1', port: shared.port, user: 'root', database: 'test', connectionLimit: 4 }
    const pool = mysql.createPool({ ...at, namedPlaceholders: true, rowsAsArray: true, typeCast: () => 'cast' })
    const promised = mysql.createPool(at).promise()
    const kysely = new Kysely({ dialect: new MysqlDialect({ pool: mysql.createPool(at) }), plugins: [new CamelCasePlugin()] })
    for (const given of [{ pool }, { pool: promised }, { kysely }]) {
      const { prefix } = place()
      const [registry, other] = [connect(t, { ...given, prefix }), connect(t, { ...given, prefix })]
      const watch = new Watch(registry, NS)
      const lease = await registry.publish(sampleEntry(), LONG_MS)
      await other.publish(sampleEntry(), LONG_MS)
      await until(() => watch.ids.length === 2, 10_000)
      t.is(await lease.renew(), 'ok')
      const store = registry.store(NS)
      const claimed = await store.claim('x', { stage: 's', activation: 'a' })
      const data = Buffer.from([0, 255, 92, 39])
      t.is(await store.commit('x', { activation: 'a', epoch: claimed.owner ? 0 : claimed.epoch }, { id: 'c', version: 1, data }), 'ok')
      t.deepEqual((await store.look('x'))!.data, data)
      await registry.close()
      await other.close()
    }
    t.deepEqual((await promised.query('select 1 as one'))[0], [{ one: 1 }])
    await pool.promise().end()
    await promised.end()
    await kysely.destroy()
  })

  test('no setting of the server for escapes and quotes matters', async (t) => {
    const server = await own(t, 'sql-mode=ANSI_QUOTES,NO_BACKSLASH_ESCAPES,STRICT_ALL_TABLES', 'character-set-server=latin1')
    const registry = connect(t, server.url)
    const names = [`it's`, '\\', `\\'; drop table stagemesh_entries; --`, '"x"', 'ünï 😀']
    for (const name of names) await registry.publish(sampleEntry({ name, meta: { name } }), LONG_MS)
    const watch = new Watch(registry, NS)
    await until(() => watch.ids.length === names.length)
    t.deepEqual(watch.view!.entries.map(({ name }) => name).sort(), [...names].sort())
  })

  test('credentials that are missing or wrong are said without them', async (t) => {
    await shared.run(`create user someone identified by 'right-secret'`, `create user crowded identified by 'x' with max_user_connections 1`, `grant all on test.* to crowded`)
    const at = `127.0.0.1:${shared.port}`
    const wrong = connect(t, `mariadb://someone:wrong-secret@${at}/test`)
    await refusal(t, wrong.publish(sampleEntry(), LONG_MS), { code: 'AUTH_FAILED', message: /Access denied.*user:password/ }, 'wrong-secret')
    await refusal(t, wrong.watch(NS, new AbortController().signal).next(), { code: 'AUTH_FAILED' }, 'wrong-secret')
    t.is(wrong.address, `mariadb://${at}/test`)
    await refusal(t, connect(t, `mysql://root@${at}/nowhere`).publish(sampleEntry(), LONG_MS), { ...UNAVAILABLE, message: /nowhere.*there is no such database/ })
    const admin = mysql.createConnection({ host: '127.0.0.1', port: shared.port, user: 'crowded', password: 'x' }).promise()
    await admin.query('select 1')
    await refusal(t, connect(t, `mysql://crowded:x@${at}/test`).publish(sampleEntry(), LONG_MS), { ...UNAVAILABLE, message: /limit of connections/ })
    await admin.end()
  })

  test('a server that takes no writes is said with advice, and works again afterwards', async (t) => {
    const server = await own(t)
    await server.run(`create user stage identified by 'x'`, `grant all on test.* to stage`)
    const registry = connect(t, `mysql://stage:x@127.0.0.1:${server.port}/test`)
    const lease = await registry.publish(sampleEntry(), LONG_MS)
    await server.run('set global read_only = 1')
    await refusal(t, lease.renew(), { ...UNAVAILABLE, message: /address of the primary/ })
    await server.run('set global read_only = 0')
    t.is(await lease.renew(), 'ok')
  })

  test('where nobody listens, the message says what to start', async (t) => {
    const registry = connect(t, `mysql://root@127.0.0.1:${await freePort()}/test`)
    await refusal(t, registry.publish(sampleEntry(), LONG_MS), { ...UNAVAILABLE, message: /ECONNREFUSED.*no database server answers.*STAGE_REGISTRY.*local:/ })
  })
}

if (hasMariadb) tests()
else test.skip(NO_MARIADB, () => {})
