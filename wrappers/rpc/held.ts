/** Memory that is held for peers: the arguments of a call may take sixty times as much of it as they took on the wire. */
import { getHeapStatistics } from 'node:v8'
import { StageError } from '../../src/errors.js'

/** What a call takes beside its arguments. */
export const CALL_BYTES = 512

/** Bytes of memory that are held for one peer, as a part of those that are held for all of them. */
export class Held {
  used = 0

  /** @param all  what this is a part of */
  constructor(readonly maxBytes: number, private readonly all?: Held) {}

  add(bytes: number): void {
    this.used += bytes
    if (this.all) this.all.used += bytes
  }

  get full(): boolean {
    return this.used >= this.maxBytes
  }

  /** @returns undefined if there is room for so many more; else where there is none, for a message */
  lacks(bytes: number): string | undefined {
    if (this.used + bytes > this.maxBytes) return `more than ${this.maxBytes} bytes of memory on this link`
    return this.all && this.all.used + bytes > this.all.maxBytes ? `more than ${this.all.maxBytes} bytes of memory in this process` : undefined
  }
}

/** Something that holds memory for a peer, until it gives it back. */
export interface Holder {
  readonly held: Held
  weight: number
}

export function giveBack(holder: Holder): void {
  const { weight } = holder
  if (weight === 0) return
  holder.weight = 0
  holder.held.add(-weight)
}

/** Handlers that run on behind the end of their link: some never settle, and hold nothing any more once nothing leads to them. */
const left = new FinalizationRegistry<Holder>(giveBack)

/** Its link is gone: it counts until `giveBackLeft`, or until it was collected. */
export function leave(holder: Holder): void {
  const { held, weight } = holder
  left.register(holder, { held, weight }, holder)
}

export function giveBackLeft(holder: Holder): void {
  left.unregister(holder)
  giveBack(holder)
}

/** An error of the library's own, with its text; a stream takes as much. */
const SMALL_BYTES = 4096

/** The error by which a peer ends a stream: the stream keeps it, and so does its handler, so it counts until it was collected. */
export function heldError(error: StageError, held: Held, weight: number): StageError {
  if (weight <= SMALL_BYTES) return error
  const full = held.lacks(weight)
  if (full !== undefined) return new StageError('OVERLOADED', `the error of a stream takes ${full}`)
  held.add(weight)
  left.register(error, { held, weight })
  return error
}

/**
 * Of all links of this process, which owns it as it owns the heap: several stages share it, and each gives back what it
 * took, the last of it when its handlers have settled. A quarter of the heap that V8 may have each, so that a small
 * container has a small one.
 */
export const PROCESS = { calls: new Held(quarter()), answers: new Held(quarter()) }

function quarter(): number {
  return Math.round(getHeapStatistics().heap_size_limit / 4)
}
