import { onAbort } from '../../../src/abort.js'
import { bind, type Ending } from '../../../src/bounded.js'
import { StageError } from '../../../src/errors.js'
import type { Clock, Deadlines, Link, Peer, Selection } from '../../../src/types.js'
import { brokenBefore, dispose, holdAll } from '../../codec/dispose.js'
import type { Hand } from '../../codec/hand.js'
import { DEPTH_MAX, carriedBy, type Carried, type Inherited } from '../context.js'
import { elsewhere } from '../errors.js'
import type { Interception } from '../interception.js'
import { honest, isLost, isRefusal, type Retried, type Retries } from './retries.js'
import type { Outgoing } from './outgoing.js'
import type { Rpc } from '../rpc.js'

/** The services of a stage that a call needs beside its selection. */
export interface Caller {
  readonly clock: Clock
  readonly deadlines: Deadlines
  readonly timeoutMs: number
  /** Calls that wait for a peer or a link. */
  readonly waiting: Set<Invocation>
  /** Undefined if the stage has no interceptors. */
  readonly interception: Interception | undefined
  readonly retries: Retries
}

const gone = (): StageError => new StageError('CANCELLED', 'the caller no longer waits for the answer')

/** Time for the link to close, and for other work to run. */
const RESEND_MS = 1

const AS_SELECTED = {}

/**
 * One call, from its first wait to its only end. Runs at most once: the call is sent again only if the peer, or this end, is
 * certain that it did not run, or if it is idempotent (`retries.ts`).
 */
export class Invocation implements Outgoing {
  readonly endsAt: number
  readonly carried: Carried
  streams?: readonly object[]
  private readonly only: Peer | undefined
  #resolve!: (value: unknown) => void
  #reject!: (error: StageError) => void
  #settled = false
  #link: Link<Rpc> | undefined
  #id = 0
  #tried: Set<string> | undefined
  #failure: StageError | undefined
  /** Set once an idempotent call has failed. */
  #retried: Retried | undefined
  #stopWaiting: (() => void) | undefined
  #unlisten: (() => void) | undefined
  /** Set while the call waits unsent: stops watching the streams in its arguments. */
  #unhold: (() => void) | undefined

  /**
   * @param only     the only match that may be called
   * @param endsAt   default: the deadline of the selection, from now on
   * @param carried  default: the context of the selection
   */
  constructor(
    private readonly caller: Caller,
    private readonly selection: Selection<Rpc>,
    readonly method: string,
    readonly args: readonly unknown[],
    { only, endsAt, carried }: { only?: Peer; endsAt?: number; carried?: Carried } = AS_SELECTED,
  ) {
    this.only = only
    this.carried = carried ?? carriedBy(selection.options)
    const now = caller.clock.now()
    caller.retries.budget.count(now)
    this.endsAt = endsAt ?? now + (selection.options.timeoutMs ?? caller.timeoutMs)
  }

  get hand(): Hand | undefined {
    return (this.selection.options.inherited as Inherited | undefined)?.hand
  }

  /** Begins the call; to be called once. */
  start(resolve: (value: unknown) => void, reject: (error: StageError) => void): this {
    this.#resolve = resolve
    this.#reject = reject
    const { signal } = this.selection.options
    if (this.carried.depth > DEPTH_MAX) this.settle(new StageError('REFUSED', `calls are nested more than ${DEPTH_MAX} deep: do methods call each other in a cycle?`))
    else if (signal?.aborted) this.#cancelled(signal)
    else {
      if (signal) this.#unlisten = onAbort(signal, () => this.#cancelled(signal))
      this.#seek()
    }
    return this
  }

  /** Ends the call early, in any phase. */
  cancel(error: StageError): void {
    if (this.#settled) return
    const link = this.#link // set while the call is being sent, too: a getter in its arguments can cancel it
    const unsent = !link || (this.#id !== 0 && link.top.cancel(this.#id, error))
    this.#end(new StageError(error.code, error.message, { executed: unsent ? 'no' : 'unknown', cause: error.cause }))
  }

  /** The deadline has passed before the call could be sent. */
  expire(): void {
    this.#end(this.#failure ?? this.selection.why(this.selection.options.timeoutMs ?? this.caller.timeoutMs))
  }

  /** An answer, or the end of the link that would have brought it. */
  settle(error: StageError | null, value?: unknown, streams?: readonly Ending[]): void {
    if (this.#settled) return
    if (error && this.#again(error)) return
    this.#end(error, value, streams)
  }

  #cancelled(signal: AbortSignal): void {
    this.cancel(new StageError('CANCELLED', `${this.method} was cancelled by its signal`, { cause: signal.reason }))
  }

  #seek(): void {
    this.#id = 0
    let now = true
    const done = (error: StageError | null, link?: Link<Rpc>): void => {
      this.#stopWaiting = undefined
      if (!now) this.caller.waiting.delete(this)
      now = false
      if (link) this.#send(link)
      else this.#unreached(error)
    }
    const stop = this.only ? this.selection.reach(this.only, done) : this.selection.acquire(this.#tried, done)
    if (!now || this.#settled) return
    now = false
    this.#stopWaiting = stop
    this.#wait()
  }

  #wait(): void {
    this.caller.waiting.add(this)
    this.caller.deadlines.note(this.endsAt)
    // nothing has been sent, and a stream among the arguments may fail meanwhile
    this.#unhold ??= holdAll(this.args, (error) => this.#end(brokenBefore(this.method, error)))
  }

  #send(link: Link<Rpc>): void {
    if (this.#settled) return
    this.#release()
    this.#unhold?.()
    this.#unhold = undefined
    this.#link = link
    link.load++
    try {
      this.#id = link.top.send(this, this.method)
      if (this.#settled) link.top.cancel(this.#id, gone())
    } catch (error) {
      if ((error as StageError).code === 'DISCONNECTED') this.#resend()
      else this.settle(error as StageError)
    }
  }

  /** Seeks again, since the link was about to close and the peer may still be there. Only an error of this end leads here. */
  #resend(): void {
    this.#release()
    this.#wait()
    this.caller.clock.setTimeout(() => {
      if (this.#settled) return
      this.caller.waiting.delete(this)
      this.#seek()
    }, RESEND_MS)
  }

  /** Whether the call goes on, with another match or later. */
  #again(error: StageError): boolean {
    const link = this.#link
    if (!link || this.only || this.caller.clock.now() >= this.endsAt) return false
    const { top, peer: { id } } = link
    if (elsewhere(error)) {
      this.#release()
      this.#tried ??= new Set()
      this.#tried.add(id)
      this.#failure = error
      if (isRefusal(error) && this.#idempotent(top)) (this.#retried ??= { made: 0, lost: 0, refused: true }).refused = true
      else if (this.#retried) this.#retried.refused = false
      this.#seek()
      return true
    }
    if (!isLost(error, top) || !this.#idempotent(top)) return false
    this.#retried ??= { made: 0, lost: 0, refused: false }
    if (!this.#later(error, this.#retried)) return false
    this.#tried ??= new Set()
    this.#tried.add(id)
    return true
  }

  /** Without the option, the peer that failed decides: a malicious peer can thus cause repeats only of calls that it was sent itself. */
  #idempotent({ methods }: Rpc): boolean {
    return this.selection.options.idempotent ?? methods.idempotent(this.method)
  }

  /** No untried match can be reached. */
  #unreached(error: StageError | null): void {
    const failure = this.#failure
    if (failure && this.#retried && this.#tried && error?.code !== 'CLOSED') {
      this.#tried = undefined
      if (failure.executed !== 'no') return this.#seek() // waits for the peer whose link broke
      if (this.#retried.refused && this.#later(failure, this.#retried)) return
    }
    this.#end(failure ?? error)
  }

  /** Retries after a pause. @returns false if the call may not be retried */
  #later(error: StageError, retried: Retried): boolean {
    const { clock, retries, waiting } = this.caller
    if (this.streams?.length) return false // streams among the arguments, which were consumed
    const ms = retries.pause(error, retried, clock.now(), this.endsAt)
    if (ms === undefined) return false
    this.#release()
    this.#failure = error
    const timer = clock.setTimeout(() => {
      waiting.delete(this)
      this.#seek()
    }, ms, true)
    this.#stopWaiting = () => timer.cancel()
    this.#wait()
    return true
  }

  #release(): void {
    if (!this.#link) return
    this.#link.load--
    this.#link = undefined
  }

  #end(error: StageError | null, value?: unknown, streams?: readonly Ending[]): void {
    if (this.#settled) return
    this.#settled = true
    this.#release()
    this.#unlisten?.()
    this.#stopWaiting?.()
    this.#unhold?.()
    this.caller.waiting.delete(this)
    if (error) {
      this.#reject(this.#retried ? honest(error, this.#retried) : error)
      if (!this.only) dispose(this.streams ?? this.args) // in a `callAll` other matches may read them
      return
    }
    const { signal } = this.selection.options
    if (signal && streams) for (const stream of streams) bind(stream, signal)
    this.#resolve(value)
  }
}
