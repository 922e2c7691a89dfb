import type { Duplex } from 'node:stream'
import type { Interface, Stage } from '../../src/index.js'
import { stageOf } from './carriers.js'
import { MIB, wait, type Here, type Measure, type Room } from './measure.js'
import { used } from './memory.js'
import { Tally, works } from './works.js'

/** A call without an answer ends within its deadline. */
const REST_MS = 11_000

/** The resources of a process other than memory. */
interface Handles { resources: Record<string, number>; listeners: Record<string, number> }

/** An interface whose connections can be cut. */
class Cut implements Interface {
  readonly scheme: string
  readonly #streams = new Set<Duplex>()

  constructor(private readonly inner: Interface) {
    this.scheme = inner.scheme
  }

  listen(onstream: (stream: Duplex) => void, onaddresses?: (addresses: readonly string[]) => void): Promise<readonly string[]> {
    return this.inner.listen((stream) => onstream(this.#keep(stream)), onaddresses)
  }

  async connect(address: string, signal: AbortSignal): Promise<Duplex> {
    return this.#keep(await this.inner.connect(address, signal))
  }

  close(): Promise<void> {
    return this.inner.close()
  }

  cut(): void {
    for (const stream of this.#streams) stream.destroy(new Error('cut on purpose'))
  }

  #keep(stream: Duplex): Duplex {
    this.#streams.add(stream)
    stream.once('close', () => this.#streams.delete(stream))
    return stream
  }
}

export const orders = (here: Here) => {
  const before = handles()
  let stage: Stage
  let cut: Cut
  let tally: Tally | undefined
  let going = true
  let lanes: Promise<unknown>
  let running = 0
  let resting: Promise<void> | undefined
  let goOn = (): void => {}
  let end = (): void => {}
  const open = async (name: string): Promise<void> => {
    stage = stageOf(here, name, (inner) => cut = new Cut(inner))
    end()
    end = works.serve(stage)
    await stage.ready()
  }
  return {
    open,
    /** Keeps that many works going until `stop`. */
    drive(to: string, inFlight: number): void {
      const counts = tally = new Tally()
      lanes = Promise.all(works.all.flatMap(({ name, share, run }) => Array.from({ length: Math.max(1, Math.round(inFlight * share)) }, async () => {
        while (going) {
          running++
          await counts.count(name, () => run(stage, to))
          running--
          await resting
        }
      })))
    },
    cut: () => cut.cut(),
    /** Begins nothing for a moment, so that work in progress is not taken for a leak. */
    async rest(): Promise<void> {
      resting ??= new Promise((resolve) => { goOn = resolve })
      for (const end = performance.now() + REST_MS; running > 0 && performance.now() < end;) await wait(20)
    },
    async used(): Promise<number> {
      const all: number[] = []
      for (let i = 0; i < 3; i++) { all.push(used()); await wait(100) }
      return Math.min(...all)
    },
    goOn(): void {
      goOn()
      resting = undefined
    },
    /** Begins nothing new, and waits for the works that were begun. */
    async stop(): Promise<Tally['ends'] | undefined> {
      going = false
      await lanes
      return tally?.ends
    },
    stats: () => ({ ...stage.stats(), sources: works.sources() }),
    async close(): Promise<void> {
      end()
      await stage.close()
    },
    /** The resources that are held now and were not held at the start. */
    left: () => beyond(before, handles()),
  }
}

function handles(): Handles {
  void [process.stdout, process.stderr] // Node opens them with the first socket that is destroyed, and a pipe counts as a resource
  const resources: Record<string, number> = {}
  for (const one of process.getActiveResourcesInfo()) resources[one] = (resources[one] ?? 0) + 1
  return { resources, listeners: Object.fromEntries(process.eventNames().map((name) => [String(name), process.listenerCount(name)])) }
}

const beyond = (before: Handles, now: Handles): Record<string, number> => Object.fromEntries(
  (['resources', 'listeners'] as const).flatMap((kind) => Object.entries(now[kind]).flatMap(([name, count]) => {
    const more = count - (before[kind][name] ?? 0)
    return more > 0 ? [[name, more] as const] : []
  })),
)

const begin = (room: Room) => room.start<ReturnType<typeof orders>>()

export const soak: Measure = {
  title: 'mixed load for a long time, with links that are cut and a stage that comes and goes',
  seconds: [760, 200],
  async run(room) {
    const [end, from, step] = (room.quick ? [120, 30, 15] : [600, 120, 30]).map((s) => s * 1000) as [number, number, number]
    const processes = { near: begin(room), far: begin(room), guest: begin(room) }
    const all = Object.entries(processes)
    for (const [name, one] of all) await one.ask('open', name)
    await processes.near.ask('drive', 'far', 100)
    await processes.far.ask('drive', '*', 20)
    const at = new Map<string, { base: number; last: number }>()
    const started = performance.now()
    for (let due = step, n = 1; due <= end; due += step, n++) {
      await wait(step / 2)
      await processes[n % 2 ? 'near' : 'far'].ask('cut')
      await processes.guest.ask('close')
      await wait(1000)
      await processes.guest.ask('open', 'guest')
      await wait(started + due - performance.now())
      for (const [, one] of all) await one.ask('rest')
      const line: string[] = []
      for (const [name, one] of all) {
        const bytes = await one.ask('used')
        const known = at.get(name)
        if (due >= from) at.set(name, { base: known?.base ?? bytes, last: bytes })
        line.push(`${name} ${(bytes / MIB).toFixed(1)}`)
      }
      for (const [, one] of all) await one.ask('goOn')
      room.say(`${due / 1000} s: MiB used after gc: ${line.join(', ')}`)
    }
    for (const name of ['near', 'far'] as const) {
      const ends = await processes[name].ask('stop') ?? {}
      for (const [work, { right, failed, wrong }] of Object.entries(ends)) {
        room.note(`${name}, ${work}`, `${right} right, failed as they may: ${JSON.stringify(failed)}`)
        if (wrong.length > 0) room.same(`${name}, ${work}: ended otherwise`, wrong, [])
      }
    }
    await wait(2000)
    for (const [name, one] of all) {
      const { base, last } = at.get(name) as { base: number; last: number }
      room.atMost(`${name}: used after gc at the end`, last / base, 1.1, `× that at ${from / 1000} s`)
      const { calls, serving, waiting, streams, heldBytes, unreadBytes, observers, sources } = await one.ask('stats') as Record<string, number>
      room.same(`${name}: held when all has ended`, { calls, serving, waiting, streams, heldBytes, unreadBytes, observers, sources }, { calls: 0, serving: 0, waiting: 0, streams: 0, heldBytes: 0, unreadBytes: 0, observers: 0, sources: 0 })
    }
    for (const [name, one] of all) {
      await one.ask('close')
      await wait(200)
      room.same(`${name}: left behind by close()`, await one.ask('left'), {})
    }
  },
}
