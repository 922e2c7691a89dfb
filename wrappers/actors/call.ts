import { onAbort } from '../../src/abort.js'
import { bind, cancelled, type Ending } from '../../src/bounded.js'
import { StageError } from '../../src/errors.js'
import type { Link, Timer } from '../../src/types.js'
import { brokenBefore, dispose, holdAll } from '../codec/dispose.js'
import type { Hand } from '../codec/hand.js'
import { DEPTH_MAX, type Carried, type Inherited } from '../rpc/context.js'
import { honest, type Retried } from '../rpc/retries.js'
import type { Outgoing, Rpc } from '../rpc/rpc.js'
import type { Changes } from './changes.js'
import type { Moving } from './copy.js'
import type { Route } from './route.js'
import type { Turn } from './turn.js'
import type { ActorCallOptions } from './types.js'
import { inWords } from './words.js'

/** The owner says where the time went, and its word takes a while to come. */
export const WORD_MS = 60

/** One call of an actor, from its first wait to its one end. */
export class ActorCall implements Outgoing, Moving {
  readonly endsAt: number
  /** Of the actor that makes it. */
  readonly hand: Hand | undefined
  readonly carried: Carried
  /** Whether it may be made again, as its caller says; undefined: as its owner does. */
  readonly idempotent: boolean | undefined
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
  #unlisten: (() => void) | undefined
  #unhold: (() => void) | undefined
  #over = false

  constructor(
    readonly route: Route,
    /** Of the actor; `@…` where the library asks for something. */
    readonly name: string,
    readonly own: readonly unknown[],
    /** When it was made; by the clock's `now()`. */
    readonly since: number,
    readonly deadline: number,
    readonly signal: AbortSignal | undefined,
    { carried, hand, idempotent }: Inherited & Pick<ActorCallOptions, 'idempotent'>,
    private readonly done: (error: StageError | null, value?: unknown) => void,
    /** Called before it is sent over a link, or to this stage, each time. @returns by what a watch at this stage is told @throws StageError it is not sent */
    readonly onsend?: (rpc: Rpc | undefined) => Changes | undefined,
  ) {
    this.endsAt = deadline + WORD_MS
    this.carried = carried
    this.hand = hand
    this.idempotent = idempotent
  }

  /** For messages. */
  get method(): string {
    return inWords(this.name, this.own, this.route.address)
  }

  /** As they go over a link. */
  get args(): readonly unknown[] {
    return [this.route.address, this.name, this.own]
  }

  moves(): () => void {
    this.movedAt ??= this.since
    return () => { this.movedAt = this.route.routes.mesh.clock.now() }
  }

  get over(): boolean {
    return this.#over
  }

  start(): void {
    const { signal } = this
    if (this.carried.depth > DEPTH_MAX) return this.end(new StageError('REFUSED', `a chain of more than ${DEPTH_MAX} calls: do they call each other in a circle?`))
    if (signal?.aborted) return this.end(cancelled(signal))
    if (signal) this.#unlisten = onAbort(signal, () => this.cancel(new StageError('CANCELLED', `${this.method} was cancelled by its signal`, { cause: signal.reason })))
    this.route.add(this)
  }

  cancel(error: StageError): void {
    if (this.#over) return
    if (this.turn) return this.#leave(this.turn, error)
    const unsent = !this.link || this.route.withdraw(this, this.link, error)
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
    this.route.settled(this, error, value, streams)
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
    this.route.forget(this)
    if (error) dispose(this.streams ?? this.own)
    this.done(error, value)
  }
}
