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

/** The services that a served call needs to make calls of its own. */
export interface Inherit {
  readonly clock: Clock
  target(to: To, options: SelectOptions): unknown
  /** An actor, if a layer above has actors; each call to it asks `within` for the call that it is made in. */
  actor(address: string, options: ActorCallOptions, within: () => Context): unknown
}

/** State that all calls over one link share. */
export interface ServedLink {
  readonly around: Inherit
  /** The account of the memory that their arguments take. */
  readonly held: Held
}

/** A call that came in: `this` of its handler. One object per call, so rarely used parts are made on demand. */
export class Incoming extends Answering implements CallContext, Context, Holder, Lifetime {
  #ends: number | Allowance
  #abort: AbortController | undefined
  #reason: StageError | undefined
  /** The caller has stopped waiting. */
  cancelled = false
  kept = false
  /** Bytes of memory that the arguments take; 0 once they were given back. */
  weight = 0

  /**
   * @param endsAt   by the clock's `now()`, as long as no stream in the arguments makes progress; Infinity for a cast
   * @param streams  the streams in the arguments
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
    return 'is the `this` of a handler, which ends with its call: send the members that are needed'
  }

  /** When the caller stops waiting, by the clock's `now()`; later while streams in the arguments make progress. */
  override get endsAt(): number {
    return typeof this.#ends === 'number' ? this.#ends : this.#ends.until
  }

  get deadline(): number {
    const { clock } = this.link.around
    return clock.wall() + (this.endsAt - clock.now())
  }

  /** The account that counts the arguments. */
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

  /** Keeps the call open for the streams in its answer, without a deadline. After the last, the signal fires if any was left early. */
  outlive(streams: readonly Channel[]): void {
    if (streams.length === 0) return
    this.#ends = Infinity
    let open = streams.length
    let left = false
    for (const stream of streams) {
      stream.once('close', () => {
        left ||= stream.errored !== null
        if (--open > 0 || !left) return
        const why = `the reader of the result of ${this.method} has left`
        this.cancel(new StageError('CANCELLED', why, { executed: 'yes', cause: stream.errored ?? undefined }))
      })
    }
  }

  /** Keeps the arguments counted after the answer. @returns call it once they are not in use any more */
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
