import type { Duplex } from 'node:stream'
import { watchActivity } from './activity.js'
import { describe } from './errors.js'
import type { Clock, Timer } from './types.js'

/** The two ends of a stream, as its socket members show them. */
export interface Ends {
  readonly clock: Clock
  /** The name of this stage. */
  readonly local: string
  /** The name of the peer; undefined while a pattern has not been resolved. */
  readonly remote: string | undefined
  /** A link is being made for the stream. */
  readonly connecting: boolean
  /** The stream stands on a link. */
  readonly connected: boolean
}

/**
 * The members of a `net.Socket` that programs use without looking first. Addresses are names of stages; members that only
 * concern a kernel's socket do nothing.
 */
export interface SocketMembers {
  /**
   * Emits `timeout` whenever nothing was read and nothing was written for `ms` milliseconds; 0 switches it off. The
   * stream stays open.
   * @throws TypeError · RangeError `ms` is no number of milliseconds, or `listener` no function; with Node's own codes
   */
  setTimeout(ms: number, listener?: () => void): this
  setKeepAlive(enable?: boolean, initialDelay?: number): this
  setNoDelay(noDelay?: boolean): this
  /** Has no effect: a stage keeps the process alive until it is closed, and its streams change nothing about that. */
  ref(): this
  unref(): this
  /** Ends the stream, and destroys it when all was written. */
  destroySoon(): void
  resetAndDestroy(): this
  address(): { address?: string, family?: string, port?: number }
  /** The last argument of `setTimeout`. */
  readonly timeout: number | undefined
  readonly connecting: boolean
  readonly pending: boolean
  readonly readyState: 'opening' | 'open' | 'readOnly' | 'writeOnly' | 'closed'
  /** The peer's name. */
  readonly remoteAddress: string | undefined
  readonly remoteFamily: string | undefined
  readonly remotePort: number | undefined
  /** The name of this stage. */
  readonly localAddress: string | undefined
  readonly localFamily: string | undefined
  readonly localPort: number | undefined
  readonly bufferSize: number
  readonly bytesRead: number
  readonly bytesWritten: number
}

/** The streams that `to()`, its callback and the `stream` event yield. */
export type PeerStream = Duplex & SocketMembers

/** The property in which a stream keeps its ends. */
export const ENDS = Symbol('ends')
const IDLE = Symbol('idle')

interface Dressed extends Duplex {
  [ENDS]?: Ends
  [IDLE]?: Idle
}

const FAMILY = 'stagemesh'
const MAX_MS = 2 ** 31 - 1

const connected = (stream: Dressed): boolean => stream[ENDS]?.connected ?? false
const remote = <T>(stream: Dressed, value: T): T | undefined => stream[ENDS]?.remote === undefined ? undefined : value
const local = <T>(stream: Dressed, value: T): T | undefined => connected(stream) ? value : undefined
const same = (stream: unknown): unknown => stream

const misuse = (Kind: typeof Error, code: string, message: string): Error => Object.assign(new Kind(message), { code })

const members: PropertyDescriptorMap & ThisType<Dressed> = {
  setTimeout: { value(this: Dressed, ms: unknown, listener?: () => void) {
    if (typeof ms !== 'number') {
      throw misuse(TypeError, 'ERR_INVALID_ARG_TYPE', `setTimeout() got ${describe(ms)}: expected a number of milliseconds, or 0 to switch it off`)
    }
    if (!(ms >= 0 && ms < Infinity)) throw misuse(RangeError, 'ERR_OUT_OF_RANGE', `setTimeout() got ${ms}: expected a number of milliseconds, 0 or more`)
    if (listener !== undefined && typeof listener !== 'function') {
      throw misuse(TypeError, 'ERR_INVALID_ARG_TYPE', `setTimeout() got ${describe(listener)} in place of a listener: expected a function`)
    }
    const clock = this[ENDS]?.clock
    if (this.destroyed || !clock) return this
    if (listener && ms > 0) this.once('timeout', listener)
    else if (listener) this.off('timeout', listener)
    const idle = this[IDLE] ??= new Idle(this, clock)
    idle.set(ms)
    return this
  } },
  setKeepAlive: { value() { return same(this) } },
  setNoDelay: { value() { return same(this) } },
  ref: { value() { return same(this) } },
  unref: { value() { return same(this) } },
  destroySoon: { value(this: Dressed) {
    if (this.writable) this.end()
    if (this.writableFinished) this.destroy()
    else this.once('finish', () => this.destroy())
  } },
  resetAndDestroy: { value(this: Dressed) { return this.destroy(misuse(Error, 'ECONNRESET', 'the stream was reset')) } },
  address: { value(this: Dressed) { return connected(this) ? { address: this[ENDS]?.local, family: FAMILY, port: 0 } : {} } },
  timeout: { get(this: Dressed) { return this[IDLE]?.ms } },
  connecting: { get(this: Dressed) { return this[ENDS]?.connecting ?? false } },
  pending: { get(this: Dressed) { return !connected(this) } },
  readyState: { get(this: Dressed) {
    if (this[ENDS]?.connecting) return 'opening'
    if (!connected(this) || this.destroyed) return 'closed'
    if (this.readable) return this.writable ? 'open' : 'readOnly'
    return this.writable ? 'writeOnly' : 'closed'
  } },
  remoteAddress: { get(this: Dressed) { return this[ENDS]?.remote } },
  remoteFamily: { get(this: Dressed) { return remote(this, FAMILY) } },
  remotePort: { get(this: Dressed) { return remote(this, 0) } },
  localAddress: { get(this: Dressed) { return local(this, this[ENDS]?.local) } },
  localFamily: { get(this: Dressed) { return local(this, FAMILY) } },
  localPort: { get(this: Dressed) { return local(this, 0) } },
  bufferSize: { get(this: Dressed) { return this.writableLength } },
}
for (const member of Object.values(members)) member.configurable = true
for (const name of Object.keys(members)) if ('value' in members[name]) members[name].writable = true

/** Gives the objects of a class the socket members. Each object gets its ends by `stand`. */
export function socketlike(prototype: object): void {
  Object.defineProperties(prototype, members)
  Object.defineProperty(prototype, ENDS, { value: undefined, writable: true, configurable: true })
}

/** Gives a stream its ends, and the socket members that it lacks: a chain's top may be anybody's. */
export function stand<Stream extends Duplex>(stream: Stream, ends: Ends): Stream & SocketMembers {
  Reflect.set(stream, ENDS, ends) // a foreign top may be frozen
  const lacks = (name: string): boolean => !(name in stream) && !(name === 'timeout' && 'setTimeout' in stream) // setTimeout() sets it
  for (const name of Object.keys(members).filter(lacks)) Reflect.defineProperty(stream, name, members[name])
  return stream as Stream & SocketMembers
}

/** Emits `timeout` on a stream after a while without activity. Only streams with a timeout pay for being watched. */
class Idle {
  ms = 0
  #timer: Timer | undefined
  #last = 0

  constructor(private readonly stream: Dressed, private readonly clock: Clock) {
    watchActivity(stream, () => this.#touch())
    stream.once('close', () => this.set(0))
  }

  set(ms: number): void {
    this.ms = ms
    this.#timer?.cancel()
    this.#timer = undefined
    if (ms > 0 && !this.stream.destroyed) this.#touch()
  }

  #touch(): void {
    if (this.ms === 0) return
    this.#last = this.clock.now()
    this.#timer ??= this.clock.setTimeout(() => this.#due(), Math.min(this.ms, MAX_MS))
  }

  /** The timer is not restarted at each activity: when it is due, it checks how long ago the last activity was. */
  #due(): void {
    this.#timer = undefined
    const left = this.#last + this.ms - this.clock.now()
    if (left > 0) this.#timer = this.clock.setTimeout(() => this.#due(), Math.min(left, MAX_MS))
    else this.stream.emit('timeout')
  }
}
