import { SHORT, shortAscii } from '../../src/ascii.js'
import { StageError, describe } from '../../src/errors.js'
import type { Clock, Peer } from '../../src/types.js'
import { thrownToWire } from './errors.js'
import { Incoming, type Inherit } from './incoming.js'
import { ERROR, OPEN_CALLS_MAX, REF, RESULT, type WireError } from './messages.js'
import { isMethod } from './provisions.js'
import type { Handler } from './types.js'
import { u32, type Wire } from './wire.js'

/** Where the handlers of one stage are found. */
export interface Handlers extends Inherit {
  readonly clock: Clock
  /** Changes whenever `find` may answer differently. */
  readonly version: number
  find(method: string, peer: Peer): Handler | undefined
  /** The stage is closing: only what belongs to a call in progress is still served. */
  readonly draining: boolean
}

/** The calls that came in over one link. */
export class Serving {
  readonly #calls = new Map<number, Incoming>()
  #cancelled = 0
  #cache = new Map<string, Handler>()
  #cacheVersion = -1

  /**
   * @param passed   finds a function of ours that went to the peer
   * @param onsettled called behind the answer of each call that took time
   */
  constructor(
    private readonly wire: Wire,
    private readonly handlers: Handlers,
    private readonly peer: Peer,
    private readonly passed: (ref: number) => Handler | undefined,
    private readonly onsettled: () => void,
  ) {}

  /** Calls whose handlers run; one that was cancelled keeps its slot until then. */
  get size(): number {
    return this.#calls.size
  }

  /** Those of them that somebody still waits for. */
  get awaited(): number {
    return this.#calls.size - this.#cancelled
  }

  oncall(type: number, id: number, bytes: Buffer, at: number, end: number): void {
    this.wire.fresh(id)
    const endsAt = u32(bytes, at, end) + this.handlers.clock.now()
    const depth = bytes[at + 4]
    at += 5
    let method: string
    let handler: Handler | undefined
    if (type === REF) {
      const ref = u32(bytes, at, end)
      method = `function ${ref}`
      handler = this.passed(ref)
      at += 4
    } else {
      method = name(bytes, at, end)
      at += 1 + method.length
      handler = this.#find(method)
    }
    const args = this.#args(bytes, at, end)
    if (!handler) return this.#refuse(id, 'NO_SUCH_METHOD', `${isMethod(method) ? method : describe(method)} is not provided to ${this.peer.name}`)
    if (this.handlers.draining && type !== REF && depth === 0) return this.#refuse(id, 'REFUSED', 'this stage is closing')
    if (this.#calls.size >= OPEN_CALLS_MAX) return this.#refuse(id, 'OVERLOADED', `${OPEN_CALLS_MAX} calls are being served on this link`)
    this.#invoke(handler, new Incoming(this.handlers, this.peer, method, endsAt, depth), args, id)
  }

  oncast(bytes: Buffer, at: number, end: number): void {
    const depth = bytes[at]
    const method = name(bytes, at + 1, end)
    const args = this.#args(bytes, at + 2 + method.length, end)
    const handler = this.#find(method)
    if (handler) this.#invoke(handler, new Incoming(this.handlers, this.peer, method, Infinity, depth), args, 0)
  }

  oncancel(id: number): void {
    const call = this.#calls.get(id)
    if (!call || call.cancelled) return
    this.#cancelled++
    call.cancel(new StageError('CANCELLED', 'the caller does not wait for the answer any more', { executed: 'yes' }))
    this.onsettled()
  }

  /** The link is gone: nobody waits for any of them. */
  clear(reason: StageError): void {
    for (const call of this.#calls.values()) call.cancel(reason)
    this.#calls.clear()
    this.#cancelled = 0
  }

  #args(bytes: Buffer, at: number, end: number): unknown[] {
    const args = this.wire.decode(bytes, at, end)
    if (!Array.isArray(args)) throw new StageError('PROTOCOL_ERROR', `arguments that are no list: ${describe(args)}`)
    return args
  }

  #find(method: string): Handler | undefined {
    if (this.#cacheVersion !== this.handlers.version) {
      this.#cache = new Map()
      this.#cacheVersion = this.handlers.version
    }
    let handler = this.#cache.get(method)
    if (!handler && (handler = this.handlers.find(method, this.peer))) this.#cache.set(method, handler)
    return handler
  }

  /** Runs the handler now, so that calls start in the order in which they came; only what is thenable is awaited. */
  #invoke(handler: Handler, call: Incoming, args: unknown[], id: number): void {
    let result: unknown
    let later = false
    try {
      result = handler.apply(call, args)
      later = typeof (result as PromiseLike<unknown> | null | undefined)?.then === 'function'
    } catch (thrown) {
      return this.#fail(id, call, thrown)
    }
    if (!later) return this.#answer(id, call, result)
    if (id !== 0) this.#calls.set(id, call)
    Promise.resolve(result).then(
      (value) => { this.#answer(id, call, value); this.#done(id, call) },
      (thrown: unknown) => { this.#fail(id, call, thrown); this.#done(id, call) },
    )
  }

  #done(id: number, call: Incoming): void {
    if (this.#calls.get(id) !== call) return
    this.#calls.delete(id)
    if (call.cancelled) this.#cancelled--
    this.onsettled()
  }

  #answer(id: number, call: Incoming, value: unknown): void {
    if (id === 0 || call.cancelled) return
    try {
      this.wire.value(RESULT, id, value)
    } catch (error) {
      this.#reply(id, { code: 'BAD_ARGUMENT', message: `what ${call.method} returned cannot be sent: ${(error as Error).message}`, executed: 'yes' })
    }
  }

  #fail(id: number, call: Incoming, thrown: unknown): void {
    if (id === 0 || call.cancelled) return
    const wire = thrownToWire(call.method, thrown)
    try {
      this.#reply(id, wire)
    } catch {
      this.#reply(id, { ...wire, cause: describe(thrown) }) // what was thrown cannot be sent
    }
  }

  #refuse(id: number, code: string, message: string): void {
    this.#reply(id, { code, message, executed: 'no' })
  }

  #reply(id: number, error: WireError): void {
    this.wire.value(ERROR, id, error)
  }
}

function name(bytes: Buffer, at: number, end: number): string {
  const length = bytes[at]
  if (at >= end || at + 1 + length > end) throw new StageError('PROTOCOL_ERROR', 'a call that ends in its head')
  return length <= SHORT ? shortAscii(bytes, at + 1, length) : bytes.toString('latin1', at + 1, at + 1 + length)
}
