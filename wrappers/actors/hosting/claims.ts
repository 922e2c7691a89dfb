import { StageError, asError } from '../../../src/errors.js'
import { newId } from '../../../src/random.js'
import type { Claim, Claimed, Committed, Fence, Mesh, Store } from '../../../src/types.js'
import { within } from '../../../src/within.js'
import type { Rpc } from '../../rpc/rpc.js'
import { STORE_MS, type Activation } from './activation.js'

/** Attempts to claim an actor whose owner changes in between. */
const TRIES_MAX = 8
/** Claims verified concurrently; batches follow each other, so that other requests get the store in between. */
const BATCH = 100
/** Limit of taken-over addresses reported to one stage; for others it learns with its next commit. */
const TOLD_MAX = 10_000
const ANSWER_MS = 5000
/** Least time between two verifications that peers trigger. */
const AGAIN_MS = 200

/** Service that tells a stage that actors were taken over from it. */
export const DEPOSED = '@deposed'

/**
 * The right to host actors: claimed in the store, if it is free or its owner is gone, and verified when there is reason
 * to doubt it. Safety does not depend on this class, because the store rejects a commit without a claim. The checks
 * only end a second activation soon, because without commits it would not notice that its claim is gone.
 */
export class Claims {
  /** Stages that were judged dead but may be alive: the actors taken over from them, and until when to tell them. */
  readonly #deposed = new Map<string, { addresses: Set<string>; until: number }>()
  readonly #uncertain = new Set<() => void>()
  /** Activations that peers say were taken over from this stage. */
  readonly #doubted = new Set<Activation>()
  #looking = false
  /** The store's time when our clock was at 0, measured at the last claim. */
  storeTime = 0
  #closed = false

  constructor(
    private readonly mesh: Mesh<Rpc>,
    private readonly store: () => Store,
    private readonly active: (address: string) => Activation | undefined,
  ) {}

  /**
   * Claims an actor in the store.
   * @param isOver  whether the activation has ended meanwhile
   * @returns the fence and the committed state, or the id of the stage that has the claim
   */
  async take(address: string, isOver: () => boolean): Promise<{ fence: Fence; committed: Committed } | { owner: string }> {
    const { mesh } = this
    const activation = newId(mesh.random)
    let over: string | undefined
    let before: string | undefined
    for (let tries = 0; tries < TRIES_MAX; tries++) {
      while (!mesh.valid() && !this.#closed) await this.#certain()
      if (this.#closed) break
      if (isOver()) throw new StageError('FENCED', `the activation of ${address} has ended, and this stage may have a newer one`)
      const stage = mesh.id
      const found = await this.#claimed(address, { stage, activation, over })
      if (!found.owner) {
        this.storeTime = found.now - mesh.clock.now()
        while (!mesh.valid() && !this.#closed) await this.#certain() // the answer took long: wait for the lease before the actor begins
        if (before !== undefined) this.#depose(before, address)
        return { fence: { epoch: found.epoch, activation }, committed: found }
      }
      const { owner } = found
      // a claim of this stage without an activation is as good as free
      if (owner.stage !== stage && await mesh.alive(owner.stage)) return { owner: owner.stage }
      over = owner.activation
      before = owner.stage === stage ? undefined : owner.stage
    }
    throw new StageError('OVERLOADED', `the owner of ${address} keeps changing`)
  }

  /** @throws StageError for any failure of the store, and if the store does not answer */
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

  /** Called when the lease of the stage is certain again. */
  renewed(): void {
    for (const go of [...this.#uncertain]) go()
    this.#uncertain.clear()
  }

  /** Verifies that this stage still owns these activations, and drops the others. */
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
      const why = `${address} is no longer owned by this stage: it was taken over, or the history of its store was reset`
      activation.drop('fenced', new StageError('FENCED', why, { executed: 'unknown' }))
    } catch {} // the store is unavailable: the next commit will find a lost claim
  }

  /** Remembers a takeover. The former owner may only have been out of reach, and is told as soon as there is a link to it. */
  #depose(stage: string, address: string): void {
    const { mesh } = this
    const now = mesh.clock.now()
    for (const [id, { until }] of this.#deposed) if (until <= now) this.#deposed.delete(id)
    let told = this.#deposed.get(stage)
    if (!told) this.#deposed.set(stage, told = { addresses: new Set(), until: 0 })
    told.until = now + 2 * mesh.self.ttlMs // by then its lease has expired, which it notices itself
    if (told.addresses.size < TOLD_MAX) told.addresses.add(address)
    for (const link of mesh.links()) if (link.peer.id === stage && link.open) this.linked(link.top)
  }

  /** Called for a new link: if the peer was judged dead, tells it which actors were taken over. */
  linked(rpc: Rpc): void {
    const told = this.#deposed.get(rpc.peer.id)
    if (!told) return
    this.#deposed.delete(rpc.peer.id)
    const { clock } = this.mesh
    clock.setTimeout(() => { // once the link is established
      const asked = rpc.request(DEPOSED, [[...told.addresses]], { endsAt: clock.now() + ANSWER_MS })
      asked.catch(() => {}) // the stage is gone again, and its lost lease will tell it
    }, 0)
  }

  /** A peer says that these actors were taken over from this stage; the store is asked whether that is true. */
  deposed(addresses: readonly unknown[]): void {
    for (const one of addresses.slice(0, TOLD_MAX)) {
      const activation = typeof one === 'string' ? this.active(one) : undefined
      if (activation) this.#doubted.add(activation)
    }
    if (!this.#looking) void this.#look()
  }

  /** Verifies doubted activations at a limited rate, however often peers report them; reports during a round count for the next one. */
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
