import { StageError } from '../../../src/errors.js'
import type { Headers } from '../../../src/headers.js'
import type { Mesh, Timer } from '../../../src/types.js'
import type { Rpc } from '../../rpc/rpc.js'
import type { Changes } from './changes.js'
import type { Cursor } from './history.js'
import { UNREACHED } from '../calling/route.js'
import type { Routes, Under } from '../calling/routes.js'
import { WATCH } from '../tasks.js'
import { inWords } from '../words.js'
import type { News, Watches, Watching } from './watches.js'

const PAUSE_MS = 100
const PAUSE_MAX_MS = 2000
/** How long a lower epoch counts as stale; if it persists, the store was reset. */
const PAST_MS = 40_000
/** Not retryable. An owner that closes or deactivates the actor is no reason to end: the actor is then activated elsewhere. */
const FINAL: ReadonlySet<string> = new Set(['NO_SUCH_PROPERTY', 'BAD_ARGUMENT', 'BAD_NAME', 'FORBIDDEN'])
/** Retryable failures of one attempt. */
const AGAIN: ReadonlySet<string> = new Set([...UNREACHED, 'FENCED', 'CLOSED'])

/** The encoded values of the watched properties, in the order of their names. Immutable. */
export type Values = readonly Buffer[]

type Args = [names: readonly string[], mode: 'latest' | 'every', seen: Cursor | undefined, number: number]

/** A loop over the properties, as its subscription notifies it. */
interface Subscriber {
  push(values: Values, version: number, reset: boolean): void
  fail(error: StageError): void
}

/** The view of the stage's observers that a subscription needs. */
interface SubscriptionHost {
  readonly mesh: Mesh<Rpc>
  readonly routes: Pick<Routes, 'call' | 'why'>
  /** Queues a subscription to request its watch. */
  begin(subscription: Subscription): void
  /** Forgets a subscription that nobody reads any more. */
  ended(subscription: Subscription, key: string): void
  /** A number that no watch of this stage has had. */
  nextNumber(): number
  /** The watches over a link; without a link, the watches of this stage's own actors. */
  watches(rpc: Rpc | undefined): Watches
}

/** The changes of some properties of one actor on any stage, for all loops of this stage that watch them. */
export class Subscription implements Watching {
  readonly #observers = new Set<Subscriber>()
  #values: Values | undefined
  #version = 0
  /** Position of the last notice: its activation, epoch and `seq`. */
  #where: { epoch: number; activation: string; seq: number } | undefined
  /** Times of the first and the last notice in a row from a stale owner. */
  #past: { readonly since: number; at: number } | undefined
  /** Number of the requested or established watch; 0: none. */
  #number = 0
  /** Arguments of the request. */
  #args: Args | undefined
  /** The watches over the link on which the watch is notified. */
  #watches: Watches | undefined
  /** The call that requests the watch. */
  #asking: Under | undefined
  #pause: Timer | undefined
  #pauseMs = PAUSE_MS
  /** Timeout of the first attempt only, so that the owner's error says where the time went. */
  #timeoutMs: number | undefined
  /** The error that the link to the owner has no room for this watch; not retryable. */
  #full: StageError | undefined
  #over = false
  /** Why there is no value yet, if an attempt has failed. */
  #failure: StageError | undefined

  constructor(
    private readonly host: SubscriptionHost,
    readonly address: string,
    readonly names: readonly string[],
    private readonly mode: 'latest' | 'every',
    private readonly headers: Headers | undefined,
    private readonly key: string,
  ) {}

  get size(): number {
    return this.#observers.size
  }

  /** Whether its loops have received a value. */
  get shows(): boolean {
    return this.#values !== undefined
  }

  /** @param timeoutMs  how long the loop waits for its first value */
  add(observer: Subscriber, timeoutMs: number): void {
    this.#observers.add(observer)
    if (this.#values) observer.push(this.#values, this.#version, false)
    else if (this.#observers.size === 1) {
      this.#timeoutMs = timeoutMs
      this.host.begin(this)
    }
  }

  remove(observer: Subscriber): void {
    if (this.#observers.delete(observer) && this.#observers.size === 0) this.#end()
  }

  fail(error: StageError): void {
    const all = [...this.#observers]
    this.#observers.clear()
    this.#end()
    for (const observer of all) observer.fail(error)
  }

  /** Why no value has arrived so far, if known. */
  why(): StageError | undefined {
    const { address } = this
    const failure = this.#failure
    if (failure && !AGAIN.has(failure.code)) return this.#named(failure)
    if (failure) { // a retryable failure: attempts went on until the loop's time was over
      const late = `${address} could not be watched in time: ${failure.message}`
      return new StageError('TIMEOUT', late, { phase: 'connecting', cause: failure })
    }
    const why = this.host.routes.why(address, this.#words)
    return why.code === 'NO_SUCH_ACTOR' ? why : undefined
  }

  /** Requests the watch. @param done  called with whether the watch is established */
  ask(done: (stands: boolean) => void): void {
    if (this.#over) return done(true) // no request is made, so its slot is free at once
    const timeoutMs = this.#timeoutMs
    this.#timeoutMs = undefined
    const seen = this.#where && { activation: this.#where.activation, seq: this.#where.seq }
    const args: Args = this.#args = [this.names, this.mode, seen, 0]
    const call = this.host.routes.call(this.address, WATCH, args, { timeoutMs, headers: this.headers }, (error) => {
      done(!error)
      if (args !== this.#args) return // the request was abandoned
      this.#asking = undefined
      if (error) this.#again(error)
    }, (rpc) => this.#sent(args, rpc))
    if (call && !call.over) this.#asking = call
  }

  /** Called before each attempt to send the request. Each attempt has its own number, because notices may arrive before the answer. */
  #sent(args: Args, rpc: Rpc | undefined): Changes | undefined {
    this.#watches?.remove(this.#number) // the stage asked before does not own the actor
    this.#watches = undefined
    const number = args[3] = this.#number = this.host.nextNumber()
    const watches = this.host.watches(rpc)
    this.#full = watches.full(this.names)
    if (this.#full) throw this.#full
    watches.add(number, this)
    this.#watches = watches
    return watches.changes
  }

  ended(number: number, error: StageError): void {
    if (number === this.#number) this.#again(error)
  }

  #again(error: StageError): void {
    if (this.#over) return
    this.#failure = error
    this.#leave()
    if (FINAL.has(error.code) || error === this.#full) return this.fail(this.#named(error))
    this.#pause = this.host.mesh.clock.setTimeout(() => {
      this.#pause = undefined
      this.host.begin(this)
    }, this.#pauseMs)
    this.#pauseMs = Math.min(PAUSE_MAX_MS, this.#pauseMs * 2)
  }

  notify(news: News): void {
    const { whole } = news
    const before = this.#where
    if (whole) this.#replace(news, whole)
    else {
      if (!before || !this.#values || news.seq <= before.seq) return
      before.seq = news.seq
      this.#past = undefined
      this.#show(this.#values.map((bytes, i) => news.values[i] ?? bytes), news.version, false)
    }
    this.#failure = undefined
    this.#pauseMs = PAUSE_MS
  }

  #replace({ seq, version, values }: News, { epoch, activation, kept }: NonNullable<News['whole']>): void {
    const before = this.#where
    const past = before !== undefined && epoch < before.epoch
    if (past && !this.#isPastFor()) throw new StageError('FENCED', `the watch of ${this.address} was answered by a former owner`)
    this.#past = undefined
    const same = before?.activation === activation
    this.#where = { epoch, activation, seq }
    if (same && seq === before.seq) return
    const next = values as Values
    // a new activation at the version seen last misses nothing; values are compared, because before the first commit each has its own
    if (this.#values && !same && !past && kept && version === this.#version && equal(this.#values, next)) {
      this.#values = next
      return
    }
    this.#show(next, version, before !== undefined && (!same || this.mode === 'every'))
  }

  /** Records a notice from a stale owner. @returns whether lower epochs have persisted so long that their owner is the present one */
  #isPastFor(): boolean {
    const now = this.host.mesh.clock.now()
    if (!this.#past || now - this.#past.at > PAST_MS / 2) this.#past = { since: now, at: now } // a new series
    this.#past.at = now
    return now - this.#past.since >= PAST_MS
  }

  #show(values: Values, version: number, reset: boolean): void {
    this.#values = values
    this.#version = version
    for (const observer of [...this.#observers]) observer.push(values, version, reset)
  }

  /** Adds a description of the watch to an error message that does not name the actor. */
  #named(error: StageError): StageError {
    const { code, message, executed, phase, peer, cause } = error
    if (message.includes(this.address)) return error
    return new StageError(code, `${this.#words} failed: ${message}`, { executed, peer, phase, ...(cause === undefined ? {} : { cause }) })
  }

  get #words(): string {
    return inWords(WATCH, [this.names], this.address)
  }

  #end(): void {
    if (this.#over) return
    this.#over = true
    this.host.ended(this, this.key)
    this.#pause?.cancel()
    this.#leave()
  }

  /** Cancels the request, or ends the watch at the owner. */
  #leave(): void {
    const number = this.#number
    const asking = this.#asking
    const watches = this.#watches
    this.#number = 0
    this.#args = this.#asking = this.#watches = undefined
    asking?.cancel(new StageError('CANCELLED', `${this.address} is no longer watched`))
    watches?.remove(number)
  }
}

const equal = (a: Values, b: Values): boolean => a.every((bytes, i) => bytes.equals(b[i]))
