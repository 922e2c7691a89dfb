/** A change in a large mesh costs a stage what has changed, not the size of the mesh (P28). */
import { setImmediate as breath } from 'node:timers/promises'
import test, { type ExecutionContext } from 'ava'
import { MemoryInterface, Stage, type Registry } from '../../src/index.js'
import type { Entry, View } from '../../src/types.js'
import { sampleEntry } from '../suites/registry.js'

/** A registry whose views the test hands out. */
class Given implements Registry {
  readonly address = 'given:'
  #views: View[] = [{ generation: 'g', entries: [], lapsed: [] }]
  #wake = (): void => {}

  give(view: Partial<View>): void {
    this.#views.push({ generation: 'g', entries: [], lapsed: [], ...view })
    this.#wake()
  }

  publish(entry: Entry): ReturnType<Registry['publish']> {
    this.give({ entries: [entry], removed: [] })
    return Promise.resolve({ renew: () => Promise.resolve('ok' as const), close: () => Promise.resolve() })
  }

  async *watch(_: string, signal: AbortSignal): AsyncGenerator<View> {
    signal.addEventListener('abort', () => this.#wake())
    while (!signal.aborted) {
      const view = this.#views.shift()
      if (view) yield view
      else await new Promise<void>((resolve) => { this.#wake = resolve })
    }
  }

  close(): Promise<void> {
    return Promise.resolve()
  }
}

const entry = (i: number, change: Partial<Entry> = {}): Entry =>
  sampleEntry({ id: `e${i}`, name: `n${i}`, namespace: 'default', addresses: [`tcp://10.0.0.1:${1 + i}`], announces: { actors: { types: [`type${i % 10}.{id}`], objects: false } }, ...change })
const entries = (count: number, from = 0): Entry[] => Array.from({ length: count }, (_, i) => entry(from + i))

async function stageOf(t: ExecutionContext): Promise<{ registry: Given, stage: Stage }> {
  const registry = new Given()
  const stage = new Stage('s', registry, new MemoryInterface(), { store: 'memory:' })
  t.teardown(() => stage.close())
  stage.define({ pattern: 'own.{id}', create: () => ({}) })
  await stage.ready()
  return { registry, stage }
}

const shown = async (stage: Stage, peers: number): Promise<void> => { while (stage.peers().length !== peers) await breath() }

test('P28: a view with 16 000 new entries is applied in a moment, also while calls wait for peers', async (t) => {
  const { registry, stage } = await stageOf(t)
  const waiting = Array.from({ length: 100 }, (_, i) => stage.to(`missing-${i}`, { timeoutMs: 60_000 }).call('x').catch(() => {}))
  const actors = Array.from({ length: 100 }, (_, i) => stage.actor<{ x(): number }>(`missing.${i}`, { timeoutMs: 60_000 }).x().catch(() => {}))
  await breath()
  const started = performance.now()
  registry.give({ entries: entries(16_000), removed: [] })
  await shown(stage, 16_000)
  t.true(performance.now() - started < 2000, `${performance.now() - started} ms`)
  await stage.close()
  await Promise.all([...waiting, ...actors])
})

test('P28: a change costs the same in a mesh of 200 and of 20 000', async (t) => {
  const costs: number[] = []
  for (const size of [200, 20_000]) {
    const { registry, stage } = await stageOf(t)
    registry.give({ entries: entries(size), removed: [] })
    await shown(stage, size)
    const change = async (from: number, count: number): Promise<void> => {
      for (let i = from; i < from + count; i++) {
        registry.give({ entries: [entry(size + i)], removed: [] })
        registry.give({ removed: [`e${size + i}`], lapsed: i % 2 ? [`e${size + i}`] : [] })
      }
      registry.give({ entries: [entry(0, { meta: { at: String(from) } })], removed: [] })
      while (stage.peers('n0')[0]?.meta['at'] !== String(from)) await breath()
    }
    await change(0, 300) // V8 compiles the code
    const rounds: number[] = []
    for (let round = 1; round <= 5; round++) {
      const started = performance.now()
      await change(round * 1000, 700)
      rounds.push(performance.now() - started)
    }
    costs.push(Math.min(...rounds)) // a collection, or other load, may slow down any of them
    t.is(stage.peers().length, size)
  }
  t.true(costs[1]! < 5 * costs[0]!, `${costs.map(Math.round).join(' ms, and in the large mesh ')} ms`)
})

test('changes of peers come as joins, updates and parts, each once and with its reason', async (t) => {
  const { registry, stage } = await stageOf(t)
  const told: string[] = []
  stage.on('join', ({ name }) => told.push(`join ${name}`))
  stage.on('update', ({ name, meta }) => told.push(`update ${name} ${meta['v']}`))
  stage.on('part', ({ name }, reason) => told.push(`part ${name} ${reason}`))
  const steps: readonly (readonly [Partial<View>, readonly string[]])[] = [
    [{ entries: entries(3), removed: [] }, ['join n0', 'join n1', 'join n2']],
    [{ entries: [entry(1, { meta: { v: '2' } })], removed: [] }, ['update n1 2']],
    [{ entries: [entry(1, { meta: { v: '2' } })], removed: [] }, []],
    [{ removed: ['e0'] }, ['part n0 closed']],
    [{ removed: ['e0', 'never seen'] }, []],
    [{ removed: ['e1'], lapsed: ['e1'] }, ['part n1 timeout']],
    [{ entries: [entry(0)], removed: [] }, []], // an id that was reported gone does not come back
    [{ entries: [entry(2, { draining: true })], removed: [] }, ['part n2 closed']],
    [{ entries: [entry(3), entry(4)], removed: [] }, ['join n3', 'join n4']],
    [{ entries: [entry(3)] }, ['part n4 closed']], // a complete view
    [{ entries: [entry(5)], generation: 'another' }, ['join n5']], // what is missing may only be forgotten
    [{ entries: [entry(3)], removed: [], generation: 'another' }, []],
    [{ removed: ['e5', 'e3'], lapsed: ['e3'], generation: 'another' }, ['part n5 closed', 'part n3 timeout']],
  ]
  for (const [view, expected] of steps) {
    registry.give(view)
    await breath()
    t.deepEqual(told.splice(0), expected, JSON.stringify(view))
  }
})
