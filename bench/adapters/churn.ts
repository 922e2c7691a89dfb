/** Stages that come and go among others on one Redis: the cost of one change for the Redis and for each of the others. */
import { Redis } from 'ioredis'
import { MemoryInterface, RedisRegistry, Stage } from 'stagemesh'
import type { Adapter } from '../adapter.js'
import { startRedis } from '../redis.js'

/** How many stages come and go one after another, and the time between two changes in milliseconds. */
const GUESTS = 20
const GAP_MS = 150

interface Spent { bytes: number; cpu: number }

export const churn = (count: number): Adapter => ({
  serve: ({ folder }) => startRedis(folder),
  async connect(url) {
    const redis = new Redis(url)
    const wait = (ms: number): Promise<void> => new Promise((resolve) => { setTimeout(resolve, ms) })
    const number = (text: string, name: string): number => Number(new RegExp(`${name}:([\\d.]+)`).exec(text)?.[1])
    // each stage has a registry of its own, as in a process of its own
    const make = (name: string): Stage => new Stage(name, { registry: new RedisRegistry(url), interfaces: new MemoryInterface() })
    const spent = async (): Promise<Spent> => {
      const text = await redis.info()
      return { bytes: number(text, 'total_net_output_bytes'), cpu: number(text, 'used_cpu_user') + number(text, 'used_cpu_sys') }
    }
    const stages: Stage[] = []
    while (stages.length < count) {
      const some = Array.from({ length: Math.min(20, count - stages.length) }, (_, i) => make(`host-${stages.length + i}`))
      stages.push(...some)
      await Promise.all(some.map((stage) => stage.ready()))
    }
    const known = async (peers: number): Promise<void> => {
      while (!stages.every((stage) => stage.peers().length === peers)) await wait(5)
    }
    await known(count - 1)
    return {
      async figures() {
        await wait(3000)
        const before = await spent()
        const own = process.cpuUsage()
        for (let guest = 0; guest < GUESTS; guest++) {
          const stage = make(`guest-${guest}`)
          await stage.ready()
          await wait(GAP_MS)
          await stage.close()
          await wait(GAP_MS)
        }
        await known(count - 1)
        const after = await spent()
        const cpu = process.cpuUsage(own)
        const changes = GUESTS * 2
        const guest = make('last')
        await guest.ready()
        const listed = performance.now()
        await known(count)
        return {
          [`${count} stages: bytes for one change and stage`]: (after.bytes - before.bytes) / changes / count,
          [`${count} stages: CPU of Redis for one change and stage, ms`]: (after.cpu - before.cpu) * 1000 / changes / count,
          [`${count} stages: CPU of a stage for one change, ms`]: (cpu.user + cpu.system) / 1000 / changes / count,
          [`${count} stages: a new one is seen by all after, ms`]: performance.now() - listed,
        }
      },
    }
  },
})
