/** A process of the run: some stages, each of which calls the others all the time. */
import { StageError } from '../../src/errors.js'
import { Stage } from '../../src/index.js'
import { answering } from '../helpers/answering.js'

/** What happened since the last tally. */
export interface Tally {
  readonly calls: number
  /** How many calls failed, by code. */
  readonly failed: Record<string, number>
  /** The peers that one of the stages saw leave, with the reason. */
  readonly parts: readonly string[]
  readonly ids: readonly string[]
  /** How many peers each stage knows. */
  readonly peers: readonly number[]
  /** The first message of each code of the stages' `error` events. */
  readonly errors: Record<string, string>
}

const CALL_MS = 25
const stages: Stage[] = []
let [calls, failed, parts, errors]: [number, Record<string, number>, string[], Record<string, string>] = [0, {}, [], {}]

async function call(from: Stage, names: readonly string[]): Promise<void> {
  const others = names.filter((name) => name !== from.name)
  const name = others[Math.floor(Math.random() * others.length)]!
  calls++
  try {
    await from.to(name, { timeoutMs: 3000 }).call('echo', calls)
  } catch (error) {
    const code = error instanceof StageError ? error.code : 'none'
    failed[code] = (failed[code] ?? 0) + 1
  }
}

const orders = {
  /** Opens the stages, without waiting for the registry. */
  async open(registry: string, names: readonly string[]): Promise<void> {
    for (const name of names) {
      const stage = new Stage(name, { registry })
      stages.push(stage)
      stage.to('*').provide('echo', (value: number) => value)
      stage.on('error', (error) => { errors[error instanceof StageError ? error.code : 'none'] ??= error.message })
      stage.on('part', (peer, reason) => { parts.push(`${peer.name} ${reason}`) })
    }
  },
  /** Begins to call, for as long as the process lives. */
  async begin(names: readonly string[]): Promise<void> {
    for (const stage of stages) setInterval(() => void call(stage, names), CALL_MS)
  },
  /** The result, and a new beginning. */
  async tally(): Promise<Tally> {
    const tally = { calls, failed, parts, errors, ids: stages.map(({ id }) => id), peers: stages.map((stage) => stage.peers().length) }
    ;[calls, failed, parts, errors] = [0, {}, [], {}]
    return tally
  },
  /** Opens one more stage until it is listed and knows that many peers, and closes it. @returns after how many milliseconds */
  async probe(registry: string, peers: number): Promise<number> {
    const since = performance.now()
    const stage = new Stage('probe', { registry })
    stage.on('error', () => {})
    try {
      while (!await stage.ready().then(() => true, () => false) || stage.peers().length < peers) await new Promise((resolve) => { setTimeout(resolve, 50) })
      return performance.now() - since
    } finally {
      await stage.close()
    }
  },
  /** @returns why a stage with that registry is not listed */
  async refused(registry: string): Promise<string> {
    const stage = new Stage('refused', { registry })
    stage.on('error', () => {})
    try {
      await stage.ready()
      return 'listed'
    } catch (error) {
      return error instanceof StageError ? `${error.code}: ${error.message}` : String(error)
    } finally {
      await stage.close()
    }
  },
}
export type Orders = typeof orders

answering(orders)
