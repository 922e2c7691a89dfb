/** The registry and the store on a Redis whose master is named by sentinels: the suites, and a master that is replaced. */
import { setTimeout as sleep } from 'node:timers/promises'
import test from 'ava'
import { MemoryInterface, RedisRegistry, Stage } from '../../src/index.js'
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
    const make = (name: string): Stage => {
      const stage = new Stage(name, { registry: new RedisRegistry(url), interfaces: new MemoryInterface() })
      t.teardown(() => stage.close())
      stage.on('error', () => {})
      stage.to('*').provide('echo', (value: number) => value)
      return stage
    }
    const stages = ['a', 'b', 'c'].map(make)
    await Promise.all(stages.map((stage) => stage.ready()))
    await until(() => stages.every((stage) => stage.peers().length === 2))
    const ids = stages.map(({ id }) => id)
    const parted: string[] = []
    for (const stage of stages) stage.on('part', ({ name }, reason) => parted.push(`${name} ${reason}`))
    let calling = true
    let calls = 0
    const loop = (async () => {
      for (; calling; calls++) {
        t.is(await stages[calls % 3]!.to('abc'[(calls + 1) % 3]!).call('echo', calls), calls)
        await sleep(20)
      }
    })()
    if (how === 'killed') await master.kill()
    else master.pause()
    await until(promoted, 30_000)
    const late = make('late')
    await until(() => late.ready().then(() => true), 30_000)
    await until(() => late.peers().length === 3 && stages.every((stage) => stage.peers().length === 3), 30_000)
    calling = false
    await loop
    t.true(calls > 50)
    t.deepEqual([stages.map(({ id }) => id), parted], [ids, []])
    master.resume()
  })
}
