import { StageError, asError } from '../../../src/errors.js'
import { newId } from '../../../src/random.js'
import type { Claim, Claimed, Committed, Fence, Mesh, Store } from '../../../src/types.js'
import { within } from '../../../src/within.js'
import type { Rpc } from '../../rpc/rpc.js'
import { STORE_MS, type Activation } from './activation.js'

/** How often the owner of an actor may change while it is claimed. */
const TRIES_MAX = 8
/** Claims that are looked at in a row, before others get the store. */
const BATCH = 100
/** Addresses that one stage is to be told of; those beyond it learn with their next commit. */
const TOLD_MAX = 10_000
const ANSWER_MS = 5000
/** The store is asked for the same actors no sooner. */
const AGAIN_MS = 200

/** Tells a stage that actors were taken over from it. */
export const DEPOSED = '@deposed'

/**
 * The right to host actors: taken in the store, from nobody or from a stage that is gone, and looked at again when
 * there is reason to doubt it. Nothing is safe because of what stands here, as a commit is refused without its claim:
 * this is so that no second activation goes on for long, where it keeps nothing and would not notice.
 */
export class Claims {
  /** Stages that were judged dead and may not be: what was taken over from them, and until when they can be told. */
  readonly #deposed = new Map<string, { addresses: Set<string>; until: number }>()
  readonly #uncertain = new Set<() => void>()
  /** Others say that these were taken over from here. */
  readonly #doubted = new Set<Activation>()
  #looking = false
  /** The store's clock when ours was at 0, as of the last claim. */
  storeTime = 0
  #closed = false

  constructor(
    private readonly mesh: Mesh<Rpc>,
    private readonly store: () => Store,
    private readonly active: (address: string) => Activation | undefined,
  ) {}

  /**
   * @param isOver  nobody wants it any more
   * @returns the fence and what was committed, or the id of the stage that has it
   */
  async take(address: string, isOver: () => boolean): Promise<{ fence: Fence; committed: Committed } | { owner: string }> {
    const { mesh } = this
    const activation = newId(mesh.random)
    let over: string | undefined
    let before: string | undefined
    for (let tries = 0; tries < TRIES_MAX; tries++) {
      while (!mesh.valid() && !this.#closed) await this.#certain()
      if (this.#closed) break
      if (isOver()) throw new StageError('FENCED', `${address} is given up already: it may be another one's of this stage by now`)
      const stage = mesh.id
      const found = await this.#claimed(address, { stage, activation, over })
      if (!found.owner) {
        this.storeTime = found.now - mesh.clock.now()
        while (!mesh.valid() && !this.#closed) await this.#certain() // the answer took long: nothing of the actor begins before that
        if (before !== undefined) this.#depose(before, address)
        return { fence: { epoch: found.epoch, activation }, committed: found }
      }
      const { owner } = found
      // what this stage had before and does not know any more is as good as free
      if (owner.stage !== stage && await mesh.alive(owner.stage)) return { owner: owner.stage }
      over = owner.activation
      before = owner.stage === stage ? undefined : owner.stage
    }
    throw new StageError('OVERLOADED', `the owner of ${address} changes all the time`)
  }

  /** @throws StageError whatever a store rejects with, and also when it does not answer at all */
  async #claimed(address: string, claim: Claim): Promise<Claimed> {
    const store = this.store()
    const slow = (): Error => new StageError('STORE_UNAVAILABLE', `the store ${store.address} did not answer a claim in time`)
    try {
      return await within(this.mesh.clock, STORE_MS, store.claim(address, claim), slow)
    } catch (thrown) {
      if (thrown instanceof StageError) throw thrown
      throw new StageError('STORE_UNAVAILABLE', `the store ${store.address} failed: ${asError(thrown).message}`, { cause: thrown })
    }
  }

  /** The lease of the stage is certain again. */
  renewed(): void {
    for (const go of [...this.#uncertain]) go()
    this.#uncertain.clear()
  }

  /** Looks whether these are still ours, and drops those that are not. */
  async verify(activations: readonly Activation[]): Promise<void> {
    for (let at = 0; at < activations.length && !this.#closed; at += BATCH) {
      await Promise.all(activations.slice(at, at + BATCH).map((one) => this.#verify(one)))
    }
  }

  async #verify(activation: Activation): Promise<void> {
    const { fence, address } = activation
    if (!fence) return
    try {
      const known = await within(this.mesh.clock, STORE_MS, this.store().look(address), () => new Error('no answer'))
      if (activation.fence !== fence) return
      if (known?.owner?.activation === fence.activation) {
        activation.persistence.heardAt = this.mesh.clock.now()
        return
      }
      const why = `${address} is not owned by this stage any more: it was taken over, or its store has another past`
      activation.drop('fenced', new StageError('FENCED', why, { executed: 'unknown' }))
    } catch {} // the store is away: what cannot be seen is found by the next commit
  }

  /** It counted as dead, and may only have been out of reach: it is told as soon as there is a link to it. */
  #depose(stage: string, address: string): void {
    const { mesh } = this
    const now = mesh.clock.now()
    for (const [id, { until }] of this.#deposed) if (until <= now) this.#deposed.delete(id)
    let told = this.#deposed.get(stage)
    if (!told) this.#deposed.set(stage, told = { addresses: new Set(), until: 0 })
    told.until = now + 2 * mesh.self.ttlMs // by then it is gone from the registry as well, and knows
    if (told.addresses.size < TOLD_MAX) told.addresses.add(address)
    for (const link of mesh.links()) if (link.peer.id === stage && link.open) this.linked(link.top)
  }

  /** There is a link: whoever was judged dead is told what it has lost. */
  linked(rpc: Rpc): void {
    const told = this.#deposed.get(rpc.peer.id)
    if (!told) return
    this.#deposed.delete(rpc.peer.id)
    const { clock } = this.mesh
    clock.setTimeout(() => { // not before the link stands
      const asked = rpc.request(DEPOSED, [[...told.addresses]], { endsAt: clock.now() + ANSWER_MS })
      asked.catch(() => {}) // it is gone again, and will be told by its own lease
    }, 0)
  }

  /** Others say that these were taken over from here: the store knows whether that is so. */
  deposed(addresses: readonly unknown[]): void {
    for (const one of addresses.slice(0, TOLD_MAX)) {
      const activation = typeof one === 'string' ? this.active(one) : undefined
      if (activation) this.#doubted.add(activation)
    }
    if (!this.#looking) void this.#look()
  }

  /** Each of them once in a while, however often a peer says it: what is said while the store is asked counts for the next time. */
  async #look(): Promise<void> {
    this.#looking = true
    while (this.#doubted.size > 0 && !this.#closed) {
      const doubted = [...this.#doubted]
      this.#doubted.clear()
      await this.verify(doubted)
      await new Promise<void>((resolve) => { this.mesh.clock.setTimeout(resolve, AGAIN_MS) })
    }
    this.#looking = false
  }

  close(): void {
    this.#closed = true
    this.renewed()
    this.#deposed.clear()
    this.#doubted.clear()
  }

  #certain(): Promise<void> {
    return new Promise((resolve) => { this.#uncertain.add(resolve) })
  }
}
