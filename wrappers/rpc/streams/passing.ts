import { StageError } from '../../../src/errors.js'
import { outside } from '../../../src/outside.js'
import type { Clock, Deadlines, Mesh, Peer } from '../../../src/types.js'
import { FUNCTION, refuse } from '../../codec/sendable.js'
import { ITERABLE, READ_BYTES, WRITE_BYTES, reads, streamKind, writes, type StreamKind } from '../../codec/stream-kind.js'
import type { Codec, Refs } from '../../codec.js'
import type { Channel } from './channel.js'
import { dispose, taken } from '../../codec/dispose.js'
import { asNode, hold } from '../../codec/hold.js'
import { elsewhere, fromWire } from '../errors.js'
import { faceOf, type Carried } from './faces.js'
import { giveBack, giveBackLeft, heldError, leave, type Held, type Holder, type Unfinished } from '../serving/held.js'
import { ItemWriter } from './item-writer.js'
import { failed, lend, type Lent } from './lending.js'
import { STREAMS_MAX, UNREAD_MS } from '../wire/messages.js'
import type { Referring } from '../wire/functions.js'
import { Budget } from './budget.js'
import type { Streams } from './streams.js'
import { VALUE, Values } from './values.js'
import type { Wire } from '../wire/wire.js'

/** The services that streams inside values need. */
export interface PassingHost {
  readonly clock: Clock
  readonly deadlines: Deadlines
  readonly codec: Codec
  readonly references: Referring
  readonly unfinished: Unfinished
  failed: Mesh['failed']
}

const NONE: readonly Channel[] = []
/** For a value inside a stream, whose arrival is never confirmed: functions that it lent could not be taken back. */
const PLAIN: Refs = {
  give: () => refuse(FUNCTION),
  take: () => { throw new StageError('PROTOCOL_ERROR', 'a function in a stream of values') },
}

/**
 * Async iterables and Node streams in arguments and results. Each gets a stream of the link, on which nothing happens
 * until its receiver begins to read or write: so a call that was refused can go elsewhere with its arguments untouched,
 * and a stream that is never used has cost nothing when it is closed.
 */
export class Passing {
  readonly #sources = new Map<Channel, Lent>()
  /** Received streams that are not in use yet, with the time when they expire. */
  readonly #unread = new Map<Channel, number>()
  readonly #unsweep: () => void
  readonly #budget: Budget
  readonly #refs: Refs
  #offered: Channel[] = []
  #accepted: Channel[] = []

  constructor(
    private readonly host: PassingHost,
    private readonly wire: Wire,
    private readonly streams: Streams,
    private readonly peer: Peer,
    private readonly held: Held,
  ) {
    this.#budget = new Budget(host.unfinished)
    this.#unsweep = host.deadlines.add((now) => this.#sweep(now))
    this.#refs = { ...PLAIN, ...host.references }
  }

  /** Whether streams were offered since the last call of `offered()`. */
  get offering(): boolean {
    return this.#offered.length > 0
  }

  /** Bytes that unfinished values of the peer take, or will take. */
  get unfinished(): number {
    return this.#budget.used
  }

  /** The streams that the value encoded last brings along. */
  offered(): readonly Channel[] {
    const offered = this.#offered
    if (offered.length === 0) return NONE // not `#offered`, which later streams go into
    this.#offered = []
    return offered
  }

  /** The sources behind channels that nobody has begun to read. */
  sourcesOf(offered: readonly Channel[]): object[] {
    return offered.flatMap((channel) => this.#sources.get(channel)?.source ?? [])
  }

  /** The streams that the value decoded last brought along. */
  accepted(): readonly Channel[] {
    const accepted = this.#accepted
    if (accepted.length === 0) return NONE
    this.#accepted = []
    return accepted
  }

  offer(source: object, kind: StreamKind): number {
    hold(asNode(source) ?? source)
    const channel = this.streams.add(this.wire.newId(), {})
    this.#sources.set(channel, { source, kind })
    this.#offered.push(channel)
    channel.once('started', () => this.#begin(channel))
    channel.once('close', () => this.#unused(channel))
    return channel.id
  }

  /** The value that contains the stream could not be sent. */
  withdraw(id: number): void {
    const index = this.#offered.findIndex((one) => one.id === id)
    const [channel] = this.#offered.splice(index, 1)
    this.#sources.delete(channel)
    this.streams.forget(channel)
  }

  accept(id: number, kind: StreamKind): object {
    if (this.#accepted.length >= STREAMS_MAX) throw new StageError('PROTOCOL_ERROR', `a value with more than ${STREAMS_MAX} streams`)
    this.wire.fresh(id)
    // each direction of a Duplex is open until it is ended; in other streams the unused direction ends with the used direction
    const both = reads(kind) !== 0 && writes(kind) !== 0
    const channel = this.streams.accept(id, { accepted: reads(kind) !== 0 && !both, lazy: true })
    this.#accepted.push(channel)
    const until = this.host.clock.now() + UNREAD_MS
    this.#unread.set(channel, until)
    this.host.deadlines.note(until)
    channel.once('close', () => this.#unread.delete(channel))
    channel.once('start', () => this.#unread.delete(channel))
    const carried = this.#carried(channel)
    return kind === READ_BYTES + WRITE_BYTES ? channel : kind === ITERABLE ? carried.values() : faceOf(channel, kind, carried)
  }

  /** Destroys the received streams that nobody has begun to use, as nobody will. */
  drop(reason: StageError): void {
    for (const channel of [...this.#unread.keys()]) channel.destroy(reason)
  }

  /** The link is gone, and all of its streams are ended. */
  clear(): void {
    this.#unsweep()
    this.#unread.clear()
  }

  // ── streams of this stage ─────────────────────────────────────────────────────────────────────────────────────

  #begin(channel: Channel): void {
    const lent = this.#sources.get(channel)
    if (!lent) return
    const { source } = lent
    this.#sources.delete(channel)
    try {
      if (once(source)) {
        if (taken.has(source)) return void channel.destroy(readAlready())
        taken.add(source)
      }
      outside(lend, undefined, channel, lent, this.#carried(channel))
    } catch (thrown) {
      channel.destroy(failed(thrown)) // a user's object: not everything that looks like a stream is a stream
    }
  }

  /** The channel ended before anybody wanted the stream. */
  #unused(channel: Channel): void {
    const unused = this.#sources.get(channel)
    this.#sources.delete(channel)
    if (unused && !elsewhere(channel.errored)) dispose(unused.source)
  }

  // ── streams of the peer ───────────────────────────────────────────────────────────────────────────────────────

  #carried(channel: Channel): Carried {
    return {
      failed: (thrown, over) => this.host.failed(thrown, { what: 'an async iterable that was handed out', from: this.peer.id, over }),
      items: () => new ItemWriter(channel, (value, writer) => this.host.codec.encode(value, writer, this.#refs)),
      values: () => {
        /** The value that the reader has, which counts until the next value is asked for, even after the channel has closed. */
        const last: Holder = { held: this.held, weight: 0 }
        let closed = false
        const used = (): void => { if (closed) giveBackLeft(last); else giveBack(last) }
        channel.once('close', () => { // not left to the reader: this listener would hold it, and it must stay collectable
          closed = true
          this.#budget.leave(channel)
          if (last.weight > 0) leave(last)
        })
        return new Values(channel, this.#budget, (kind, bytes, at, end) => {
          used()
          const value = this.host.codec.decode(bytes, at, end, this.#refs)
          const weight = this.wire.weightOf(end - at)
          if (kind !== VALUE) throw heldError(fromWire(value, this.peer), this.held, weight)
          const full = this.held.lacks(weight)
          if (full !== undefined) throw new StageError('OVERLOADED', `the data held for calls and streams takes ${full}`)
          this.held.add(last.weight = weight)
          if (closed) leave(last)
          return value
        }, used)
      },
    }
  }

  #sweep(now: number): number {
    let next = Infinity
    for (const [channel, until] of this.#unread) {
      if (until <= now) channel.destroy(new StageError('CANCELLED', `the stream was not used within ${UNREAD_MS} ms`))
      else if (until < next) next = until
    }
    return next
  }
}

/** Whether a source can be read only once: Node's streams, and iterators such as generators. */
const once = (source: object): boolean =>
  streamKind(source) !== ITERABLE || typeof (source as Partial<AsyncIterator<unknown>>).next === 'function'

function readAlready(): StageError {
  const why = 'this stream already has a reader: a stream that was passed to several receivers can be read by only one'
  return new StageError('BAD_ARGUMENT', why, { executed: 'no' })
}

