/** Stages that come and go among others on one registry: the cost of one change for its server and for each of the others. */
import { MemoryInterface, Stage } from 'stagemesh'
import type { Adapter } from '../adapter.js'
import { crowd, known, wait, type Kind } from '../registries.js'

/** How many stages come and go one after another, and the time between two changes in milliseconds. */
const GUESTS = 20
const GAP_MS = 150

export const churn = (kind: Kind, count: number): Adapter => ({
  serve: ({ folder }) => kind.start(folder),
  async connect(url) {
    const spent = await kind.meter(url)
    const make = (name: string): Stage => new Stage(name, { registry: kind.registry(url), interfaces: new MemoryInterface() })
    const stages = await crowd(count, make)
    const of = `${kind.title}, ${count} stages`
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
        await known(stages, count - 1)
        const cpu = process.cpuUsage(own)
        const after = await spent()
        const changes = GUESTS * 2
        const guest = make('last')
        await guest.ready()
        const listed = performance.now()
        await known(stages, count)
        return {
          [`${of}: bytes for one change and stage`]: (after.bytes - before.bytes) / changes / count,
          [`${of}: CPU of the server for one change and stage, ms`]: (after.cpu - before.cpu) * 1000 / changes / count,
          [`${of}: CPU of a stage for one change, ms`]: (cpu.user + cpu.system) / 1000 / changes / count,
          [`${of}: a new one is seen by all after, ms`]: performance.now() - listed,
        }
      },
    }
  },
})
