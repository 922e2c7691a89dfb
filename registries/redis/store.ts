import type { StoreSteps } from '../shared/storing.js'
import type { Claim, Claimed, Clock, Commit, Fence, Store, Wake } from '../../src/types.js'
import { Connection } from './connection.js'
import type { Script } from './script.js'
import { CLAIM, COMMIT, DUE, LOOK, RELEASE, actorKey, wakesKey } from './store-scripts.js'
import type { Target } from './target.js'

/** Timeout of a command in milliseconds, as a state of 4 MiB may take a while over a slow network. */
const COMMAND_MS = 5000

/** @param address  the address of the Redis, without credentials */
export function warningOf(address: string): string {
  const replica = 'when it fails over to a replica, which follows it asynchronously'
  const restart = 'when it restarts without its append-only file (appendonly yes; with appendfsync everysec up to a second of it)'
  return `${address} may lose what was committed last: ${replica}, and ${restart}`
}

/** Committed state and owners of one namespace's actors, over a separate connection, so that no heartbeat waits behind a large state. */
export class RedisStore implements StoreSteps {
  readonly #commands: Connection

  constructor(target: Target, clock: Clock, private readonly namespace: string) {
    this.#commands = new Connection(target, clock, COMMAND_MS, 'store')
  }

  async claim(actor: string, { stage, activation, over = '', floor = 0 }: Claim): Promise<Claimed> {
    const keys = [actorKey(this.namespace, actor), wakesKey(this.namespace)]
    const answer = await this.#run(CLAIM, keys, [stage, activation, over, String(floor), actor])
    const [what, epoch, ...rest] = answer as [Buffer, Buffer, ...unknown[]]
    if (String(what) === 'granted') {
      const [version, now, data] = rest as [Buffer, Buffer, Buffer | null]
      return { epoch: Number(epoch), version: Number(version), data: data ?? undefined, now: Number(now) }
    }
    const [owner, owning] = rest as [Buffer, Buffer]
    return { owner: { stage: String(owner), activation: String(owning), epoch: Number(epoch) } }
  }

  async commit(actor: string, { epoch, activation }: Fence, { id, version, data, wake }: Commit): Promise<'ok' | 'fenced'> {
    const wakes = wake === undefined ? '' : String(Math.ceil(wake))
    const keys = [actorKey(this.namespace, actor), wakesKey(this.namespace)]
    const answer = await this.#run(COMMIT, keys, [String(epoch), activation, id, String(version), wakes, actor, data])
    return String(answer) === 'ok' ? 'ok' : 'fenced'
  }

  async release(actor: string, { epoch, activation }: Fence): Promise<void> {
    await this.#run(RELEASE, [actorKey(this.namespace, actor)], [String(epoch), activation])
  }

  async look(actor: string): ReturnType<Store['look']> {
    const found = await this.#run(LOOK, [actorKey(this.namespace, actor)], [])
    const [epoch, version, now, stage, activation, data] = found as [Buffer?, Buffer?, Buffer?, Buffer?, Buffer?, Buffer?]
    if (epoch === undefined) return undefined
    const owner = stage && activation ? { stage: String(stage), activation: String(activation), epoch: Number(epoch) } : undefined
    return { epoch: Number(epoch), owner, version: Number(version), data: data ?? undefined, now: Number(now) }
  }

  async due(limit: number, after?: Wake): Promise<readonly Wake[]> {
    const from = after ? [String(after.at), after.actor] : []
    const flat = await this.#run(DUE, [wakesKey(this.namespace)], [String(limit), ...from]) as Buffer[]
    return Array.from({ length: flat.length / 2 }, (_, i) => ({ actor: String(flat[2 * i]), at: Number(flat[2 * i + 1]) }))
  }

  close(): Promise<void> {
    this.#commands.close()
    return Promise.resolve()
  }

  #run(script: Script, keys: readonly string[], args: readonly (string | Buffer)[]): Promise<unknown> {
    return this.#commands.script(script, keys, args, 'bytes')
  }
}
