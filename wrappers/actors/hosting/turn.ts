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
import { inWords } from '../words.js'

export type Settle = (error: StageError | null, value?: unknown) => void

/** What the library's own turns do with an actor. */
export interface Inspected {
  /** @throws StageError NO_SUCH_PROPERTY */
  read(name: unknown): unknown
  /** @throws StageError NO_SUCH_PROPERTY · BAD_ARGUMENT · OVERLOADED · CANCELLED */
  watch(watch: Watch, changes: Changes | undefined): void
}

/** What a turn runs in place of a method. */
export type Task = (actor: Inspected) => unknown

/** Where an activation is between its claim and its end. */
export type Phase = 'starting' | 'active' | 'stopping' | 'over'

/** What a turn asks of the activation that took it on. */
export interface TurnOwner {
  readonly address: string
  /** Of this activation alone: a part of the names of its turns. */
  readonly token: string
  readonly definition: { readonly share: boolean }
  readonly phase: Phase
  readonly host: { readonly mesh: Pick<Mesh, 'clock' | 'valid' | 'error'> }
  readonly mailbox: {
    readonly running: readonly Turn[]
    /** Nobody waits for that one any more. */
    forgotten(turn: Turn): void
  }
  readonly handedOut: {
    give(fn: Callable, turn: Turn): Callable
    offer(stream: object, kind: StreamKind, turn: Turn): object
  }
}

/** Which turn is running, where several of one actor may at once; asked only there, as it costs more than a short turn. */
export const scope = new AsyncLocalStorage<Turn>()

/** One call to one actor, from its arrival to its end. */
export class Turn implements Hand {
  /** Counts those of an activation; 0 until it begins. */
  id = 0
  /** When its call came to this stage, or was made on it; 0 until the mailbox has it. By the clock's `now()`. */
  arrivedAt = 0
  /** When its code began; what is between the two is how long the mailbox held it. */
  startedAt = 0
  /** Changes nothing: may run with others of its kind. */
  shared = false
  /** Runs within another turn, whose chain of calls it belongs to. */
  inner = false
  /** It runs what turns of its actor gave to others: within those of its chain, where one still runs. */
  back = false
  /** It has been answered; its code may still run. */
  over = false
  /** When it will have taken long; 0 once that was said. */
  slowAt = Infinity
  /** Its code has ended; what it changed may still be on its way to the store. */
  ended = false
  /** Called when that is so, where it was answered before. */
  onended: (() => void) | undefined
  /** Its task is one of the library's own, and what that throws stands for itself. */
  own = false
  /** The id of the stage that it came from; undefined: this one. */
  from: string | undefined
  /** Whose it is, once it was taken on. */
  of: TurnOwner | undefined
  /** In whose context its code runs, where an interceptor may have made one; undefined: in none. */
  within: AsyncResource | undefined
  /** When its caller stops waiting by now, where streams among its arguments give it more time. */
  until: (() => number) | undefined
  /** Where it is held for the sake of its deadline; not beyond its end. */
  noted: Set<Turn> | undefined
  #abort: AbortController | undefined

  /**
   * @param method  its name; `@…` where a task runs
   * @param endsAt  when its caller stops waiting; Infinity where nobody waits
   * @param carried  what came with its call
   */
  constructor(
    readonly method: string,
    readonly args: readonly unknown[],
    public endsAt: number,
    readonly carried: Carried,
    private readonly done: Settle,
    public task?: Task,
  ) {}

  /** Its code runs, and is reported should it take long. */
  get watched(): boolean {
    return this.slowAt > 0 && this.slowAt < Infinity
  }

  /** Under which the calls that it makes know it. */
  get name(): string {
    return `${namesOf(this.of)}${this.id}`
  }

  /** For messages. */
  get words(): string {
    return inWords(this.method, this.args, this.of?.address ?? 'an actor')
  }

  /** Fires when nobody waits for it any more. */
  get signal(): AbortSignal {
    this.#abort ??= new AbortController()
    if (this.over) this.#abort.abort()
    return this.#abort.signal
  }

  /** The first answer counts. */
  answer(error: StageError | null, value?: unknown): void {
    if (this.over || error) this.#unwanted(value)
    if (this.over) return this.#unwanted(error?.code === 'REMOTE_ERROR' ? error.cause : undefined)
    this.over = true
    if (!this.watched) this.noted?.delete(this)
    if (error) this.done(error)
    else this.done(null, value)
  }

  /** Ends the streams in what nobody gets; what is shared belongs to the actor still. */
  #unwanted(value: unknown): void {
    if (this.from !== undefined || !this.of?.definition.share) dispose(value)
    else holdIn(value, true)
  }

  /** Nobody waits any more: takes it out of the queue, or tells those that it calls. */
  cancel(error: StageError): void {
    if (this.over) return
    this.answer(error)
    this.#abort?.abort(error)
    this.of?.mailbox.forgotten(this)
  }

  give(fn: Callable): Callable {
    return this.of ? this.of.handedOut.give(fn, this) : fn
  }

  offer(stream: object, kind: StreamKind): object {
    return this.of ? this.of.handedOut.offer(stream, kind, this) : stream
  }

  /** This stage does not host the actor (any more). @param owner  the id of the stage that does, if that is known */
  move(owner?: string): void {
    this.answer(moved(this.of?.address ?? 'the actor', owner))
  }
}

/** How the names of all turns of an activation begin; not those of the next one, which counts its turns from the beginning. */
export const namesOf = (activation: Pick<TurnOwner, 'address' | 'token'> | undefined): string =>
  `${activation?.address ?? ''}#${activation?.token ?? ''}.`

/** The answer to a call that came to the wrong stage. */
export const moved = (address: string, owner = ''): StageError =>
  new StageError('REFUSED', `${address} is not hosted here`, { executed: 'no', cause: { moved: owner } })

/** Where to go with a call that was answered so; '' if that is not known. Undefined for any other error. */
export function movedTo(error: StageError): string | undefined {
  if (error.executed !== 'no' || error.code !== 'REFUSED') return undefined
  const to = (error.cause as { moved?: unknown } | null | undefined)?.moved
  return typeof to === 'string' ? to : undefined
}
