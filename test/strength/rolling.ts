/** A rolling deploy of a large mesh on one Redis: every stage is restarted, one after another. */
import { Redis } from 'ioredis'
import { RedisRegistry, Stage, type StageError } from '../../src/index.js'
import { carriers } from './carriers.js'
import { wait, type Child, type Here, type Measure, type Room } from './measure.js'

/** Processes; groups, which are names; replicas of each group, one in each process. */
const PROCESSES = 10
const EVERY_MS = 100
/** Each process calls these groups, and waits that long between two calls. */
const CALLED = 10
const CALL_MS = 20
/** The part of its core that Redis may use. */
const REDIS_SHARE = 0.4

interface Outcome { calls: number; failed: string[]; dead: string[]; lost: string[] }
type Deploy = {
  open(url: string, groups: number): Promise<void>
  /** Resolves when the stages here know that many peers. */
  known(peers: number): Promise<void>
  restart(group: number): Promise<void>
  call(): void
  stop(): Promise<Outcome>
}

export function orders(here: Here): Deploy {
  const stages = new Map<number, Stage>()
  const outcome: Outcome = { calls: 0, failed: [], dead: [], lost: [] }
  let registry = ''
  let calling = true
  let caller: Stage
  let loop: Promise<void> = Promise.resolve()
  const make = (name: string): Stage => {
    // each stage has a registry of its own, as in a process of its own
    const stage = new Stage(name, { registry: new RedisRegistry(registry), interfaces: carriers[here.carrier]!.make() })
    stage.on('timeout', (peer) => outcome.dead.push(peer.name))
    stage.on('error', (error) => { if (error.message.includes('had removed')) outcome.lost.push(name) })
    stage.to('*').provide('echo', (value: number) => value)
    return stage
  }
  const calls = async (): Promise<void> => {
    for (let i = 0; calling; i++) {
      outcome.calls++
      const answer = caller.to(`group-${i % CALLED}`).call<number>('echo', i)
      void answer.then(
        (value) => { if (value !== i) outcome.failed.push(`${value} in place of ${i}`) },
        (error: StageError) => outcome.failed.push(`${error.code}: ${error.message}`),
      )
      await wait(CALL_MS)
    }
  }
  return {
    async open(url, groups) {
      registry = url
      caller = make('caller')
      await caller.ready()
      for (let from = 0; from < groups; from += 10) {
        const some = Array.from({ length: Math.min(10, groups - from) }, (_, i) => from + i)
        for (const group of some) stages.set(group, make(`group-${group}`))
        await Promise.all(some.map((group) => stages.get(group)!.ready()))
      }
    },
    async known(peers) {
      while (![caller, ...stages.values()].every((stage) => stage.peers().length === peers)) await wait(50)
    },
    async restart(group) {
      await stages.get(group)!.close()
      stages.set(group, make(`group-${group}`))
      await stages.get(group)!.ready()
    },
    call() { loop = calls() },
    async stop() {
      calling = false
      await loop
      await wait(1000)
      return outcome
    },
  }
}

async function run(room: Room): Promise<void> {
  const groups = room.quick ? 10 : 100
  const { RedisServer } = await import('../helpers/redis-server.js') // takes a row of ports for each process that loads it
  const server = await RedisServer.start('--appendonly', 'no')
  const redis = new Redis(server.url)
  try {
    const children: Child<Deploy>[] = Array.from({ length: PROCESSES }, () => room.start<Deploy>())
    const all = PROCESSES * (groups + 1)
    room.say(`${all} stages in ${PROCESSES} processes begin`)
    await Promise.all(children.map((child) => child.ask('open', server.url, groups)))
    await Promise.all(children.map((child) => child.ask('known', all - 1)))
    for (const child of children) await child.ask('call')
    await wait(5000)
    const spent = async (): Promise<{ cpu: number, at: number }> => {
      const text = await redis.info('cpu')
      const part = (name: string): number => Number(new RegExp(`${name}:([\\d.]+)`).exec(text)?.[1])
      return { cpu: part('used_cpu_user') + part('used_cpu_sys'), at: performance.now() }
    }
    const before = await spent()
    const restarts: Promise<void>[] = []
    for (let i = 0; i < PROCESSES * groups; i++) {
      if (i % 100 === 0) room.say(`${i} of ${PROCESSES * groups} stages were restarted`)
      restarts.push(children[Math.floor(i / groups)]!.ask('restart', i % groups))
      await wait(before.at + (i + 1) * EVERY_MS - performance.now())
    }
    const after = await spent()
    await Promise.all(restarts)
    await Promise.all(children.map((child) => child.ask('known', all - 1)))
    const outcomes = await Promise.all(children.map((child) => child.ask('stop')))
    room.note('restarts a second', PROCESSES * groups / ((after.at - before.at) / 1000))
    room.atMost('CPU of Redis meanwhile', (after.cpu - before.cpu) * 1000 / (after.at - before.at), REDIS_SHARE, 'of a core')
    room.same('living stages that were declared dead', outcomes.flatMap(({ dead }) => dead), [])
    room.same('stages that lost their lease', outcomes.flatMap(({ lost }) => lost), [])
    room.note('calls meanwhile', outcomes.reduce((sum, { calls }) => sum + calls, 0))
    room.same('failed calls', outcomes.flatMap(({ failed }) => failed).slice(0, 5), [])
  } finally {
    redis.disconnect()
    await server.close()
  }
}

export const rolling: Measure = { title: 'a rolling deploy of a thousand stages disturbs nobody', seconds: [400, 120], run }
