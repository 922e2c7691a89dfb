/** A million actors over ten processes, on one Redis: their memory, their time, and the load of the store. */
import { Redis } from 'ioredis'
import { RedisRegistry, Stage } from '../../src/index.js'
import { carriers } from './carriers.js'
import { quantile, wait, type Child, type Here, type Measure, type Room } from './measure.js'

const PROCESSES = 10
/** Calls in flight from each process. */
const IN_FLIGHT = 200
const SAMPLES = 300

class Body {
  x = 0
  move(): number { return ++this.x }
}

type Hosts = {
  open(url: string, name: string): Promise<void>
  known(peers: number): Promise<void>
  /** Calls that many actors once each. */
  activate(count: number): Promise<void>
  /** The number of actors here, the time of a page of them, and the times of `explain` of any actor, in milliseconds. */
  look(count: number): Promise<{ active: number, page: number, explain: number[] }>
  /** Bytes in use after a collection. */
  used(): number
}

export function orders(here: Here): Hosts {
  let stage: Stage
  let own = ''
  return {
    async open(url, name) {
      own = name
      stage = new Stage(name, { registry: new RedisRegistry(url), interfaces: carriers[here.carrier]!.make(), timeoutMs: 60_000 })
      stage.define({ pattern: 'bodies.{id}', constructor: Body, idleMs: 3_600_000 })
      await stage.ready()
    },
    async known(peers) { while (stage.peers().length !== peers) await wait(20) },
    async activate(count) {
      let next = 0
      const lane = async (): Promise<void> => {
        while (next < count) await stage.actor<Body>(`bodies.${own}-${next++}`).move()
      }
      await Promise.all(Array.from({ length: IN_FLIGHT }, lane))
    },
    async look(count) {
      let from = performance.now()
      stage.actors({ limit: 100, after: 'bodies.host-5' })
      const page = performance.now() - from
      const explain: number[] = []
      for (let i = 0; i < SAMPLES; i++) {
        from = performance.now()
        const { owner } = await stage.explain(`bodies.host-${i % PROCESSES}-${Math.floor(i * count / SAMPLES)}`)
        if (!owner) throw new Error('an active actor has no owner')
        explain.push(performance.now() - from)
      }
      return { active: stage.actors().length, page, explain }
    },
    used() {
      global.gc!()
      const { heapUsed, external } = process.memoryUsage()
      return heapUsed + external
    },
  }
}

async function run(room: Room): Promise<void> {
  const each = room.quick ? 2000 : 100_000
  const { RedisServer } = await import('../helpers/redis-server.js') // takes a row of ports for each process that loads it
  const server = await RedisServer.start('--appendonly', 'no')
  const redis = new Redis(server.url)
  const number = (text: string, name: string): number => Number(new RegExp(`${name}:([\\d.]+)`).exec(text)?.[1])
  const load = async (): Promise<{ cpu: number, memory: number, commands: number }> => {
    const text = await redis.info()
    return { cpu: number(text, 'used_cpu_user') + number(text, 'used_cpu_sys'), memory: number(text, 'used_memory'), commands: number(text, 'total_commands_processed') }
  }
  try {
    const children: Child<Hosts>[] = Array.from({ length: PROCESSES }, () => room.start<Hosts>())
    await Promise.all(children.map((child, i) => child.ask('open', server.url, `host-${i}`)))
    await Promise.all(children.map((child) => child.ask('known', PROCESSES - 1)))
    await Promise.all(children.map((child) => child.ask('activate', 100))) // links and compiled code
    const sum = async (): Promise<number> => (await Promise.all(children.map((child) => child.ask('used')))).reduce((all, one) => all + one)
    const [used, before, from] = [await sum(), await load(), performance.now()]
    await Promise.all(children.map((child) => child.ask('activate', each)))
    const seconds = (performance.now() - from) / 1000
    const after = await load()
    const made = PROCESSES * (each - 100)
    room.note('activations a second', made / seconds)
    room.note('memory of one in its process', (await sum() - used) / made, 'bytes')
    room.note('CPU of the store for one', (after.cpu - before.cpu) * 1e6 / made, 'µs')
    room.note('memory of one in the store', (after.memory - before.memory) / made, 'bytes')
    room.note('commands in the store for one, those of scripts among them', (after.commands - before.commands) / made)
    const looks = await Promise.all(children.map((child) => child.ask('look', each)))
    room.same('actors that are active', looks.reduce((all, { active }) => all + active, 0), PROCESSES * each)
    room.atMost('a page of a hundred, the slowest', Math.max(...looks.map(({ page }) => page)), 100, 'ms')
    room.atMost('explain, the median', quantile(looks.flatMap(({ explain }) => explain), 0.5), 20, 'ms')
    room.note('explain, p99', quantile(looks.flatMap(({ explain }) => explain), 0.99), 'ms')
  } finally {
    redis.disconnect()
    await server.close()
  }
}

export const million: Measure = { title: 'a million actors over ten processes', seconds: [900, 120], run }
