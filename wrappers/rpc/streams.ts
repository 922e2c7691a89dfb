import type { Duplex } from 'node:stream'
import { StageError } from '../../src/errors.js'
import type { Peer } from '../../src/types.js'
import { Channel, type ChannelPort } from './channel.js'
import { fromWire, toWire } from './errors.js'
import { CONGESTED_BYTES, CREDIT, DATA, END, ENDED, OPEN, RESET, STREAMS_MAX } from './messages.js'
import type { Wire } from './wire.js'

/** The streams of one link; the one with the id 0 needs no opening and is the link's own. */
export class Streams implements ChannelPort {
  readonly #open = new Map<number, Channel>()

  /** @param onempty called whenever one has ended */
  constructor(private readonly wire: Wire, private readonly peer: Peer, private readonly main: Channel, private readonly onempty: () => void) {}

  get size(): number {
    return this.#open.size
  }

  get maxPieceBytes(): number {
    return this.wire.maxPieceBytes
  }

  /** @throws StageError OVERLOADED */
  open(): Channel {
    if (this.#open.size >= STREAMS_MAX) throw new StageError('OVERLOADED', `${STREAMS_MAX} streams are open to ${this.peer.name}: no more until some have ended`, { peer: this.peer })
    const channel = this.#add(this.wire.newId(), false)
    this.wire.signal(OPEN, channel.id)
    return channel
  }

  onopen(id: number, accept: ((stream: Duplex) => boolean) | undefined): void {
    this.wire.fresh(id)
    const channel = this.#add(id, true)
    if (this.#open.size > STREAMS_MAX) channel.destroy(new StageError('OVERLOADED', `${STREAMS_MAX} streams are open on this link`))
    else if (!accept?.(channel)) channel.destroy(new StageError('REFUSED', 'nobody listens for streams there'))
  }

  ondata(id: number, piece: Buffer): void {
    this.#get(id)?.ondata(piece)
  }

  onend(id: number): void {
    this.#get(id)?.onend()
  }

  onended(id: number): void {
    this.#get(id)?.onended()
  }

  oncredit(id: number, bytes: number): void {
    this.#get(id)?.oncredit(bytes)
  }

  onreset(id: number, error: unknown): void {
    this.#get(id)?.destroy(fromWire(error, this.peer))
  }

  /** The carrier has room again. */
  pump(): void {
    this.main.pump()
    for (const channel of this.#open.values()) channel.pump()
  }

  /** The link is gone; what was not whole by then must not look it. */
  clear(reason: StageError): void {
    const all = [...this.#open.values()]
    this.#open.clear()
    for (const channel of all) channel.destroy(channel.incomplete ? reason : undefined)
  }

  // ── what a channel asks ───────────────────────────────────────────────────────────────────────────────────────

  congested(): boolean {
    return this.wire.held > CONGESTED_BYTES
  }

  data(id: number, piece: Buffer): void {
    this.wire.bytes(DATA, id, piece)
  }

  end(id: number): void {
    this.wire.signal(END, id)
  }

  ended(id: number): void {
    if (id === 0) return // the link's own stream ends with the link
    this.wire.signal(ENDED, id)
  }

  reset(id: number, error: Error | null): void {
    const told = error instanceof StageError ? error : new StageError('CANCELLED', `the other end gave up the stream${error ? `: ${error.message}` : ''}`, { executed: 'unknown' })
    this.wire.value(RESET, id, toWire(told))
  }

  credit(id: number, bytes: number): void {
    this.wire.signal(CREDIT, id, bytes)
  }

  closed(id: number): void {
    if (this.#open.delete(id)) this.onempty()
  }

  #add(id: number, accepted: boolean): Channel {
    const channel = new Channel(id, this, accepted)
    this.#open.set(id, channel)
    return channel
  }

  /** One that was closed here may still get what was on its way: that is nobody's any more. */
  #get(id: number): Channel | undefined {
    return id === 0 ? this.main : this.#open.get(id)
  }
}
