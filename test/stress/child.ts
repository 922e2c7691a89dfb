/** A process of the run: a host of actors, or a process with callers and watchers. */
import { SqlRegistry } from '../../registries/sql/registry.js'
import { LocalRegistry, RedisRegistry, Stage, type Registry, type StageOptions } from '../../src/index.js'
import { answering } from '../helpers/answering.js'
import { leave } from '../helpers/leaving.js'
import { listed } from '../helpers/listed.js'
import { Caller, type Calling, type Noted } from './caller.js'
import { Tampered, type Tampering } from './tampered.js'
import { addresses, defineThings } from './things.js'
import { Watcher, type Mode, type Sighting } from './watcher.js'

export interface Place {
  /** The URL of the registry. */
  registry: string
  ttlMs: number
  /** How its store is tampered with. */
  tampering?: Tampering | undefined
}

export interface Counts {
  acknowledged: number
  failed: Record<string, number>
  /** The first message for each failure. */
  samples: Record<string, string>
}

let stage: Stage
let tampered: Tampered | undefined
let callers: Caller[] = []
let stages: Stage[] = []
const watchers: Watcher[] = []

async function open(name: string, { registry, ttlMs, tampering }: Place, prepare?: (stage: Stage) => void): Promise<Stage> {
  const inner = (): Registry => {
    if (registry.startsWith('local:')) return new LocalRegistry(registry.slice('local:'.length))
    return registry.startsWith('redis:') ? new RedisRegistry(registry) : new SqlRegistry({ url: registry })
  }
  if (tampering) tampered ??= new Tampered(inner(), tampering)
  const options: StageOptions = { ttlMs, ...(tampered ? { store: tampered } : {}) }
  const made = new Stage(name, registry, undefined, options)
  made.on('error', () => {}).on('failed', () => {}) // some of what it does fails on purpose
  prepare?.(made)
  await listed(made)
  return made
}

/** The actors that a caller watches: each caller watches others. */
function* watched(all: readonly string[], count: number, seed: number): Generator<string> {
  for (let i = 0; i < count; i++) yield all[(i * 37 + seed * 11) % all.length]!
}

const orders = {
  /** @returns the id of the stage */
  async host(name: string, place: Place, idleMs: number): Promise<string> {
    stage = await open(name, place, (made) => defineThings(made, idleMs))
    return stage.id
  },
  /** The addresses of the actors on this stage. */
  async hosted(): Promise<string[]> {
    return stage.actors().map(({ address }) => address)
  },
  /** Commits wait from now on. */
  async hold(): Promise<void> {
    tampered?.hold()
  },
  async held(): Promise<number> {
    return tampered?.held ?? 0
  },
  /** @returns the store's answers to the commits that had waited */
  async release(): Promise<readonly string[]> {
    return await tampered?.release() ?? []
  },
  async callers(names: readonly string[], place: Place, calling: Calling): Promise<void> {
    stages = await Promise.all(names.map((name) => open(name, place)))
    callers = stages.map((one, i) => new Caller(one, names[i]!, calling))
  },
  async start(): Promise<void> {
    for (const one of callers) one.start()
  },
  /** @param each  the number of actors that each caller watches in each mode; every fourth watcher is slow */
  async watch(each: number, actors: number, seed: number): Promise<void> {
    const all = addresses(actors)
    for (const [i, one] of stages.entries()) {
      for (const [n, mode] of (['every', 'latest'] satisfies Mode[]).entries()) {
        let count = 0
        for (const address of watched(all, each, seed + i * 2 + n)) watchers.push(new Watcher(one, address, mode, count++ % 4 === 3 ? 30 : 0))
      }
    }
  },
  async counts(): Promise<Counts> {
    const failed: Record<string, number> = {}
    for (const one of callers) for (const [key, count] of Object.entries(one.failed)) failed[key] = (failed[key] ?? 0) + count
    return { acknowledged: callers.reduce((sum, one) => sum + one.acknowledged, 0), failed, samples: Object.assign({}, ...callers.map((one) => one.samples)) as Record<string, string> }
  },
  async stop(): Promise<void> {
    await Promise.all(callers.map((one) => one.stop()))
  },
  /** Makes one call, recorded like the others. @returns the answer; undefined if the call failed */
  async add(address: string, id: string, ms: number): Promise<unknown> {
    const counter = stages[0]!.actor(address, { timeoutMs: 5000 })
    return callers[0]!.note(address, { kind: 'add', argument: id, run: () => counter['add']!(id, ms) })
  },
  /** The last look at all actors. @returns the answer of each */
  async last(all: readonly string[]): Promise<Record<string, unknown>> {
    return Object.fromEntries(await Promise.all(all.map(async (address) => [address, await callers[0]!.last(address)] as const)))
  },
  async noted(): Promise<{ operations: Noted[]; torn: string[] }> {
    return { operations: callers.flatMap((one) => one.operations), torn: callers.flatMap((one) => one.torn) }
  },
  async sightings(): Promise<Sighting[]> {
    return watchers.map((one) => one.sighting)
  },
  async unwatch(): Promise<void> {
    await Promise.all(watchers.map((one) => one.stop()))
  },
  async leave(way: Parameters<typeof leave>[0]): Promise<void> {
    leave(way)
  },
  /** @returns the duration in milliseconds */
  async close(): Promise<number> {
    const since = performance.now()
    await Promise.all([stage as Stage | undefined, ...stages].map((one) => one?.close()))
    return performance.now() - since
  },
}

export type Orders = typeof orders

answering(orders)
