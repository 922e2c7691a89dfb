/** Idle stages on one Redis: their requests, their CPU, and how soon all of them know a new stage. */
import { Redis } from 'ioredis'
import { RedisRegistry, Stage, TcpInterface } from 'stagemesh'
import type { Adapter } from '../adapter.js'
import { startRedis } from '../redis.js'

const MS = 30_000

export const idle = (count: number): Adapter => ({
  serve: ({ folder }) => startRedis(folder),
  async connect(url) {
    const redis = new Redis(url)
    const make = (name: string): Stage => new Stage(name, new RedisRegistry(url), new TcpInterface())
    const stages = Array.from({ length: count }, (_, i) => make(`idle-${i}`))
    await Promise.all(stages.map((stage) => stage.ready()))
    const wait = (ms: number): Promise<void> => new Promise((resolve) => { setTimeout(resolve, ms) })
    while (!stages.every((stage) => stage.peers().length === count - 1)) await wait(50)
    const reads = async (): Promise<number> => Number(/total_reads_processed:(\d+)/.exec(await redis.info('stats'))?.[1])
    return {
      async figures() {
        await wait(5000)
        const [before, cpu] = [await reads(), process.cpuUsage()]
        await wait(MS)
        const spent = process.cpuUsage(cpu)
        const asked = await reads() - before - 1
        const started = performance.now()
        await make('new').ready()
        const listed = performance.now()
        while (!stages.every((stage) => stage.peers().length === count)) await wait(2)
        return {
          [`${count} stages: requests of each per second`]: asked / count / (MS / 1000),
          [`${count} stages: CPU of each, % of a core`]: (spent.user + spent.system) / 10 / MS / count,
          [`${count} stages: a new one is listed after, ms`]: listed - started,
          [`${count} stages: and seen by all after that, ms`]: performance.now() - listed,
        }
      },
    }
  },
})
