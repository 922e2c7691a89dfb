/** Idle stages on one registry: their requests, their CPU, that of the server, and how soon all of them know a new stage. */
import { Stage, TcpInterface } from 'stagemesh'
import type { Adapter } from '../adapter.js'
import { crowd, known, wait, type Kind } from '../registries.js'

const MS = 20_000

export const idle = (kind: Kind, count: number): Adapter => ({
  serve: ({ folder }) => kind.start(folder),
  async connect(url) {
    const spent = await kind.meter(url)
    const make = (name: string): Stage => new Stage(name, { registry: kind.registry(url), interfaces: new TcpInterface() })
    const stages = await crowd(count, make)
    const of = `${kind.title}, ${count} stages`
    return {
      async figures() {
        await wait(5000)
        const [before, cpu, since] = [await spent(), process.cpuUsage(), performance.now()]
        await wait(MS)
        const own = process.cpuUsage(cpu)
        const after = await spent()
        const seconds = (performance.now() - since) / 1000
        const started = performance.now()
        await make('new').ready()
        const listed = performance.now()
        await known(stages, count)
        return {
          [`${of}: requests of each per second`]: (after.requests - before.requests) / count / seconds,
          [`${of}: CPU of each, % of a core`]: (own.user + own.system) / 10 / MS / count,
          [`${of}: CPU of the server for each, % of a core`]: 100 * (after.cpu - before.cpu) / count / seconds,
          [`${of}: a new one is listed after, ms`]: listed - started,
          [`${of}: and seen by all after that, ms`]: performance.now() - listed,
        }
      },
    }
  },
})
