import { onAbort } from '../../src/abort.js'
import { StageError } from '../../src/errors.js'
import { outside } from '../../src/outside.js'

/** How long somebody waits for a call. The end may move, and the signal is made on demand. */
export interface Lifetime {
  /** When the wait ends, by the clock's `now()`. */
  readonly endsAt: number
  readonly signal: AbortSignal | undefined
  /** Nobody waits for the call any more. */
  readonly over: boolean
  /** The deadline has passed, or the stage is closed: the signal fires, and the call settles with `error`. */
  expire(error: StageError): void
}

/** A call that an interceptor has begun by `next`; each use of `next` begins a call of its own. */
interface Begun {
  cancel(error: StageError): void
}

/** A call on its way through the interceptors of its caller, which can end early and then notifies them by its signal. */
export class Passage implements Lifetime {
  over = false
  /** Why nobody waits for the call any more; undefined while somebody does, and if the call has settled. */
  left: StageError | undefined
  /** Called once, with the reason, when nobody waits for the call any more. */
  onleave: ((error: StageError) => void) | undefined
  #begun: Begun[] | undefined
  #abort: AbortController | undefined
  readonly #unlisten: (() => void) | undefined

  /**
   * @param method  for messages
   * @param endsAt  by the clock's `now()`
   * @param given   the caller's own signal
   */
  constructor(method: string, readonly endsAt: number, private readonly given?: AbortSignal) {
    this.#unlisten = given && onAbort(given, () => {
      this.cancel(new StageError('CANCELLED', `${method} was cancelled by its signal`, { cause: given.reason }))
    })
  }

  /** Made on demand: most interceptors never ask for the signal, and an AbortController costs more than the call. */
  get signal(): AbortSignal {
    this.#abort ??= new AbortController()
    if (this.given?.aborted) this.#abort.abort(this.given.reason)
    else if (this.left) this.#abort.abort(this.left)
    return this.#abort.signal
  }

  /** Has a begun call cancelled together with this passage. */
  carries<B extends Begun>(one: B): B {
    this.#begun ??= []
    this.#begun.push(one)
    return one
  }

  expire(error: StageError): void {
    this.cancel(error)
  }

  /** Ends the call early: nobody waits for it any more. */
  cancel(error: StageError): void {
    if (this.over) return
    this.end()
    this.left = error
    if (this.#abort) outside(this.#abort.abort, this.#abort, this.given?.aborted ? this.given.reason : error)
    for (const one of this.#begun ?? []) one.cancel(error)
    this.onleave?.(error)
  }

  /** The call has settled. */
  end(): void {
    this.over = true
    this.#unlisten?.()
  }
}
