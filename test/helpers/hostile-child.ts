/** A stage in its own process that reports the memory it holds, for peers that try to make it hold too much. */
import { MemoryRegistry, Stage, TcpInterface } from '../../src/index.js'
import { answering } from './answering.js'
import { PROCESS } from '../../wrappers/rpc/serving/held.js'

export interface Counted {
  readonly held: number
  readonly answers: number
  readonly stats: Readonly<Record<string, number>>
}

export interface Told extends Counted {
  readonly address: string
  /** Bytes on the heap, after a collection. */
  readonly heap: number
  /** Bytes outside of the heap. */
  readonly external: number
}

const registry = new MemoryRegistry('hostile')
const stage = new Stage('victim', registry, new TcpInterface(), { namespace: 'default' })
let address = ''
stage.on('listening', ([first]) => { address = first ?? '' })
stage.on('error', () => {})
stage.on('stream', (stream) => { stream.pause() })
const release: (() => void)[] = []
const wait = (): Promise<void> => new Promise((resolve) => { release.push(resolve) })
const to = stage.to('*')
to.provide('greet', () => 'hi')
to.provide('hold', async (value: unknown) => { await wait(); return typeof value })
to.provide('never', () => new Promise(() => {}))
to.provide('each', async (items: AsyncIterable<unknown>) => { for await (const item of items) { await wait(); void item } })
to.provide('large', () => Buffer.alloc(1024 * 1024))
stage.define({ pattern: 'things.{id}', maxActors: 20_000, create: () => ({ n: 0, hold: async (value: unknown) => { await wait(); return typeof value } }) })
await stage.ready()

const counted = (): Counted => ({ held: PROCESS.calls.used, answers: PROCESS.answers.used, stats: stage.stats() })

const orders = {
  /** For polling: unlike `tell` it collects no garbage, which takes a thousand times as long. */
  count: async (): Promise<Counted> => counted(),
  tell: async (): Promise<Told> => {
    await new Promise((resolve) => { setImmediate(resolve) })
    for (let i = 0; i < 3; i++) (globalThis as { gc?: () => void }).gc?.()
    return { address, heap: process.memoryUsage().heapUsed, external: process.memoryUsage().external, ...counted() }
  },
  /** Lets the waiting handlers continue. @returns their number */
  release: async () => {
    const all = release.splice(0)
    for (const one of all) one()
    return all.length
  },
  close: () => stage.close(),
}
export type HostileOrders = typeof orders
answering(orders)
