import { outside } from '../../../src/outside.js'
import type { Clock, Peer, SelectOptions, TargetOptions, To } from '../../../src/types.js'
import { StageError } from '../../../src/errors.js'
import { HANDLE } from '../../../src/handle.js'
import type { Headers } from '../../../src/headers.js'
import { Answering } from '../../codec/hand.js'
import type { Actor, ActorCallOptions, UntypedActor } from '../remote-actor.js'
import { Allowance } from '../streams/allowance.js'
import type { Channel } from '../streams/channel.js'
import { inherit, type Carried, type Context } from '../context.js'
import type { Lifetime } from '../passage.js'
import { giveBackLeft, type Held, type Holder } from './held.js'
import type { CallContext, Target } from '../types.js'

/** What a call needs of its surroundings to make calls of its own. */
export interface Inherit {
  readonly clock: Clock
  target(to: To, options: SelectOptions): unknown
  /** An actor, if a layer above brings them: each call asks within which one it is made. */
  actor(address: string, options: ActorCallOptions, within: () => Context): unknown
}

/** What all calls that come over one link share. */
export interface ServedLink {
  readonly around: Inherit
  /** Memory that their arguments take. */
  readonly held: Held
}

/** A call that came in: `this` of its handler. Made for every call, so that what few use is made when asked for. */
export class Incoming extends Answering implements CallContext, Context, Holder, Lifetime {
  #ends: number | Allowance
  #abort: AbortController | undefined
  #reason: StageError | undefined
  /** The caller does not wait any more. */
  cancelled = false
  kept = false
  /** Bytes of memory that its arguments take; 0 once they were given back. */
  weight = 0

  /**
   * @param endsAt   by the clock's `now()`, as long as nothing moves of its streams; Infinity for a cast
   * @param streams  that came in them
   */
  constructor(
    private readonly link: ServedLink,
    readonly peer: Peer,
    readonly method: string,
    endsAt: number,
    public carried: Carried,
    readonly streams: readonly Channel[],
  ) {
    super()
    this.#ends = streams.length === 0 ? endsAt : new Allowance(streams, endsAt, endsAt - link.around.clock.now())
  }

  get [HANDLE](): string {
    return 'is the `this` of a handler, which ends with its call: send what you need of it'
  }

  /** When the caller stops waiting, by the clock's `now()`; later while something moves of its streams. */
  override get endsAt(): number {
    return typeof this.#ends === 'number' ? this.#ends : this.#ends.until
  }

  get deadline(): number {
    const { clock } = this.link.around
    return clock.wall() + (this.endsAt - clock.now())
  }

  /** Where its arguments count. */
  get held(): Held {
    return this.link.held
  }

  get over(): boolean {
    return this.cancelled
  }

  get headers(): Headers {
    return this.carried.headers
  }

  get signal(): AbortSignal {
    this.#abort ??= new AbortController()
    if (this.#reason && !this.#abort.signal.aborted) this.#abort.abort(this.#reason)
    return this.#abort.signal
  }

  to(to: To, options: TargetOptions = {}): Target {
    const { around } = this.link
    return around.target(to, inherit(this, options, around.clock.now())) as Target
  }

  actor<T = UntypedActor>(address: string, options: ActorCallOptions = {}): Actor<T> {
    return this.link.around.actor(address, options, () => this) as Actor<T>
  }

  /** It is answered with streams: they have no deadline, and its signal lives until the last of them has ended, and fires then if any was left. */
  outlive(streams: readonly Channel[]): void {
    if (streams.length === 0) return
    this.#ends = Infinity
    let open = streams.length
    let left = false
    for (const stream of streams) {
      stream.once('close', () => {
        left ||= stream.errored !== null
        if (--open > 0 || !left) return
        const why = `the reader of what ${this.method} returned has left`
        this.cancel(new StageError('CANCELLED', why, { executed: 'yes', cause: stream.errored ?? undefined }))
      })
    }
  }

  /** Its arguments are in use behind its answer. @returns called once they are not */
  keep(): () => void {
    this.kept = true
    return () => {
      this.kept = false
      giveBackLeft(this)
    }
  }

  cancel(reason: StageError): void {
    this.cancelled = true
    this.expire(reason)
    this.onend?.()
  }

  expire(reason: StageError): void {
    this.#reason ??= reason
    if (this.#abort) outside(this.#abort.abort, this.#abort, this.#reason)
  }
}
