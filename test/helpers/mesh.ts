import { createHash } from 'node:crypto'
import { MemoryInterface, MemoryNetwork, MemoryRegistry, Stage, StageError, type Clock, type Registry, type StageOptions } from '../../src/index.js'
import type { Entry, Lease, Random, View } from '../../src/types.js'
import type { Assertions } from '../suites/test.js'
import { systemClock } from '../../src/clock.js'
import { systemRandom } from '../../src/random.js'
import { VirtualClock, settle } from './virtual-clock.js'

/** Chance from a seed: the same numbers each time. One hash gives sixteen numbers, because simulations need many. */
export function seeded(seed: number | string): Random {
  let count = 0
  let block = Buffer.alloc(0)
  let at = 0
  const take = (size: number): number => {
    if (at + size > block.length) {
      block = createHash('sha512').update(`${seed}/${count++}`).digest()
      at = 0
    }
    at += size
    return at - size
  }
  return {
    bytes: (size) => Buffer.concat(Array.from({ length: Math.ceil(size / 32) }, () => { const from = take(32); return block.subarray(from, from + 32) })).subarray(0, size),
    float: () => { const from = take(4); return block.readUInt32BE(from) / 2 ** 32 },
  }
}

let rooms = 0

/** One stage's access to the registry, which can be cut while the other stages keep theirs. */
class Way implements Registry {
  cut = false

  constructor(private readonly inner: Registry) {}

  get address(): string {
    return this.inner.address
  }

  async publish(entry: Entry, ttlMs: number): Promise<Lease> {
    this.#check()
    const lease = await this.inner.publish(entry, ttlMs)
    return {
      ...(lease.lost ? { lost: true } : {}),
      renew: async (changed) => { this.#check(); return lease.renew(changed) },
      close: async () => { this.#check(); return lease.close() },
    }
  }

  async *watch(namespace: string, signal: AbortSignal): AsyncGenerator<View> {
    this.#check()
    for await (const view of this.inner.watch(namespace, signal)) {
      this.#check()
      yield view
    }
  }

  close(): Promise<void> {
    return this.inner.close()
  }

  #check(): void {
    if (this.cut) throw new StageError('REGISTRY_UNAVAILABLE', 'the way to the registry is cut')
  }
}

export interface Mesh<C extends Clock> {
  clock: C
  network: MemoryNetwork
  registry: MemoryRegistry
  /** Adds a stage with its own interface on the mesh's registry, which is closed at the end of the test. */
  stage(name: string, options?: StageOptions): Stage
  /** Cuts one stage off from the registry, or reconnects it: its lease runs out without its noticing. */
  cutOff(stage: Stage, cut: boolean): void
}

function mesh<C extends Clock>(t: Pick<Assertions, 'teardown'>, clock: C, random: Random, latencyMs = 0): Mesh<C> {
  const room = `test-${process.pid}-${++rooms}`
  const network = new MemoryNetwork({ clock, random, latencyMs })
  const registry = new MemoryRegistry(room, { clock, random })
  const stages: Stage[] = []
  const ways = new Map<Stage, Way>()
  t.teardown(async () => {
    const closing = Promise.all([...stages.map((stage) => stage.close()), registry.close()])
    if (clock instanceof VirtualClock) await advance(clock, closing, 20_000)
    await closing
  })
  return {
    clock, network, registry,
    stage: (name, options = {}) => {
      const way = new Way(new MemoryRegistry(room, { clock, random }))
      const stage = new Stage(name, way, new MemoryInterface(network, { clock }), { ...options, clock, random } as StageOptions)
      stages.push(stage)
      ways.set(stage, way)
      return stage
    },
    cutOff: (stage, cut) => { (ways.get(stage) as Way).cut = cut },
  }
}

/** Stages in this process on a clock that the test moves. */
export const virtualMesh = (t: Pick<Assertions, 'teardown'>, { seed = 1, latencyMs = 0 }: { seed?: number; latencyMs?: number } = {}): Mesh<VirtualClock> =>
  mesh(t, new VirtualClock(), seeded(seed), latencyMs)

/** Stages in this process in real time. */
export const realMesh = (t: Pick<Assertions, 'teardown'>): Mesh<Clock> => mesh(t, systemClock, systemRandom)

/** Advances time until `promise` has settled, at most by `ms`; rejects if it has not settled by then. */
export async function advance<T>(clock: VirtualClock, promise: Promise<T>, ms = 60_000, step = 50): Promise<T> {
  let over = false
  promise.then(() => { over = true }, () => { over = true })
  await settle()
  for (let passed = 0; !over && passed < ms; passed += step) await clock.advance(step)
  if (!over) throw new Error(`still pending after ${ms} ms of virtual time`)
  return promise
}
