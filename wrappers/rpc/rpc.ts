import type { Duplex } from 'node:stream'
import { IdMap } from '../../src/id-map.js'
import { StageError } from '../../src/errors.js'
import type { Delivery, LinkEnd, Peer, Timer, Top } from '../../src/types.js'
import type { Framed } from '../framing.js'
import { Allowance } from './streams/allowance.js'
import { Channel } from './streams/channel.js'
import { putCarried, type Context } from './context.js'
import { fromWire } from './errors.js'
import { closing, lost, noGoodbye, notAnswered, notSent, readsNothing, readsSlowly, tooManyCalls } from './link-errors.js'
import { CastDatagrams } from './wire/datagrams.js'
import { Functions } from './wire/functions.js'
import { Held } from './serving/held.js'
import type { Counts, RpcHost } from './host.js'
import * as M from './wire/messages.js'
import { Methods } from './serving/methods.js'
import { request, type Outgoing } from './calling/outgoing.js'
import { Passing } from './streams/passing.js'
import { Serving } from './serving/serving.js'
import { Standing } from './serving/standing.js'
import { Streams } from './streams/streams.js'
import { stub } from './wire/stub.js'
import type { Service } from './types.js'
import { Wire, putName, putU32, u32 } from './wire/wire.js'

const NONE: readonly object[] = []

/**
 * The calls and streams of one link, over its frames. The link itself is a Duplex too: the only stream that needs no opening.
 * When the link dies, everything that waits on it settles in the same tick.
 */
export class Rpc extends Channel implements Top {
  onstream: ((stream: Duplex) => boolean) | undefined
  ondrain: ((leaving: boolean) => void) | undefined
  /** Counts activity: begins and ends of calls and streams, and incoming casts and DATA. */
  uses = 0
  readonly methods: Methods
  /** Services of the layers above, by name. */
  readonly #services = new Map<string, Service>()
  readonly #pending = new IdMap<Outgoing>()
  readonly #wire: Wire
  readonly #refs: Functions
  readonly #serving: Serving
  readonly #streams: Streams
  readonly #passing: Passing
  readonly #datagrams: CastDatagrams
  /** The streams in the arguments of pending calls, by call id. */
  readonly #carried = new Map<number, Allowance>()
  /** The numbers of the functions in those arguments, by call id. */
  readonly #lent = new Map<number, readonly number[]>()
  readonly #unsweep: () => void
  readonly #onmessage = (type: number, id: number, bytes: Buffer, at: number, end: number, assembled: boolean): void =>
    this.#message(type, id, bytes, at, end, assembled)
  #goneOut = false
  #goneIn = false
  #drained: (() => void) | undefined
  #looking: Timer | undefined

  constructor(private readonly framed: Framed, private readonly host: RpcHost<Rpc>, private readonly linkEnd: LinkEnd) {
    super(0)
    const { peer } = linkEnd
    const refs = this.#refs = new Functions((id) => stub(this, host, id), (id, count) => this.#wire.order(M.RELEASE, id, count))
    this.#wire = new Wire(framed, host.codec, {
      give: (fn) => refs.give(this.#wire.hand?.give(fn) ?? fn),
      take: (id) => refs.take(id),
      back: (id) => refs.back(id),
      offer: (stream, kind) => this.#passing.offer(this.#wire.hand?.offer(stream, kind) ?? stream, kind),
      accept: (id, kind) => this.#passing.accept(id, kind),
      withdraw: (id) => this.#passing.withdraw(id),
      ...host.references,
    }, host.clock, linkEnd.dialled, { answers: host.heldAnswers, unfinished: host.unfinished })
    this.#wire.onstopped(() => host.deadlines.note(host.clock.now() + M.STOPPED_MS))
    const standing = new Standing(host, () => this.peer, () => { this.#serving.resumed(); this.methods.announce() })
    this.methods = new Methods(this.#wire, () => host.visible(this.peer), () => standing.open())
    const held = new Held(M.SERVED_MAX_BYTES, host.held)
    this.port = this.#streams = new Streams(host, this.#wire, peer, this, held, () => { this.uses++; this.#settled() })
    this.#passing = new Passing(host, this.#wire, this.#streams, peer, held)
    this.#serving = new Serving({
      end: linkEnd, held, link: this, wire: this.#wire, passing: this.#passing, standing,
      service: (name) => this.#services.get(name),
      passed: (ref) => {
        const fn = refs.get(ref)
        return fn && host.passed(fn, `function ${ref}`)
      },
      onsettled: () => { this.uses++; this.#settled(); host.onserved() },
    }, host)
    this.#unsweep = host.deadlines.add((now) => this.#sweep(now))
    framed.onframe = (bytes, start, stop) => this.#onframe(bytes, start, stop)
    framed.onpiece = (bytes, start, stop) => this.#onpiece(bytes, start, stop)
    framed.onrest = (bytes, start, stop) => this.#onrest(bytes, start, stop)
    framed.onflushed = () => this.#flushed()
    this.#datagrams = new CastDatagrams(framed.datagrams, host.datagrams, (bytes, at, end) => { if (!this.destroyed) this.#message(M.CAST, 0, bytes, at, end, false) })
    framed.on('error', (error) => this.destroy(error))
    framed.on('close', () => this.destroy())
    framed.on('end', () => this.#carrierEnded())
    framed.resume() // flowing mode, for `end`: all data comes by `onframe`
    this.methods.announce()
  }

  get peer(): Peer {
    return this.linkEnd.peer
  }

  // ── for the stage ───────────────────────────────────────────────────────────────────────────────────────────────

  get idle(): boolean {
    return this.#wire.empty && this.#pending.size === 0 && this.#serving.size === 0 && this.#streams.size === 0 && this.#refs.size === 0
  }

  /** Calls being served whose callers still wait. */
  get serving(): number {
    return this.#serving.awaited
  }

  counts(): Counts {
    return {
      calls: this.#pending.size,
      serving: this.#serving.size,
      streams: this.#streams.size,
      functions: this.#refs.size,
      heldBytes: this.#wire.held,
      unreadBytes: this.#streams.unread + this.#passing.unfinished,
    }
  }

  openStream(): Channel {
    if (this.#closing) throw new StageError('DISCONNECTED', 'the link is closing', { peer: this.peer })
    this.uses++
    return this.#streams.open()
  }

  drain(leaving: boolean): Promise<void> {
    return new Promise((resolve) => {
      this.#drained = resolve
      if (!this.#goneOut) this.#wire.order(M.GOAWAY, leaving ? 1 : 0)
      this.#goneOut = true
      if (leaving) this.#leaveIdle()
      if (leaving) this.#passing.drop(new StageError('CANCELLED', 'the stage that received the stream is closing, and has not used it'))
      this.#settled()
    })
  }

  /** Repeats while the link drains, since streams in use become idle later. */
  #leaveIdle(): void {
    this.#streams.leaveIdle()
    this.#looking?.cancel()
    if (this.#streams.size > 0) this.#looking = this.host.clock.setTimeout(() => this.#leaveIdle(), M.LOOK_MS)
  }

  // ── calls ───────────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Sends a call to a method, or to a function of the peer by its number.
   * @returns the id that `cancel` takes
   * @throws StageError executed 'no': nothing was sent
   */
  send(call: Outgoing, target: string | number): number {
    const { peer } = this
    if (this.#closing) throw closing(peer)
    if (this.#pending.size >= M.OPEN_CALLS_MAX) throw tooManyCalls(peer)
    this.#room()
    const id = this.#wire.newId()
    const writer = this.#wire.begin(typeof target === 'number' ? M.REF : M.CALL, id)
    const now = this.#wire.calledAt = this.host.clock.now()
    putU32(writer, Math.max(1, Math.ceil(call.endsAt - now)))
    putCarried(writer, call.carried)
    if (typeof target === 'number') putU32(writer, target)
    else putName(writer, target)
    this.#refs.lend()
    let lent: readonly number[] | undefined
    try {
      this.#wire.finish(id, writer, call.args, true, call.hand)
    } finally {
      lent = this.#refs.lent()
    }
    this.#pending.set(id, call)
    if (lent) this.#lent.set(id, lent)
    if (this.#passing.offering) {
      const offered = this.#passing.offered()
      this.#carried.set(id, new Allowance(offered, call.endsAt, call.endsAt - now))
      call.streams = this.#passing.sourcesOf(offered)
    } else call.streams = NONE
    this.host.deadlines.note(call.endsAt)
    this.uses++
    return id
  }

  /** Registers a service of a layer above on this link, under a name that begins with `@`. @throws TypeError another layer has the name */
  serve(name: string, service: Service): void {
    if (this.#services.has(name)) {
      throw new TypeError(`${name} is served by two layers of this chain: expected different names of services`)
    }
    this.#services.set(name, service)
  }

  /**
   * Calls a service that a layer above registered at the peer.
   * @param words  describes the request in messages
   */
  request(name: string, args: readonly unknown[], context: Pick<Context, 'endsAt'> & Partial<Context>, words = name): Promise<unknown> {
    return request(this, name, args, context, words)
  }

  /** The caller has stopped waiting: tells the callee, and drops the answer. @returns whether the call was never sent */
  cancel(id: number, reason: StageError): boolean {
    if (!this.#pending.delete(id)) return false
    const withdrawn = this.#wire.withdraw(id)
    const unsent = withdrawn === 'unsent'
    if (withdrawn) this.#serving.resumed() // withdrawing made room, although nothing was sent
    this.#uncarry(id, reason, withdrawn !== undefined)
    const lent = this.#lent.get(id)
    this.#lent.delete(id)
    if (lent && withdrawn) for (const ref of lent) this.#refs.back(ref) // the peer has never seen them
    if (!unsent) this.#wire.signal(M.CANCEL, id)
    this.#settled()
    return unsent
  }

  /** Destroys the streams in the arguments of a failed call. @param unheard  the peer does not know of them */
  #uncarry(id: number, reason: StageError, unheard = false): void {
    const carried = this.#carried.get(id)
    if (!carried) return
    this.#carried.delete(id)
    for (const channel of carried.channels) {
      if (unheard) this.#streams.forget(channel)
      channel.destroy(reason)
    }
  }

  /** Sends a message that was encoded once for many peers. @throws StageError executed 'no' */
  cast(message: Buffer, delivery?: Delivery): void {
    if (this.#closing) throw closing(this.peer)
    this.uses++
    if (this.#datagrams.send(message, delivery)) return
    this.#room()
    this.#wire.encoded(message)
  }

  get #closing(): boolean {
    return this.destroyed || this.#goneOut || this.#goneIn
  }

  #room(): void {
    const { asking } = this.#wire
    if (asking > M.HELD_MAX_BYTES) throw readsSlowly(this.peer, asking)
  }

  #sweep(now: number): number {
    let next = this.#wire.stoppedSince + M.STOPPED_MS
    if (next <= now) {
      this.destroy(readsNothing(this.peer))
      return Infinity
    }
    for (const [id, call] of this.#pending.entries()) {
      if (this.#pending.get(id) !== call) continue // settled together with an earlier call
      const endsAt = call.endsAt > now ? call.endsAt : this.#carried.get(id)?.until ?? call.endsAt
      if (endsAt > now) {
        if (endsAt < next) next = endsAt
        continue
      }
      const late = notAnswered(call.method, this.peer)
      call.settle(this.cancel(id, late) ? notSent(call.method, this.peer) : late)
    }
    return next
  }

  // ── incoming ────────────────────────────────────────────────────────────────────────────────────────────────────

  #onframe(bytes: Buffer, start: number, end: number): void {
    if (this.destroyed) return
    try {
      this.#wire.read(bytes, start, end, this.#onmessage)
    } catch (error) {
      this.destroy(error as Error)
    }
  }

  #onpiece(bytes: Buffer, start: number, end: number): boolean {
    try {
      return !this.destroyed && this.#wire.begins(bytes, start, end, this.#onmessage)
    } catch (error) {
      this.destroy(error as Error)
      return true
    }
  }

  #onrest(bytes: Buffer, start: number, end: number): void {
    if (this.destroyed) return
    try {
      this.#wire.goesOn(bytes, start, end, this.#onmessage)
    } catch (error) {
      this.destroy(error as Error)
    }
  }

  #message(type: number, id: number, bytes: Buffer, at: number, end: number, assembled: boolean): void {
    switch (type) {
      case M.CALL: case M.REF: this.uses++; return this.#serving.oncall(type, id, bytes, at, end, assembled)
      case M.CAST: this.uses++; return this.#serving.oncast(bytes, at, end, assembled)
      case M.RESULT: return this.#onanswer(id, null, this.#wire.decode(bytes, at, end, assembled))
      case M.ERROR: return this.#onanswer(id, fromWire(this.#wire.decode(bytes, at, end), this.peer), undefined)
      case M.CANCEL: return this.#serving.oncancel(id)
      case M.RELEASE: return this.#refs.released(id, u32(bytes, at, end))
      case M.METHODS: return this.host.onmethods(this.peer, this.methods.onmethods(this.#wire.decode(bytes, at, end)))
      case M.GOAWAY: return this.#ongoaway(id === 1)
      case M.OPEN: this.uses++; return this.#streams.onopen(id, this.onstream)
      case M.DATA: this.uses++; return this.#streams.ondata(id, bytes.subarray(at, end))
      case M.START: return this.#streams.onstart(id)
      case M.END: return this.#streams.onend(id)
      case M.READ: return this.#wire.onread(u32(bytes, at, end))
      case M.ENDED: return this.#streams.onended(id)
      case M.RESET: return this.#streams.onreset(id, this.#wire.decode(bytes, at, end), this.#wire.weightOf(end - at))
      case M.UNWANTED: return this.#streams.onunwanted(id)
      case M.TOOK: return this.#streams.ontook(id, u32(bytes, at, end))
      case M.CREDIT: return this.#streams.oncredit(id, u32(bytes, at, end))
      default: throw new StageError('PROTOCOL_ERROR', `a message of the unknown type ${type}`)
    }
  }

  #onanswer(id: number, error: StageError | null, value: unknown): void {
    let streams = this.#passing.accepted()
    const call = this.#pending.get(id)
    if (!call) { // the call was cancelled or timed out
      this.#wire.known(id)
      for (const stream of streams) stream.destroy(new StageError('CANCELLED', 'the caller no longer waits for the answer'))
      return
    }
    this.#pending.delete(id)
    if (this.#lent.size > 0) this.#lent.delete(id)
    if (this.#carried.size > 0) {
      const carried = this.#carried.get(id)
      if (error) this.#uncarry(id, error)
      else if (carried) streams = [...streams, ...carried.channels] // the callee may go on reading them
      this.#carried.delete(id)
    }
    this.uses++
    call.settle(error, value, streams)
    if (this.#goneOut) this.#settled()
  }

  // ── the end ─────────────────────────────────────────────────────────────────────────────────────────────────────

  #ongoaway(leaving: boolean): void {
    this.#goneIn = true
    this.ondrain?.(leaving)
    this.#settled()
  }

  #flushed(): void {
    this.#wire.flushed()
    this.#serving.resumed()
    if (this.#drained) this.#settled()
  }

  /** Ends `drain` once both ends have sent GOAWAY and nothing is in flight any more. */
  #settled(): void {
    if (!this.#goneIn || !this.#goneOut || this.#pending.size > 0 || this.#serving.awaited > 0) return
    if (this.#streams.size > 0 || !this.#wire.empty) return
    this.#drained?.()
    this.#drained = undefined
  }

  /** The carrier has ended: an orderly end after a GOAWAY with nothing in flight, else a crash of the peer. */
  #carrierEnded(): void {
    if (!this.incomplete) return
    if (this.#goneIn && this.#pending.size === 0 && this.#streams.size === 0) {
      if (!this.readableEnded) this.pushEnd()
      return
    }
    this.destroy(noGoodbye(this.peer))
  }

  /** The link's own stream has ended in both directions, and the link ends with it. */
  protected override parted(): void {
    this.framed.end()
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    const reason = lost(error, this.peer)
    const pending = this.#pending.values()
    this.#pending.clear()
    this.#carried.clear()
    this.#lent.clear()
    this.#wire.clear()
    this.#unsweep()
    for (const call of pending) call.settle(reason)
    this.#serving.clear(reason)
    this.#streams.clear(reason)
    this.#passing.clear()
    this.#refs.clear()
    this.abandon(reason)
    this.#looking?.cancel()
    this.#drained?.()
    this.methods.close()
    this.host.onclose(this)
    if (error ?? this.incomplete) this.framed.destroy(error ?? undefined)
    done(error)
  }
}
