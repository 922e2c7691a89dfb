import { EventEmitter, once } from 'node:events'
import { createReadStream } from 'node:fs'
import { Readable } from 'node:stream'
import type { Stage, StageError } from '../../src/index.js'
import type { Work } from './works.js'

// Readers that leave while their source waits, and streams that fail: everything that they began has to end.

/** The event that generators and actors wait for; a reader that has left must leave no listener on it. */
const bus = new EventEmitter().setMaxListeners(0)
let going = 0

/** The number of waiting generators and of the listeners that wait for them. */
export const sources = (): number => going + bus.listenerCount('tick') + bus.listenerCount('never')

class Counter {
  n = 0
  add(): number {
    return ++this.n
  }
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => { setTimeout(resolve, ms) })

async function subscriber(stage: Stage, to: string): Promise<void> {
  let left = 3
  for await (const one of await stage.to(to).call<AsyncIterable<string>>('ticks')) {
    if (one !== 'tick') throw new Error(`${one} came in place of a tick`)
    if (--left === 0) break
  }
}

/** The reader leaves while no value comes. */
async function silent(stage: Stage, to: string): Promise<void> {
  const rows = (await stage.to(to).call<AsyncIterable<string>>('silence'))[Symbol.asyncIterator]()
  await rows.next()
  const next = rows.next().catch(() => {})
  await pause(5)
  await rows.return?.()
  await next
}

async function observer(stage: Stage): Promise<void> {
  const address = `counters.${Math.floor(Math.random() * 20)}`
  let left = 2
  const adding = pause(1).then(() => stage.actor<Counter>(address).add()).catch(() => {})
  for await (const { n } of stage.observe<Counter>(address, ['n'])) {
    if (typeof n !== 'number') throw new Error(`n is ${String(n)}`)
    if (--left === 0) break
    void stage.actor<Counter>(address).add().catch(() => {})
  }
  await adding
}

/** @throws the error of `run`, unless it is the error of the stream, from the handler or from before the call was sent */
async function breaks(run: () => Promise<unknown>): Promise<void> {
  try {
    await run()
  } catch (error) {
    const { code, cause } = error as StageError
    if (code === 'REMOTE_ERROR' || (code === 'BAD_ARGUMENT' && /ENOENT|broke on purpose/.test((cause as Error).message))) return
    throw error
  }
  throw new Error('a stream that broke looked whole')
}

function* halves(): Generator<Buffer> {
  yield Buffer.alloc(50_000)
  throw new Error('broke on purpose')
}

async function all(stream: AsyncIterable<unknown>): Promise<void> {
  for await (const one of stream) void one
}

export const leaving: readonly Work[] = [
  { name: 'subscribers that leave', share: 0.05, run: subscriber },
  { name: 'subscribers of a silent source that leave', share: 0.05, run: silent },
  { name: 'observers that leave', share: 0.05, run: observer },
  { name: 'files that are missing, as arguments', share: 0.02, run: (stage, to) => breaks(() => stage.to(to).call('length', createReadStream('/no/such/file'))) },
  { name: 'streams that break, as arguments', share: 0.02, run: (stage, to) => breaks(() => stage.to(to).call('length', Readable.from(halves()))) },
  { name: 'streams that break, as results', share: 0.02, run: (stage, to) => breaks(async () => { await all(await stage.to(to).call<Readable>('halves')) }) },
]

/** Serves the other end of these works. @returns a function that ends it */
export function serveLeaving(stage: Stage): () => void {
  const everybody = stage.to('*')
  const waiting = (event: string) => async function* (this: { signal: AbortSignal }): AsyncGenerator<string> {
    const { signal } = this
    going++
    try {
      yield 'tick'
      for (;;) {
        await once(bus, event, { signal })
        yield 'tick'
      }
    } finally {
      going--
    }
  }
  everybody.provide('ticks', waiting('tick'))
  everybody.provide('silence', waiting('never'))
  everybody.provide('halves', () => Readable.from(halves()))
  stage.define({ pattern: 'counters.{id}', constructor: Counter, idleMs: 1000 })
  const ticking = setInterval(() => bus.emit('tick'), 10)
  return () => { clearInterval(ticking) }
}
