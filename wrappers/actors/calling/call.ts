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

/** The owner says where the time went, and its word takes a while to come. */
export const WORD_MS = 60

/** Called before a call is sent over a link, or to this stage, each time. @returns by what a watch at this stage is told @throws StageError it is not sent */
type OnSend = (rpc: Rpc | undefined) => Changes | undefined

/**
 * What a call is, beside its arguments and what it carries. An instance of a class, as V8 moves literals that tend to live
 * long to its old space from the start, where each keeps its whole call alive until a full collection.
 */
export class Made {
  readonly signal: AbortSignal | undefined
  readonly idempotent: boolean | undefined
  /** Of the actor that makes it. */
  readonly hand: Hand | undefined

  /**
   * @param name      of the method; `@…` where the library asks for something
   * @param since     when it was made; by the clock's `now()`
   * @param deadline  by the same
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

/** What a call asks of the way to its actor. */
export interface Way {
  now(): number
  /** It wants to be sent. */
  add(call: ActorCall): void
  /** Nobody waits for one that was sent. @returns whether it has not left */
  withdraw(call: ActorCall, link: Link<Rpc>, reason: StageError): boolean
  settled(call: ActorCall, error: StageError | null, value: unknown, streams?: readonly Ending[]): void
  /** Its deadline has passed before it could be sent. */
  expire(call: ActorCall): void
  /** It has ended, however. */
  forget(call: ActorCall): void
}

/** One call of an actor, from its first wait to its one end. */
export class ActorCall implements Outgoing, Moving {
  /** What ends with a call that fails; undefined while it was given to nobody: all of it. */
  streams?: readonly unknown[]
  /** Order in which they were made. */
  seq = 0
  hops = 0
  /** What runs it, where that is this stage. */
  turn: Turn | undefined
  /** Over which it went, under this id, where it is another. */
  link: Link<Rpc> | undefined
  id = 0
  /** When something last moved of the streams in its arguments, where it runs here; by the clock's `now()`. */
  movedAt: number | undefined
  /** Of an idempotent one that has failed: how it did last, and the pause before it is made again. */
  retried: (Retried & { failure?: StageError; pause?: Timer }) | undefined
  /** Called when it has failed, however: nobody waits for it any more. */
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

  /** Of the actor that makes it. */
  get hand(): Hand | undefined {
    return this.made.hand
  }

  get endsAt(): number {
    return this.made.deadline + WORD_MS
  }

  /** For messages. */
  get method(): string {
    return inWords(this.made.name, this.own, this.made.address)
  }

  /** As they go over a link. */
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

  start(): void {
    const { signal } = this
    if (this.carried.depth > DEPTH_MAX) {
      return this.end(new StageError('REFUSED', `a chain of more than ${DEPTH_MAX} calls: do they call each other in a circle?`))
    }
    if (signal?.aborted) return this.end(cancelled(signal))
    if (signal) {
      this.#unlisten = onAbort(signal, () => {
        this.cancel(new StageError('CANCELLED', `${this.method} was cancelled by its signal`, { cause: signal.reason }))
      })
    }
    this.way.add(this)
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

  /** It was sent, and has not come back. */
  get under(): boolean {
    return this.turn !== undefined || this.link !== undefined
  }

  /** What came of it where it was sent to. */
  settle(error: StageError | null, value?: unknown, streams?: readonly Ending[]): void {
    this.way.settled(this, error, value, streams)
  }

  /** It waits to be sent, and the streams in its arguments go on: one that fails ends it. */
  hold(): void {
    this.#unhold ??= holdAll(this.own, (error) => this.end(brokenBefore(this.method, error)))
  }

  unhold(): void {
    this.#unhold?.()
    this.#unhold = undefined
  }

  end(error: StageError | null, value?: unknown, streams: readonly Ending[] = []): void {
    if (this.#over) return
    this.#over = true
    this.#unlisten?.()
    this.unhold()
    if (this.retried) {
      this.retried.pause?.cancel()
      if (error) error = honest(error, this.retried)
    }
    if (!error && this.signal) for (const stream of streams) bind(stream, this.signal)
    this.way.forget(this)
    if (error) {
      dispose(this.streams ?? this.own)
      this.onfail?.(error)
    }
    this.done(error, value)
  }
}
