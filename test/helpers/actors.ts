import { MemoryRegistry, StageError, framing, rpc, type ChainItem, type Code, type Fence, type Layer, type Registry, type Stage, type StageOptions, type Store } from '../../src/index.js'
import type { Claim, Claimed, Commit, Wake } from '../../src/types.js'
import type { Rpc } from '../../wrappers/rpc/rpc.js'
import type { Service } from '../../wrappers/rpc/types.js'
import type { ExecutionContext } from 'ava'
import type { Assertions } from '../suites/test.js'
import { advance, virtualMesh, type Mesh } from './mesh.js'
import type { VirtualClock } from './virtual-clock.js'
import { NOTHING } from '../../wrappers/rpc/context.js'

type Step = 'claim' | 'commit' | 'release' | 'look' | 'due'

/** The trouble that a store has at the moment. */
export interface Trouble {
  /** Milliseconds before a step is taken. */
  beforeMs?: number
  /** Milliseconds from the step to its answer. */
  afterMs?: number
  /** The step is not taken, and rejects with this error. */
  fail?: Error
  /** The step is taken, but its answer is lost: it rejects with this error. */
  lose?: Error
  /** The answer never comes. */
  hang?: 'before' | 'after'
}

export const away = (): StageError => new StageError('STORE_UNAVAILABLE', 'the store of this test is away')

/** The store of one stage, which can be slow, broken or silent for each kind of step. */
export class Shelf implements Registry {
  readonly address: string
  /** Steps that were begun, in the order in which they were requested. */
  readonly steps: { step: Step; actor: string; commit?: Commit; claim?: Claim }[] = []
  readonly #inner: MemoryRegistry
  #trouble: (step: Step, actor: string) => Trouble | undefined = () => undefined

  constructor(inner: MemoryRegistry, private readonly clock: VirtualClock) {
    this.#inner = inner
    this.address = inner.address
  }

  /** Sets the trouble from now on; without an argument there is none. */
  trouble(what: Trouble | ((step: Step, actor: string) => Trouble | undefined) = {}, ...only: Step[]): void {
    const fixed = typeof what === 'function' ? what : () => what
    this.#trouble = (step, actor) => only.length === 0 || only.includes(step) ? fixed(step, actor) : undefined
  }

  count(step: Step, actor?: string): number {
    return this.steps.filter((one) => one.step === step && (actor === undefined || one.actor === actor)).length
  }

  store(namespace: string): Store {
    const store = this.#inner.store(namespace)
    return {
      address: store.address,
      claim: (actor: string, claim: Claim): Promise<Claimed> => this.#take({ step: 'claim', actor, claim }, () => store.claim(actor, claim)),
      commit: (actor: string, fence: Fence, commit: Commit) => this.#take({ step: 'commit', actor, commit }, () => store.commit(actor, fence, commit)),
      release: (actor: string, fence: Fence) => this.#take({ step: 'release', actor }, () => store.release(actor, fence)),
      look: (actor: string) => this.#take({ step: 'look', actor }, () => store.look(actor)),
      due: (limit: number, after?: Wake) => this.#take({ step: 'due', actor: '' }, () => store.due(limit, after)),
      close: () => store.close(),
    }
  }

  publish: Registry['publish'] = () => Promise.reject(new Error('a store only'))
  watch: Registry['watch'] = () => { throw new Error('a store only') }

  close(): Promise<void> {
    return this.#inner.close()
  }

  async #take<T>(one: Shelf['steps'][number], take: () => Promise<T>): Promise<T> {
    this.steps.push(one)
    const trouble = this.#trouble(one.step, one.actor) ?? {}
    const { beforeMs = 0, afterMs = 0, fail, lose, hang } = trouble
    if (beforeMs > 0) await this.#wait(beforeMs)
    if (fail || 'fail' in trouble && fail === null) throw fail as unknown
    if (hang === 'before') await new Promise(() => {})
    const answer = await take()
    if (afterMs > 0) await this.#wait(afterMs)
    if (hang === 'after') await new Promise(() => {})
    if (lose) throw lose
    return answer
  }

  #wait(ms: number): Promise<void> {
    return new Promise((resolve) => { this.clock.setTimeout(resolve, ms) })
  }
}

export interface Node {
  stage: Stage
  shelf: Shelf
  /** The address at which the stage listens. */
  address: string
  /** Failures that no call reports: the messages of `error` events. */
  errors: string[]
  /** Code of its actors and methods that has thrown. */
  failures: string[]
}

export interface ActorMesh extends Mesh<VirtualClock> {
  /** Adds a stage, with its own access to the one store. */
  add(name: string, prepare?: (stage: Stage) => void, options?: StageOptions): Promise<Node>
  /** Advances time until the promise has settled. */
  go<T>(promise: Promise<T>, ms?: number, step?: number): Promise<T>
  /** Checks the code of the failure, and `executed`. */
  fails(promise: Promise<unknown>, code: Code, executed?: StageError['executed']): Promise<StageError>
  /**
   * Ends the process of the stage: connections are reset, its address refuses, its lease runs out, and its writes no longer
   * reach the store.
   */
  crash(node: Node): void
  /** The stage no longer hears or sends anything, but its connections stay open. */
  silence(node: Node): void
}

/** A mesh on a clock that the test moves, in which each stage has a store that can be disturbed. */
export function actorMesh(t: Pick<Assertions, 'teardown'> & Pick<ExecutionContext, 'is' | 'fail' | 'true'>, options: { seed?: number; latencyMs?: number } = {}): ActorMesh {
  const mesh = virtualMesh(t, options)
  const { clock, network, registry } = mesh
  const room = registry.address.slice('memory:'.length)
  const go = async <T>(promise: Promise<T>, ms?: number, step?: number): Promise<T> => {
    promise.catch(() => {})
    return advance(clock, promise, ms, step)
  }
  const silent = (node: Node): void => {
    mesh.cutOff(node.stage, true)
    node.shelf.trouble({ hang: 'before' })
  }
  return {
    ...mesh, go,
    add: async (name, prepare, more = {}) => {
      const shelf = new Shelf(new MemoryRegistry(room, { clock }), clock)
      const stage = mesh.stage(name, { ...more, store: shelf })
      const errors: string[] = []
      stage.on('error', (error) => errors.push(error.message))
      const failures: string[] = []
      stage.on('failed', (error, { what }) => failures.push(`${what}: ${error.message}`))
      prepare?.(stage)
      const listening = new Promise<string>((resolve) => stage.once('listening', ([address]) => resolve(address)))
      await go(stage.ready())
      await clock.advance(20)
      return { stage, shelf, address: await listening, errors, failures }
    },
    fails: async (promise, code, executed) => {
      const outcome = await go(promise.then((value) => ({ value }), (error: unknown) => ({ error })))
      if (!('error' in outcome)) throw new Error(`expected ${code}, and it resolved with ${JSON.stringify(outcome.value)}`)
      const { error } = outcome
      if (!(error instanceof StageError)) throw error
      t.is(error.code, code, error.message)
      if (executed) t.is(error.executed, executed, `${code}: ${error.message}`)
      return error
    },
    crash: (node) => {
      silent(node)
      network.refuse(node.address)
      network.cut(node.address)
    },
    silence: (node) => {
      silent(node)
      network.hold(node.address)
    },
  }
}

/**
 * A chain with a forged actor layer, through which a stage can send any message and answer that a malicious peer could
 * send.
 */
export function forging({ types, services = {} }: { types?: readonly string[]; services?: Record<string, Service> } = {}): ChainItem[] {
  const layer: Layer<Rpc, Rpc> = {
    name: 'actors',
    mount: (mesh) => {
      if (types) mesh.announce('actors', { types, objects: false })
      return {
        attach: (link) => { for (const [name, service] of Object.entries(services)) link.serve(name, service) },
        host: {
          forge: (id: string, service: string, args: readonly unknown[], chain: readonly string[]) => new Promise((resolve, reject) => {
            mesh.select(mesh.peers().find((one) => one.id === id) ?? id).acquire(undefined, (error, link) => {
              if (!link) return reject(error!)
              resolve(link.top.request(service, args, { endsAt: mesh.clock.now() + 5000, carried: { ...NOTHING, chain } }))
            })
          }),
        },
      }
    },
  }
  return [framing(), rpc(), layer]
}

/** Sends a request to the stage with that id, from a stage whose chain is `forging()`. */
export const forge = (from: Stage, id: string, service: string, args: readonly unknown[], chain: readonly string[] = []): Promise<unknown> => from.verb('forge')(id, service, args, chain) as Promise<unknown>
