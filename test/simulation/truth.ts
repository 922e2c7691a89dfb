import type { Claim, Claimed, Commit, Fence } from '../../src/types.js'
import { decode, decodeKept } from '../../wrappers/actors/state/snapshot.js'
import type { World } from './world.js'

/** One commit, as the store performed it. */
export interface Version {
  readonly version: number
  readonly commitId: string
  readonly data: Buffer | undefined
  /** The changes in it, in the order in which they were made. */
  readonly ids: readonly number[]
  readonly values: ReadonlyMap<string, unknown>
}

/** A change that a turn is to make, under a number that is kept with the state. */
export interface Change {
  readonly n: number
  readonly address: string
  /** The change whose turn this one belongs to. */
  outer: number | undefined
  commits: number
  /** The commit that contains it, and the history that this commit belongs to. */
  in?: Version
  past?: number
  /** The reason why it must never be committed. */
  never?: string
  /** The change must be there in the end, if the commit that requested it was. */
  owedBy?: number
}

/** The whole history of one actor. Each time the store loses the actor, another history (`past`) begins. */
export interface Chain {
  readonly address: string
  readonly pasts: Version[][]
  epoch: number
  activation: string
  stage: string
  /** The actor was claimed, and not released since. */
  held: boolean
  /** When its calls may last have lost their order: its owner was deposed, or had to give the actor up. */
  disturbedAt: number
}

/** Numbers above this belong to changes of timers and reminders, not of calls. */
export const OWN = 1_000_000
const BEFORE: Version = { version: 0, commitId: '', data: undefined, ids: [], values: new Map() }

/**
 * The record of all steps of the world's store, and the check that each step was allowed. It implements the rules,
 * independently of the code that enforces them.
 */
export class Truth {
  readonly chains = new Map<string, Chain>()
  readonly changes = new Map<number, Change>()
  /** When the store last lost data. */
  forgotAt = -Infinity
  #owns = 0

  constructor(private readonly world: World) {}

  chain(address: string): Chain {
    let chain = this.chains.get(address)
    if (!chain) this.chains.set(address, chain = { address, pasts: [[]], epoch: 0, activation: '', stage: '', held: false, disturbedAt: -Infinity })
    return chain
  }

  /** The newest commit of an actor; version 0 before the first. */
  newest(address: string): Version {
    return this.chain(address).pasts.at(-1)?.at(-1) ?? BEFORE
  }

  /** A version in one of its histories. */
  at(address: string, past: number, version: number): Version | undefined {
    return version === 0 ? BEFORE : this.chain(address).pasts[past][version - 1]
  }

  expect(n: number, address: string, outer?: number): Change {
    const change: Change = { n, address, outer, commits: 0 }
    this.changes.set(n, change)
    return change
  }

  /** Whether these were all changes of the actor at some time. */
  wasCommitted(address: string, ids: readonly number[]): boolean {
    return ids.length === 0 || this.chain(address).pasts.some((past) => past.some((one) => one.ids.length === ids.length && one.ids.every((id, i) => id === ids[i])))
  }

  /** A turn begins with these changes: they must be the committed ones, if the actor still holds the claim. */
  begins(address: string, activation: string, ids: readonly number[]): void {
    const chain = this.chain(address)
    const known = this.newest(address).ids
    if (!chain.held || chain.activation !== activation) return
    if (ids.length !== known.length || ids.at(-1) !== known.at(-1)) this.world.fail(`P16: a turn of ${address} begins with ${ids.length} changes up to ${ids.at(-1)}, and ${known.length} up to ${known.at(-1)} are committed`)
  }

  /** A change that no call makes. @param owedBy  the change that it must follow from */
  own(address: string, owedBy?: number): number {
    const change = this.expect(OWN + ++this.#owns, address)
    if (owedBy !== undefined) change.owedBy = owedBy
    return change.n
  }

  /** The change no longer belongs to another turn. */
  parted(n: number): void {
    const change = this.changes.get(n)
    if (change) change.outer = undefined
  }

  /** The change must not be committed from now on. */
  never(n: number, why: string): void {
    const change = this.changes.get(n)
    if (!change) return
    change.never = why
    if (change.commits > 0) this.world.fail(`P16: the change ${n} of ${change.address} ${why}, and is committed`)
  }

  disturbed(address: string): void {
    this.chain(address).disturbedAt = this.world.clock.now()
  }

  // ── reports of the store ──────────────────────────────────────────────────────────────────────────────────────────

  /** @param raised  the claim was newly granted */
  claimed(address: string, claim: Claim, answer: Claimed, raised: boolean): void {
    const { world } = this
    const chain = this.chain(address)
    if (answer.owner) {
      if (raised || answer.owner.epoch !== chain.epoch || answer.owner.activation !== chain.activation) world.fail(`P15: a claim of ${address} is answered with an owner that it does not have`)
      return
    }
    const { version, data } = this.newest(address)
    if (answer.version !== version || (answer.data === undefined) !== (data === undefined) || !(data?.equals(answer.data!) ?? true)) world.fail(`P16: who claims ${address} is given version ${answer.version}, and the newest is ${version}`)
    if (!raised) {
      if (!chain.held || answer.epoch !== chain.epoch || claim.activation !== chain.activation) world.fail(`P15: the claim ${claim.activation} on ${address} is granted again, and is not the present one`)
      return
    }
    world.tell('store', `${address} goes to ${claim.stage} in epoch ${answer.epoch}`)
    if (answer.epoch <= chain.epoch) world.fail(`P15: ${address} is granted in epoch ${answer.epoch}, behind ${chain.epoch}`)
    if (chain.held && claim.over !== chain.activation) world.fail(`P15: ${address} is taken from its owner, and the claim does not name it`)
    if (chain.held) {
      this.disturbed(address)
      this.#judge(chain, claim)
    }
    Object.assign(chain, { epoch: answer.epoch, activation: claim.activation, stage: claim.stage, held: true })
  }

  /** @param changed  the commit was performed now, and not before */
  committed(address: string, fence: Fence, commit: Commit, answer: 'ok' | 'fenced', changed: boolean): void {
    const { world } = this
    const chain = this.chain(address)
    const last = this.newest(address)
    const owns = chain.held && fence.epoch === chain.epoch && fence.activation === chain.activation
    if (!changed) {
      if (answer === 'ok' && (!owns || commit.id !== last.commitId || commit.version !== last.version)) world.fail(`P16: a commit of ${address} is acknowledged and changes nothing`)
      if (answer === 'fenced' && owns && commit.version === last.version + 1) world.fail(`P15: the owner of ${address} is refused its version ${commit.version}`)
      return
    }
    world.tell('store', `${address} is at version ${commit.version}`)
    if (answer !== 'ok') world.fail(`P15: a commit of ${address} is refused and performed`)
    if (!owns) world.fail(`P15: ${address} is committed in epoch ${fence.epoch}, and the fence is at ${chain.epoch}${chain.held ? '' : ', given up'}`)
    if (commit.version !== last.version + 1) world.fail(`P16: version ${commit.version} of ${address} follows upon ${last.version}`)
    this.#append(chain, last, commit)
  }

  released(address: string, fence: Fence, changed: boolean): void {
    if (!changed) return
    const chain = this.chain(address)
    if (!chain.held || fence.epoch !== chain.epoch || fence.activation !== chain.activation) this.world.fail(`P15: ${address} is released by somebody who does not have it`)
    chain.held = false
  }

  /** The store has lost the data of that actor. */
  forgot(address: string): void {
    const chain = this.chain(address)
    chain.pasts.push([])
    chain.held = false
    this.forgotAt = this.world.clock.now()
    this.disturbed(address)
  }

  #append(chain: Chain, last: Version, { id, version, data }: Commit): void {
    const { world } = this
    const { address, pasts } = chain
    const values = new Map([...decodeKept(data).snapshot].map(([name, bytes]) => [name, decode(bytes)]))
    const ids = values.get('ids') as number[]
    const made: Version = { version, commitId: id, data: Buffer.from(data), ids, values }
    pasts[pasts.length - 1].push(made)
    if (last.ids.some((one, i) => ids[i] !== one)) world.fail(`P16: version ${version} of ${address} does not go on from ${last.version}: ${String(last.ids.slice(-5))} became ${String(ids.slice(-5))}`)
    const fresh = ids.slice(last.ids.length)
    for (const n of fresh) this.#brought(chain, made, n, fresh)
    if (values.has('total') && (values.get('total') !== ids.length || values.get('twin') !== ids.length)) world.fail(`P16: version ${version} of ${address} is half a turn: ${String(values.get('total'))} and ${String(values.get('twin'))} of ${ids.length}`)
  }

  #brought({ address, pasts }: Chain, version: Version, n: number, together: readonly number[]): void {
    const { world } = this
    const change = this.changes.get(n)
    if (!change || change.address !== address) return world.fail(`P16: ${address} has the change ${n}, which is none of its own`)
    change.in = version
    change.past = pasts.length - 1
    if (++change.commits > 1) world.fail(`P16: the change ${n} of ${address} is committed ${change.commits} times`)
    if (change.never) world.fail(`P16: the change ${n} of ${address} ${change.never}, and is committed`)
    if (change.outer !== undefined && !together.includes(change.outer)) world.fail(`P17: the change ${n} of ${address} is committed without the turn ${change.outer} that it belongs to`)
  }

  /** No actor is taken from an owner that lives, runs and reaches the other stages. */
  #judge(chain: Chain, { stage }: Claim): void {
    const { world } = this
    const { ttlMs } = world.climate
    const owner = world.hosts.find((one) => one.alive && !one.closing && one.stage.id === chain.stage)
    if (!owner || stage === chain.stage) return
    const since = world.clock.now() - ttlMs - 5000
    owner.client.noteDenied()
    if (Math.max(owner.impairedUntil, owner.client.deniedAt, owner.refusedUntil, this.forgotAt, world.emptiedAt + ttlMs) < since) world.fail(`P15: ${chain.address} is taken from ${owner.label}, which was well all the time`)
  }
}
