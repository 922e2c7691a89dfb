/**
 * The rules of hosting actors, as functions of what is stored of one actor: memory and local run them here, Redis runs
 * the same ones as scripts (`registries/redis/store-scripts.ts`). Each is one atomic step: it says what to answer, and
 * what is to be stored in place of what was there. Each may be run again, because a lost answer makes the caller try
 * again. Times are milliseconds since 1970 by the store's own clock.
 */
import type { Claim, Claimed, Commit, Committed, Fence, Owner } from '../../src/types.js'

/** What a store keeps of one actor. It is never deleted: an epoch must not come back. */
export interface ActorRecord {
  /** Of the last claim, whether it was released since or not. */
  readonly epoch: number
  /** Undefined while nobody has it. */
  readonly owner: Omit<Owner, 'epoch'> | undefined
  /** Commits so far. */
  readonly version: number
  /** Of the last commit; '' before the first. */
  readonly commitId: string
  /** As committed. A step that does not look at it leaves it as it was given, so who stores it elsewhere may leave it out. */
  readonly data: Buffer | undefined
  /** When the actor wants to be woken; claiming and releasing it change nothing here. */
  readonly wake: number | undefined
}

/** What a step answers, and what to store; without a record nothing is to be changed. */
export interface Outcome<T> {
  readonly answer: T
  readonly record?: ActorRecord
}

/** The owner of an actor is whoever claimed it last and has not released it; only he who is named `over` is put out. */
export function claim(record: ActorRecord | undefined, { stage, activation, over, floor = 0 }: Claim, now: number): Outcome<Claimed> {
  const owner = record?.owner
  if (record && owner?.activation === activation) return { answer: granted(record, now) }
  if (record && owner && owner.activation !== over) return { answer: { owner: { epoch: record.epoch, ...owner } } }
  // an actor without a record may have been forgotten with its epoch, which the time in milliseconds is beyond
  const epoch = Math.max(record ? record.epoch + 1 : Math.floor(now), floor + 1)
  const raised: ActorRecord = { version: 0, commitId: '', data: undefined, wake: undefined, ...record, epoch, owner: { stage, activation } }
  return { answer: granted(raised, now), record: raised }
}

/** A commit is the owner's, and the next one; or the last one, once more. */
export function commit(record: ActorRecord | undefined, fence: Fence, { id, version, data, wake }: Commit): Outcome<'ok' | 'fenced'> {
  if (!record || !owns(record, fence)) return { answer: 'fenced' }
  if (version !== record.version + 1) return { answer: id === record.commitId ? 'ok' : 'fenced' }
  return { answer: 'ok', record: { ...record, version, commitId: id, data, wake: wake === undefined ? undefined : Math.ceil(wake) } }
}

/** Only the owner can give it up. */
export function release(record: ActorRecord | undefined, fence: Fence): Outcome<void> {
  return record && owns(record, fence) ? { answer: undefined, record: { ...record, owner: undefined } } : { answer: undefined }
}

/** What is known of an actor, without changing it. */
export function look(record: ActorRecord | undefined, now: number): (Committed & { epoch: number; owner: Owner | undefined }) | undefined {
  if (!record) return undefined
  const { epoch, owner } = record
  return { ...granted(record, now), epoch, owner: owner && { epoch, ...owner } }
}

const granted = ({ epoch, version, data }: ActorRecord, now: number) => ({ epoch, version, data, now })

const owns = ({ epoch, owner }: ActorRecord, fence: Fence): boolean =>
  owner !== undefined && epoch === fence.epoch && owner.activation === fence.activation
