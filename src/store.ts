/** The contract of a store: who hosts which actor, and what was committed of it. */
import type { Closable } from './closable.js'

/**
 * What proves the right to host an actor: both must be equal. An epoch alone does not, since a server that takes over
 * without the last writes grants it twice.
 */
export interface Fence {
  /** Grows with every claim of the actor and never comes back; that of a record the store never saw begins at its time in ms. */
  readonly epoch: number
  /** Random for each claim. */
  readonly activation: string
}

/** Who has the claim on an actor. */
export interface Owner extends Fence {
  /** The id of its stage. */
  readonly stage: string
}

export interface Claim {
  /** The id of the stage that claims. */
  readonly stage: string
  /** Random, and the same when it is tried again after a lost answer. */
  readonly activation: string
  /** The activation of an owner that is known to be gone: it is taken over. Of any other owner nothing is taken. */
  readonly over?: string | undefined
  /** The highest epoch that the claimer knows of, should the store have forgotten it. */
  readonly floor?: number | undefined
}

/** What a claim finds: somebody else's, or the right to host and what was committed last. */
export type Claimed = { readonly owner: Owner } | (Committed & { readonly owner?: undefined; readonly epoch: number })

/** The committed state of an actor at one moment. */
export interface Committed {
  /** Commits so far; 0 before the first. */
  readonly version: number
  /** As committed; undefined before the first. */
  readonly data: Buffer | undefined
  /** The store's time: milliseconds since 1970 by its own clock. */
  readonly now: number
}

export interface Commit {
  /** Random, and the same when it is tried again: a repeated commit is recognised. */
  readonly id: string
  /** The version that it makes: the last one + 1. */
  readonly version: number
  /** At most 4 MiB and what framing it needs; opaque to the store, and the store's from here on: nobody changes its bytes. */
  readonly data: Buffer
  /** When the actor wants to be woken, by the store's time; undefined: never. Replaces what was there. */
  readonly wake?: number | undefined
}

/** An actor that wants to be woken, and when. */
export interface Wake {
  readonly actor: string
  /** Milliseconds since 1970 by the store's clock, whole. */
  readonly at: number
}

/**
 * Claims and committed state of the actors of one namespace. An actor is known by its address, at most 512 bytes of
 * printable text. Every step is atomic, and may safely be run again when its answer was lost; none waits or retries for
 * long. They reject with `STORE_UNAVAILABLE` where it may work later, `AUTH_FAILED`, `BAD_ARGUMENT` or `CLOSED`.
 *
 * What was acknowledged is there for whoever claims next: each claim raises the fence before it reads, so that whatever
 * the owner before it still has under way is refused.
 */
export interface Store extends Closable {
  /** For messages, without credentials. */
  readonly address: string
  /** What this store may lose; said once in the log when the first durable type is defined. */
  readonly warning?: string
  /**
   * Takes the right to host an actor that has no owner, or the one named by `over`: raises its fence, then reads.
   * The same activation again gets the same answer, as long as it owns the actor.
   */
  claim(actor: string, claim: Claim): Promise<Claimed>
  /**
   * Replaces the state, if the fence is the owner's and the version is the next one.
   * @returns 'ok' also for a repeated one; 'fenced' if it changed nothing: somebody else owns the actor now, or the
   *   store has another past (it was emptied or put back)
   */
  commit(actor: string, fence: Fence, commit: Commit): Promise<'ok' | 'fenced'>
  /** Gives the actor up, if the fence is its owner's; its epoch and state stay. */
  release(actor: string, fence: Fence): Promise<void>
  /** Who has it and what was committed, without claiming; undefined if nobody ever claimed it. */
  look(actor: string): Promise<(Committed & { readonly epoch: number; readonly owner: Owner | undefined }) | undefined>
  /**
   * Up to `limit` actors whose `wake` has come, the earliest first; those of the same moment in an order of the store's own.
   * Fewer than `limit`: there are no more.
   * @param after  only those behind that one, whether it still waits or not
   */
  due(limit: number, after?: Wake): Promise<readonly Wake[]>
}

/** The longest address of an actor, in bytes of UTF-8. */
export const MAX_ACTOR_BYTES = 512
/** The largest state: a message of 4 MiB, and what framing it needs. */
export const MAX_STATE_BYTES = 4 * 1024 * 1024 + 64 * 1024
