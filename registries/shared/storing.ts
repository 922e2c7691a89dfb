import { StageError, describe } from '../../src/errors.js'
import { checkIdentifier } from '../../src/pattern.js'
import { MAX_ACTOR_BYTES, MAX_STATE_BYTES } from '../../src/store.js'
import type { Claim, Claimed, Commit, Fence, Store, Wake } from '../../src/types.js'

const MAX_ID_BYTES = 128
const MAX_DUE = 10_000
/** The latest time that a Date can represent. */
const MAX_TIME = 8.64e15

/** The operations of a store, called with checked arguments; they reject with a StageError. */
export type StoreSteps = Pick<Store, 'claim' | 'commit' | 'release' | 'look' | 'due' | 'warning'> & { close?(): Promise<void> }

/** The stores that one registry instance has opened, closed together with the instance. */
export class Stores {
  readonly #open = new Set<Store>()
  #closed = false

  /** @throws StageError BAD_NAME for an invalid namespace */
  open(address: string, namespace: string, make: () => StoreSteps): Store {
    checkIdentifier(namespace, 'the namespace')
    const store = new GuardedStore(address, make(), () => this.#open.delete(store))
    this.#open.add(store)
    if (this.#closed) void store.close()
    return store
  }

  async close(): Promise<void> {
    this.#closed = true
    await Promise.all([...this.#open].map((store) => store.close()))
  }
}

/** The guard of every built-in store: rejects arguments out of limits, and every call after `close`. */
class GuardedStore implements Store {
  readonly warning?: () => Promise<string | undefined>
  #closing: Promise<void> | undefined

  constructor(readonly address: string, private readonly steps: StoreSteps, private readonly onclose: () => void) {
    if (steps.warning) this.warning = () => steps.warning!()
  }

  async claim(actor: string, claim: Claim): Promise<Claimed> {
    this.#check({ actor, claim })
    return this.steps.claim(actor, claim)
  }

  async commit(actor: string, fence: Fence, commit: Commit): Promise<'ok' | 'fenced'> {
    this.#check({ actor, fence, commit })
    return this.steps.commit(actor, fence, commit)
  }

  async release(actor: string, fence: Fence): Promise<void> {
    this.#check({ actor, fence })
    return this.steps.release(actor, fence)
  }

  async look(actor: string): ReturnType<Store['look']> {
    this.#check({ actor })
    return this.steps.look(actor)
  }

  async due(limit: number, after?: Wake): Promise<readonly Wake[]> {
    this.#check({ limit, ...(after ? { actor: after.actor, at: after.at } : {}) })
    return this.steps.due(limit, after)
  }

  close(): Promise<void> {
    if (!this.#closing) {
      this.onclose()
      this.#closing = this.steps.close?.() ?? Promise.resolve()
    }
    return this.#closing
  }

  #check(given: Arguments): void {
    if (this.#closing) throw new StageError('CLOSED', `the store ${this.address} was closed`)
    checkArguments(given)
  }
}

export interface Arguments {
  readonly actor?: string
  readonly claim?: Claim
  readonly fence?: Fence
  readonly commit?: Commit
  readonly limit?: number
  readonly at?: number
}

/**
 * Checks the arguments of any method of a store, so that all stores accept the same values.
 * @throws StageError BAD_ARGUMENT naming the argument and the expected value
 */
export function checkArguments({ actor, claim, fence, commit, limit, at }: Arguments): void {
  if (actor !== undefined) {
    expect(isText(actor, MAX_ACTOR_BYTES), 'the address of an actor', actor, `1 to ${MAX_ACTOR_BYTES} bytes of printable text`)
  }
  if (claim) {
    checkId('the stage of a claim', claim.stage)
    checkId('the activation of a claim', claim.activation)
    if (claim.over !== undefined) checkId('the activation that a claim replaces', claim.over)
    if (claim.floor !== undefined) expect(isCount(claim.floor), 'the floor of a claim', claim.floor, 'an epoch')
  }
  if (fence) {
    expect(isCount(fence.epoch), 'the epoch of a fence', fence.epoch, 'the epoch that a claim returned')
    checkId('the activation of a fence', fence.activation)
  }
  if (commit) {
    const { id, version, data, wake } = commit
    checkId('the id of a commit', id)
    expect(isCount(version) && version > 0, 'the version of a commit', version, 'the last version + 1')
    expect(Buffer.isBuffer(data), 'the data of a commit', data, 'a Buffer')
    const most = `at most ${MAX_STATE_BYTES}: keep less in the actor`
    expect(data.length <= MAX_STATE_BYTES, 'the data of a commit', `${data.length} bytes`, most)
    if (wake !== undefined) {
      expect(Number.isFinite(wake) && Math.abs(wake) <= MAX_TIME, 'the wake of a commit', wake, 'milliseconds since 1970')
    }
  }
  if (at !== undefined) {
    expect(Number.isInteger(at) && Math.abs(at) <= MAX_TIME, 'the time of a wake', at, 'whole milliseconds since 1970, as due() returned them')
  }
  if (limit !== undefined) expect(isCount(limit) && limit > 0 && limit <= MAX_DUE, 'the limit', limit, `1 to ${MAX_DUE}`)
}

const checkId = (what: string, value: string): void =>
  expect(isText(value, MAX_ID_BYTES), what, value, `1 to ${MAX_ID_BYTES} bytes of printable text`)

function expect(good: boolean, what: string, found: unknown, wanted: string): void {
  if (!good) throw new StageError('BAD_ARGUMENT', `${what} is ${describe(found)}; expected ${wanted}`)
}

/** Printable text that survives a round trip through UTF-8, which a lone surrogate does not. */
const isText = (value: unknown, maxBytes: number): boolean =>
  typeof value === 'string' && value !== '' && Buffer.byteLength(value) <= maxBytes && !/[\p{Cc}\p{Cs}\p{Zl}\p{Zp}]/u.test(value)

/** A count below the greatest exact integer, so that the next count is exact too. */
const isCount = (value: number): boolean => Number.isSafeInteger(value) && value >= 0 && value < Number.MAX_SAFE_INTEGER
