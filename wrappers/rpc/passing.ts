import { Readable, type Duplex } from 'node:stream'
import pump from 'pump'
import { onAbort } from '../../src/abort.js'
import { cancelled } from '../../src/bounded.js'
import { StageError } from '../../src/errors.js'
import type { Clock, Deadlines, Peer } from '../../src/types.js'
import { FUNCTION, refuse } from '../codec/sendable.js'
import { streamKind, type Codec, type Refs, type StreamKind } from '../codec.js'
import { Channel } from './channel.js'
import { dispose, leave, taken } from '../codec/dispose.js'
import { elsewhere, fromWire, thrownToWire, toWire } from './errors.js'
import { STREAMS_MAX, UNREAD_MS } from './messages.js'
import { Room } from './room.js'
import type { Streams } from './streams.js'
import { AHEAD, FAILURE, VALUE, Values, item } from './values.js'
import type { Wire } from './wire.js'

/** What the streams inside of values need. */
export interface PassingHost {
  readonly clock: Clock
  readonly deadlines: Deadlines
  readonly codec: Codec
}

/** The channel behind what was handed out. */
const channels = new WeakMap<object, Channel>()
const nothing = (): void => {}
const NONE: readonly Channel[] = []
/** For a value inside of a stream, of which nobody knows whether it arrives: what it would lend could not be taken back. */
const PLAIN: Refs = {
  give: () => refuse(FUNCTION),
  take: () => { throw new StageError('PROTOCOL_ERROR', 'a function in a stream of values') },
}

/**
 * Async iterables and Node streams in arguments and results. Each gets a stream of the link, on which nothing happens
 * until whoever received it begins to read or write: so a call that was refused can go elsewhere with its arguments
 * untouched, and what is never used has cost nothing when it is given up.
 */
export class Passing {
  readonly #sources = new Map<Channel, { source: object; kind: StreamKind }>()
  /** Received and not in use yet, with the time until when that may be so. */
  readonly #unread = new Map<Channel, number>()
  readonly #unsweep: () => void
  readonly #room = new Room()
  #offered: Channel[] = []
  #accepted: Channel[] = []

  constructor(private readonly host: PassingHost, private readonly wire: Wire, private readonly streams: Streams, private readonly peer: Peer) {
    this.#unsweep = host.deadlines.add((now) => this.#sweep(now))
  }

  /** Something was offered since the last `took`. */
  get offering(): boolean {
    return this.#offered.length > 0
  }

  /** Bytes that unfinished values of the peer's take, or will. */
  get unfinished(): number {
    return this.#room.used
  }

  /** What the last value that was encoded brings along. */
  offered(): readonly Channel[] {
    const offered = this.#offered
    if (offered.length === 0) return NONE // and not the list that later ones go into
    this.#offered = []
    return offered
  }

  /** What stands behind channels that nobody has begun to read. */
  sourcesOf(offered: readonly Channel[]): object[] {
    return offered.flatMap((channel) => this.#sources.get(channel)?.source ?? [])
  }

  /** What the last value that was decoded brought along. */
  accepted(): readonly Channel[] {
    const accepted = this.#accepted
    if (accepted.length === 0) return NONE
    this.#accepted = []
    return accepted
  }

  offer(source: object, kind: StreamKind): number {
    if (kind !== 1) hush(source as Duplex) // its reader is told, once there is one
    const channel = this.streams.add(this.wire.newId(), {})
    this.#sources.set(channel, { source, kind })
    this.#offered.push(channel)
    channel.once('started', () => this.#begin(channel))
    channel.once('close', () => this.#unused(channel))
    return channel.id
  }

  /** The value that it was in could not be sent. */
  withdraw(id: number): void {
    const index = this.#offered.findIndex((one) => one.id === id)
    const [channel] = this.#offered.splice(index, 1)
    this.#sources.delete(channel)
    this.streams.forget(channel)
  }

  accept(id: number, kind: StreamKind): object {
    if (this.#accepted.length >= STREAMS_MAX) throw new StageError('PROTOCOL_ERROR', `a value with more than ${STREAMS_MAX} streams`)
    this.wire.fresh(id)
    const channel = this.streams.accept(id, { accepted: kind !== 4, lazy: true })
    this.#accepted.push(channel)
    const until = this.host.clock.now() + UNREAD_MS
    this.#unread.set(channel, until)
    this.host.deadlines.note(until)
    channel.once('close', () => this.#unread.delete(channel))
    channel.once('start', () => {
      this.#unread.delete(channel)
      if (kind === 4) channel.resume() // what is only written to must still see the end of the other direction
    })
    const stream = kind === 1 ? this.#values(channel) : kind === 3 ? Readable.from(this.#values(channel)) : channel
    if (stream instanceof Readable) stream.on('error', nothing)
    channels.set(stream, channel)
    return stream
  }

  /** Nobody will begin to use what nobody has begun to use. */
  drop(reason: StageError): void {
    for (const channel of [...this.#unread.keys()]) channel.destroy(reason)
  }

  /** The link is gone, and all of its streams are ended. */
  clear(): void {
    this.#unsweep()
    this.#unread.clear()
  }

  // ── what is ours ──────────────────────────────────────────────────────────────────────────────────────────────

  #begin(channel: Channel): void {
    const { source, kind } = this.#sources.get(channel) ?? {}
    if (!source) return
    this.#sources.delete(channel)
    try {
      if (once(source)) {
        if (taken.has(source)) return void channel.destroy(new StageError('BAD_ARGUMENT', 'this stream is being read by somebody else already: one that was passed to several can be read by one', { executed: 'no' }))
        taken.add(source)
      }
      if (kind === 1 || kind === 3) void this.#feed(channel, source as AsyncIterable<unknown>)
      else this.#join(channel, source as Duplex, kind as StreamKind)
    } catch (thrown) {
      channel.destroy(failed(thrown)) // it is the user's, and not all that looks like a stream is one
    }
  }

  async #feed(channel: Channel, source: AsyncIterable<unknown>): Promise<void> {
    let over = false
    let iterator: AsyncIterator<unknown> | undefined
    const stop = (): void => {
      if (!over && iterator) leave(source, iterator)
      over = true
    }
    channel.once('close', stop)
    let ahead = 0
    let go = nothing
    channel.on('data', (took: Buffer) => { ahead -= took.length * AHEAD / 2; go() })
    channel.once('close', () => go())
    try {
      iterator = source[Symbol.asyncIterator]()
      while (!over) {
        const next = await iterator.next()
        if (next.done || over) break
        const { value } = next
        await written(channel, item(VALUE, (writer) => this.host.codec.encode(value, writer, PLAIN)))
        if (++ahead >= AHEAD) await new Promise<void>((resolve) => { go = () => { if (ahead < AHEAD || channel.destroyed) resolve() }; go() })
      }
      over = true
    } catch (thrown) {
      const failed = thrown instanceof StageError ? toWire(thrown) : thrownToWire('the stream', thrown)
      stop()
      await written(channel, item(FAILURE, (writer) => this.#failure(failed, writer)))
    }
    if (!channel.destroyed) channel.end()
  }

  #failure(failed: object, writer: Parameters<Codec['encode']>[1]): void {
    try {
      this.host.codec.encode(failed, writer, PLAIN)
    } catch {
      this.host.codec.encode({ ...failed, cause: undefined }, writer, PLAIN)
    }
  }

  #join(channel: Channel, source: Duplex, kind: StreamKind): void {
    channel.once('error', (error) => (source as Partial<Duplex>).destroy?.(error)) // before pump does, which tells nothing of why
    source.on('error', (error: Error) => channel.destroy(failed(error)))
    if (source.destroyed) return void channel.destroy(source.errored ? failed(source.errored) : new StageError('REMOTE_ERROR', 'the stream was over before anybody read it', { executed: 'yes' }))
    if (kind === 4) channel.end()
    else pump(source, channel, nothing)
    // one direction may be over already, as of a PassThrough that was filled before
    if (kind === 2 || source.writableEnded) channel.resume()
    else pump(channel, source, nothing)
  }

  /** It ended before anybody wanted it. */
  #unused(channel: Channel): void {
    const unused = this.#sources.get(channel)
    this.#sources.delete(channel)
    if (unused && !elsewhere(channel.errored)) dispose(unused.source)
  }

  // ── what is the peer's ────────────────────────────────────────────────────────────────────────────────────────

  #values(channel: Channel): Values {
    channel.once('close', () => this.#room.leave(channel)) // not left to whoever reads it: that would hold it, and it may be let go of
    return new Values(channel, this.#room, (kind, bytes, at, end) => {
      const value = this.host.codec.decode(bytes, at, end, PLAIN)
      if (kind === VALUE) return value
      throw fromWire(value, this.peer)
    })
  }

  #sweep(now: number): number {
    let next = Infinity
    for (const [channel, until] of this.#unread) {
      if (until <= now) channel.destroy(new StageError('CANCELLED', `nobody began to use a stream within ${UNREAD_MS} ms`))
      else if (until < next) next = until
    }
    return next
  }
}

function failed(thrown: unknown): StageError {
  const { code, message, cause } = thrownToWire('the stream', thrown)
  return new StageError(code as 'REMOTE_ERROR', message, { executed: 'yes', cause })
}

function hush(stream: Duplex): void {
  if (!stream.listeners('error').includes(nothing)) stream.on('error', nothing)
}

function written(channel: Channel, bytes: Buffer): Promise<void> | undefined {
  if (channel.destroyed || channel.write(bytes)) return undefined
  return new Promise((resolve) => {
    const done = (): void => {
      channel.off('drain', done)
      channel.off('close', done)
      resolve()
    }
    channel.on('drain', done)
    channel.on('close', done)
  })
}

/** Whether it can be read only once: Node's streams, and iterators such as generators. */
const once = (source: object): boolean => streamKind(source) !== 1 || typeof (source as Partial<AsyncIterator<unknown>>).next === 'function'

/** What the signal of a call ends as well: the stream that was its answer. */
export function bind(value: unknown, signal: AbortSignal): void {
  const channel = typeof value === 'object' && value !== null ? channels.get(value) : undefined
  if (channel) channel.once('close', onAbort(signal, () => void channel.destroy(cancelled(signal))))
}

