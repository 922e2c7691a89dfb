/** The contract of a store: which stage hosts which actor, and the committed state of each actor. */
import type { Closable } from './closable.js'

/**
 * Proof of the right to host an actor: both fields must be equal. An epoch alone is no proof, since a server that takes over
 * without the last writes grants the same epoch twice.
 */
export interface Fence {
  /** Grows with every claim of the actor and never repeats. If the store never saw the actor, the epoch begins at its time in ms. */
  readonly epoch: number
  /** Random for each claim. */
  readonly activation: string
}

/** The holder of the claim on an actor. */
export interface Owner extends Fence {
  /** The id of the owner's stage. */
  readonly stage: string
}

/** A request for the right to host an actor. */
export interface Claim {
  /** The id of the claiming stage. */
  readonly stage: string
  /** Random, and the same when the claim is retried after a lost answer. */
  readonly activation: string
  /** The activation of an owner that is known to be gone: its actor is taken over. No other owner loses its actor. */
  readonly over?: string | undefined
  /** The highest epoch that the claimer knows, in case the store has forgotten it. */
  readonly floor?: number | undefined
}

/** The result of a claim: somebody else's claim, or the right to host with the last committed state. */
export type Claimed = { readonly owner: Owner } | (Committed & { readonly owner?: undefined; readonly epoch: number })

/** The committed state of an actor at one moment. */
export interface Committed {
  /** Number of commits so far; 0 before the first. */
  readonly version: number
  /** The state as committed; undefined before the first commit. */
  readonly data: Buffer | undefined
  /** The store's time: milliseconds since 1970 by its own clock. */
  readonly now: number
}

/** A change of an actor's state. */
export interface Commit {
  /** Random, and the same when the commit is retried, so that the store recognises a repetition. */
  readonly id: string
  /** The version that this commit creates: the last version + 1. */
  readonly version: number
  /** At most 4 MiB and the framing; opaque to the store, which owns it from here on: nobody changes its bytes. */
  readonly data: Buffer
  /** When the actor wants to be woken, by the store's time; undefined: never. Replaces the previous time. */
  readonly wake?: number | undefined
}

/** An actor that wants to be woken, and the time. */
export interface Wake {
  /** The address of the actor. */
  readonly actor: string
  /** Whole milliseconds since 1970 by the store's clock. */
  readonly at: number
}

/**
 * Claims and committed state of the actors of one namespace. An actor is identified by its address, at most 512 bytes of
 * printable text. Every operation is atomic, and may safely be repeated after a lost answer; none waits or retries for long.
 * Operations reject with `STORE_UNAVAILABLE` if they may work later, `AUTH_FAILED`, `BAD_ARGUMENT` or `CLOSED`.
 *
 * The next claim finds every acknowledged commit: each claim raises the fence before it reads, so a commit of the previous
 * owner that is still in flight is rejected.
 */
export interface Store extends Closable {
  /** The address for messages, without credentials. */
  readonly address: string
  /** What this store may lose as its server is set up, if anything; asked when the first durable type is defined. */
  warning?(): Promise<string | undefined>
  /**
   * Takes the right to host an actor that has no owner, or whose owner is named by `over`: raises its fence, then reads.
   * A repeated claim of the same activation gets the same answer, as long as that activation owns the actor.
   */
  claim(actor: string, claim: Claim): Promise<Claimed>
  /**
   * Replaces the state, if the fence is the owner's and `version` is the next version.
   * @returns 'ok', also for a repeated commit; 'fenced' if nothing was changed: somebody else owns the actor now, or the
   *   store's history was reset (it was emptied or rolled back)
   */
  commit(actor: string, fence: Fence, commit: Commit): Promise<'ok' | 'fenced'>
  /** Releases the actor, if the fence is its owner's; its epoch and state stay. */
  release(actor: string, fence: Fence): Promise<void>
  /** The owner and the committed state, without claiming; undefined if nobody ever claimed the actor. */
  look(actor: string): Promise<(Committed & { readonly epoch: number; readonly owner: Owner | undefined }) | undefined>
  /**
   * Up to `limit` actors whose `wake` time has come, the earliest first; actors with equal times in an order of the store's own.
   * Fewer than `limit` results: there are no more.
   * @param after  where to go on: only actors behind this entry, whether or not it still waits
   */
  due(limit: number, after?: Wake): Promise<readonly Wake[]>
}

/** The longest address of an actor, in bytes of UTF-8. */
export const MAX_ACTOR_BYTES = 512
/** The largest state: a message of 4 MiB, and its framing. */
export const MAX_STATE_BYTES = 4 * 1024 * 1024 + 64 * 1024
