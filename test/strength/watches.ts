import type { Stage } from '../../src/index.js'
import { stageOf } from './carriers.js'
import { wait, type Here, type Measure, type Room } from './measure.js'
import { used } from './memory.js'

const EACH = 100
const ROW = 500
/** Long enough for a busy machine. */
const PATIENT_MS = 200_000

class Thing {
  constructor() { for (let i = 0; i < EACH; i++) this.set(i, 0) }
  set(i: number, value: unknown): void { Object.assign(this, { [`p${i}`]: value }) }
}
/** The watched actor without its watches. */
class Small {
  p0 = 0
  set(_: number, value: number): void { this.p0 = value }
}

export const orders = (here: Here) => {
  let stage: Stage
  let loops: AsyncIterableIterator<unknown>[] = []
  let seen = 0
  return {
    async stage(name: string): Promise<void> {
      stage = stageOf(here, name)
      await stage.ready()
    },
    define(): void {
      stage.define({ pattern: 'things.{id}', constructor: Thing })
      stage.define({ pattern: 'small.{id}', constructor: Small })
    },
    used,
    streams: () => stage.stats()['streams'] as number,
    watched: () => stage.actors().reduce((sum, one) => sum + one.watchers, 0),
    /** Makes that many actors, or changes the first property of each. */
    async change(of: string, actors: number, value: number): Promise<void> {
      for (let at = 0; at < actors; at += ROW) await Promise.all(Array.from({ length: ROW }, (_, i) => stage.actor<Small>(`${of}.${at + i}`).set(0, value)))
    },
    /** @returns milliseconds until each loop had its first value */
    async observe(of: string, actors: number, each: number): Promise<number> {
      const started = performance.now()
      for (let i = 0; i < actors * each; i++) loops.push(stage.observe(`${of}.${i % actors}`, [`p${Math.floor(i / actors)}`] as never, { timeoutMs: PATIENT_MS }))
      await Promise.all(loops.map((loop) => loop.next()))
      return performance.now() - started
    },
    /** Waits for the next value of each loop. */
    read(): void {
      for (const loop of loops) void loop.next().then(() => { seen++ }, () => {})
    },
    seen: () => seen,
    async leave(): Promise<void> {
      await Promise.all(loops.map((loop) => loop.return?.()))
      loops = []
      seen = 0
    },
  }
}

const begin = (room: Room) => room.start<ReturnType<typeof orders>>()
type End = ReturnType<typeof begin>

/** @param each  the number of watches of each actor, each on a property of its own */
async function watch(room: Room, owner: End, web: End, of: string, actors: number, each: number): Promise<void> {
  const count = actors * each
  const what = each === 1 ? 'a watch of an actor of its own' : `one of ${each} watches of an actor`
  await web.ask('change', of, actors, 1)
  await wait(500)
  const before = [await web.ask('used'), await owner.ask('used')] as const
  const took = await web.ask('observe', of, actors, each)
  room.note(`${count} watches, until all had their first value`, took / 1000, 's')
  await web.ask('read')
  await wait(500)
  room.atMost(`${what}, where it is read`, (await web.ask('used') - before[0]) / count, 2048, 'bytes')
  room.atMost(`${what}, at its owner`, (await owner.ask('used') - before[1]) / count, 2048, 'bytes')
  room.same('streams of the link', [await web.ask('streams'), await owner.ask('streams')], [1, 1])
  const started = performance.now()
  await owner.ask('change', of, actors, 2)
  while (await web.ask('seen') < actors) await wait(10)
  room.note(`a change of each of ${actors} actors, until all had been told`, (performance.now() - started) / 1000, 's')
  await web.ask('leave')
  while (await owner.ask('watched') > 0) await wait(10)
  room.same('streams when all have left', [await web.ask('streams'), await owner.ask('streams')], [0, 0])
}

export const watches: Measure = {
  title: '100 000 watches of actors over one link',
  seconds: [300, 120],
  async run(room) {
    const [owner, web] = [begin(room), begin(room)]
    await Promise.all([owner.ask('stage', 'owner'), web.ask('stage', 'web')])
    await owner.ask('define')
    const actors = room.quick ? 20_000 : 100_000
    await watch(room, owner, web, 'things', actors / EACH, EACH)
    await watch(room, owner, web, 'small', actors, 1)
  },
}
