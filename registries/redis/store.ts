import { StageError } from '../../src/errors.js'
import { outside } from '../../src/outside.js'
import type { StoreSteps } from '../shared/storing.js'
import type { Claim, Claimed, Clock, Commit, Fence, Store, Wake } from '../../src/types.js'
import { Connection, isReply } from './connection.js'
import type { Script } from './script.js'
import { AGREE, CLAIM, COMMIT, DUE, LOOK, RELEASE, actorKeys, type ActorKeys } from './store-scripts.js'
import { isCluster, type Client, type Target } from './target.js'

/** Timeout of a command in milliseconds, as a state of 4 MiB may take a while over a slow network. */
const COMMAND_MS = 5000

/** How a Redis keeps its data; undefined if it does not tell. */
export type Settings = { readonly appendonly?: string; readonly appendfsync?: string } | undefined

/**
 * What a Redis with these settings may lose; undefined if each commit is on its disk before it is acknowledged.
 * @param address  the address of the Redis, without credentials
 */
export function warningOf(address: string, settings: Settings): string | undefined {
  const { appendonly, appendfsync } = settings ?? {}
  const kept = appendonly === 'yes'
  if (kept && appendfsync === 'always') return undefined
  const restart = !settings ? 'when it restarts without appendonly yes and appendfsync always, settings that it does not disclose'
    : kept ? `when its machine fails, because appendfsync is ${appendfsync}: set appendfsync always to keep them`
    : 'when it restarts, because appendonly is no: set appendonly yes and appendfsync always to keep them'
  return `${address} may lose the last commits ${restart}; and when it fails over to a replica, which follows asynchronously`
}

/** Committed state and owners of one namespace's actors, over a separate connection, so that no heartbeat waits behind a large state. */
export class RedisStore implements StoreSteps {
  readonly #commands: Connection
  readonly #keys: ActorKeys
  #agreed: Promise<void> | undefined

  constructor(private readonly target: Target, clock: Clock, namespace: string) {
    this.#commands = new Connection(target, clock, COMMAND_MS, 'store')
    this.#keys = actorKeys(namespace, target.prefix, target.shards)
  }

  async claim(actor: string, { stage, activation, over = '', floor = 0 }: Claim): Promise<Claimed> {
    const answer = await this.#run(CLAIM, [this.#keys.actor(actor), this.#keys.wakes(actor)], [stage, activation, over, String(floor), actor])
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
    const answer = await this.#run(COMMIT, [this.#keys.actor(actor), this.#keys.wakes(actor)], [String(epoch), activation, id, String(version), wakes, actor, data])
    return String(answer) === 'ok' ? 'ok' : 'fenced'
  }

  async release(actor: string, { epoch, activation }: Fence): Promise<void> {
    await this.#run(RELEASE, [this.#keys.actor(actor)], [String(epoch), activation])
  }

  async look(actor: string): ReturnType<Store['look']> {
    const found = await this.#run(LOOK, [this.#keys.actor(actor)], [])
    const [epoch, version, now, stage, activation, data] = found as [Buffer?, Buffer?, Buffer?, Buffer?, Buffer?, Buffer?]
    if (epoch === undefined) return undefined
    const owner = stage && activation ? { stage: String(stage), activation: String(activation), epoch: Number(epoch) } : undefined
    return { epoch: Number(epoch), owner, version: Number(version), data: data ?? undefined, now: Number(now) }
  }

  async due(limit: number, after?: Wake): Promise<readonly Wake[]> {
    const from = after ? [String(after.at), after.actor] : []
    const answers = await Promise.allSettled(this.#keys.allWakes.map(async (key) => {
      const flat = await this.#run(DUE, [key], [String(limit), ...from]) as Buffer[]
      return Array.from({ length: flat.length / 2 }, (_, i) => ({ bytes: flat[2 * i], at: Number(flat[2 * i + 1]) }))
    }))
    const parts = answers.flatMap((answer) => answer.status === 'fulfilled' ? [answer.value] : [])
    // the actors of a node that is away wait, but not those of the others
    if (parts.length === 0) throw (answers[0] as PromiseRejectedResult).reason
    const all = parts.length === 1 ? parts[0] : parts.flat().sort((a, b) => a.at - b.at || Buffer.compare(a.bytes, b.bytes))
    return all.slice(0, limit).map(({ bytes, at }) => ({ actor: String(bytes), at }))
  }

  async warning(): Promise<string | undefined> {
    return warningOf(this.target.address, await this.#commands.run(settingsOf))
  }

  close(): Promise<void> {
    this.#commands.close()
    return Promise.resolve()
  }

  /** Stages with different numbers of shards would each have activations of the same actor. */
  async #agree(): Promise<void> {
    const { address, shards } = this.target
    const others = Number(String(await this.#commands.script(AGREE, [this.#keys.store], [String(shards)])))
    if (others === shards) return
    const why = `its actors are spread over ${others} shards, and this stage has shards ${shards}`
    throw new StageError('STORE_UNAVAILABLE', `the store ${address} cannot be used: ${why}; set shards to ${others}`)
  }

  async #run(script: Script, keys: readonly string[], args: readonly (string | Buffer)[]): Promise<unknown> {
    await (this.#agreed ??= outside(() => this.#agree().catch((error: unknown) => {
      this.#agreed = undefined
      throw error
    })))
    return this.#commands.script(script, keys, args, 'bytes')
  }
}

/** The settings of one server; those of a cluster may differ from node to node, and hosted ones may not tell. */
async function settingsOf(client: Client): Promise<Settings> {
  if (isCluster(client)) return undefined
  try {
    const flat = await client.config('GET', 'append*')
    const entries = Array.from({ length: flat.length / 2 }, (_, i) => [flat[2 * i], flat[2 * i + 1]])
    return Object.fromEntries(entries) as Settings
  } catch (error) {
    if (isReply(error)) return undefined
    throw error
  }
}
