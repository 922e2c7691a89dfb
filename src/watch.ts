import { asError } from './errors.js'
import { judgeAt } from './judge.js'
import { outside } from './outside.js'
import { jitter } from './random.js'
import type { Clock, Random, Registry, Timer, View } from './types.js'

export interface WatchOptions {
  readonly registry: Registry
  readonly clock: Clock
  readonly random: Random
  readonly namespace: string
  /** A view that was read after every view before it; the first one is complete. */
  onview(view: View): void
  /** The registry is away. The watch tries again by itself. */
  onfailure(error: Error, before: Error | undefined): void
  /** A look has ended, and `looked` has grown. */
  onlook(): void
}

const RETRY_MS = 250
const RETRY_MAX_MS = 5000
/** The least time between the beginnings of two looks of one stage. */
const SPACING_MS = 50
/** If a look takes longer than this, the registry counts as away for the callers that wait. */
const LOOK_MS = 2000

/**
 * A stage's watch of its namespace. While the registry is away, the watch tries again with a back-off. A caller that needs
 * a view newer than its question asks for a look.
 *
 * A look is a second watch: its first view is read after its call, and it takes the place of the first watch. Views carry no
 * order, and views of two watches may overtake each other. So during a look, the views of the first watch are held back:
 * they are dropped when the look's view comes, and shown when the look fails. Every view that is shown is thereby newer than
 * the view before it.
 */
export class Watch {
  /** Why there is no fresh view at the moment. */
  failure: Error | undefined
  /** The number of the last look that has ended. */
  looked = 0
  /** The number of the last look that has begun. */
  #begun = 0
  #begunAt = -Infinity
  #wanted = false
  /** The last look was not answered: until a view comes, nobody waits for the next look. */
  #overdue = false
  #closed = false
  #failures = 0
  #retry: Timer | undefined
  #spacing: Timer | undefined
  #limit: Timer | undefined
  /** The watch whose views are shown, and the watch that is to take its place. */
  #current: AbortController | undefined
  #look: AbortController | undefined
  #held: View[] = []
  readonly #open = new Set<Promise<void>>()

  constructor(private readonly options: WatchOptions) {}

  start(): void {
    this.#retry = undefined
    this.#current = new AbortController()
    this.#begin(this.#current)
  }

  /**
   * Asks the registry for a view that is newer than this call. All callers before the look begins share it.
   * @returns  the number of the look: once `looked` is no less, the view has been shown, or none could be had
   */
  look(): number {
    if (!this.#wanted && !this.#closed) {
      this.#wanted = true
      outside(queueMicrotask, undefined, () => this.#plan()) // one look for all callers in this tick
    }
    return this.#overdue || this.#closed ? 0 : this.#begun + 1
  }

  async close(): Promise<void> {
    this.#closed = true
    for (const timer of [this.#retry, this.#spacing, this.#limit]) timer?.cancel()
    this.#current?.abort()
    this.#look?.abort()
    this.looked = Infinity // nothing newer can be had
    this.options.onlook()
    await Promise.all(this.#open)
  }

  #plan(): void {
    if (!this.#wanted || this.#look || this.#spacing || this.#closed) return
    const { clock } = this.options
    const wait = Math.ceil(this.#begunAt + SPACING_MS - clock.now())
    if (wait > 0) {
      this.#spacing = clock.setTimeout(() => { this.#spacing = undefined; this.#plan() }, wait)
      return
    }
    this.#wanted = false
    this.#begun++
    this.#begunAt = clock.now()
    const look = this.#look = new AbortController()
    this.#limit = judgeAt(clock, this.#begunAt + LOOK_MS, () => {
      this.#overdue = true
      look.abort()
      this.#end(this.#held)
    })
    this.#begin(look)
  }

  #begin(own: AbortController): void {
    const run = this.#follow(own)
    this.#open.add(run)
    void run.then(() => this.#open.delete(run))
  }

  async #follow(own: AbortController): Promise<void> {
    const { registry, namespace } = this.options
    let error = new Error(`the watch of the registry ended unexpectedly (${registry.address})`)
    try {
      for await (const view of registry.watch(namespace, own.signal)) {
        if (own.signal.aborted) return
        this.#take(own, view)
      }
    } catch (thrown) {
      error = asError(thrown)
    }
    if (own.signal.aborted) return
    if (own === this.#look) this.#end(this.#held)
    else this.#fail(error)
  }

  #take(own: AbortController, view: View): void {
    if (this.#look && own !== this.#look) {
      this.#held.push(view)
      return
    }
    this.#overdue = false
    if (!this.#look) return this.#show(view)
    this.#current?.abort()
    this.#retry?.cancel()
    this.#current = own
    this.#end([view])
  }

  /** Ends the look. */
  #end(views: readonly View[]): void {
    this.#limit?.cancel()
    this.#look = undefined
    this.#held = []
    this.looked = this.#overdue ? this.#begun + 1 : this.#begun
    for (const view of views) this.#show(view)
    this.options.onlook()
    this.#plan()
  }

  #show(view: View): void {
    this.#failures = 0
    this.failure = undefined
    this.options.onview(view)
  }

  #fail(error: Error): void {
    const { clock, random, onfailure } = this.options
    const before = this.failure
    this.#current = undefined
    this.failure = error
    onfailure(error, before)
    this.#retry = clock.setTimeout(() => this.start(), jitter(random, Math.min(RETRY_MS * 2 ** this.#failures++, RETRY_MAX_MS), 0.2))
  }
}
