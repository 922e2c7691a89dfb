import { onAbort } from '../../src/abort.js'
import { StageError } from '../../src/errors.js'
import { outside } from '../../src/outside.js'

/** How long somebody waits for a call: the end may move, and the signal is made when it is asked for. */
export interface Lifetime {
  /** By the clock's `now()`. */
  readonly endsAt: number
  readonly signal: AbortSignal | undefined
  /** Nobody waits for it any more. */
  readonly over: boolean
  /** Its time has passed, or the stage is closed: whoever listens to its signal is told, and the call settles with `error`. */
  expire(error: StageError): void
}

/** What an interceptor has begun by `next`, as often as it called it. */
interface Begun {
  cancel(error: StageError): void
}

/** A call on its way through the interceptors of its caller: who ends it early, and the signal that tells them so. */
export class Passage implements Lifetime {
  over = false
  /** Why nobody waits for it any more; undefined while somebody does, and once it has settled. */
  left: StageError | undefined
  /** Called once, with why nobody waits for it any more. */
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

  /** Made when an interceptor asks for it: most never do, and one for each call costs more than the call. */
  get signal(): AbortSignal {
    this.#abort ??= new AbortController()
    if (this.given?.aborted) this.#abort.abort(this.given.reason)
    else if (this.left) this.#abort.abort(this.left)
    return this.#abort.signal
  }

  /** It ends with this one, should nobody wait any more. */
  carries<B extends Begun>(one: B): B {
    this.#begun ??= []
    this.#begun.push(one)
    return one
  }

  expire(error: StageError): void {
    this.cancel(error)
  }

  /** Nobody waits for it any more. */
  cancel(error: StageError): void {
    if (this.over) return
    this.end()
    this.left = error
    if (this.#abort) outside(this.#abort.abort, this.#abort, this.given?.aborted ? this.given.reason : error)
    for (const one of this.#begun ?? []) one.cancel(error)
    this.onleave?.(error)
  }

  /** It has settled. */
  end(): void {
    this.over = true
    this.#unlisten?.()
  }
}
