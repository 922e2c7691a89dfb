/** The registry on Postgres: the suite of registries, tables, restarts, poolers, credentials and errors. */
import { spawnSync } from 'node:child_process'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { inspect } from 'node:util'
import test, { type ExecutionContext } from 'ava'
import { CamelCasePlugin, Kysely, PostgresDialect } from 'kysely'
import pg from 'pg'
import { failure } from '../../registries/sql/failure.js'
import { SqlRegistry, schemaSql, type SqlRegistryOptions } from '../../registries/sql/registry.js'
import type { Code } from '../../src/errors.js'
import { LOG_MAX, SWEEP_MS } from '../../registries/shared/ledger.js'
import { Road } from '../helpers/road.js'
import { NO_POSTGRES, PostgresServer, hasPostgres } from '../helpers/database-servers.js'
import { freePort } from '../helpers/free-port.js'
import { NO_POOLER, hasPooler, startPooler } from '../helpers/pooler.js'
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
  t.regex(error.message, /postgres:\/\/127\.0\.0\.1:\d+/)
  if (secret) t.false(inspect(error, { depth: 10, showHidden: true }).includes(secret), inspect(error, { depth: 10 }))
  return error.message
}

function tests(): void {
  let shared: PostgresServer
  let count = 0
  test.before(async () => { shared = await PostgresServer.start() })
  test.after.always(() => shared?.close())
  /** A schema that no other test uses. */
  const place = (): { url: string, schema: string } => ({ url: shared.url, schema: `registry_${++count}` })
  const own = async (t: ExecutionContext, ...settings: string[]): Promise<PostgresServer> => {
    const server = await PostgresServer.start(...settings)
    t.teardown(() => server.close())
    return server
  }
  const one = async (text: string): Promise<unknown> => Object.values((await shared.run(text))[0] ?? {})[0]

  registrySuite(test, async () => {
    const { url, schema } = place()
    await shared.run(schemaSql('postgres', { schema })) // people edit tables that are there
    return {
      open: () => new SqlRegistry({ url, schema }),
      edit: async (namespace, id, text) => {
        await shared.run(
          `insert into ${schema}.stagemesh_entries (namespace, id, name, lease_end, record) values ('${namespace}', '${id}', '', ${Date.now() + 60_000}, $record$${text}$record$)`,
          `update ${schema}.stagemesh_spaces set revision = revision + 1 where namespace = '${namespace}'`,
        )
      },
      empty: async () => { await shared.run(`truncate ${['spaces', 'entries', 'lapsed', 'changes', 'actors'].map((name) => `${schema}.stagemesh_${name}`).join()}`) },
      close: async () => {},
    }
  }, { name: 'postgres', ttlMs: 2000 })

  // alone, because all of these instances wait for one lock, whose holder waits for the event loop that all tests share
  test.serial('stages that start at once make the tables together, in a schema or with a prefix', async (t) => {
    for (const options of [place(), { url: shared.url, prefix: `p${++count}_` }]) {
      const registries = Array.from({ length: 12 }, () => connect(t, options))
      await Promise.all(registries.map((registry) => registry.publish(sampleEntry(), LONG_MS)))
      const watch = new Watch(registries[0]!, NS)
      await until(() => watch.ids.length === registries.length)
      t.is(watch.error, undefined)
      watch.stop()
    }
  })

  test('who may not create tables gets the SQL to run, and needs no more rights than those on the tables', async (t) => {
    const { schema } = place()
    const user = `poor_${count}`
    await shared.run(`create user ${user} password 'poor-secret'`)
    const registry = connect(t, { url: `postgres://${user}:poor-secret@127.0.0.1:${shared.port}/postgres`, schema })
    const message = await refusal(t, registry.publish(sampleEntry(), LONG_MS), { code: 'AUTH_FAILED', message: /may create tables run this.*create schema/ }, 'poor-secret')
    await shared.run(message.slice(message.indexOf('create schema')))
    await refusal(t, registry.publish(sampleEntry(), LONG_MS), { code: 'AUTH_FAILED', message: /grant it select/ })
    await shared.run(`grant usage on schema ${schema} to ${user}`, `grant select, insert, update, delete on all tables in schema ${schema} to ${user}`)
    const lease = await registry.publish(sampleEntry(), LONG_MS)
    t.is(await lease.renew(), 'ok')
    const owner = { stage: 's', activation: 'a' }
    t.is((await registry.store(NS).claim('x', owner)).owner, undefined)
    await lease.close()
  })

  test('tables that were dropped are made again, and every stage is listed again', async (t) => {
    const { url, schema } = place()
    const registry = connect(t, { url, schema })
    const entry = sampleEntry()
    const lease = await registry.publish(entry, LONG_MS)
    await shared.run(`drop schema ${schema} cascade`)
    t.is(await lease.renew(), 'ok')
    const watch = new Watch(registry, NS)
    await until(() => watch.ids.length === 1)
  })

  test('tables of a newer version are refused by name', async (t) => {
    const { url, schema } = place()
    await shared.run(schemaSql('postgres', { schema }), `insert into ${schema}.stagemesh_schema_version values (99)`)
    await refusal(t, connect(t, { url, schema }).publish(sampleEntry(), LONG_MS), { ...UNAVAILABLE, message: /newer version.*99.*update this library/ })
  })

  test('a change is seen at once, by a notification', async (t) => {
    const options = place()
    const [registry, other] = [connect(t, options), connect(t, options)]
    const watch = new Watch(registry, NS)
    await until(() => watch.view !== undefined)
    await sleep(1000)
    for (let i = 1; i <= 3; i++) {
      await sleep(1500)
      const since = performance.now()
      await other.publish(sampleEntry(), LONG_MS)
      await until(() => watch.ids.length === i)
      t.true(performance.now() - since < 900, 'and not by the next poll')
    }
  })

  test('a notification that never comes is made up for by a poll', async (t) => {
    const options = place()
    const registry = connect(t, options)
    const watch = new Watch(registry, NS)
    await until(() => watch.view !== undefined)
    const entry = sampleEntry()
    await shared.run(
      `insert into ${options.schema}.stagemesh_entries (namespace, id, name, lease_end, record) values ('${NS}', '${entry.id}', 'api', ${Date.now() + 60_000}, '${JSON.stringify(entry)}')`,
      `update ${options.schema}.stagemesh_spaces set revision = revision + 1`,
    )
    await until(() => watch.ids.length === 1, 10_000)
    t.deepEqual(watch.ids, [entry.id])
  })

  const poolerTest = hasPooler ? test : test.skip
  poolerTest(`behind a pooler in transaction mode everything works, and changes are found by polling${hasPooler ? '' : `: ${NO_POOLER}`}`, async (t) => {
    const url = await startPooler(t, shared.port)
    const schema = `pooled_${++count}`
    const [registry, other] = [connect(t, { url, schema }), connect(t, { url, schema })]
    const watch = new Watch(registry, NS)
    await until(() => watch.view !== undefined)
    await sleep(4000) // the probe has failed by then
    const entry = sampleEntry()
    const lease = await other.publish(entry, LONG_MS)
    await until(() => watch.ids.length === 1, 8000)
    for (let i = 0; i < 5; i++) t.is(await lease.renew({ ...entry, meta: { i: String(i) } }), 'ok')
    await until(() => watch.view!.entries[0]!.meta['i'] === '4', 8000)
    const [store, mine] = [registry.store(NS), { stage: 's', activation: 'a' }]
    const claims = await Promise.all(Array.from({ length: 20 }, (_, i) => store.claim(`x${i}`, mine)))
    t.true(claims.every(({ owner }) => owner === undefined))
    await lease.close()
    await until(() => watch.ids.length === 0, 8000)
    t.is(watch.error, undefined)
  })

  test('after a restart everybody is still there, and the watch has said that the server was away', async (t) => {
    const server = await own(t)
    const registry = connect(t, server.url)
    const entry = sampleEntry()
    const lease = await registry.publish(entry, LONG_MS)
    const watch = new Watch(registry, NS)
    await until(() => watch.ids.length === 1)
    const { generation } = watch.view!
    await sleep(500)
    await server.stop()
    await until(() => watch.ended, 5000)
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
    await until(async () => await server.clients() >= 2)
    for (let i = 0; i < 3; i++) {
      await server.run(`select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'stagemesh'`)
      await sleep(50)
      t.is(await lease.renew(), 'ok')
    }
    await lease.close()
    t.deepEqual((await server.run('select id from stagemesh_entries')).length, 0)
    await registry.close()
    await until(async () => await server.clients() === 0)
    t.true(watch.ended)
  })

  test('what was done although its answer was lost is recognised when it is tried again', async (t) => {
    const { schema } = place()
    const proxy = await Road.start(t, shared.port)
    const registry = connect(t, { url: `postgres://postgres@127.0.0.1:${proxy.port}/postgres`, schema })
    const lease = await registry.publish(sampleEntry(), LONG_MS)
    proxy.state = 'losing'
    await t.throwsAsync(lease.renew(), { ...UNAVAILABLE, message: /closed|terminated|reset/i })
    proxy.state = 'open'
    t.is(await lease.renew(), 'ok')
  })

  test('a heartbeat between what a sweep reads and what it writes keeps its entry', async (t) => {
    const { url, schema } = place()
    const registry = connect(t, { url, schema })
    const [silent, late] = [sampleEntry(), sampleEntry()]
    const sweeper = await registry.publish(sampleEntry(), 1000)
    await registry.publish(silent, LONG_MS)
    const lease = await registry.publish(late, LONG_MS)
    const admin = new pg.Client(shared.url)
    await admin.connect()
    t.teardown(() => admin.end())
    const set = (id: string, ms: number) => `update ${schema}.stagemesh_entries set lease_end = ${Date.now() + ms} where id = '${id}'`
    await shared.run(set(silent.id, -SWEEP_MS - 1000), set(late.id, -SWEEP_MS - 1000))
    await admin.query('begin')
    await admin.query(set(late.id, 10_000)) // the heartbeat, which is not committed yet
    const swept = (async () => {
      for (let i = 0; i < 30 && await one(`select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query like '%delete from "${schema}"%'`) === '0'; i++) {
        await sweeper.renew()
        await sleep(100)
      }
    })()
    await swept
    await admin.query('commit')
    await until(async () => await one(`select count(*) from ${schema}.stagemesh_lapsed`) === '1')
    t.is(await one(`select id from ${schema}.stagemesh_lapsed`), silent.id)
    t.is(await lease.renew(), 'ok')
  })

  test('while somebody holds the lock on the namespace, heartbeats go on, and changes fail with advice', async (t) => {
    const { url, schema } = place()
    const registry = connect(t, { url, schema })
    const lease = await registry.publish(sampleEntry(), LONG_MS)
    const admin = new pg.Client(shared.url)
    await admin.connect()
    t.teardown(() => admin.end())
    await admin.query('begin')
    await admin.query(`select * from ${schema}.stagemesh_spaces for update`)
    const publishing = refusal(t, registry.publish(sampleEntry(), LONG_MS), { ...UNAVAILABLE, message: /lock.*idle in a transaction/ })
    for (let i = 0; i < 5; i++) t.is(await lease.renew(), 'ok')
    await publishing
    await admin.query('commit')
    await registry.publish(sampleEntry(), LONG_MS)
  })

  test('heartbeats, publishes and removals at the same time leave the views of all equal', async (t) => {
    const options = place()
    const registries = Array.from({ length: 4 }, () => connect(t, options))
    const watches = registries.map((registry) => new Watch(registry, NS))
    const kept = await Promise.all(registries.flatMap((registry) => Array.from({ length: 10 }, async (_, i) => {
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
    t.is(await one(`select count(*) from ${options.schema}.stagemesh_changes`), String(1 + 40 + 200 + 20))
  })

  test('the log is kept short, and a watch that is behind it reads the whole listing', async (t) => {
    const options = place()
    const [registry, other] = [connect(t, options), connect(t, options)]
    const watch = new Watch(registry, NS)
    await until(() => watch.view !== undefined)
    const { generation } = watch.view!
    watch.stop()
    await until(() => watch.ended)
    const entry = sampleEntry()
    const lease = await other.publish(entry, LONG_MS)
    const going = new Watch(registry, NS)
    await until(() => going.ids.length === 1)
    t.is(going.view!.generation, generation, 'what was missed is in the log')
    going.stop()
    await until(() => going.ended)
    for (let i = 0; i < LOG_MAX + 60; i++) await lease.renew({ ...entry, meta: { i: String(i) } })
    t.true(Number(await one(`select count(*) from ${options.schema}.stagemesh_changes`)) <= LOG_MAX + 50)
    const again = new Watch(registry, NS)
    await until(() => again.ids.length === 1)
    t.not(again.view!.generation, generation)
  })

  test('a database put back to an earlier state is a new generation, in which nobody is lost', async (t) => {
    const { url, schema } = place()
    const registry = connect(t, { url, schema })
    const watch = new Watch(registry, NS)
    const first = await registry.publish(sampleEntry(), LONG_MS)
    const names = ['spaces', 'entries', 'lapsed', 'changes']
    await shared.run(...names.map((name) => `create table ${schema}.copy_${name} as table ${schema}.stagemesh_${name}`))
    const second = await registry.publish(sampleEntry(), LONG_MS)
    await until(() => watch.ids.length === 2)
    const { generation } = watch.view!
    await shared.run('begin', ...names.flatMap((name) => [`delete from ${schema}.stagemesh_${name}`, `insert into ${schema}.stagemesh_${name} table ${schema}.copy_${name}`]), 'commit')
    t.is(await second.renew(), 'ok')
    await until(() => watch.ids.length === 2 && watch.view!.generation !== generation, 5000)
    t.is(await first.renew(), 'ok')
  })

  test('an idle stage sends two statements with each heartbeat, and no others', async (t) => {
    const server = await own(t)
    const registry = connect(t, server.url)
    const lease = await registry.publish(sampleEntry(), LONG_MS)
    const watch = new Watch(registry, NS)
    await until(() => watch.view !== undefined)
    await sleep(2000)
    const commits = async () => Number((await server.run('select pg_stat_clear_snapshot()', `select xact_commit as n from pg_stat_database where datname = 'postgres'`))[0]!['n'])
    await lease.renew()
    await sleep(1500) // the server notes its counters once a second
    const before = await commits()
    for (let i = 0; i < 4; i++) {
      await sleep(4500)
      await lease.renew()
    }
    await sleep(1500)
    const used = await commits() - before
    t.log(`${used} statements in 20 s, those of the test among them`)
    t.true(used >= 8 && used <= 16, `${used}`)
  })

  test('a pool of one\'s own, and a Kysely instance, are used as they are and stay open', async (t) => {
    const pool = new pg.Pool({ connectionString: shared.url, max: 4, types: { getTypeParser: (oid: number) => (value: string) => oid === 23 ? Number(value) : `parsed ${value}` } as never })
    pool.on('error', () => {})
    const small = new pg.Pool({ connectionString: shared.url, max: 1 })
    const kysely = new Kysely({ dialect: new PostgresDialect({ pool: new pg.Pool({ connectionString: shared.url, types: { getTypeParser: () => (value: unknown) => value } as never }) }), plugins: [new CamelCasePlugin()] })
    for (const given of [{ pool }, { pool: small }, { kysely }]) {
      const { schema } = place()
      const [registry, other] = [connect(t, { ...given, schema }), connect(t, { ...given, schema })]
      const watch = new Watch(registry, NS)
      const lease = await registry.publish(sampleEntry(), LONG_MS)
      await other.publish(sampleEntry(), LONG_MS)
      await until(() => watch.ids.length === 2, 10_000)
      t.is(await lease.renew(), 'ok')
      const [store, mine] = [registry.store(NS), { stage: 's', activation: 'a' }]
      const claimed = await store.claim('x', mine)
      const data = Buffer.from([0, 255, 92, 39])
      t.is(await store.commit('x', { activation: 'a', epoch: claimed.owner ? 0 : claimed.epoch }, { id: 'c', version: 1, data }), 'ok')
      if (!('kysely' in given)) t.deepEqual((await store.look('x'))!.data, data)
      await registry.close()
      await other.close()
    }
    t.deepEqual((await pool.query('select 1 as one')).rows, [{ one: 1 }])
    t.is(pool.waitingCount, 0)
    await pool.end()
    await small.end()
    await kysely.destroy()
    t.throws(() => new SqlRegistry({ kysely: { isTransaction: true, withoutPlugins: () => ({}) } }), { instanceOf: TypeError, message: /is a transaction/ })
    t.throws(() => new SqlRegistry({ pool: {} as never }), { instanceOf: TypeError, message: /is not a pool/ })
  })

  test('credentials that are missing or wrong are said without them', async (t) => {
    await shared.run(`create user someone password 'right-secret'`)
    const at = `127.0.0.1:${shared.port}/postgres`
    const wrong = connect(t, `postgres://someone:wrong-secret@${at}?application_name=hidden`)
    await refusal(t, wrong.publish(sampleEntry(), LONG_MS), { code: 'AUTH_FAILED', message: /password authentication failed.*user:password/ }, 'wrong-secret')
    await refusal(t, wrong.watch(NS, new AbortController().signal).next(), { code: 'AUTH_FAILED' }, 'wrong-secret')
    t.is(wrong.address, `postgres://${at}`)
    await refusal(t, connect(t, `postgres://someone@${at}`).publish(sampleEntry(), LONG_MS), { code: 'AUTH_FAILED' })
    await refusal(t, connect(t, `postgres://postgres:right-secret@127.0.0.1:${shared.port}/nowhere`).publish(sampleEntry(), LONG_MS), { ...UNAVAILABLE, message: /nowhere.*there is no such database/ }, 'right-secret')
    await shared.run(`create user crowded password 'x' connection limit 0`)
    await refusal(t, connect(t, `postgres://crowded:x@${at}`).publish(sampleEntry(), LONG_MS), { ...UNAVAILABLE, message: /limit of connections/ })
  })

  test('where nobody listens, the message says what to start, and the same registry works once it is there', async (t) => {
    const port = await freePort()
    const registry = connect(t, `postgres://postgres@127.0.0.1:${port}/postgres`)
    await refusal(t, registry.publish(sampleEntry(), LONG_MS), { ...UNAVAILABLE, message: /ECONNREFUSED.*no database server answers.*STAGE_REGISTRY.*local:/ })
    await refusal(t, registry.watch(NS, new AbortController().signal).next(), { ...UNAVAILABLE, message: /ECONNREFUSED/ })
  })
}

/** A server that is no Postgres. */
async function impostor(t: ExecutionContext, onsocket: (socket: Socket) => void): Promise<string> {
  const sockets = new Set<Socket>()
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    onsocket(socket)
  })
  await new Promise<void>((resolve) => { server.listen(0, '127.0.0.1', resolve) })
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return `127.0.0.1:${(server.address() as AddressInfo).port}`
}

for (const scheme of ['postgres', 'mysql']) {
  const at = async (t: ExecutionContext, onsocket: (socket: Socket) => void): Promise<string> => `${scheme}://user:secret@${await impostor(t, onsocket)}/test`
  test(`${scheme}: a server that takes connections and closes them is away`, async (t) => {
    const registry = connect(t, await at(t, (socket) => socket.end()))
    await t.throwsAsync(registry.publish(sampleEntry(), LONG_MS), { ...UNAVAILABLE, message: /closed|terminated|lost/i })
    await t.throwsAsync(registry.watch(NS, new AbortController().signal).next(), UNAVAILABLE)
  })

  test(`${scheme}: a server that takes connections and says nothing is away after three seconds`, async (t) => {
    const registry = connect(t, await at(t, () => {}))
    const since = performance.now()
    await t.throwsAsync(registry.publish(sampleEntry(), LONG_MS), { ...UNAVAILABLE, message: /in time/ })
    t.true(performance.now() - since < 10_000)
  })

  test(`${scheme}: a server that speaks something else is away`, async (t) => {
    const registry = connect(t, await at(t, (socket) => socket.on('data', () => socket.write('HTTP/1.1 400 Bad Request\r\n\r\n'))))
    await t.throwsAsync(registry.publish(sampleEntry(), LONG_MS), UNAVAILABLE)
  })

  test(`${scheme}: closing while a connection is being made ends it`, async (t) => {
    const sockets: Socket[] = []
    const registry = new SqlRegistry(await at(t, (socket) => sockets.push(socket)))
    const publishing = t.throwsAsync(registry.publish(sampleEntry(), LONG_MS), { code: 'CLOSED' })
    const claiming = t.throwsAsync(registry.store(NS).claim('x', { stage: 's', activation: 'a' }), { code: 'CLOSED' })
    const watch = new Watch(registry, NS)
    await sleep(500)
    const since = performance.now()
    await registry.close()
    await publishing
    await claiming
    await until(() => watch.ended)
    await until(() => {
      for (const socket of sockets) if (socket.writable) socket.write('x') // answered with a reset once there is no other end
      return sockets.length > 0 && sockets.every(({ closed }) => closed)
    }, 1000)
    t.true(performance.now() - since < 1500)
  })
}

test('importing it loads no driver', (t) => {
  const source = new URL('../../registries/sql/registry.js', import.meta.url).href
  const script = `await import(${JSON.stringify(source)})
    const { createRequire } = await import('node:module')
    process.exit(Object.keys(createRequire(${JSON.stringify(source)}).cache).some((path) => /node_modules.(pg|mysql2|kysely)/.test(path)) ? 1 : 0)`
  t.is(spawnSync(process.execPath, ['--input-type=module', '-e', script]).status, 0)
})

test('a missing package is said with the command that installs it', (t) => {
  const source = new URL('../../registries/sql/registry.js', import.meta.url).href
  for (const [url, missing] of [['postgres://127.0.0.1:1', 'pg'], ['postgres://127.0.0.1:1', 'kysely'], ['mysql://127.0.0.1:1/x', 'mysql2']]) {
    const hook = `export const resolve = (name, ...rest) => { if (name === '${missing}') throw new Error('Cannot find package ' + name); return rest[1](name, rest[0]) }`
    const script = `import { register } from 'node:module'
      register('data:text/javascript,' + encodeURIComponent(${JSON.stringify(hook)}))
      const { SqlRegistry } = await import(${JSON.stringify(source)})
      const registry = new SqlRegistry('${url}')
      for (const run of [() => registry.watch('x', new AbortController().signal).next(), () => registry.store('x').look('y')]) await run().catch(({ code, message }) => console.log(code, message))
      await registry.close()`
    const { stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' })
    const [registry = '', store = ''] = stdout.split('\n')
    t.regex(registry, new RegExp(`^REGISTRY_UNAVAILABLE the registry .* needs the package ${missing}, .*npm install kysely@0.28 ${missing === 'kysely' ? 'pg' : missing}$`))
    t.regex(store, new RegExp(`^STORE_UNAVAILABLE the store .* needs the package ${missing}`))
  }
})

test('a URL that is none is the programmer\'s mistake, and is not repeated', (t) => {
  for (const url of ['nothing', 'http://user:secret@host', 'mysql://:secret@host', 'postgres://:secret@host/db?schema=a-b', 'postgres://:secret@host/db?prefix=1']) {
    const error = t.throws(() => new SqlRegistry(url), { instanceOf: TypeError })
    t.false(error.message.includes('secret'))
  }
  t.throws(() => new SqlRegistry({}), { instanceOf: TypeError, message: /one of url, pool and kysely/ })
  t.throws(() => new SqlRegistry({ url: 'postgres://x', schema: 'a"b' }), { instanceOf: TypeError })
  t.is(new SqlRegistry('postgres://u:p@example.com?sslmode=require').address, 'postgres://example.com:5432')
  t.is(new SqlRegistry('mariadb://u:p@[::1]:7000/mesh?schema=x').address, 'mariadb://[::1]:7000/mesh')
})

const ERRORS: [error: object, code: Code, message: RegExp][] = [
  [{ code: 'ERR_SQLITE_ERROR', errcode: 5, message: 'database is locked' }, 'REGISTRY_UNAVAILABLE', /SQLITE_BUSY database is locked.*another process holds its lock/],
  [{ code: 'SQLITE_BUSY_SNAPSHOT', message: 'database is locked' }, 'REGISTRY_UNAVAILABLE', /another process holds its lock/],
  [{ code: 'ERR_SQLITE_ERROR', errcode: 14, message: 'unable to open database file' }, 'REGISTRY_UNAVAILABLE', /check that the folder exists/],
  [{ code: 'ERR_SQLITE_ERROR', errcode: 1, message: 'no such table: stagemesh_spaces' }, 'REGISTRY_UNAVAILABLE', /its tables are missing/],
  [{ code: 'SQLITE_READONLY', message: 'attempt to write a readonly database' }, 'REGISTRY_UNAVAILABLE', /check the owner and the mode/],
  [{ code: 'ERR_SQLITE_ERROR', errcode: 13, message: 'database or disk is full' }, 'REGISTRY_UNAVAILABLE', /its disk is full/],
  [{ code: 'SQLITE_IOERR_SHORT_READ', message: 'disk I/O error' }, 'REGISTRY_UNAVAILABLE', /or its file was moved/],
  [{ code: 'ERR_SQLITE_ERROR', errcode: 26, message: 'file is not a database' }, 'REGISTRY_UNAVAILABLE', /not a database of SQLite/],
  [{ code: 'ECONNREFUSED', message: '' }, 'REGISTRY_UNAVAILABLE', /no database server answers/],
  [{ message: '', errors: [new Error('connect ECONNREFUSED ::1:5432')] }, 'REGISTRY_UNAVAILABLE', /no database server answers/],
  [{ code: 'ENOTFOUND', message: 'getaddrinfo ENOTFOUND nowhere' }, 'REGISTRY_UNAVAILABLE', /no such host/],
  [{ code: 'ENETUNREACH', message: 'connect ENETUNREACH' }, 'REGISTRY_UNAVAILABLE', /no route/],
  [{ code: '28P01', severity: 'FATAL', message: 'password authentication failed for user "x"' }, 'AUTH_FAILED', /rejected the credentials/],
  [{ code: '28000', severity: 'FATAL', message: 'no pg_hba.conf entry for host "10.0.0.5"' }, 'AUTH_FAILED', /rejected the credentials/],
  [{ message: 'SASL: SCRAM-SERVER-FIRST-MESSAGE: client password must be a string' }, 'AUTH_FAILED', /rejected the credentials/],
  [{ code: '42501', severity: 'ERROR', message: 'permission denied for table stagemesh_entries' }, 'AUTH_FAILED', /grant it select/],
  [{ code: '3D000', severity: 'FATAL', message: 'database "x" does not exist' }, 'REGISTRY_UNAVAILABLE', /no such database/],
  [{ code: '53300', severity: 'FATAL', message: 'sorry, too many clients already' }, 'REGISTRY_UNAVAILABLE', /max_connections/],
  [{ code: '25006', severity: 'ERROR', message: 'cannot execute INSERT in a read-only transaction' }, 'REGISTRY_UNAVAILABLE', /address of the primary/],
  [{ code: '57P03', severity: 'FATAL', message: 'the database system is starting up' }, 'REGISTRY_UNAVAILABLE', /it is starting/],
  [{ code: '57P01', severity: 'FATAL', message: 'terminating connection due to administrator command' }, 'REGISTRY_UNAVAILABLE', /shutting down/],
  [{ code: '53100', severity: 'ERROR', message: 'could not extend file: No space left on device' }, 'REGISTRY_UNAVAILABLE', /disk is full/],
  [{ code: '53200', severity: 'ERROR', message: 'out of memory' }, 'REGISTRY_UNAVAILABLE', /out of memory/],
  [{ code: '55P03', severity: 'ERROR', message: 'canceling statement due to lock timeout' }, 'REGISTRY_UNAVAILABLE', /holds a lock/],
  [{ code: '57014', severity: 'ERROR', message: 'canceling statement due to statement timeout' }, 'REGISTRY_UNAVAILABLE', /cancelled a statement/],
  [{ code: '22P05', severity: 'ERROR', message: 'character has no equivalent in encoding "LATIN1"' }, 'REGISTRY_UNAVAILABLE', /UTF-8/],
  [{ code: '42703', severity: 'ERROR', message: 'column "mark" does not exist' }, 'REGISTRY_UNAVAILABLE', /another schema or prefix/],
  [{ code: '08P01', severity: 'FATAL', message: 'unsupported startup parameter: options' }, 'REGISTRY_UNAVAILABLE', /pooler refuses/],
  [{ message: 'The server does not support SSL connections' }, 'REGISTRY_UNAVAILABLE', /TLS failed/],
  [{ code: 'SELF_SIGNED_CERT_IN_CHAIN', message: 'self-signed certificate in certificate chain' }, 'REGISTRY_UNAVAILABLE', /TLS failed/],
  [{ message: 'Connection terminated unexpectedly' }, 'REGISTRY_UNAVAILABLE', /was closed; reconnecting/],
  [{ message: 'an operation timed out after 3000 ms' }, 'REGISTRY_UNAVAILABLE', /in time/],
  [{ code: 'ER_ACCESS_DENIED_ERROR', sqlState: '28000', message: "Access denied for user 'x'@'%' (using password: YES)" }, 'AUTH_FAILED', /rejected the credentials/],
  [{ code: 'ER_TABLEACCESS_DENIED_ERROR', sqlState: '42000', message: "CREATE command denied to user 'x'" }, 'AUTH_FAILED', /grant it select/],
  [{ code: 'ER_DBACCESS_DENIED_ERROR', sqlState: '42000', message: "Access denied for user 'x'@'%' to database 'y'" }, 'AUTH_FAILED', /grant it select/],
  [{ code: 'ER_BAD_DB_ERROR', sqlState: '42000', message: "Unknown database 'x'" }, 'REGISTRY_UNAVAILABLE', /no such database/],
  [{ code: 'ER_CON_COUNT_ERROR', sqlState: '08004', message: 'Too many connections' }, 'REGISTRY_UNAVAILABLE', /max_connections/],
  [{ code: 'ER_OPTION_PREVENTS_STATEMENT', sqlState: 'HY000', message: 'The MariaDB server is running with the --read-only option' }, 'REGISTRY_UNAVAILABLE', /address of the primary/],
  [{ code: 'ER_LOCK_WAIT_TIMEOUT', sqlState: 'HY000', message: 'Lock wait timeout exceeded; try restarting transaction' }, 'REGISTRY_UNAVAILABLE', /holds a lock/],
  [{ code: 'ER_RECORD_FILE_FULL', sqlState: 'HY000', message: "The table 'stagemesh_actors' is full" }, 'REGISTRY_UNAVAILABLE', /disk is full/],
  [{ code: 'ER_NET_PACKET_TOO_LARGE', sqlState: '08S01', message: "Got a packet bigger than 'max_allowed_packet' bytes" }, 'REGISTRY_UNAVAILABLE', /max_allowed_packet = 32M/],
  [{ code: 'ER_SERVER_SHUTDOWN', sqlState: '08S01', message: 'Server shutdown in progress' }, 'REGISTRY_UNAVAILABLE', /shutting down/],
  [{ code: 'ER_BINLOG_STMT_MODE_AND_ROW_ENGINE', sqlState: 'HY000', message: 'Cannot execute statement' }, 'REGISTRY_UNAVAILABLE', /ROW or MIXED/],
  [{ code: 'PROTOCOL_CONNECTION_LOST', fatal: true, message: 'Connection lost: The server closed the connection.' }, 'REGISTRY_UNAVAILABLE', /was closed; reconnecting/],
  [{ message: 'something nobody has seen before' }, 'REGISTRY_UNAVAILABLE', /look at its log/],
]
for (const [given, code, message] of ERRORS) {
  const { code: its = '', message: text } = given as { code?: string, message: string }
  test(`the error ${its} ${text}`, (t) => {
    const error = Object.assign(new Error(text), given, { sql: 'insert secret', parameters: ['secret'] })
    const made = failure('postgres://db:5432/mesh', error, 'registry')
    t.is(made.code, code)
    t.regex(made.message, message)
    t.regex(made.message, /postgres:\/\/db:5432\/mesh/)
    t.false(inspect(made, { depth: 10, showHidden: true }).includes('secret'))
    if (code !== 'AUTH_FAILED') t.is(failure('postgres://db:5432/mesh', error, 'store').code, 'STORE_UNAVAILABLE')
  })
}

if (hasPostgres) tests()
else test.skip(NO_POSTGRES, () => {})
