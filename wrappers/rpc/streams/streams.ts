import type { Duplex } from 'node:stream'
import { StageError } from '../../../src/errors.js'
import { isError } from '../../../src/realm.js'
import type { Clock, Deadlines, Peer } from '../../../src/types.js'
import { readThrown } from '../../codec/errors.js'
import { Channel, type ChannelOptions, type ChannelPort } from './channel.js'
import { fromWire, toWire } from '../errors.js'
import { heldError, type Held } from '../serving/held.js'
import {
  CREDIT, END, ENDED, LINK_WINDOW_BYTES, OPEN, RESERVE_BYTES, START, STREAMS_MAX, STREAM_WINDOW_BYTES, TOOK, UNREAD_MS, UNWANTED,
} from '../wire/messages.js'
import type { Wire } from '../wire/wire.js'

/** Owed bytes above which taken bytes are given back soon, as streams may wait for the link's credit. */
const PRESSED_BYTES = LINK_WINDOW_BYTES / 2
const FULL = `${STREAMS_MAX} streams are open on this link`

/** The services that the streams of a link need. */
export interface StreamsHost {
  readonly clock: Clock
  readonly deadlines: Deadlines
}

/** The streams of one link and their common credit. The stream with the id 0 needs no opening and is the link's own. */
export class Streams implements ChannelPort {
  readonly #open = new Map<number, Channel>()
  /** Channels that were destroyed here while the peer still reads their data, with the time of their destruction. */
  readonly #lingering = new Map<Channel, number>()
  readonly #unsweep: () => void
  /** Channels whose own credit would let them send, while the link's does not. */
  readonly #starved = new Set<Channel>()
  /** Bytes sent on all streams and not given back. */
  #outstanding = 0
  /** Bytes received on all streams and not given back. */
  #owed = 0
  #pressed = false

  /**
   * @param held     the account that counts the errors by which the peer ends streams
   * @param onempty  called whenever a stream has ended
   */
  constructor(
    private readonly host: StreamsHost,
    private readonly wire: Wire,
    private readonly peer: Peer,
    private readonly main: Channel,
    private readonly held: Held,
    private readonly onempty: () => void,
  ) {
    this.#unsweep = host.deadlines.add((now) => this.#sweep(now))
  }

  get size(): number {
    return this.#open.size
  }

  /** Bytes that came and have not been read. */
  get unread(): number {
    return this.#owed
  }

  /** @throws StageError OVERLOADED */
  open(): Channel {
    const channel = this.add(this.wire.newId(), { opener: 'us' })
    try {
      this.wire.order(OPEN, channel.id)
    } catch (error) {
      this.forget(channel)
      throw error
    }
    return channel
  }

  /** Adds a stream. A stream in a value is opened by the message that carries the value. @throws StageError OVERLOADED */
  add(id: number, options: ChannelOptions): Channel {
    if (this.#open.size >= STREAMS_MAX) {
      const { peer } = this
      throw new StageError('OVERLOADED', `${STREAMS_MAX} streams are open to ${peer.name}: no more until some have ended`, { peer })
    }
    const channel = new Channel(id, this, options)
    this.#open.set(id, channel)
    return channel
  }

  /** Adds a stream that the peer has put into a value; if too many are open, the stream arrives destroyed. */
  accept(id: number, options: ChannelOptions): Channel {
    if (this.#open.size < STREAMS_MAX) return this.add(id, options)
    return new Channel(id, this, options).destroy(new StageError('OVERLOADED', FULL, { executed: 'no' }))
  }

  /** Removes a channel that the peer has not heard of, and never will. */
  forget(channel: Channel): void {
    channel.unheard = true
    if (this.#open.delete(channel.id)) this.onempty()
  }

  onopen(id: number, accept: ((stream: Duplex) => boolean) | undefined): void {
    this.wire.fresh(id)
    if (this.#open.size >= STREAMS_MAX) return this.wire.reset(id, { code: 'OVERLOADED', message: FULL, executed: 'no' })
    const channel = this.add(id, { accepted: true, opener: 'peer' })
    if (!accept?.(channel)) channel.destroy(new StageError('REFUSED', 'the other end has no listener for streams'))
  }

  onstart(id: number): void {
    this.#get(id)?.emit('started')
  }

  ondata(id: number, piece: Buffer): void {
    const channel = this.#get(id)
    if (!channel) return
    if (piece.length > 0) channel.movedAt = this.host.clock.now()
    channel.movedIn = true
    channel.bytesRead += piece.length
    if (channel.destroyed) return // the channel lingers
    channel.owed += piece.length
    this.#owed += piece.length
    if (this.#owed > LINK_WINDOW_BYTES + RESERVE_BYTES * (this.#open.size + 1)) {
      throw new StageError('PROTOCOL_ERROR', 'more data on all streams of the link than its credit allows')
    }
    channel.ondata(piece)
    if (this.#owed > PRESSED_BYTES && !this.#pressed) {
      this.#pressed = true
      this.main.grant()
      for (const one of this.#open.values()) one.grant()
    }
  }

  onend(id: number): void {
    this.#get(id)?.onend()
  }

  onended(id: number): void {
    const channel = this.#get(id)
    if (!channel) return
    this.#returned(channel, channel.outstanding)
    channel.onended()
    if (channel.destroyed) this.#left(channel)
  }

  oncredit(id: number, bytes: number): void {
    const channel = this.#get(id)
    if (!channel) return
    if (bytes === 0 || bytes > channel.outstanding) {
      throw new StageError('PROTOCOL_ERROR', `credit for ${bytes} bytes, but only ${channel.outstanding} were sent`)
    }
    channel.movedAt = this.host.clock.now()
    this.#returned(channel, bytes)
    channel.resumed()
  }

  /** The peer reads no more of a stream; a channel that only lingers is over. */
  onunwanted(id: number): void {
    const channel = this.#get(id)
    if (!channel) return
    const lost = channel.outstanding > 0
    this.#returned(channel, channel.outstanding)
    channel.onunwanted(lost)
    if (channel.destroyed) this.#left(channel)
  }

  ontook(id: number, items: number): void {
    if (items === 0) throw new StageError('PROTOCOL_ERROR', 'credit for no items')
    const channel = this.#get(id)
    if (!channel?.ontook) return
    channel.ontook(items)
    channel.movedAt = this.host.clock.now()
  }

  /** @param weight  memory that the error takes */
  onreset(id: number, error: unknown, weight: number): void {
    const channel = this.#get(id)
    if (channel?.destroyed) this.#left(channel)
    else channel?.destroy(heldError(fromWire(error, this.peer), this.held, weight))
  }

  /** The stage is closing, and does not wait for idle streams. */
  leaveIdle(): void {
    const { host, peer } = this
    const now = host.clock.now()
    for (const channel of [...this.#open.values()]) {
      if (!channel.idleAt(now)) continue
      const why = 'the stage is closing, and this stream made no progress'
      channel.destroy(new StageError('DISCONNECTED', why, { executed: 'unknown', peer }))
    }
  }

  /** The link is gone; streams that were incomplete by then must not look complete. */
  clear(reason: StageError): void {
    const all = [...this.#open.values()]
    this.#open.clear()
    this.#lingering.clear()
    this.#starved.clear()
    this.#unsweep()
    // a complete stream gets the reason too, if its reader has not seen the end yet
    for (const channel of all) channel.destroy(channel.incomplete || !channel.readableEnded ? reason : undefined)
  }

  // ── for channels ──────────────────────────────────────────────────────────────────────────────────────────────

  get maxPieceBytes(): number {
    return this.wire.maxPieceBytes
  }

  get worthBytes(): number {
    return this.#pressed ? RESERVE_BYTES / 2 : STREAM_WINDOW_BYTES / 2
  }

  free(): boolean {
    const { scheduler } = this.wire
    return scheduler.empty && !scheduler.congested()
  }

  opening(channel: Channel): boolean {
    return channel.id !== 0 && this.wire.awaits(channel.id, () => channel.resumed())
  }

  allowed(channel: Channel): number {
    const own = STREAM_WINDOW_BYTES - channel.outstanding
    const together = Math.max(LINK_WINDOW_BYTES - this.#outstanding, RESERVE_BYTES - channel.outstanding)
    if (together <= 0 && own > 0) this.#starved.add(channel)
    return Math.min(own, together)
  }

  wait(channel: Channel): void {
    this.wire.scheduler.add(channel)
  }

  data(channel: Channel, piece: Buffer): void {
    this.wire.data(channel.id, piece)
    channel.movedAt = this.host.clock.now()
    channel.movedIn = false
    channel.bytesWritten += piece.length
    channel.outstanding += piece.length
    this.#outstanding += piece.length
  }

  end(id: number): void {
    this.wire.follow(END, id)
  }

  ended(channel: Channel): void {
    this.#settle(channel, channel.owed)
    this.wire.signal(ENDED, channel.id)
  }

  unwanted(channel: Channel): void {
    this.wire.signal(UNWANTED, channel.id)
  }

  reset(channel: Channel, error: Error | null): void {
    if (channel.unheard || this.wire.withdraw(channel.id) === 'unsent') return
    const told = error instanceof StageError ? error : givenUp(error)
    const plain = toWire(told)
    const causes = told.code === 'REMOTE_ERROR' && isError(told.cause)
    this.wire.reset(channel.id, causes ? { ...plain, cause: readThrown(told.cause).cause } : plain)
  }

  credit(channel: Channel, bytes: number): void {
    this.#settle(channel, bytes)
    this.wire.signal(CREDIT, channel.id, bytes)
  }

  took(channel: Channel, items: number): void {
    this.wire.signal(TOOK, channel.id, items)
  }

  start(channel: Channel): void {
    this.wire.signal(START, channel.id)
    channel.emit('start')
  }

  closed(channel: Channel): void {
    this.wire.scheduler.remove(channel)
    this.#starved.delete(channel)
    this.#settle(channel, channel.owed)
    if (channel.id === 0 || !channel.lingers) return this.#left(channel)
    const now = this.host.clock.now()
    this.#lingering.set(channel, now)
    this.host.deadlines.note(now + UNREAD_MS)
  }

  #left(channel: Channel): void {
    this.#lingering.delete(channel)
    this.#returned(channel, channel.outstanding)
    if (this.#open.delete(channel.id)) this.onempty()
  }

  #sweep(now: number): number {
    let next = Infinity
    for (const [channel, since] of this.#lingering) {
      const until = Math.max(since, channel.movedAt) + UNREAD_MS
      if (until > now) {
        if (until < next) next = until
        continue
      }
      const why = `the written data was not read within ${UNREAD_MS} ms, and its writer has left`
      this.wire.reset(channel.id, toWire(new StageError('CANCELLED', why)))
      this.#left(channel)
    }
    return next
  }

  /** The peer has given back so many bytes. */
  #returned(channel: Channel, bytes: number): void {
    channel.outstanding -= bytes
    this.#outstanding -= bytes
    // no more channels than there is credit for: a thousand may wait, and each byte that is given back would wake them all
    for (const one of this.#starved) {
      if (this.#outstanding >= LINK_WINDOW_BYTES) return
      this.#starved.delete(one)
      one.resumed()
    }
  }

  /** So many bytes were given back to the peer. */
  #settle(channel: Channel, bytes: number): void {
    channel.owed -= bytes
    this.#owed -= bytes
    if (this.#owed < PRESSED_BYTES / 2) this.#pressed = false
  }

  /** Finds a channel. Messages in flight may still come for a channel that was closed here. @throws StageError PROTOCOL_ERROR */
  #get(id: number): Channel | undefined {
    if (id === 0) return this.main
    const channel = this.#open.get(id)
    if (!channel) this.wire.known(id)
    return channel
  }
}

function givenUp(error: Error | null): StageError {
  const why = error ? `: ${error.message}` : ''
  return new StageError('CANCELLED', `the other end destroyed the stream${why}`, { executed: 'unknown' })
}
