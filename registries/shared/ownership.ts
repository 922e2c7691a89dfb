/**
 * The rules for hosting actors, as functions of the stored record of one actor: the memory and local stores run them here,
 * Redis runs the same rules as scripts (`registries/redis/store-scripts.ts`). Each function is one atomic step that returns
 * the answer and the record to store. Each may safely run again, because callers retry after a lost answer. Times are
 * milliseconds since 1970 by the store's own clock.
 */
import type { Claim, Claimed, Commit, Committed, Fence, Owner } from '../../src/types.js'

/** The stored record of one actor. A record is never deleted, because its epoch must never be reused. */
export interface ActorRecord {
  /** Epoch of the last claim, whether released since or not. */
  readonly epoch: number
  /** Undefined while nobody has the claim. */
  readonly owner: Omit<Owner, 'epoch'> | undefined
  /** Number of commits so far. */
  readonly version: number
  /** Id of the last commit; '' before the first. */
  readonly commitId: string
  /** As committed. A step that does not use the state returns it as given, so a store that keeps it elsewhere may leave it out. */
  readonly data: Buffer | undefined
  /** When the actor wants to be woken; claim and release do not change it. */
  readonly wake: number | undefined
}

/** The answer of a step and the record to store; without a record nothing changes. */
export interface Outcome<T> {
  readonly answer: T
  readonly record?: ActorRecord
}

/** Claims an actor. The last claimant owns the actor until it releases it; a claim takes over only from the owner named by `over`. */
export function claim(record: ActorRecord | undefined, { stage, activation, over, floor = 0 }: Claim, now: number): Outcome<Claimed> {
  const owner = record?.owner
  if (record && owner?.activation === activation) return { answer: granted(record, now) }
  if (record && owner && owner.activation !== over) return { answer: { owner: { epoch: record.epoch, ...owner } } }
  // a store without a record may have lost it with its epoch; the time in milliseconds is above any epoch used before
  const epoch = Math.max(record ? record.epoch + 1 : Math.floor(now), floor + 1)
  const raised: ActorRecord = { version: 0, commitId: '', data: undefined, wake: undefined, ...record, epoch, owner: { stage, activation } }
  return { answer: granted(raised, now), record: raised }
}

/** Accepts the owner's next commit, or a repetition of its last commit. */
export function commit(record: ActorRecord | undefined, fence: Fence, { id, version, data, wake }: Commit): Outcome<'ok' | 'fenced'> {
  if (!record || !owns(record, fence)) return { answer: 'fenced' }
  if (version !== record.version + 1) return { answer: id === record.commitId ? 'ok' : 'fenced' }
  return { answer: 'ok', record: { ...record, version, commitId: id, data, wake: wake === undefined ? undefined : Math.ceil(wake) } }
}

/** Ends the claim, if the fence is its owner's. */
export function release(record: ActorRecord | undefined, fence: Fence): Outcome<void> {
  return record && owns(record, fence) ? { answer: undefined, record: { ...record, owner: undefined } } : { answer: undefined }
}

/** The committed state and owner of an actor, without changing anything. */
export function look(record: ActorRecord | undefined, now: number): (Committed & { epoch: number; owner: Owner | undefined }) | undefined {
  if (!record) return undefined
  const { epoch, owner } = record
  return { ...granted(record, now), epoch, owner: owner && { epoch, ...owner } }
}

const granted = ({ epoch, version, data }: ActorRecord, now: number) => ({ epoch, version, data, now })

const owns = ({ epoch, owner }: ActorRecord, fence: Fence): boolean =>
  owner !== undefined && epoch === fence.epoch && owner.activation === fence.activation
