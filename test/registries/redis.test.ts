/** The registry on Redis: the suite of registries, restarts, failovers and credentials. */
import { spawnSync } from 'node:child_process'
import { createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { inspect } from 'node:util'
import test from 'ava'
import type { ExecutionContext } from 'ava'
import { Cluster, Redis } from 'ioredis'
import { ACL_LINE } from '../../registries/redis/failure.js'
import { RedisRegistry } from '../../registries/redis/registry.js'
import type { Script } from '../../registries/redis/script.js'
import * as scripts from '../../registries/redis/scripts.js'
import { systemClock } from '../../src/clock.js'
import { SWEEP_MS } from '../../registries/shared/ledger.js'
import { NO_REDIS, RedisServer, hasRedis } from '../helpers/redis-server.js'
import { freePort } from '../helpers/free-port.js'
import { warningsWith } from '../helpers/warnings.js'
import type { Lease } from '../../src/types.js'
import { registrySuite, sampleEntry, Watch } from '../suites/registry.js'

const NS = sampleEntry().namespace
const [STATE, PEERS, LEASES, NAMES, LAPSED, LOG] = scripts.keysOf(NS) as [string, string, string, string, string, string]
const UNAVAILABLE = { code: 'REGISTRY_UNAVAILABLE' }
const LONG_MS = 15_000

async function until(done: () => boolean | Promise<boolean>, ms = 10_000): Promise<void> {
  for (const end = performance.now() + ms; !await done();) {
    if (performance.now() > end) throw new Error(`it did not happen within ${ms} ms: ${done.toString()}`)
    await sleep(10)
  }
}

async function serve(t: ExecutionContext, ...args: string[]): Promise<RedisServer> {
  const server = await RedisServer.start(...args)
  t.teardown(() => server.close())
  return server
}

function connect(t: ExecutionContext, options: ConstructorParameters<typeof RedisRegistry>[0]): RedisRegistry {
  const registry = new RedisRegistry(options)
  t.teardown(() => registry.close())
  return registry
}

async function publish(registry: RedisRegistry, entry = sampleEntry()): Promise<{ id: string, lease: Lease }> {
  return { id: entry.id, lease: await registry.publish(entry, LONG_MS) }
}

/** The error of an operation that cannot work, which must say where, and not with which password. */
async function refusal(t: ExecutionContext, promise: Promise<unknown>, expected: { code: string, message?: RegExp }, secret?: string): Promise<void> {
  const error = await t.throwsAsync(promise, expected)
  t.regex(error.message, /redis:\/\/127\.0\.0\.1:\d+/)
  if (secret) t.false(inspect(error, { depth: 10, showHidden: true }).includes(secret), inspect(error, { depth: 10 }))
}

function tests(): void {
  let shared: RedisServer
  let database = 0
  test.before(async () => { shared = await RedisServer.start('--databases', '200') })
  test.after.always(() => shared?.close())

  registrySuite(test, async () => {
    const db = ++database
    const url = `${shared.url}/${db}`
    return {
      open: () => new RedisRegistry(url),
      edit: async (namespace, id, text) => {
        const keys = scripts.keysOf(namespace)
        await shared.run(['SELECT', db], ['HSET', keys[1], id, text], ['ZADD', keys[2], Date.now() + 60_000, id])
      },
      empty: async () => { await shared.run(['SELECT', db], ['FLUSHDB']) },
      close: async () => {},
    }
  }, { name: 'redis', ttlMs: 2000 })

  test('a change is seen at once', async (t) => {
    const server = await serve(t)
    const [registry, other] = [connect(t, server.url), connect(t, server.url)]
    const watch = new Watch(registry, NS)
    await until(() => watch.view !== undefined)
    await sleep(100)
    const since = performance.now()
    await other.publish(sampleEntry(), LONG_MS)
    await until(() => watch.ids.length === 1)
    t.true(performance.now() - since < 4000, 'and not by the next look, half a minute later')
  })

  test('P28: a change is one read of the log, with a size of its own', async (t) => {
    const server = await serve(t)
    const [registry, other] = [connect(t, server.url), connect(t, server.url)]
    const watch = new Watch(registry, NS)
    const ids = new Set<string>()
    for (let i = 0; i < 200; i++) ids.add((await publish(other, sampleEntry())).id)
    await until(() => watch.ids.length === 200)
    const spent = async () => {
      const text = String(await server.run(['INFO', 'everything']))
      const number = (name: string) => Number(new RegExp(`${name}[:=](\\d+)`).exec(text)?.[1] ?? 0)
      return { bytes: number('total_net_output_bytes'), reads: number('cmdstat_xread:calls'), scripts: number('cmdstat_evalsha:calls'), asked: text.length }
    }
    await sleep(500) // the last changes of above are read
    const before = await spent()
    const { lease } = await publish(other, sampleEntry())
    await until(() => watch.ids.length === 201)
    await sleep(500)
    await lease.close()
    await until(() => watch.ids.length === 200)
    await sleep(500)
    const after = await spent()
    t.true(after.bytes - before.bytes - after.asked < 2 * 1536, `${after.bytes - before.bytes - after.asked} bytes`)
    t.deepEqual([after.reads - before.reads <= 3, after.scripts - before.scripts], [true, 2], 'the scripts are those of the change itself')
  })

  for (const [what, change] of Object.entries<(server: RedisServer, other: RedisRegistry) => Promise<number>>({
    'an entry that is too long for the log': async (_, other) => { await publish(other, sampleEntry({ announces: { much: 'x'.repeat(3000) } })); return 1 },
    'more changes than one read of the log brings': async (_, other) => {
      await Promise.all(Array.from({ length: 1500 }, () => publish(other, sampleEntry())))
      return 1500
    },
    'a change that is not in the log': async (server, other) => {
      const lost = sampleEntry()
      const revision = Number(await server.run(['HGET', STATE, 'revision'])) + 1
      await server.run(
        ['HSET', STATE, 'revision', revision, 'mark', 'another'], ['HSET', PEERS, lost.id, JSON.stringify(lost)], ['ZADD', LEASES, Date.now() + 60_000, lost.id],
      )
      await publish(other, sampleEntry())
      return 2
    },
    'changes whose log is gone': async (server, other) => {
      await server.run(['DEL', LOG])
      await publish(other, sampleEntry())
      return 1
    },
    'a change that another version wrote': async (server, other) => {
      const { id } = await publish(other, sampleEntry())
      const revision = Number(await server.run(['HGET', STATE, 'revision'])) + 1
      await server.run(['HSET', STATE, 'revision', revision, 'mark', 'another'], ['XADD', LOG, `${revision}-0`, 'h', 'another', 'op', 'list', 'id', id])
      await publish(other, sampleEntry())
      return 2
    },
    'an entry of the log that makes no sense': async (server, other) => {
      const revision = Number(await server.run(['HGET', STATE, 'revision'])) + 1
      await server.run(['HSET', STATE, 'revision', revision, 'mark', 'another'], ['XADD', LOG, `${revision}-0`, 'x', 'y'])
      await publish(other, sampleEntry())
      return 1
    },
  })) {
    test(`P28: a watch knows ${what}`, async (t) => {
      const server = await serve(t, '--appendonly', 'no')
      const [registry, other] = [connect(t, server.url), connect(t, server.url)]
      const watch = new Watch(registry, NS)
      await publish(other, sampleEntry())
      await until(() => watch.ids.length === 1)
      const more = await change(server, other)
      await until(() => watch.ids.length === 1 + more)
      const fresh = new Watch(connect(t, server.url), NS)
      await until(() => fresh.view !== undefined)
      t.deepEqual(watch.ids, fresh.ids)
      t.is(watch.error, undefined)
      await publish(other, sampleEntry())
      await until(() => watch.ids.length === 2 + more)
    })
  }

  test('after a restart with its data everybody is still there', async (t) => {
    const server = await serve(t)
    const registry = connect(t, server.url)
    const entry = sampleEntry()
    const lease = await registry.publish(entry, LONG_MS)
    const watch = new Watch(registry, NS)
    await until(() => watch.ids.length === 1)
    const { generation } = watch.view!
    await server.restart({ keepData: true })
    await until(() => watch.ended, 2000)
    t.like(watch.error, UNAVAILABLE, 'a watch throws when its server goes')
    t.is(await lease.renew(), 'ok')
    const again = new Watch(registry, NS)
    await until(() => again.ids.length === 1)
    t.deepEqual([again.ids, again.view!.generation], [[entry.id], generation])
  })

  test('after a restart without its data everybody is listed again by a heartbeat, with the same id', async (t) => {
    const server = await serve(t)
    const [registry, other] = [connect(t, server.url), connect(t, server.url)]
    const [a, b] = [sampleEntry({ unique: true, name: 'one' }), sampleEntry()]
    const [first, second] = [await registry.publish(a, LONG_MS), await other.publish(b, LONG_MS)]
    const watch = new Watch(registry, NS)
    await until(() => watch.ids.length === 2)
    const { generation } = watch.view!
    await server.restart({ keepData: false })
    t.deepEqual([await first.renew(), await second.renew()], ['ok', 'ok'])
    const again = new Watch(registry, NS)
    await until(() => again.ids.length === 2)
    t.deepEqual(again.ids, [a.id, b.id].sort())
    t.not(again.view!.generation, generation)
    await t.throwsAsync(registry.publish(sampleEntry({ name: 'one' }), LONG_MS), { code: 'NAME_TAKEN' }, 'what it had is known again')
  })

  test('a server put back to an earlier state is a new generation, in which nobody is lost', async (t) => {
    const server = await serve(t)
    const registry = connect(t, server.url)
    const watch = new Watch(registry, NS)
    const first = await registry.publish(sampleEntry(), LONG_MS)
    const copy = await dump(server)
    const second = await registry.publish(sampleEntry(), LONG_MS)
    await until(() => watch.ids.length === 2)
    const { generation } = watch.view!
    await restore(server, copy)
    t.is(await second.renew(), 'ok')
    await until(() => watch.ids.length === 2 && watch.view!.generation !== generation, 3000)
    t.is(await first.renew(), 'ok')
  })

  test('another history of the same length is noticed', async (t) => {
    const server = await serve(t)
    const [registry, other] = [connect(t, server.url), connect(t, server.url)]
    await registry.publish(sampleEntry(), LONG_MS)
    const copy = await dump(server)
    const lost = await registry.publish(sampleEntry(), LONG_MS)
    const watch = new Watch(registry, NS)
    await until(() => watch.ids.length === 2)
    const { generation } = watch.view!
    watch.stop()
    await restore(server, copy)
    await other.publish(sampleEntry(), LONG_MS) // as long as the one that was seen
    const again = new Watch(registry, NS)
    await until(() => again.ids.length === 2)
    t.not(again.view!.generation, generation)
    await other.publish(sampleEntry(), LONG_MS) // and longer
    t.is(await lost.renew(), 'ok')
    await until(() => again.ids.length === 4)
  })

  test('a gap in the log is a new generation', async (t) => {
    const server = await serve(t)
    const [registry, other] = [connect(t, server.url), connect(t, server.url)]
    const watch = new Watch(registry, NS)
    await until(() => watch.view !== undefined)
    const { generation } = watch.view!
    watch.stop()
    await until(() => watch.ended)
    await other.publish(sampleEntry(), LONG_MS)
    const going = new Watch(registry, NS)
    await until(() => going.ids.length === 1)
    t.is(going.view!.generation, generation, 'what was missed is in the log')
    going.stop()
    await until(() => going.ended)
    await other.publish(sampleEntry(), LONG_MS)
    await server.run(['XTRIM', LOG, 'MAXLEN', 1])
    const again = new Watch(registry, NS)
    await until(() => again.ids.length === 2)
    t.not(again.view!.generation, generation)
  })

  test('P4: a change that nobody was told of is found by asking', async (t) => {
    const server = await serve(t)
    const fast = { ...systemClock, now: () => systemClock.now() * 20 } // so that half a minute is over soon
    const registry = connect(t, { url: server.url, clock: fast })
    const watch = new Watch(registry, NS)
    await until(() => watch.view !== undefined)
    const entry = sampleEntry()
    await server.run(['HSET', PEERS, entry.id, JSON.stringify(entry)], ['ZADD', LEASES, Date.now() + 60_000, entry.id], ['HINCRBY', STATE, 'revision', 1])
    await until(() => watch.ids.length === 1, 15_000)
    t.is(await server.run(['XLEN', LOG]), 1)
  })

  test('the log is kept short', async (t) => {
    const server = await serve(t)
    const registry = connect(t, server.url)
    const entry = sampleEntry()
    const lease = await registry.publish(entry, LONG_MS)
    await server.admin((client) => Promise.all(Array.from({ length: 10_500 }, (_, i) => client.xadd(LOG, `9000000000000-${i + 1}`, 'h', 'x'))))
    t.is(await lease.renew({ ...entry, draining: true }), 'ok', 'a log from a later time is begun anew')
    t.is(await server.run(['XLEN', LOG]), 1)
    for (let i = 0; i < 11; i++) await Promise.all(Array.from({ length: 1000 }, (_, j) => lease.renew({ ...entry, announces: { i, j } })))
    t.true(Number(await server.run(['XLEN', LOG])) < 10_300)
  })

  test('a script that Redis has forgotten is sent again', async (t) => {
    const server = await serve(t)
    const registry = connect(t, server.url)
    const lease = await registry.publish(sampleEntry(), LONG_MS)
    await server.run(['SCRIPT', 'FLUSH'])
    t.is(await lease.renew(), 'ok')
  })

  test('a sweep takes out only who lapsed long enough ago, and not the caller', async (t) => {
    const server = await serve(t)
    const registry = connect(t, server.url)
    const [mine, other] = [sampleEntry(), sampleEntry()]
    for (const entry of [mine, other]) await registry.publish(entry, LONG_MS)
    const sweep = () => server.run(['EVAL', scripts.SWEEP.text, 6, ...scripts.keysOf(NS), 'fresh', mine.id])
    const lapsed = async (ago: number) => {
      const [seconds, micros] = (await server.run(['TIME']) as [string, string]).map(Number)
      const at = Math.floor(seconds * 1000 + micros / 1000) - ago
      await server.run(['ZADD', LEASES, at, mine.id, at, other.id])
    }
    for (const ago of [-60_000, 100]) {
      await lapsed(ago)
      await sweep()
      t.is(await server.run(['ZCARD', LEASES]), 2)
    }
    await lapsed(SWEEP_MS + 1000)
    await sweep()
    t.deepEqual(await server.run(['ZRANGE', LEASES, 0, -1]), [mine.id])
    t.deepEqual(await server.run(['ZRANGE', LAPSED, 0, -1]), [other.id])
    const log = await server.run(['XLEN', LOG])
    await sweep()
    t.is(await server.run(['XLEN', LOG]), log, 'once more changes nothing')
  })

  test('the scripts run without flags too, as before Redis 7', async (t) => {
    const server = await serve(t)
    const { id } = sampleEntry()
    const keys = scripts.keysOf(NS)
    const run = (script: Script, ...args: string[]) => server.run(['EVAL', script.plain.text, keys.length, ...keys, 'fresh', ...args]) as Promise<string[]>
    t.is((await run(scripts.PUBLISH, id, '{}', 'a', '0', '5000'))[0], 'ok')
    t.is((await run(scripts.RENEW, id, '{}', 'a', '0', '5000', '', '0', ''))[0], 'ok')
    t.is((await run(scripts.SWEEP, id))[0], 'ok')
    t.is((await run(scripts.READ, '', '', ''))[0], 'view')
    t.is((await run(scripts.REMOVE, id))[0], 'ok')
  })

  test('nothing is left of who closes', async (t) => {
    const server = await serve(t)
    const registry = connect(t, server.url)
    const lease = await registry.publish(sampleEntry(), LONG_MS)
    const watch = new Watch(registry, NS)
    await until(() => watch.view !== undefined)
    t.is(await ours(server), 2, 'one connection for commands and one that waits')
    await lease.close()
    t.deepEqual([await server.run(['HLEN', PEERS]), await server.run(['ZCARD', LEASES]), await server.run(['ZCARD', NAMES]), await server.run(['ZCARD', LAPSED])], [0, 0, 0, 0])
    await registry.close()
    await until(async () => await ours(server) === 0)
    t.true(watch.ended)
  })

  test('an idle stage asks less than once in two seconds', async (t) => {
    const server = await serve(t)
    const registry = connect(t, server.url)
    const lease = await registry.publish(sampleEntry(), LONG_MS)
    const watch = new Watch(registry, NS)
    await until(() => watch.view !== undefined)
    const beat = setInterval(() => void lease.renew(), 5000)
    t.teardown(() => clearInterval(beat))
    await sleep(500)
    await server.admin(async (client) => {
      const reads = async () => Number(/total_reads_processed:(\d+)/.exec(await client.info('stats'))![1])
      const before = await reads()
      await sleep(20_000)
      const used = await reads() - before - 1
      t.true(used >= 5 && used <= 10, `${used} requests in 20 s`)
    })
  })

  test('a full Redis takes no new stages, but those it has go on', async (t) => {
    const server = await serve(t)
    const registry = connect(t, server.url)
    const entry = sampleEntry()
    const lease = await registry.publish(entry, LONG_MS)
    const watch = new Watch(registry, NS)
    await until(() => watch.ids.length === 1)
    await server.run(['CONFIG', 'SET', 'maxmemory', '1'])
    await refusal(t, registry.publish(sampleEntry(), LONG_MS), { ...UNAVAILABLE, message: /OOM.*maxmemory/ })
    t.is(await lease.renew(), 'ok')
    t.is(await lease.renew({ ...entry, draining: true }), 'ok')
    await until(() => watch.view!.entries[0].draining)
    await lease.close()
    await until(() => watch.ids.length === 0)
  })

  test('a replica is refused by name', async (t) => {
    const server = await serve(t)
    const replica = await serve(t, '--replicaof', '127.0.0.1', String(server.port))
    await refusal(t, connect(t, replica.url).publish(sampleEntry(), LONG_MS), { ...UNAVAILABLE, message: /replica.*master/ })
    const registry = connect(t, server.url)
    const lease = await registry.publish(sampleEntry(), LONG_MS)
    await server.run(['REPLICAOF', '127.0.0.1', replica.port])
    await refusal(t, lease.renew(), { ...UNAVAILABLE, message: /READONLY.*master/ })
    await server.run(['REPLICAOF', 'NO', 'ONE'])
    t.is(await lease.renew(), 'ok')
  })

  test('a server that is loading is away until it has loaded', async (t) => {
    const server = await serve(t, '--appendonly', 'no', '--enable-debug-command', 'yes')
    await server.run(['DEBUG', 'POPULATE', 2000], ['SAVE'])
    await server.restart({ keepData: true, args: ['--save', '3600 1', '--key-load-delay', '2000', '--loading-process-events-interval-bytes', '1024'] })
    const registry = connect(t, server.url)
    await refusal(t, registry.publish(sampleEntry(), LONG_MS), { ...UNAVAILABLE, message: /LOADING.*try again/ })
    await until(async () => await registry.publish(sampleEntry(), LONG_MS).then(() => true, () => false), 30_000)
  })

  test('where nobody listens, the message says what to start, and the same registry works once it is', async (t) => {
    const port = await freePort()
    const registry = connect(t, `redis://127.0.0.1:${port}`)
    await refusal(t, registry.publish(sampleEntry(), LONG_MS), { ...UNAVAILABLE, message: /ECONNREFUSED.*no Redis answers.*STAGE_REGISTRY.*local:/ })
    await refusal(t, registry.watch(NS, new AbortController().signal).next(), { ...UNAVAILABLE, message: /ECONNREFUSED/ })
    const server = await RedisServer.at(port)
    t.teardown(() => server.close())
    await registry.publish(sampleEntry(), LONG_MS)
    const watch = new Watch(registry, NS)
    await until(() => watch.ids.length === 1)
  })

  test('credentials that are missing or wrong are said without them', async (t) => {
    const server = await serve(t, '--requirepass', 'right-secret')
    const at = `127.0.0.1:${server.port}`
    await refusal(t, connect(t, server.url).publish(sampleEntry(), LONG_MS), { code: 'AUTH_FAILED', message: /NOAUTH.*user:password/ })
    const wrong = connect(t, `redis://someone:wrong-secret@${at}/3`)
    await refusal(t, wrong.publish(sampleEntry(), LONG_MS), { code: 'AUTH_FAILED', message: /WRONGPASS/ }, 'wrong-secret')
    await refusal(t, wrong.watch(NS, new AbortController().signal).next(), { code: 'AUTH_FAILED' }, 'wrong-secret')
    t.is(wrong.address, `redis://${at}/3`)
    await connect(t, `redis://:right-secret@${at}`).publish(sampleEntry(), LONG_MS)
    await refusal(t, connect(t, `redis://:right-secret@${at}/99`).publish(sampleEntry(), LONG_MS), { ...UNAVAILABLE, message: /DB index/ }, 'right-secret')
    const gone = connect(t, `redis://:right-secret@127.0.0.1:${await freePort()}`)
    await refusal(t, gone.publish(sampleEntry(), LONG_MS), UNAVAILABLE, 'right-secret')
  })

  test('the documented ACL is enough, and what is missing is printed', async (t) => {
    const server = await serve(t)
    const words = ACL_LINE('stage', NS).split(' ')
    await server.run(words, ['ACL', 'SETUSER', 'bare', 'on', '>password', '+@all', '~else:*'])
    const registry = connect(t, `redis://stage:password@127.0.0.1:${server.port}`)
    const watch = new Watch(registry, NS)
    const silent = await registry.publish(sampleEntry(), 300)
    const lease = await registry.publish(sampleEntry(), 300)
    await until(() => watch.ids.length === 2)
    // who did not renew in time judges nobody for a while, so a loaded machine takes longer
    for (const end = performance.now() + 20_000; watch.ids.length > 1 && performance.now() < end; await sleep(75)) await lease.renew()
    t.deepEqual([watch.ids.length, watch.view!.lapsed.length, watch.error], [1, 1, undefined])
    t.is(await silent.renew(), 'lost')
    await lease.close()
    await refusal(t, registry.publish(sampleEntry({ namespace: 'other' }), LONG_MS), { code: 'AUTH_FAILED', message: /ACL SETUSER/ })
    await refusal(t, connect(t, `redis://bare:password@127.0.0.1:${server.port}`).publish(sampleEntry(), LONG_MS), { code: 'AUTH_FAILED', message: /ACL SETUSER/ }, 'password@')
  })

  test('a server that hangs is noticed by commands and by the watch, and both recover', async (t) => {
    const server = await serve(t)
    const registry = connect(t, server.url)
    const lease = await registry.publish(sampleEntry(), 60_000)
    const watch = new Watch(registry, NS)
    await until(() => watch.ids.length === 1)
    server.pause()
    const since = performance.now()
    await refusal(t, lease.renew(), { ...UNAVAILABLE, message: /in time/ })
    await refusal(t, lease.renew(), { ...UNAVAILABLE, message: /in time/ })
    t.true(performance.now() - since < 8000)
    await until(() => watch.ended, 20_000)
    t.true(performance.now() - since < 17_000)
    t.like(watch.error, UNAVAILABLE)
    server.resume()
    t.is(await lease.renew(), 'ok')
    const again = new Watch(registry, NS)
    await until(() => again.ids.length === 1)
  })

  test('a client of one\'s own lends its server and options, and nothing is sent over it', async (t) => {
    const server = await serve(t)
    const client = new Redis({ port: server.port, host: '127.0.0.1', lazyConnect: true, keyPrefix: 'mine:', replyMapping: 'resp3', stringNumbers: true, enableAutoPipelining: true })
    const registry = connect(t, { client })
    const lease = await registry.publish(sampleEntry(), LONG_MS)
    const watch = new Watch(registry, NS)
    await until(() => watch.ids.length === 1)
    await registry.publish(sampleEntry(), LONG_MS)
    await until(() => watch.ids.length === 2)
    t.is(await lease.renew(), 'ok')
    t.is(client.status, 'wait')
    t.is(await server.run(['HLEN', `mine:${PEERS}`]), 2)
    await registry.close()
    t.is(client.status, 'wait')
    client.disconnect()
  })

  for (const protocol of [2, 3] as const) {
    test(`entries, changes and states are the same over RESP${protocol}`, async (t) => {
      const server = await serve(t)
      const client = new Redis({ port: server.port, host: '127.0.0.1', lazyConnect: true, protocol })
      t.teardown(() => client.disconnect())
      const registry = connect(t, { client })
      const watch = new Watch(registry, NS)
      const lease = await registry.publish(sampleEntry(), LONG_MS)
      await until(() => watch.ids.length === 1)
      await registry.publish(sampleEntry(), LONG_MS)
      await until(() => watch.ids.length === 2)
      t.is(await lease.renew(), 'ok')
      t.true(String(await server.run(['CLIENT', 'LIST'])).includes(` resp=${protocol}`))
      const store = registry.store(NS)
      const claimed = await store.claim('x', { stage: 's', activation: 'a' })
      const data = Buffer.from([0, 255, 13, 10])
      t.is(await store.commit('x', { activation: 'a', epoch: claimed.owner ? 0 : claimed.epoch }, { id: 'c', version: 1, data, wake: 5 }), 'ok')
      t.deepEqual([(await store.look('x'))!.data, (await store.due(1))[0]?.at], [data, 5])
    })
  }

  test('a maxmemory-policy by which entries and states may be deleted is a process warning, once', async (t) => {
    const server = await serve(t, '--maxmemory-policy', 'allkeys-lru')
    const warnings = warningsWith(t, `:${server.port}`)
    for (const registry of [connect(t, server.url), connect(t, server.url)]) await registry.publish(sampleEntry(), LONG_MS)
    await until(() => warnings.length > 0)
    t.is(warnings.length, 1)
    t.regex(warnings[0]!.message, /maxmemory-policy allkeys-lru.*state of actors.*Set maxmemory-policy noeviction/)
  })

  for (const kind of ['Redis', 'Cluster'] as const) {
    test(`timeouts of a client of one's own do not end a read that waits for changes: ${kind}`, async (t) => {
      const server = await serve(t, ...(kind === 'Cluster' ? ['--cluster-enabled', 'yes', '--cluster-announce-ip', '127.0.0.1'] : []))
      if (kind === 'Cluster') {
        await server.run(['CLUSTER', 'ADDSLOTSRANGE', 0, 16383])
        await until(async () => String(await server.run(['CLUSTER', 'INFO'])).includes('cluster_state:ok'))
      }
      const at = { host: '127.0.0.1', port: server.port }
      const timeouts = { socketTimeout: 500, blockingTimeout: 200, blockingTimeoutGrace: 1, commandTimeout: 300 }
      const client = kind === 'Cluster' ? new Cluster([at], { lazyConnect: true, slotsRefreshTimeout: 10_000, redisOptions: timeouts }) : new Redis({ ...at, ...timeouts, lazyConnect: true })
      t.teardown(() => client.disconnect())
      const registry = connect(t, { client })
      await registry.publish(sampleEntry(), LONG_MS)
      const watch = new Watch(registry, NS)
      await until(() => watch.ids.length === 1)
      const waiting = async () => /(\d+) .*cmd=xread/.exec(String(await server.run(['CLIENT', 'LIST'])).replaceAll(/id=/g, ''))?.[1]
      await until(async () => await waiting() !== undefined)
      const before = await waiting()
      await sleep(1200) // longer than each of the timeouts
      t.is(watch.error, undefined)
      t.is(await waiting(), before, 'it waits over the same connection')
      await registry.publish(sampleEntry(), LONG_MS)
      await until(() => watch.ids.length === 2)
    })
  }

  test('a Cluster client works as well', async (t) => {
    const server = await serve(t, '--cluster-enabled', 'yes', '--cluster-announce-ip', '127.0.0.1')
    const client = new Cluster([{ host: '127.0.0.1', port: server.port }], { lazyConnect: true })
    const registry = connect(t, { client })
    t.is(registry.address, `redis+cluster://127.0.0.1:${server.port}`)
    await t.throwsAsync(registry.publish(sampleEntry(), LONG_MS), { ...UNAVAILABLE, message: /cluster/ })
    await server.run(['CLUSTER', 'ADDSLOTSRANGE', 0, 16383])
    await until(async () => String(await server.run(['CLUSTER', 'INFO'])).includes('cluster_state:ok'))
    const lease = await registry.publish(sampleEntry(), LONG_MS)
    const watch = new Watch(registry, NS)
    await until(() => watch.ids.length === 1)
    await registry.publish(sampleEntry({ namespace: 'other' }), LONG_MS)
    t.is(await lease.renew(), 'ok')
    await lease.close()
    await until(() => watch.ids.length === 0)
    await registry.close()
    await until(async () => await ours(server) === 0)
    client.disconnect()
  })
}

const ours = async (server: RedisServer): Promise<number> => String(await server.run(['CLIENT', 'LIST'])).split('\n').filter((line) => / name=(stagemesh|ioredis)/.test(line)).length

type Copy = [key: string, value: Buffer][]
const dump = (server: RedisServer): Promise<Copy> => server.admin(async (client) => {
  const copy: Copy = []
  for (const key of [STATE, PEERS, LEASES, NAMES, LAPSED, LOG]) {
    const value = await client.dumpBuffer(key)
    if (value) copy.push([key, value])
  }
  return copy
})
const restore = (server: RedisServer, copy: Copy): Promise<unknown> => server.admin(async (client) => {
  const multi = client.multi().flushdb()
  for (const [key, value] of copy) multi.restore(key, 0, value)
  return await multi.exec()
})

/** A server that is no Redis. */
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
  return `redis://127.0.0.1:${(server.address() as AddressInfo).port}`
}

test('a server that takes connections and closes them is away', async (t) => {
  const registry = connect(t, await impostor(t, (socket) => socket.end()))
  await refusal(t, registry.publish(sampleEntry(), LONG_MS), { ...UNAVAILABLE, message: /closed/ })
  await refusal(t, registry.watch(NS, new AbortController().signal).next(), UNAVAILABLE)
})

test('a server that takes connections and says nothing is away after three seconds', async (t) => {
  const registry = connect(t, await impostor(t, () => {}))
  const since = performance.now()
  await refusal(t, registry.publish(sampleEntry(), LONG_MS), { ...UNAVAILABLE, message: /in time/ })
  t.true(performance.now() - since < 10_000, 'a loop that is late itself looks again up to three times')
})

test('a server that speaks something else is away', async (t) => {
  const registry = connect(t, await impostor(t, (socket) => socket.on('data', () => socket.write('HTTP/1.1 400 Bad Request\r\n\r\n'))))
  await refusal(t, registry.publish(sampleEntry(), LONG_MS), UNAVAILABLE)
})

test('closing while a connection is being made ends it', async (t) => {
  const sockets: Socket[] = []
  const registry = new RedisRegistry(await impostor(t, (socket) => sockets.push(socket)))
  const publishing = t.throwsAsync(registry.publish(sampleEntry(), LONG_MS), { code: 'CLOSED' })
  const watch = new Watch(registry, NS)
  await sleep(100)
  const since = performance.now()
  await registry.close()
  await publishing
  await until(() => watch.ended)
  // this server never says goodbye, and still nothing waits for it
  await until(() => {
    for (const socket of sockets) if (socket.writable) socket.write('x') // answered with a reset once there is no other end
    return sockets.length > 0 && sockets.every(({ closed }) => closed)
  }, 1000)
  t.true(performance.now() - since < 1000)
})

test('importing it loads no driver', (t) => {
  const source = new URL('../../registries/redis/registry.js', import.meta.url).href
  const script = `await import(${JSON.stringify(source)})
    const { createRequire } = await import('node:module')
    process.exit(Object.keys(createRequire(${JSON.stringify(source)}).cache).some((path) => path.includes('ioredis')) ? 1 : 0)`
  t.is(spawnSync(process.execPath, ['--input-type=module', '-e', script]).status, 0)
})

test('a URL that is none is the programmer\'s mistake, and is not repeated', (t) => {
  for (const url of ['nothing', 'http://user:secret@host', 'redis://:secret@host/name']) {
    const error = t.throws(() => new RedisRegistry(url), { instanceOf: TypeError })
    t.false(error.message.includes('secret'))
  }
  t.is(new RedisRegistry('rediss://u:p@example.com').address, 'rediss://example.com:6379')
  t.is(new RedisRegistry('redis://[::1]:7000/2').address, 'redis://[::1]:7000/2')
  t.is(new RedisRegistry().address, 'redis://127.0.0.1:6379')
})

if (hasRedis) tests()
else test.skip(NO_REDIS, () => {})
