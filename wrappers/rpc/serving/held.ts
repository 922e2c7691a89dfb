/** Memory that is held for peers: the arguments of a call may take sixty times as much of it as they took on the wire. */
import { getHeapStatistics } from 'node:v8'
import { StageError } from '../../../src/errors.js'

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
    const { all } = this
    return all && all.used + bytes > all.maxBytes ? `more than ${all.maxBytes} bytes of memory in this process` : undefined
  }
}

/** A large message or item that is not whole. */
export interface Begun {
  bytes: number
  /** Ends the link or the stream that it comes over. */
  cut(error: StageError): void
}

/**
 * Messages whose parts have not all come, and large items of streams, of all links of this process. Where they take more
 * than they may, the one that was begun first is given up with its link or stream: whoever means to end a message does so
 * before those who never will.
 */
export class Unfinished {
  used = 0
  readonly #all = new Set<Begun>()

  constructor(readonly maxBytes: number) {}

  begin(cut: (error: StageError) => void): Begun {
    const one = { bytes: 0, cut }
    this.#all.add(one)
    return one
  }

  grow(one: Begun, bytes: number): void {
    if (!this.#all.has(one)) return // it was given up, and its link ends
    one.bytes += bytes
    this.used += bytes
    for (const first of this.#all) {
      if (this.used <= this.maxBytes) return
      this.end(first)
      const why = `what has not come whole takes more than ${this.maxBytes} bytes in this process, and this was begun first`
      first.cut(new StageError('OVERLOADED', why, { executed: 'unknown' }))
    }
  }

  end(one: Begun): void {
    if (this.#all.delete(one)) this.used -= one.bytes
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
export const PROCESS = { calls: new Held(quarter()), answers: new Held(quarter()), unfinished: new Unfinished(quarter()) }

function quarter(): number {
  return Math.round(getHeapStatistics().heap_size_limit / 4)
}
