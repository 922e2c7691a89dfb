/**
 * A process with stages in it, for the tests in this folder: it obeys the orders of its parent over IPC, with one answer to
 * each, and ends with its parent.
 */
import { TcpInterface, Stage, type StageOptions } from '../../src/index.js'
import type { TcpOptions } from '../../interfaces/tcp.js'
import type { TargetOptions } from '../../src/types.js'
import { answering } from '../helpers/answering.js'
import { journal, sight, type Note, type Sight } from '../helpers/journal.js'
import { listed } from '../helpers/listed.js'
import { leave } from '../helpers/leaving.js'
import { Load, serveWork, type Outcome } from '../helpers/load.js'

export interface Opening {
  name: string
  /** The URL of the registry. */
  registry: string
  /** The file in which `work` records the calls that it began. */
  file?: string
  tcp?: TcpOptions
  options?: StageOptions
}

interface Held {
  stage: Stage
  notes: Note[]
  load?: Load
}

const held = new Map<string, Held>()
const get = (key: string): Held => {
  const one = held.get(key)
  if (!one) throw new Error(`there is no ${key} in this process`)
  return one
}

const orders = {
  /** @returns the id of the stage */
  async open(key: string, { name, registry, file, tcp, options }: Opening): Promise<string> {
    const stage = tcp ? new Stage(name, registry, new TcpInterface(tcp), options) : new Stage(name, registry, undefined, options)
    held.set(key, { stage, notes: journal(stage) })
    stage.to('*').provide('who', () => ({ pid: process.pid, id: stage.id }))
    stage.to('*').provide('hang', () => new Promise(() => {}))
    if (file) serveWork(stage, file)
    await listed(stage)
    return stage.id
  },
  async ready(key: string): Promise<void> {
    await get(key).stage.ready()
  },
  async sight(key: string): Promise<Sight> {
    const { stage, notes } = get(key)
    return sight(stage, notes)
  },
  async call(key: string, to: string, options: TargetOptions, method: string, ...args: unknown[]): Promise<unknown> {
    return get(key).stage.to(to, options).call(method, ...args)
  },
  async load(key: string, to: string, inFlight: number, workMs?: number): Promise<void> {
    const one = get(key)
    one.load = new Load(one.stage, to, inFlight, workMs)
  },
  async outcomes(key: string): Promise<readonly Outcome[]> {
    return await get(key).load?.stop() ?? []
  },
  async leave(way: Parameters<typeof leave>[0]): Promise<void> {
    leave(way)
  },
  /** @returns the duration in milliseconds */
  async close(key: string): Promise<number> {
    const since = performance.now()
    await get(key).stage.close()
    held.delete(key)
    return performance.now() - since
  },
}

export type Orders = typeof orders

answering(orders)
