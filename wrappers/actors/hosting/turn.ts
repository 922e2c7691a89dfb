import { AsyncLocalStorage, type AsyncResource } from 'node:async_hooks'
import { StageError } from '../../../src/errors.js'
import type { Mesh } from '../../../src/types.js'
import type { Callable } from '../../codec.js'
import { dispose } from '../../codec/dispose.js'
import type { Hand } from '../../codec/hand.js'
import type { StreamKind } from '../../codec/stream-kind.js'
import type { Carried } from '../../rpc/context.js'
import type { Changes } from '../watching/changes.js'
import { holdIn } from '../calling/copy.js'
import type { Watch } from '../watching/history.js'
import { NEXT, inWords, isInner } from '../words.js'

export type Settle = (error: StageError | null, value?: unknown) => void

/** Operations of the library's own turns on an actor. */
export interface Inspected {
  /** @throws StageError NO_SUCH_PROPERTY */
  read(name: unknown): unknown
  /** @throws StageError NO_SUCH_PROPERTY · BAD_ARGUMENT · OVERLOADED · CANCELLED */
  watch(watch: Watch, changes: Changes | undefined): void
}

/** Code that a turn runs instead of a method. */
export type Task = (actor: Inspected) => unknown

/** Phase of an activation, from its claim to its end. */
export type Phase = 'starting' | 'active' | 'stopping' | 'over'

/** The view of its activation that a turn needs. */
export interface TurnOwner {
  readonly address: string
  /** Unique to this activation; part of the names of its turns. */
  readonly token: string
  readonly definition: { readonly share: boolean }
  readonly phase: Phase
  readonly host: { readonly mesh: Pick<Mesh, 'clock' | 'valid' | 'error' | 'failed'> }
  readonly mailbox: {
    readonly running: readonly Turn[]
    /** Removes a cancelled turn that has not begun. */
    forgotten(turn: Turn): void
  }
  readonly handedOut: {
    give(fn: Callable, turn: Turn): Callable
    offer(stream: object, kind: StreamKind, turn: Turn): object
  }
}

/** The running turn, for actors whose turns run concurrently; not used for others, because it costs more than a short turn. */
export const scope = new AsyncLocalStorage<Turn>()

/** One call to one actor, from its arrival to its end. */
export class Turn implements Hand {
  /** Number of the turn within its activation; 0 until it begins. */
  id = 0
  /** When the call arrived at this stage, or was made here, by the clock's `now()`; 0 until the mailbox has it. */
  arrivedAt = 0
  /** When its code began; the time since `arrivedAt` was spent in the mailbox. */
  startedAt = 0
  /** Whether the turn changes nothing, and so may run concurrently with others of its kind. */
  shared = false
  /** Whether the turn is reentrant: it runs within another turn, to whose call chain it belongs. */
  inner = false
  /** Whether the turn runs handed-out code: such a turn runs within a giving turn of its chain, while one still runs. */
  back = false
  /** Whether the turn has been answered; its code may still run. */
  over = false
  /** When the turn counts as slow; 0 once that was reported. */
  slowAt = Infinity
  /** Whether its code has ended; its changes may still be on their way to the store. */
  ended = false
  /** Called when the code ends, for a turn that was answered before. */
  onended: (() => void) | undefined
  /** Whether the task is one of the library's own, whose StageErrors pass to the caller as they are. */
  own = false
  /** The id of the calling stage; undefined: this stage. */
  from: string | undefined
  /** The activation that accepted the turn. */
  of: TurnOwner | undefined
  /** The async context in which its code runs, where interceptors may have set one; undefined: an empty one. */
  within: AsyncResource | undefined
  /** Returns the current deadline, for a call whose argument streams extend it. */
  until: (() => number) | undefined
  /** The set that holds the turn for its deadline; the turn leaves it when it ends. */
  noted: Set<Turn> | undefined
  #abort: AbortController | undefined

  /**
   * @param method  name of the method; `@…` for a task
   * @param endsAt  when the caller stops waiting; Infinity if nobody waits
   * @param carried  context that travelled with the call
   */
  constructor(
    readonly method: string,
    readonly args: readonly unknown[],
    public endsAt: number,
    readonly carried: Carried,
    private readonly done: Settle,
    public task?: Task,
  ) {}

  /** Whether its asynchronous code runs and has not been reported as slow. */
  get watched(): boolean {
    return this.slowAt > 0 && this.slowAt < Infinity
  }

  /** Name of the turn in the chains of the calls that it makes. */
  get name(): string {
    return `${namesOf(this.of)}${this.id}`
  }

  /** Describes the turn in messages. */
  get words(): string {
    return inWords(this.method, this.args, this.of?.address ?? 'an actor')
  }

  /** Fires when nobody waits for the turn any more. */
  get signal(): AbortSignal {
    this.#abort ??= new AbortController()
    if (this.over) this.#abort.abort()
    return this.#abort.signal
  }

  /** Answers the call; only the first answer counts. */
  answer(error: StageError | null, value?: unknown): void {
    if (this.over || error) this.#unwanted(value)
    if (this.over) return this.#unwanted(error?.code === 'REMOTE_ERROR' ? error.cause : undefined)
    this.over = true
    if (!this.watched) this.noted?.delete(this)
    if (error) this.done(error)
    else this.done(null, value)
  }

  /** Ends the streams in a value that nobody receives; a value shared by reference still belongs to the actor. */
  #unwanted(value: unknown): void {
    if (this.from !== undefined || !this.of?.definition.share) dispose(value)
    else holdIn(value, true)
  }

  /** Ends a turn that nobody waits for: removes it from the queue, or cancels the calls that it makes. */
  cancel(error: StageError): void {
    if (this.over) return
    this.answer(error)
    this.#abort?.abort(error)
    this.of?.mailbox.forgotten(this)
  }

  /** Reports what the code of the turn has thrown. */
  report(thrown: unknown): void {
    const { method, words, from, endsAt, over, of } = this
    const unheard = endsAt === Infinity && method !== NEXT // nobody waits for timers and reminders
    of?.host.mesh.failed(thrown, { what: words, method: isInner(method) ? undefined : method, actor: of.address, from, unheard, over })
  }

  give(fn: Callable): Callable {
    return this.of ? this.of.handedOut.give(fn, this) : fn
  }

  offer(stream: object, kind: StreamKind): object {
    return this.of ? this.of.handedOut.offer(stream, kind, this) : stream
  }

  /** Answers that this stage does not host the actor. @param owner  id of the stage that does, if known */
  move(owner?: string): void {
    this.answer(moved(this.of?.address ?? 'the actor', owner))
  }
}

/** Common prefix of the names of an activation's turns. Each activation has its own, because turn numbers start again. */
export const namesOf = (activation: Pick<TurnOwner, 'address' | 'token'> | undefined): string =>
  `${activation?.address ?? ''}#${activation?.token ?? ''}.`

/** Whether the error comes from the actor's code and not from the library: then it was reported as `failed`. */
export const isThrown = (error: StageError): boolean => error.code === 'REMOTE_ERROR' && 'cause' in error

/** The answer to a call that arrived at the wrong stage. */
export const moved = (address: string, owner = ''): StageError =>
  new StageError('REFUSED', `${address} is not hosted here`, { executed: 'no', cause: { moved: owner } })

/** The stage to which a `moved` error redirects; '' if it is not known. Undefined for any other error. */
export function movedTo(error: StageError): string | undefined {
  if (error.executed !== 'no' || error.code !== 'REFUSED') return undefined
  const to = (error.cause as { moved?: unknown } | null | undefined)?.moved
  return typeof to === 'string' ? to : undefined
}
