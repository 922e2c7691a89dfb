import { StageError, asError, describe, isCode } from '../../../src/errors.js'
import type { Clock, Timer } from '../../../src/types.js'
import { dispose } from '../../codec/dispose.js'
import { NOTHING } from '../../rpc/context.js'
import type { Rpc } from '../../rpc/rpc.js'
import { PIECE_BYTES, CHANGES, Changes, UNWATCH, WATCHES_MAX, tooMany, weightOf } from './changes.js'
import { STATE_MAX_BYTES, decode } from '../state/snapshot.js'

const ANSWER_MS = 10_000
/** With more calls in flight on a link no watch is requested: half of the link's capacity is left to other calls. */
const CALLS_MAX = 5000
const AGAIN_MS = 1000
/** Limit of watch numbers in one message. */
const ENDED_MAX = 50_000
const TEXT_MAX = 1024

/** A notice of one watch. */
export interface News {
  readonly seq: number
  readonly version: number
  /** Encoded value of each watched property; undefined if unchanged. */
  readonly values: readonly (Buffer | undefined)[]
  /** Set if the notice has all watched properties, and not only the changes after the last notice. */
  readonly whole?: { readonly epoch: number; readonly activation: string; readonly kept: boolean } | undefined
}

/** The receiver of a watch's notices. */
export interface Watching {
  readonly names: readonly string[]
  /** @throws StageError FENCED */
  notify(news: News): void
  /** Called when the watch with that number has ended. */
  ended(number: number, error: StageError): void
}

/**
 * The watches of this stage at the peer of a link, or at itself. One stream notifies all of them; the stream begins with
 * the first watch and ends with the last.
 */
export class Watches {
  /** The stream of notices, if this stage watches its own actors. */
  changes: Changes | undefined
  readonly #watches = new Map<number, Watching>()
  #weight = 0
  /** Numbers of watches that ended here and of which the owner has not been told. */
  #ended: number[] = []
  #again: Timer | undefined
  /** Id of the call that opens the stream; 0 if none is in flight. */
  #opening = 0
  #busy: StageError | undefined
  #batches: AsyncIterator<unknown> | undefined
  #pieces: Buffer[] = []
  #over = false

  /** @param rpc  the link to the peer; undefined: this stage itself */
  constructor(private readonly rpc: Rpc | undefined, private readonly clock: Clock, private readonly onover: () => void) {}

  /** Why no watch can be requested now; one error object for all, because there may be very many. */
  get #unanswered(): StageError | undefined {
    const { rpc } = this
    if (!rpc || rpc.counts().calls <= CALLS_MAX) return undefined
    if (this.#busy) return this.#busy
    const waiting = `more than ${CALLS_MAX} calls to ${rpc.peer.name} are waiting for their answers`
    return this.#busy = new StageError('OVERLOADED', `${waiting}: no further watch until there are fewer`)
  }

  /** The error if a watch of these properties would exceed the limit of the link. */
  full(names: readonly string[]): StageError | undefined {
    return this.rpc && this.#weight + weightOf(names) > WATCHES_MAX ? tooMany(`to ${this.rpc.peer.name}`) : undefined
  }

  /** Adds a watch, before it is requested over the same link. @throws StageError the watch cannot be requested now */
  add(number: number, watching: Watching): void {
    const busy = this.#unanswered
    if (busy && this.#watches.size === 0) this.#end(busy)
    if (busy) throw busy
    if (this.#watches.size === 0) this.#open()
    if (this.#ended.length > 0) this.#say() // otherwise the owner would still count the ended watches
    this.#watches.set(number, watching)
    this.#weight += weightOf(watching.names)
  }

  /** Ends a watch. @param known  the owner has ended it already */
  remove(number: number, known = false): void {
    const watching = this.#watches.get(number)
    if (!watching) return
    this.#watches.delete(number)
    this.#weight -= weightOf(watching.names)
    if (this.#watches.size === 0) return this.#end(new StageError('CANCELLED', 'no watch is left on this link'))
    if (!known && this.#ended.push(number) === 1) queueMicrotask(() => this.#say())
  }

  #open(): void {
    const { rpc, clock } = this
    if (!rpc) return void this.#read(this.changes = new Changes(undefined))
    const settle = (error: StageError | null, value?: unknown): void => {
      this.#opening = 0
      if (this.#over) return dispose(value)
      if (error) return this.#end(error)
      if (isIterable(value)) return void this.#read(value)
      dispose(value)
      this.#end(new StageError('PROTOCOL_ERROR', `${rpc.peer.name} answered ${describe(value)}: expected a stream of watch notices`))
    }
    // callbacks instead of a promise: a failure must be known before the answers to the watches that are requested next
    try {
      this.#opening = rpc.send({ method: 'watching', args: [], endsAt: clock.now() + ANSWER_MS, carried: NOTHING, settle }, CHANGES)
    } catch (error) {
      this.#end(error as StageError)
      throw error
    }
  }

  async #read(batches: AsyncIterable<unknown>): Promise<void> {
    const iterator = this.#batches = batches[Symbol.asyncIterator]()
    let error = new StageError('CANCELLED', 'the owner has ended the stream of watch notices')
    try {
      for (let next = await iterator.next(); !next.done && !this.#over; next = await iterator.next()) this.#take(next.value)
    } catch (thrown) {
      error = thrown instanceof StageError ? thrown : new StageError('PROTOCOL_ERROR', asError(thrown).message)
    }
    this.#end(error)
  }

  /** @throws StageError PROTOCOL_ERROR */
  #take(batch: unknown): void {
    const [values, notices, piece, last] = listOf(batch)
    this.#notify(listOf(values), listOf(notices))
    if (piece === undefined) return
    if (!Buffer.isBuffer(piece) || piece.length > PIECE_BYTES || this.#pieces.length * PIECE_BYTES > STATE_MAX_BYTES) throw malformed(piece)
    this.#pieces.push(piece)
    if (last !== true) return
    const whole = Buffer.concat(this.#pieces)
    this.#pieces = []
    const [largeValues, largeNotices] = listOf(decode(whole, undefined, undefined, true))
    this.#notify(listOf(largeValues), listOf(largeNotices))
  }

  #notify(values: readonly unknown[], notices: readonly unknown[]): void {
    values = values.map(own)
    for (const notice of notices) {
      const [number, ...told] = listOf(notice) as [number, ...unknown[]]
      const watching = this.#watches.get(number)
      if (!watching) continue // the watch ended here while the notice was in flight
      const over = typeof told[0] === 'string'
      try {
        if (over) throw ended(told)
        watching.notify(newsOf(told, values, watching.names))
      } catch (error) {
        this.remove(number, over)
        watching.ended(number, error as StageError)
      }
    }
  }

  /** Tells the owner which watches have ended. */
  #say(): void {
    const ended = this.#ended
    this.#ended = []
    if (!this.#over) this.#unwatch(ended)
  }

  #unwatch(ended: readonly number[]): void {
    const { rpc, changes, clock } = this
    if (!rpc) for (const one of ended) changes?.remove(one)
    else for (let at = 0; at < ended.length; at += ENDED_MAX) {
      const numbers = ended.slice(at, at + ENDED_MAX)
      rpc.request(UNWATCH, [numbers], { endsAt: clock.now() + ANSWER_MS }, 'ending watches').catch(() => this.#unsaid(numbers))
    }
  }

  /** Tells the owner again later, because the message may not have arrived. */
  #unsaid(numbers: readonly number[]): void {
    if (this.#over) return
    this.#ended = this.#ended.concat(numbers)
    this.#again ??= this.clock.setTimeout(() => {
      this.#again = undefined
      this.#say()
    }, AGAIN_MS)
  }

  #end(error: StageError): void {
    if (this.#over) return
    this.#over = true
    this.onover()
    this.#again?.cancel()
    this.#pieces = []
    if (this.#opening) this.rpc?.cancel(this.#opening, error)
    void this.#batches?.return?.()
    const left = [...this.#watches]
    this.#watches.clear()
    this.#unwatch(left.map(([number]) => number)) // the owner may not have noticed the end of the stream
    for (const [number, watching] of left) watching.ended(number, error)
  }
}

const isIterable = (value: unknown): value is AsyncIterable<unknown> =>
  typeof (value as Partial<AsyncIterable<unknown>> | null | undefined)?.[Symbol.asyncIterator] === 'function'

const malformed = (told: unknown): StageError =>
  new StageError('PROTOCOL_ERROR', `the owner of a watched actor sent ${describe(told)}: expected notices`)

function listOf(told: unknown): readonly unknown[] {
  if (!Array.isArray(told)) throw malformed(told)
  return told
}

/** Copies a small value out of the memory block that it shares with others, because the value may be held for long. */
function own(value: unknown): unknown {
  if (!Buffer.isBuffer(value) || value.length * 2 > value.buffer.byteLength) return value
  const bytes = Buffer.allocUnsafeSlow(value.length)
  value.copy(bytes)
  return bytes
}

/** Rebuilds the error of an ended watch from its notice. */
function ended([code, message]: readonly unknown[]): StageError {
  const why = typeof message === 'string' ? message.slice(0, TEXT_MAX) : 'the owner ended a watch without a reason'
  return new StageError(isCode(code) ? code : 'PROTOCOL_ERROR', why)
}

/** Checks a received notice. @throws StageError PROTOCOL_ERROR */
function newsOf(told: readonly unknown[], table: readonly unknown[], names: readonly string[]): News {
  const [seq, version, pairs, whole] = told
  const values = new Array<Buffer | undefined>(names.length).fill(undefined)
  const bad = (): StageError => new StageError('PROTOCOL_ERROR', `an owner sent the notice ${describe(told)} of ${names.join(', ')}`)
  if (!Number.isSafeInteger(seq) || !Number.isSafeInteger(version) || !Array.isArray(pairs) || pairs.length > 2 * names.length) throw bad()
  for (let i = 0; i < pairs.length; i += 2) {
    const [name, at] = [pairs[i] as number, pairs[i + 1] as number]
    const bytes = table[at]
    if (!Number.isInteger(name) || name < 0 || name >= names.length || !Buffer.isBuffer(bytes)) throw bad()
    values[name] = bytes
  }
  if (whole === undefined) return { seq: seq as number, version: version as number, values }
  const [epoch, activation, kept] = Array.isArray(whole) ? whole as unknown[] : []
  if (!Number.isSafeInteger(epoch) || typeof activation !== 'string' || values.includes(undefined)) throw bad()
  return { seq: seq as number, version: version as number, values, whole: { epoch: epoch as number, activation, kept: kept === true } }
}
