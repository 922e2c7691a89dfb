import { onAbort } from '../../../src/abort.js'
import { bind, cancelled, type Ending } from '../../../src/bounded.js'
import { StageError } from '../../../src/errors.js'
import type { Link, SelectOptions, Timer } from '../../../src/types.js'
import { brokenBefore, dispose, holdAll } from '../../codec/dispose.js'
import type { Hand } from '../../codec/hand.js'
import { DEPTH_MAX, type Carried, type Inherited } from '../../rpc/context.js'
import { honest, type Retried } from '../../rpc/calling/retries.js'
import type { Outgoing } from '../../rpc/calling/outgoing.js'
import type { Rpc } from '../../rpc/rpc.js'
import type { Changes } from '../watching/changes.js'
import type { Moving } from './copy.js'
import type { Turn } from '../hosting/turn.js'
import type { ActorCallOptions } from '../types.js'
import { inWords } from '../words.js'

/** How long a caller waits beyond its deadline for the owner's error, which says where the time went. */
export const WORD_MS = 60

/** Called before each attempt to send. @returns the stream that notifies a watch on this stage @throws StageError the call is not sent */
type OnSend = (rpc: Rpc | undefined) => Changes | undefined

/**
 * The fixed facts of a call, except its arguments and context. A class, because V8 allocates object literals that tend to
 * live long directly in its old space, where each would keep its whole call alive until a full collection.
 */
export class Made {
  readonly signal: AbortSignal | undefined
  readonly idempotent: boolean | undefined
  /** Hands out functions and streams of the calling actor; undefined for other callers. */
  readonly hand: Hand | undefined

  /**
   * @param name      name of the method; `@…` for a request of the library
   * @param since     when the call was made, by the clock's `now()`
   * @param deadline  by the same clock
   */
  constructor(
    readonly address: string, readonly name: string, readonly since: number, readonly deadline: number,
    { signal, idempotent, inherited }: ActorCallOptions & Pick<SelectOptions, 'inherited'>, readonly onsend?: OnSend,
  ) {
    this.signal = signal
    this.idempotent = idempotent
    this.hand = (inherited as Inherited | undefined)?.hand
  }
}

/** The view of the route to its actor that a call needs. */
export interface Way {
  now(): number
  /** Queues or sends a call. @param now  the time, if it was read just before and no code of the user has run since */
  add(call: ActorCall, now?: number): void
  /** Cancels a sent call. @returns whether the call has not left this stage yet */
  withdraw(call: ActorCall, link: Link<Rpc>, reason: StageError): boolean
  settled(call: ActorCall, error: StageError | null, value: unknown, streams?: readonly Ending[]): void
  /** Ends a call whose deadline passed before it could be sent. */
  expire(call: ActorCall): void
  /** Called when a call has ended, with or without an error. */
  forget(call: ActorCall): void
}

/** One outgoing call to an actor, from its first wait to its single end. */
export class ActorCall implements Outgoing, Moving {
  /** Values whose streams end if the call fails; undefined before the call is handed over: all its arguments. */
  streams?: readonly unknown[]
  /** Order of the call among the calls of its route. */
  seq = 0
  hops = 0
  /** The turn that runs the call, if it runs on this stage. */
  turn: Turn | undefined
  /** The link over which the call was sent, under `id`, if it runs on another stage. */
  link: Link<Rpc> | undefined
  id = 0
  /** When its argument streams last moved data, if the call runs here; by the clock's `now()`. */
  movedAt: number | undefined
  /** Retries of an idempotent call: their counts, the last failure, and the pause before the next attempt. */
  retried: (Retried & { failure?: StageError; pause?: Timer }) | undefined
  /** Called when the call has failed for any reason, and so nobody waits for it any more. */
  onfail: ((error: StageError) => void) | undefined
  #unlisten: (() => void) | undefined
  #unhold: (() => void) | undefined
  #over = false

  constructor(
    readonly way: Way,
    readonly made: Made,
    readonly own: readonly unknown[],
    readonly carried: Carried,
    private readonly done: (error: StageError | null, value?: unknown) => void,
  ) {}

  get signal(): AbortSignal | undefined {
    return this.made.signal
  }

  /** Hands out functions and streams of the calling actor. */
  get hand(): Hand | undefined {
    return this.made.hand
  }

  get endsAt(): number {
    return this.made.deadline + WORD_MS
  }

  /** Describes the call in messages. */
  get method(): string {
    return inWords(this.made.name, this.own, this.made.address)
  }

  /** Arguments of the `@call` request over a link. */
  get args(): readonly unknown[] {
    return [this.made.address, this.made.name, this.own]
  }

  moves(): () => void {
    this.movedAt ??= this.made.since
    return () => { this.movedAt = this.way.now() }
  }

  get over(): boolean {
    return this.#over
  }

  /** @param now  as in `Way.add` */
  start(now?: number): void {
    const { signal } = this
    if (this.carried.depth > DEPTH_MAX) {
      return this.end(new StageError('REFUSED', `calls are nested more than ${DEPTH_MAX} deep: do methods call each other in a cycle?`))
    }
    if (signal?.aborted) return this.end(cancelled(signal))
    if (signal) {
      this.#unlisten = onAbort(signal, () => {
        this.cancel(new StageError('CANCELLED', `${this.method} was cancelled by its signal`, { cause: signal.reason }))
      })
    }
    this.way.add(this, now)
  }

  cancel(error: StageError): void {
    if (this.#over) return
    if (this.turn) return this.#leave(this.turn, error)
    const unsent = !this.link || this.way.withdraw(this, this.link, error)
    this.end(new StageError(error.code, error.message, { executed: unsent ? 'no' : 'unknown', cause: error.cause }))
  }

  #leave(turn: Turn, { code, message, cause }: StageError): void {
    const error = new StageError(code, message, { executed: turn.id === 0 ? 'no' : 'unknown', cause })
    turn.cancel(error)
    this.end(error)
  }

  /** Whether the call is in flight: sent and not answered. */
  get under(): boolean {
    return this.turn !== undefined || this.link !== undefined
  }

  /** Receives the outcome from the stage to which the call was sent. */
  settle(error: StageError | null, value?: unknown, streams?: readonly Ending[]): void {
    this.way.settled(this, error, value, streams)
  }

  /** Watches its argument streams while the call waits to be sent: if a stream fails, the call ends. */
  hold(): void {
    this.#unhold ??= holdAll(this.own, (error) => this.end(brokenBefore(this.method, error)))
  }

  unhold(): void {
    this.#unhold?.()
    this.#unhold = undefined
  }

  end(error: StageError | null, value?: unknown, streams?: readonly Ending[]): void {
    if (this.#over) return
    this.#over = true
    this.#unlisten?.()
    this.unhold()
    if (this.retried) {
      this.retried.pause?.cancel()
      if (error) error = honest(error, this.retried)
    }
    if (streams && !error && this.signal) for (const stream of streams) bind(stream, this.signal)
    this.way.forget(this)
    if (error) {
      dispose(this.streams ?? this.own)
      this.onfail?.(error)
    }
    this.done(error, value)
  }
}
