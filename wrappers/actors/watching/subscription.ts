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
/** An owner of the past is found out by then; one that is still there is the owner, of a store that has lost its own past. */
const PAST_MS = 40_000
/** Another try cannot mend these. That the owner is closed, or has put the actor away, is no end: it is elsewhere next. */
const FINAL: ReadonlySet<string> = new Set(['NO_SUCH_PROPERTY', 'BAD_ARGUMENT', 'BAD_NAME', 'FORBIDDEN'])
/** Why a try ended that another one may mend. */
const AGAIN: ReadonlySet<string> = new Set([...UNREACHED, 'FENCED', 'CLOSED'])

/** The encoded values of the watched properties, in the order of their names. Never changed once made. */
export type Values = readonly Buffer[]

type Args = [names: readonly string[], mode: 'latest' | 'every', seen: Cursor | undefined, number: number]

/** What a subscription tells one loop over its properties. */
interface Subscriber {
  push(values: Values, version: number, reset: boolean): void
  fail(error: StageError): void
}

/** What a subscription asks of the observers of its stage. */
interface SubscriptionHost {
  readonly mesh: Mesh<Rpc>
  readonly routes: Pick<Routes, 'call' | 'why'>
  /** Has it ask for its watch when it is its turn. */
  begin(subscription: Subscription): void
  /** Nobody reads it any more. */
  ended(subscription: Subscription, key: string): void
  /** One that no watch of this stage has had. */
  nextNumber(): number
  /** Those over that link; without one, those of this stage's own actors. */
  watches(rpc: Rpc | undefined): Watches
}

/** The changes of some properties of one actor, wherever it is, for all the loops here that watch them. */
export class Subscription implements Watching {
  readonly #observers = new Set<Subscriber>()
  #values: Values | undefined
  #version = 0
  /** What was told last, and by which activation. */
  #where: { epoch: number; activation: string; seq: number } | undefined
  /** Words of an owner of the past: the first and the last one in a row. */
  #past: { readonly since: number; at: number } | undefined
  /** The watch that is asked for, or stands; 0 is none. */
  #number = 0
  /** With what it is asked for. */
  #args: Args | undefined
  /** Where it is told. */
  #watches: Watches | undefined
  /** The call that asks for it. */
  #asking: Under | undefined
  #pause: Timer | undefined
  #pauseMs = PAUSE_MS
  /** Of the first try, so that the owner says where the time went. */
  #timeoutMs: number | undefined
  /** Why it has no place on the link to its owner, which another try does not mend. */
  #full: StageError | undefined
  #over = false
  /** Why there is no value yet. */
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

  /** Whether its loops have had a value. */
  get shows(): boolean {
    return this.#values !== undefined
  }

  /** @param timeoutMs  how long it waits for the first value */
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

  /** Why nothing has come so far, if that is known. */
  why(): StageError | undefined {
    const { address } = this
    const failure = this.#failure
    if (failure && !AGAIN.has(failure.code)) return this.#named(failure)
    if (failure) { // that of one try: the loop has tried on until its time was over
      const late = `${address} could not be watched in time: ${failure.message}`
      return new StageError('TIMEOUT', late, { phase: 'connecting', cause: failure })
    }
    const why = this.host.routes.why(address, this.#words)
    return why.code === 'NO_SUCH_ACTOR' ? why : undefined
  }

  /** Asks for the watch. @param done  it stands, or does not */
  ask(done: (stands: boolean) => void): void {
    if (this.#over) return done(true) // it costs nobody anything
    const timeoutMs = this.#timeoutMs
    this.#timeoutMs = undefined
    const seen = this.#where && { activation: this.#where.activation, seq: this.#where.seq }
    const args: Args = this.#args = [this.names, this.mode, seen, 0]
    const call = this.host.routes.call(this.address, WATCH, args, { timeoutMs, headers: this.headers }, (error) => {
      done(!error)
      if (args !== this.#args) return // it was left
      this.#asking = undefined
      if (error) this.#again(error)
    }, (rpc) => this.#sent(args, rpc))
    if (call && !call.over) this.#asking = call
  }

  /** It is about to be sent there, under a number of its own each time, and what is told may come before the answer. */
  #sent(args: Args, rpc: Rpc | undefined): Changes | undefined {
    this.#watches?.remove(this.#number) // the stage that was asked first does not have the actor
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
    if (past && !this.#isPastFor()) throw new StageError('FENCED', `${this.address} was watched at an owner of the past`)
    this.#past = undefined
    const same = before?.activation === activation
    this.#where = { epoch, activation, seq }
    if (same && seq === before.seq) return
    const next = values as Values
    // elsewhere, at the version that was seen last: nothing is missing; before the first commit each activation has its own
    if (this.#values && !same && !past && kept && version === this.#version && equal(this.#values, next)) {
      this.#values = next
      return
    }
    this.#show(next, version, before !== undefined && (!same || this.mode === 'every'))
  }

  /** Another word of an owner of the past. @returns whether it has been the owner for so long that it is the present one */
  #isPastFor(): boolean {
    const now = this.host.mesh.clock.now()
    if (!this.#past || now - this.#past.at > PAST_MS / 2) this.#past = { since: now, at: now } // another one
    this.#past.at = now
    return now - this.#past.since >= PAST_MS
  }

  #show(values: Values, version: number, reset: boolean): void {
    this.#values = values
    this.#version = version
    for (const observer of [...this.#observers]) observer.push(values, version, reset)
  }

  /** Says what it is about, if it does not yet. */
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

  /** The owner need not tell any more. */
  #leave(): void {
    const number = this.#number
    const asking = this.#asking
    const watches = this.#watches
    this.#number = 0
    this.#args = this.#asking = this.#watches = undefined
    asking?.cancel(new StageError('CANCELLED', `nobody watches ${this.address} any more`))
    watches?.remove(number)
  }
}

const equal = (a: Values, b: Values): boolean => a.every((bytes, i) => bytes.equals(b[i]))
