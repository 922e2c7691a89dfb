/** Memory that is held for peers: the arguments of a call may take sixty times as many bytes in memory as on the wire. */
import { getHeapStatistics } from 'node:v8'
import { StageError } from '../../../src/errors.js'

/** Memory that a call takes beside its arguments. */
export const CALL_BYTES = 512

/** An account of bytes held for one peer, which also count in the account of all peers. */
export class Held {
  used = 0

  /** @param all  the account that also counts the bytes of this account */
  constructor(readonly maxBytes: number, private readonly all?: Held) {}

  add(bytes: number): void {
    this.used += bytes
    if (this.all) this.all.used += bytes
  }

  get full(): boolean {
    return this.used >= this.maxBytes
  }

  /** @returns undefined if there is room for so many more bytes; else the limit that they exceed, for a message */
  lacks(bytes: number): string | undefined {
    if (this.used + bytes > this.maxBytes) return `more than ${this.maxBytes} bytes of memory on this link`
    const { all } = this
    return all && all.used + bytes > all.maxBytes ? `more than ${all.maxBytes} bytes of memory in this process` : undefined
  }
}

/** A large message or item that is incomplete. */
export interface Begun {
  bytes: number
  /** Ends the link or the stream that carries the message or item. */
  cut(error: StageError): void
}

/**
 * Incomplete messages, and incomplete large items of streams, on all links of this process. When they exceed the limit, the
 * oldest is dropped and its link or stream destroyed: senders that mean to finish a message do so before it is the oldest,
 * so the oldest is most likely abandoned.
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
    if (!this.#all.has(one)) return // dropped before, and its link ends
    one.bytes += bytes
    this.used += bytes
    for (const first of this.#all) {
      if (this.used <= this.maxBytes) return
      this.end(first)
      const why = `unfinished messages take more than ${this.maxBytes} bytes in this process, and this one is the oldest`
      first.cut(new StageError('OVERLOADED', why, { executed: 'unknown' }))
    }
  }

  end(one: Begun): void {
    if (this.#all.delete(one)) this.used -= one.bytes
  }
}

/** Something that holds memory for a peer until `giveBack`. */
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

/** Handlers that outlive their link: some never settle, and hold no memory any more once they are unreachable. */
const left = new FinalizationRegistry<Holder>(giveBack)

/** The link is gone: the memory counts until `giveBackLeft`, or until the holder is collected. */
export function leave(holder: Holder): void {
  const { held, weight } = holder
  left.register(holder, { held, weight }, holder)
}

export function giveBackLeft(holder: Holder): void {
  left.unregister(holder)
  giveBack(holder)
}

/** Size of an error of the library with its text; a stream takes as much, so smaller errors are not counted. */
const SMALL_BYTES = 4096

/** The error by which a peer ends a stream. The stream and its handler keep the error, so it counts until it is collected. */
export function heldError(error: StageError, held: Held, weight: number): StageError {
  if (weight <= SMALL_BYTES) return error
  const full = held.lacks(weight)
  if (full !== undefined) return new StageError('OVERLOADED', `the error of a stream takes ${full}`)
  held.add(weight)
  left.register(error, { held, weight })
  return error
}

/**
 * The accounts of all links of this process, which owns them as it owns the heap: several stages share them, and each stage
 * returns the bytes that it took, the last ones when its handlers have settled. Each account has a quarter of V8's heap
 * limit, so that a small container has small ones.
 */
export const PROCESS = { calls: new Held(quarter()), answers: new Held(quarter()), unfinished: new Unfinished(quarter()) }

function quarter(): number {
  return Math.round(getHeapStatistics().heap_size_limit / 4)
}
