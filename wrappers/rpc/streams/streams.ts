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

/** From here on what was taken is given back soon, as the link's credit may be what somebody waits for. */
const PRESSED_BYTES = LINK_WINDOW_BYTES / 2
const FULL = `${STREAMS_MAX} streams are open on this link`

/** What the streams of a link need. */
export interface StreamsHost {
  readonly clock: Clock
  readonly deadlines: Deadlines
}

/** The streams of one link and their common credit; the one with the id 0 needs no opening and is the link's own. */
export class Streams implements ChannelPort {
  readonly #open = new Map<number, Channel>()
  /** Destroyed here, while the peer still reads what was ended; with the time when that began. */
  readonly #lingering = new Map<Channel, number>()
  readonly #unsweep: () => void
  /** Their own credit would let them send, the link's does not. */
  readonly #starved = new Set<Channel>()
  /** Bytes sent on all of them that were not given back. */
  #outstanding = 0
  /** Bytes received on all of them and not given back. */
  #owed = 0
  #pressed = false

  /**
   * @param held     where the errors count by which the peer ends them
   * @param onempty  called whenever one has ended
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

  /** Bytes that came and that nobody has read. */
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

  /** One that a value brings along: the message that carries the value opens it. @throws StageError OVERLOADED */
  add(id: number, options: ChannelOptions): Channel {
    if (this.#open.size >= STREAMS_MAX) {
      const { peer } = this
      throw new StageError('OVERLOADED', `${STREAMS_MAX} streams are open to ${peer.name}: no more until some have ended`, { peer })
    }
    const channel = new Channel(id, this, options)
    this.#open.set(id, channel)
    return channel
  }

  /** One that the peer has put into a value; where there are too many it comes broken. */
  accept(id: number, options: ChannelOptions): Channel {
    if (this.#open.size < STREAMS_MAX) return this.add(id, options)
    return new Channel(id, this, options).destroy(new StageError('OVERLOADED', FULL, { executed: 'no' }))
  }

  /** The peer has not heard of it, and never will. */
  forget(channel: Channel): void {
    channel.unheard = true
    if (this.#open.delete(channel.id)) this.onempty()
  }

  onopen(id: number, accept: ((stream: Duplex) => boolean) | undefined): void {
    this.wire.fresh(id)
    if (this.#open.size >= STREAMS_MAX) return this.wire.reset(id, { code: 'OVERLOADED', message: FULL, executed: 'no' })
    const channel = this.add(id, { accepted: true, opener: 'peer' })
    if (!accept?.(channel)) channel.destroy(new StageError('REFUSED', 'nobody listens for streams there'))
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
    if (channel.destroyed) return // it lingers
    channel.owed += piece.length
    this.#owed += piece.length
    if (this.#owed > LINK_WINDOW_BYTES + RESERVE_BYTES * (this.#open.size + 1)) {
      throw new StageError('PROTOCOL_ERROR', 'more data on all streams together than a link may have')
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
      throw new StageError('PROTOCOL_ERROR', `${bytes} bytes given back of ${channel.outstanding} that were sent`)
    }
    channel.movedAt = this.host.clock.now()
    this.#returned(channel, bytes)
    channel.resumed()
  }

  /** Of a stream that was ended nothing more is awaited. */
  onunwanted(id: number): void {
    const channel = this.#get(id)
    if (!channel) return
    const lost = channel.outstanding > 0
    this.#returned(channel, channel.outstanding)
    channel.onunwanted(lost)
    if (channel.destroyed) this.#left(channel)
  }

  ontook(id: number, items: number): void {
    if (items === 0) throw new StageError('PROTOCOL_ERROR', 'no items taken')
    const channel = this.#get(id)
    if (!channel?.ontook) return
    channel.ontook(items)
    channel.movedAt = this.host.clock.now()
  }

  /** @param weight  what the error takes in memory */
  onreset(id: number, error: unknown, weight: number): void {
    const channel = this.#get(id)
    if (channel?.destroyed) this.#left(channel)
    else channel?.destroy(heldError(fromWire(error, this.peer), this.held, weight))
  }

  /** The stage is closing, and waits for none on which nothing happens. */
  leaveIdle(): void {
    const { host, peer } = this
    const now = host.clock.now()
    for (const channel of [...this.#open.values()]) {
      if (!channel.idleAt(now)) continue
      const why = 'the stage is closing, and nothing moved on this stream'
      channel.destroy(new StageError('DISCONNECTED', why, { executed: 'unknown', peer }))
    }
  }

  /** The link is gone; what was not whole by then must not look it. */
  clear(reason: StageError): void {
    const all = [...this.#open.values()]
    this.#open.clear()
    this.#lingering.clear()
    this.#starved.clear()
    this.#unsweep()
    // one whose end has come is whole, and its reader has not heard of it yet
    for (const channel of all) channel.destroy(channel.incomplete || !channel.readableEnded ? reason : undefined)
  }

  // ── what a channel asks ───────────────────────────────────────────────────────────────────────────────────────

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
      const why = `what was written was not read within ${UNREAD_MS} ms, and its writer has left`
      this.wire.reset(channel.id, toWire(new StageError('CANCELLED', why)))
      this.#left(channel)
    }
    return next
  }

  /** The peer has room for so much more. */
  #returned(channel: Channel, bytes: number): void {
    channel.outstanding -= bytes
    this.#outstanding -= bytes
    // no more of them than there is credit for: a thousand may wait, and each byte that is given back would wake all of them
    for (const one of this.#starved) {
      if (this.#outstanding >= LINK_WINDOW_BYTES) return
      this.#starved.delete(one)
      one.resumed()
    }
  }

  /** We have. */
  #settle(channel: Channel, bytes: number): void {
    channel.owed -= bytes
    this.#owed -= bytes
    if (this.#owed < PRESSED_BYTES / 2) this.#pressed = false
  }

  /** One that was closed here may still get what was on its way: that is nobody's any more. @throws StageError PROTOCOL_ERROR */
  #get(id: number): Channel | undefined {
    if (id === 0) return this.main
    const channel = this.#open.get(id)
    if (!channel) this.wire.known(id)
    return channel
  }
}

function givenUp(error: Error | null): StageError {
  const why = error ? `: ${error.message}` : ''
  return new StageError('CANCELLED', `the other end gave up the stream${why}`, { executed: 'unknown' })
}
