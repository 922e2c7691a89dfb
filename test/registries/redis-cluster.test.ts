/** The registry and the store on a Redis Cluster of three nodes: the suites, actors in many slots, a node that fails. */
import test, { type ExecutionContext } from 'ava'
import { RedisRegistry } from '../../registries/redis/registry.js'
import { ACL_LINE } from '../../registries/redis/failure.js'
import { keysOf } from '../../registries/redis/scripts.js'
import { actorKeys } from '../../registries/redis/store-scripts.js'
import type { Fence } from '../../src/types.js'
import { claimOf, commitOf, hold } from '../helpers/claims.js'
import { failsOver } from '../helpers/failover.js'
import { RedisCluster } from '../helpers/redis-cluster.js'
import { NO_REDIS, RedisServer, hasRedis } from '../helpers/redis-server.js'
import { until } from '../helpers/until.js'
import { registrySuite, sampleEntry } from '../suites/registry.js'
import { storeSuite } from '../suites/store.js'

const NS = 'suite'
const SHARDS = 16
let count = 0

function tests(): void {
  let shared: RedisCluster
  test.before(async () => { shared = await RedisCluster.start() })
  test.after.always(() => shared?.close())

  const open = (prefix: string, shards?: number): RedisRegistry => new RedisRegistry({ client: shared.client(), prefix, shards })
  const connect = (t: ExecutionContext, prefix: string, shards?: number): RedisRegistry => {
    const registry = open(prefix, shards)
    t.teardown(() => registry.close())
    return registry
  }
  const remove = async (match: (key: string) => boolean): Promise<void> => {
    for (const server of shared.masters) {
      const keys = (await server.run(['KEYS', '*']) as string[]).filter(match)
      for (const key of keys) await server.run(['DEL', key])
    }
  }

  registrySuite(test, async () => {
    const prefix = `registry-${++count}:`
    return {
      open: () => new RedisRegistry(`${shared.url}?prefix=${prefix}`),
      edit: async (namespace, id, text) => {
        const keys = keysOf(namespace, prefix)
        await (await shared.masterOf(keys[0]!)).run(['HSET', keys[1]!, id, text], ['ZADD', keys[2]!, Date.now() + 60_000, id])
      },
      empty: () => remove((key) => key.startsWith(prefix)),
      close: async () => {},
    }
  }, { name: 'redis cluster', ttlMs: 2000 })

  for (const shards of [1, SHARDS]) {
    storeSuite(test, async () => {
      const prefix = `store-${++count}:`
      return {
        open: () => open(prefix, shards),
        forget: async (namespace, actor) => {
          const key = actorKeys(namespace, prefix, shards).actor(actor)
          await (await shared.masterOf(key)).run(['DEL', key])
        },
        empty: () => remove((key) => key.startsWith(prefix)),
        close: async () => {},
      }
    }, { name: `redis cluster, shards: ${shards}` })
  }

  test('actors of one namespace are spread over all nodes, and woken in order across them', async (t) => {
    const prefix = 'spread:'
    const store = connect(t, prefix, SHARDS).store(NS)
    const names = Array.from({ length: 300 }, (_, i) => `players.${i}`)
    await Promise.all(names.map(async (name, i) => store.commit(name, await hold(store, name), commitOf(1, name, 1000 + i % 7))))
    const keys = await shared.each(['KEYS', `${prefix}*:actor:*`]) as string[][]
    t.is(keys.flat().length, names.length)
    for (const some of keys) t.true(some.length > names.length / 6, `${some.length}`)
    const expected = names.map((actor, i) => ({ actor, at: 1000 + i % 7 })).sort((a, b) => a.at - b.at || Buffer.compare(Buffer.from(a.actor), Buffer.from(b.actor)))
    const found: { actor: string, at: number }[] = []
    for (let after: { actor: string, at: number } | undefined; ;) {
      const some = await store.due(40, after)
      found.push(...some)
      after = some.at(-1)
      if (!after) break
    }
    t.deepEqual(found, expected)
  })

  test('stages with different numbers of shards cannot use one store', async (t) => {
    await connect(t, 'agree:', SHARDS).store(NS).claim('x', claimOf())
    const other = connect(t, 'agree:').store(NS)
    for (const run of [() => other.claim('x', claimOf()), () => other.look('x'), () => other.due(5)]) {
      await t.throwsAsync(run(), { code: 'STORE_UNAVAILABLE', message: /set shards to 16/ })
    }
    t.is((await connect(t, 'agree:', SHARDS).store(NS).claim('x', claimOf())).owner?.stage, 'stage-test')
  })

  test('a node of the URL whose name is unknown does not matter', async (t) => {
    const registry = new RedisRegistry(shared.url.replace('//', '//unknown.invalid:1,'))
    t.teardown(() => registry.close())
    await registry.publish(sampleEntry({ namespace: 'unknown' }), 5000)
    t.pass()
  })

  test('while one node is away, the actors of the others are woken and commit', async (t) => {
    const cluster = await RedisCluster.start()
    t.teardown(() => cluster.close())
    const registry = new RedisRegistry({ url: cluster.url, shards: SHARDS })
    t.teardown(() => registry.close())
    const store = registry.store(NS)
    const names = Array.from({ length: 60 }, (_, i) => `players.${i}`)
    const owners = new Map<string, Fence>()
    for (const name of names) {
      const owner = await hold(store, name)
      owners.set(name, owner)
      t.is(await store.commit(name, owner, commitOf(1, name, 1000)), 'ok')
    }
    const homes = new Map(await Promise.all(names.map(async (name) => [name, await cluster.masterOf(actorKeys(NS, undefined, SHARDS).actor(name))] as const)))
    const gone = cluster.masters.find((one) => [...homes.values()].includes(one))!
    const left = names.filter((name) => homes.get(name) !== gone)
    t.true(left.length > 0 && left.length < names.length)
    await gone.kill()
    await until(async () => (await store.due(100).catch(() => [])).length === left.length)
    for (const name of left.slice(0, 5)) {
      const committed = (): Promise<boolean> => store.commit(name, owners.get(name)!, { ...commitOf(2, name), id: `second-${name}` }).then((answer) => answer === 'ok', () => false)
      await until(committed)
    }
  })

  test('the documented rights are enough for a cluster', async (t) => {
    const words = ACL_LINE('stage', NS, { shards: SHARDS, address: shared.url, prefix: 'rights:' }).split(' ')
    for (const server of shared.masters) await server.run(words)
    const registry = new RedisRegistry(`${shared.url.replace('//', '//stage:password@')}?prefix=rights:&shards=${SHARDS}`)
    t.teardown(() => registry.close())
    const lease = await registry.publish(sampleEntry(), 15_000)
    t.is(await lease.renew(), 'ok')
    const store = registry.store(NS)
    for (let i = 0; i < 20; i++) t.is(await store.commit(`x${i}`, await hold(store, `x${i}`), commitOf(1, 'x', 5)), 'ok')
    t.is((await store.due(100)).length, 20)
    await t.throwsAsync(registry.store('other').claim('x', claimOf()), { code: 'AUTH_FAILED', message: /ACL SETUSER .* \+cluster\|slots/ })
  })

  test('nodes that announce no address are reported with the setting', async (t) => {
    const server = await RedisServer.start('--cluster-enabled', 'yes')
    t.teardown(() => server.close())
    await server.run(['CLUSTER', 'ADDSLOTSRANGE', 0, 16383])
    const registry = new RedisRegistry(`redis+cluster://127.0.0.1:${server.port}`)
    t.teardown(() => registry.close())
    await t.throwsAsync(registry.publish(sampleEntry(), 5000), { code: 'REGISTRY_UNAVAILABLE', message: /cluster-announce-ip/ })
  })

  test('a node whose replica takes over: ids stay, calls go on, and everybody is listed again', async (t) => {
    const cluster = await RedisCluster.start(1)
    t.teardown(() => cluster.close())
    const master = await cluster.masterOf(keysOf('default')[0]!)
    const replica = cluster.replicas[cluster.masters.indexOf(master)]!
    await failsOver(t, () => new RedisRegistry({ client: cluster.client() }), async () => {
      await master.kill()
      await until(async () => String(await replica.run(['INFO', 'replication'])).includes('role:master'))
    })
  })
}

if (hasRedis) tests()
else test.skip(NO_REDIS, () => {})
