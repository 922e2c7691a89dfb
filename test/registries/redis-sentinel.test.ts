/** The registry and the store on a Redis whose master is named by sentinels: the suites, and a master that is replaced. */
import test from 'ava'
import { RedisRegistry } from '../../src/index.js'
import { failsOver } from '../helpers/failover.js'
import { keysOf } from '../../registries/redis/scripts.js'
import { actorKeys } from '../../registries/redis/store-scripts.js'
import { trio, type Trio } from '../helpers/redis-sentinel.js'
import { NO_REDIS, hasRedis } from '../helpers/redis-server.js'
import { until } from '../helpers/until.js'
import { registrySuite } from '../suites/registry.js'
import { storeSuite } from '../suites/store.js'

if (hasRedis) {
  const after: (() => unknown)[] = []
  let shared: Trio
  let count = 0
  test.before(async () => { shared = await trio({ teardown: (fn) => { after.unshift(fn) } }) })
  test.after.always(async () => { for (const fn of after) await fn() })
  const place = () => {
    const prefix = `suite-${++count}:`
    const empty = async (): Promise<void> => {
      const keys = await shared.master.run(['KEYS', `${prefix}*`]) as string[]
      if (keys.length > 0) await shared.master.run(['DEL', ...keys])
    }
    return { prefix, open: () => new RedisRegistry(`${shared.url}?prefix=${prefix}`), empty, close: async () => {} }
  }
  registrySuite(test, async () => {
    const { prefix, ...rest } = place()
    return {
      ...rest,
      edit: async (namespace, id, text) => {
        const keys = keysOf(namespace, prefix)
        await shared.master.run(['HSET', keys[1]!, id, text], ['ZADD', keys[2]!, Date.now() + 60_000, id])
      },
    }
  }, { name: 'redis sentinel', ttlMs: 2000 })
  storeSuite(test, async () => {
    const { prefix, ...rest } = place()
    return { ...rest, forget: async (namespace, actor) => { await shared.master.run(['DEL', actorKeys(namespace, prefix).actor(actor)]) } }
  }, { name: 'redis sentinel store' })
}

const onRedis = hasRedis ? test : test.skip
for (const how of ['killed', 'hung'] as const) {
  onRedis(`a master that is ${how} is replaced: ids stay, calls go on, and a new stage sees everybody${hasRedis ? '' : ` (${NO_REDIS})`}`, async (t) => {
    const { url, master, promoted } = await trio(t)
    await failsOver(t, () => new RedisRegistry(url), async () => {
      if (how === 'killed') await master.kill()
      else master.pause()
      await until(promoted)
    })
    master.resume()
  })
}
