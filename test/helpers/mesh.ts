import { createHash } from 'node:crypto'
import { MemoryInterface, MemoryNetwork, MemoryRegistry, Stage, type StageOptions, type Random, type Clock } from '../../src/index.js'
import type { Assertions } from '../suites/test.js'
import { systemClock } from '../../src/clock.js'
import { systemRandom } from '../../src/random.js'
import { VirtualClock, settle } from './virtual-clock.js'

/** Chance from a seed: the same numbers each time. */
export function seeded(seed: number | string): Random {
  let count = 0
  const block = (): Buffer => createHash('sha256').update(`${seed}/${count++}`).digest()
  return {
    bytes: (size) => Buffer.concat(Array.from({ length: Math.ceil(size / 32) }, block)).subarray(0, size),
    float: () => block().readUInt32BE(0) / 2 ** 32,
  }
}

let rooms = 0

export interface Mesh<C extends Clock> {
  clock: C
  network: MemoryNetwork
  registry: MemoryRegistry
  /** A stage of its own interface on the mesh's registry; closed at the end of the test. */
  stage(name: string, options?: StageOptions): Stage
}

function mesh<C extends Clock>(t: Pick<Assertions, 'teardown'>, clock: C, random: Random, latencyMs = 0): Mesh<C> {
  const room = `test-${process.pid}-${++rooms}`
  const network = new MemoryNetwork({ clock, random, latencyMs })
  const registry = new MemoryRegistry(room, { clock, random })
  const stages: Stage[] = []
  t.teardown(async () => {
    const closing = Promise.all([...stages.map((stage) => stage.close()), registry.close()])
    if (clock instanceof VirtualClock) await advance(clock, closing, 20_000)
    await closing
  })
  return {
    clock, network, registry,
    stage: (name, options = {}) => {
      const stage = new Stage(name, new MemoryRegistry(room, { clock, random }), new MemoryInterface(network, { clock }), { ...options, clock, random } as StageOptions)
      stages.push(stage)
      return stage
    },
  }
}

/** Stages in this process on a clock that the test moves. */
export const virtualMesh = (t: Pick<Assertions, 'teardown'>, { seed = 1, latencyMs = 0 }: { seed?: number; latencyMs?: number } = {}): Mesh<VirtualClock> =>
  mesh(t, new VirtualClock(), seeded(seed), latencyMs)

/** Stages in this process in real time. */
export const realMesh = (t: Pick<Assertions, 'teardown'>): Mesh<Clock> => mesh(t, systemClock, systemRandom)

/** Moves time until `promise` has settled, at most `ms`; rejects when it has not by then. */
export async function advance<T>(clock: VirtualClock, promise: Promise<T>, ms = 60_000, step = 50): Promise<T> {
  let over = false
  promise.then(() => { over = true }, () => { over = true })
  await settle()
  for (let passed = 0; !over && passed < ms; passed += step) await clock.advance(step)
  if (!over) throw new Error(`still pending after ${ms} ms of virtual time`)
  return promise
}
