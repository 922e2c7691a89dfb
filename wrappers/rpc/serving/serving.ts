import type { Duplex } from 'node:stream'
import { SHORT, shortAscii } from '../../../src/ascii.js'
import { StageError, asError, describe, type Code } from '../../../src/errors.js'
import type { OftenLog } from '../../../src/log.js'
import { outside } from '../../../src/outside.js'
import { isThenable } from '../../../src/thenable.js'
import type { Clock, LinkEnd, Mesh, Peer } from '../../../src/types.js'
import type { Channel } from '../streams/channel.js'
import { DEPTH_MAX, sizeOfCarried, takeCarried } from '../context.js'
import { dispose } from '../../codec/dispose.js'
import { saidToWire, thrownToWire, toWire } from '../errors.js'
import { CALL_BYTES, type Held, type Unfinished, giveBack, giveBackLeft, leave } from './held.js'
import { Incoming, type Inherit, type ServedLink } from './incoming.js'
import { ERROR, MESSAGE_MAX_BYTES, OPEN_CALLS_MAX, REF, RESULT, VALUE, type WireError } from '../wire/messages.js'
import type { Passing } from '../streams/passing.js'
import { isMethod } from './provisions.js'
import { Queue, type Place, type Queued } from './queue.js'
import type { Slices } from './slices.js'
import type { Standing } from './standing.js'
import type { Source } from '../wire/scheduler.js'
import type { Handler, Service } from '../types.js'
import { u32, type Wire } from '../wire/wire.js'

/** The handlers of one stage, and the resources that their calls share. */
export interface Handlers extends Inherit {
  readonly clock: Clock
  readonly slices: Slices
  /** Changes whenever `find` may answer differently. */
  readonly version: number
  find(method: string, peer: Peer): Handler | undefined
  /** Accounts of the process: the memory of calls being served, and of answers that wait for peers to read. */
  readonly held: Held
  readonly heldAnswers: Held
  readonly unfinished: Unfinished
  readonly often: OftenLog
  /** The peer has sent a value, outside of any call. */
  onvalue(peer: Peer, value: unknown): void
  /** A handler has thrown. */
  failed: Mesh['failed']
  /** The stage is closing: only passed functions and calls within other calls are still served. */
  readonly draining: boolean
}

/** The parts of a link that serve its calls. */
export interface ServingPort {
  readonly link: Duplex
  readonly wire: Wire
  readonly end: LinkEnd
  /** The account of the memory that the arguments of its calls take. */
  readonly held: Held
  /** The streams in arguments and results. */
  readonly passing: Passing
  readonly standing: Standing
  /** Finds a service of a layer above. */
  service(name: string): Service | undefined
  /** Finds a function of ours that went to the peer. */
  passed(ref: number): Handler | undefined
  /** Called after a call that was queued or asynchronous has been begun, answered, dropped or cancelled. */
  onsettled(): void
}

/** The calls that came in over one link. */
export class Serving implements Source {
  readonly #link: ServedLink
  /** Calls whose handlers run, by id; casts have negative numbers. */
  readonly #calls = new Map<number, Incoming>()
  /** Calls that wait, in the order of their arrival, which is the order of their beginning. */
  readonly #queue = new Queue()
  #cancelled = 0
  #casts = 0
  #cache = new Map<string, Handler>()
  #cacheVersion = -1

  constructor(private readonly port: ServingPort, private readonly handlers: Handlers) {
    this.#link = { around: handlers, held: port.held }
  }

  /** Calls that wait, or whose handlers run; a cancelled call keeps its slot until its handler settles. */
  get size(): number {
    return this.#calls.size + this.#queue.size
  }

  /** The part of `size` that callers still wait for. */
  get awaited(): number {
    return this.#calls.size - this.#cancelled + this.#queue.size
  }

  /** @param assembled  the message came in parts, and its id was noted with the first part */
  oncall(type: number, id: number, bytes: Buffer, at: number, end: number, assembled: boolean): void {
    if (assembled) this.port.wire.taken(id)
    else this.port.wire.fresh(id)
    const now = this.port.wire.calledAt = this.handlers.clock.now()
    const endsAt = u32(bytes, at, end) + now
    const size = end - at
    at += 4
    const carried = takeCarried(bytes, at, at += sizeOfCarried(bytes, at, end))
    let method: string
    let handler: Handler | undefined
    let service: Service | undefined
    if (type === REF) {
      const ref = u32(bytes, at, end)
      method = `function ${ref}`
      handler = this.port.passed(ref)
      at += 4
    } else {
      method = name(bytes, at, end)
      at += 1 + method.length
      if (method[0] === '@') service = this.port.service(method)
      else handler = this.#find(method)
    }
    const args = this.#args(bytes, at, end, assembled)
    const weight = CALL_BYTES + this.port.wire.weightOf(size)
    const streams = this.port.passing.accepted()
    const refuse = (code: Code, message: string): void => this.#refuse(id, code, message, streams)
    if (!handler && !service) {
      const inner = method[0] === '@'
      return refuse('NO_SUCH_METHOD', inner ? 'no layer above rpc of the called stage serves this request' : this.#notProvided(method))
    }
    if (carried.depth > DEPTH_MAX) return refuse('REFUSED', `calls are nested more than ${DEPTH_MAX} deep`)
    if (this.handlers.draining && type !== REF && carried.depth === 0) return refuse('REFUSED', 'the called stage is closing')
    const overload = this.#overload(now, endsAt, weight)
    if (overload) {
      this.#note(`${method} was refused: ${overload}`)
      return refuse('OVERLOADED', overload)
    }
    this.#admit(id, { handler, service, call: new Incoming(this.#link, this.port.end.peer, method, endsAt, carried, streams), args, since: now }, weight)
  }

  oncast(bytes: Buffer, at: number, end: number, assembled: boolean): void {
    const size = end - at
    const carried = takeCarried(bytes, at, at += sizeOfCarried(bytes, at, end))
    const method = name(bytes, at, end)
    const args = this.#args(bytes, at + 1 + method.length, end, assembled)
    const weight = CALL_BYTES + this.port.wire.weightOf(size)
    if (method === VALUE) {
      if (!this.handlers.draining) this.handlers.onvalue(this.port.end.peer, args[0])
      return
    }
    const handler = this.#find(method)
    const now = this.handlers.clock.now()
    const overload = carried.depth > DEPTH_MAX ? `casts are nested more than ${DEPTH_MAX} deep` : this.#overload(now, Infinity, weight)
    if (overload) return this.#note(`a cast of ${method} was dropped: ${overload}`)
    if (handler) this.#admit(-++this.#casts, { handler, call: new Incoming(this.#link, this.port.end.peer, method, Infinity, carried, NONE), args, since: now }, weight)
  }

  #note(what: string): void {
    const { peer } = this.port.end
    this.handlers.often.note(`overload ${peer.id}`, () => `${peer.name} (${peer.id}): ${what}`)
  }

  oncancel(id: number): void {
    const queued = this.#queue.get(id)
    const call = this.#calls.get(id)
    if (!queued && (!call || call.cancelled)) return // checked before an unneeded error is made, which takes ten times as long
    const reason = new StageError('CANCELLED', 'the caller no longer waits for the answer', { executed: 'yes' })
    if (queued) return this.#drop(queued, reason)
    this.#cancelled++
    call?.cancel(reason)
    this.port.onsettled()
  }

  /** Called when there is time to begin one more call. */
  turn(): boolean {
    const { first } = this.#queue
    if (!first || this.#unread) return false
    const { id, queued } = first
    if (queued.call.endsAt <= this.handlers.clock.now()) {
      this.#drop(first, new StageError('TIMEOUT', 'the deadline passed before the call began', { executed: 'no' }))
    } else {
      if (queued.handler === HELD) queued.handler = this.#find(queued.call.method)
      if (queued.handler === HELD) return false // `resumed` will follow
      if (!queued.handler && !queued.service) this.#missing(first)
      else {
        this.#queue.delete(first)
        this.#invoke(id, queued)
        this.port.onsettled()
      }
    }
    return this.#queue.size > 0
  }

  /** The peer reads its answers again, or its identity is known now. */
  resumed(): void {
    if (this.#queue.size > 0 && !this.#unread) this.handlers.slices.add(this)
  }

  /** The link is gone: nobody waits for its calls. */
  clear(reason: StageError): void {
    this.handlers.slices.remove(this)
    const calls = [...this.#calls.values()]
    for (const { call } of this.#queue.clear()) giveBack(call)
    for (const call of calls) leave(call)
    // cleared before the calls are notified: others may answer in reaction, and nothing can be sent any more
    this.#calls.clear()
    this.#cancelled = 0
    for (const call of calls) call.cancel(reason)
  }

  /** The peer reads its answers so slowly that the largest possible answer would find no room. */
  get #unread(): boolean {
    return this.port.wire.room < MESSAGE_MAX_BYTES
  }

  /**
   * Why a call cannot be admitted. The age of the first call in the queue tells how long a new call would wait: if that is more
   * than half of the time that the new call has, it would come too late for its caller and make others late as well.
   */
  #overload(now: number, endsAt: number, weight: number): string | undefined {
    if (this.size >= OPEN_CALLS_MAX) return `${OPEN_CALLS_MAX} calls are being served on this link`
    const full = this.port.held.lacks(weight)
    if (full !== undefined) return `the arguments of the calls that are being served take ${full}`
    const { first } = this.#queue
    if (!first) return undefined
    const waits = now - first.queued.since
    return waits > (endsAt - now) / 2 ? `calls wait ${Math.round(waits)} ms before they begin` : undefined
  }

  /** Begins the call now if there is time and nothing waits, so that calls start in the order of their arrival. */
  #admit(id: number, queued: Queued, weight: number): void {
    this.port.held.add(queued.call.weight = weight)
    if (this.#queue.size === 0 && queued.handler !== HELD && !this.handlers.slices.over(queued.since) && !this.#unread) return this.#invoke(id, queued)
    this.#queue.add(id, queued)
    this.handlers.slices.add(this)
  }

  /** Removes a queued call that was not begun. */
  #drop(place: Place, reason: StageError): void {
    const { call } = place.queued
    this.#queue.delete(place)
    giveBack(call)
    for (const stream of call.streams) stream.destroy(reason)
    this.port.onsettled()
  }

  /** Rejects a held call: the registry does not list its caller as a peer that is shown the method. */
  #missing(place: Place): void {
    const { id, queued } = place
    const message = this.#notProvided(queued.call.method)
    this.#drop(place, new StageError('NO_SUCH_METHOD', message, { executed: 'no' }))
    if (id > 0) this.#reply(id, { code: 'NO_SUCH_METHOD', message, executed: 'no' })
  }

  #notProvided(method: string): string {
    return `${isMethod(method) ? method : describe(method)} is not provided to ${this.port.end.peer.name}`
  }

  #args(bytes: Buffer, at: number, end: number, assembled: boolean): unknown[] {
    const args = this.port.wire.decode(bytes, at, end, assembled)
    if (!Array.isArray(args)) throw new StageError('PROTOCOL_ERROR', `arguments that are not a list: ${describe(args)}`)
    return args
  }

  /** @returns HELD while the answer depends on how the registry lists the caller, which is being asked */
  #find(method: string): Handler | undefined {
    if (this.#cacheVersion !== this.handlers.version) {
      this.#cache = new Map()
      this.#cacheVersion = this.handlers.version
    }
    let handler = this.#cache.get(method)
    if (handler) return handler
    const { peer } = this.port.end
    if (peer.claimed && this.port.standing.open(method)) return HELD
    handler = this.handlers.find(method, peer)
    if (handler && !peer.claimed) this.#cache.set(method, handler) // a peer that is listed later may get another handler
    return handler
  }

  /** Runs the handler; only a thenable result is awaited. */
  #invoke(id: number, { handler, service, call, args }: Queued): void {
    if (service) return this.#serve(id, service, call, args)
    let result: unknown
    let later = false
    try {
      result = handler && outside(handler, call, ...args)
      later = isThenable(result)
    } catch (thrown) {
      giveBack(call)
      return this.#fail(id, call, thrown)
    }
    if (!later) {
      giveBack(call)
      return this.#answer(id, call, result)
    }
    this.#calls.set(id, call)
    Promise.resolve(result).then(
      (value) => { this.#answer(id, call, value); this.#done(id, call) },
      (thrown: unknown) => { this.#fail(id, call, thrown); this.#done(id, call) },
    )
  }

  /** Calls the service of a layer above, which answers at once or later; the answer is encoded at that moment. */
  #serve(id: number, service: Service, call: Incoming, args: unknown[]): void {
    this.#calls.set(id, call)
    const answer = (error: StageError | null, value?: unknown): void => {
      if (this.#calls.get(id) !== call) {
        this.#done(id, call)
        return dispose(value)
      }
      if (error) this.#say(id, call, error)
      else this.#answer(id, call, value, service, args)
      this.#done(id, call)
    }
    try {
      service(call, args, answer, this.port.link)
    } catch (thrown) { // no user code has begun; a queued call runs where nobody else would catch the error
      answer(new StageError('BAD_ARGUMENT', `${asked(call, service, args)} was rejected: ${asError(thrown).message}`, { cause: thrown }))
    }
  }

  #say(id: number, call: Incoming, error: StageError): void {
    if (call.cancelled) return leftOver(error)
    try {
      if (!this.#reply(id, saidToWire(error), call)) leftOver(error)
    } catch {
      this.#reply(id, toWire(error)) // its cause cannot be sent
      leftOver(error)
    }
  }

  #done(id: number, call: Incoming): void {
    if (this.#calls.get(id) !== call) return call.kept ? undefined : giveBackLeft(call) // the link is gone
    if (!call.kept) giveBack(call)
    this.#calls.delete(id)
    if (call.cancelled) this.#cancelled--
    this.port.onsettled()
  }

  #answer(id: number, call: Incoming, value: unknown, service?: Service, args?: readonly unknown[]): void {
    if (id < 0 || call.cancelled) return dispose(value)
    const { wire, passing } = this.port
    try {
      if (wire.room < 0) throw new StageError('OVERLOADED', `${wire.held} bytes are waiting for the peer to read them`)
      if (this.handlers.heldAnswers.full) throw new StageError('OVERLOADED', `${this.handlers.heldAnswers.used} bytes of answers are waiting for peers to read them`)
      wire.value(RESULT, id, value, passing, call.hand)
    } catch (error) {
      dispose(value)
      const code = (error as StageError).code === 'OVERLOADED' ? 'OVERLOADED' : 'BAD_ARGUMENT'
      this.#reply(id, { code, message: `the result of ${asked(call, service, args)} cannot be sent: ${(error as Error).message}`, executed: 'yes' })
    }
    call.outlive(passing.offered())
  }

  #fail(id: number, call: Incoming, thrown: unknown): void {
    this.#report(id, call, thrown)
    if (id < 0 || call.cancelled) return dispose(thrown)
    if (call.failure) return this.#say(id, call, call.failure as StageError)
    const wire = thrownToWire(call.method, thrown)
    try {
      if (this.port.wire.room < 0) this.#reply(id, { ...wire, cause: undefined })
      else if (this.#reply(id, wire, call)) return
    } catch {
      this.#reply(id, { ...wire, cause: describe(thrown) }) // the thrown value cannot be sent
    }
    dispose(thrown)
  }

  /** Reports what a handler has thrown, unless the layer above has: then it is the failure of the call, or was reported there. */
  #report(id: number, call: Incoming, thrown: unknown): void {
    if (call.reported || (call.failure !== undefined && call.failure === thrown)) return
    const { method, cancelled } = call
    this.handlers.failed(thrown, { what: method, method, from: this.port.end.peer.id, unheard: id < 0, over: cancelled })
  }

  #refuse(id: number, code: Code, message: string, streams: readonly Channel[]): void {
    for (const stream of streams) stream.destroy(new StageError(code, message, { executed: 'no' }))
    this.#reply(id, { code, message, executed: 'no' })
  }

  /** @returns whether the message brings along streams, from the thrown value */
  #reply(id: number, error: WireError, call?: Incoming): boolean {
    const { wire, passing } = this.port
    wire.value(ERROR, id, error, passing, call?.hand)
    const offered = passing.offered()
    call?.outlive(offered)
    return offered.length > 0
  }
}

/** Ends the streams in a value that user code has thrown and that was not sent. */
const leftOver = (error: StageError): void => { if (error.code === 'REMOTE_ERROR') dispose(error.cause) }

const NONE: readonly Channel[] = []
/** Stands in for the handler of a call that waits for the registry to identify the caller. */
const HELD: Handler = () => {}

/** Describes a call in messages. */
const asked = (call: Incoming, service?: Service, args: readonly unknown[] = []): string => service ? service.words?.(args) ?? 'a layer above rpc' : call.method

function name(bytes: Buffer, at: number, end: number): string {
  const length = bytes[at]
  if (at >= end || at + 1 + length > end) throw new StageError('PROTOCOL_ERROR', 'a call whose head is cut off')
  return length <= SHORT ? shortAscii(bytes, at + 1, length) : bytes.toString('latin1', at + 1, at + 1 + length)
}
