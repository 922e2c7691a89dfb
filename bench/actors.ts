/**
 * What actors cost: a call within a stage, and one over a link beside the same by rpc; and what many of them take.
 *
 *     node --expose-gc dist/bench/actors.js [--rounds 3] [--seconds 2] [--actors 100000]
 */
import { parseArgs } from 'node:util'
import { Stage } from '../src/index.js'
import { measure, median } from './measure.js'

const { values } = parseArgs({ options: {
  rounds: { type: 'string', default: '3' },
  seconds: { type: 'string', default: '2' },
  actors: { type: 'string', default: '100000' },
} })
const rounds = Number(values.rounds)
const seconds = Number(values.seconds)
const count = Number(values.actors)

class Counter {
  n = 0
  add(by: number): number { return this.n += by }
}

/** So many calls a second, 100 in flight. */
async function rate(call: () => Promise<unknown>): Promise<number> {
  const run = async (ms: number): Promise<number> => {
    const end = performance.now() + ms
    let calls = 0
    await Promise.all(Array.from({ length: 100 }, async () => {
      for (;;) {
        for (let i = 0; i < 20; i++) await call()
        calls += 20
        if (performance.now() >= end) return
      }
    }))
    return calls
  }
  await run(500)
  const started = performance.now()
  const calls = await run(seconds * 1000)
  return calls / ((performance.now() - started) / 1000)
}

async function within(): Promise<void> {
  const stage = new Stage('one', 'memory:bench-actors')
  stage.define({ pattern: 'plain.{id}', constructor: Counter })
  stage.define({ pattern: 'kept.{id}', constructor: Counter, durable: true })
  stage.to('one').provide('add', (by: number) => by + 1)
  await stage.ready()
  const counter = new Counter()
  const plain = stage.actor<Counter>('plain.1')
  const kept = stage.actor<Counter>('kept.1')
  const target = stage.to('one')
  const bare = await rate(() => Promise.resolve(counter.add(1)))
  const show = (what: string, found: number): void => console.log(`${what}: ${Math.round(found).toLocaleString('en')} calls/s, ${(found / bare).toFixed(3)} × a method that returns a promise`)
  show('an object', bare)
  show('an actor of this stage', await rate(() => plain.add(1)))
  show('a durable one, in memory', await rate(() => kept.add(1)))
  show('rpc to this stage itself', await rate(() => target.call('add', 1)))
  await stage.close()
}

async function between(): Promise<void> {
  const ratios: number[] = []
  const costs: number[] = []
  for (let round = 0; round < rounds; round++) {
    const rpc = await measure('stagemesh', { inFlight: 100, seconds })
    const actor = await measure('actor', { inFlight: 100, seconds })
    ratios.push(actor.callsPerSecond / rpc.callsPerSecond)
    costs.push(actor.cpuPerCall / rpc.cpuPerCall)
  }
  console.log(`an actor of another process, 100 in flight: ${median(ratios).toFixed(3)} × the calls of rpc at ${median(costs).toFixed(2)} × its CPU a call (medians of ${rounds})`)
}

async function many(): Promise<void> {
  const stage = new Stage('one', 'memory:bench-actors')
  stage.define({ pattern: 'plain.{id}', constructor: Counter, idleMs: 1000 })
  await stage.ready()
  const used = (): number => { globalThis.gc?.(); return process.memoryUsage().heapUsed }
  const before = used()
  const started = performance.now()
  for (let at = 0; at < count; at += 500) await Promise.all(Array.from({ length: Math.min(500, count - at) }, (_, i) => stage.actor<Counter>(`plain.${at + i}`).add(1)))
  const made = performance.now() - started
  console.log(`${count} activations: ${made.toFixed(0)} ms, ${(1000 * made / count).toFixed(1)} µs each`)
  const held = stage.actors().length
  console.log(`memory of an idle actor: ${Math.round((used() - before) / held)} bytes with its row in the store and the way to it, of ${held} that are active`)
  const idle = performance.now()
  while (stage.actors().length > 0) await new Promise((resolve) => { setTimeout(resolve, 50) })
  console.log(`all collected ${(performance.now() - idle).toFixed(0)} ms later, at idleMs 1000; ${Math.round((used() - before) / count)} bytes for each are left: its epoch, and the way to it`)
  await stage.close()
}

await within()
await between()
await many()
