/** One watch of one actor, between the history of that actor and the stream over which it is notified. */
import type { StageError } from '../../../src/errors.js'
import type { Snapshot } from '../state/snapshot.js'

/** What one watcher is told at once: all of the watched properties, or those that changed. */
export interface Told {
  readonly seq: number
  readonly version: number
  readonly values: Snapshot
  /** Everything, and not only what has changed since `seq - 1`. */
  readonly whole?: { readonly epoch: number; readonly activation: string; readonly kept: boolean } | undefined
}

/** What a watcher asks of the history of its actor. */
interface WatchedHistory {
  /** Of the newest change. */
  readonly seq: number
  hasNews(seq: number, names: readonly string[]): boolean
  after(seq: number, names: readonly string[], merge: boolean): Told | 'gone' | undefined
  whole(names: readonly string[]): Told
  rest(watcher: Watcher): void
  unwatch(watcher: Watcher): void
}

/** What a watcher asks of the stream over which it is notified. */
interface Notifier {
  /** Whether it waits for its turn there. */
  awaits(watcher: Watcher): boolean
  /** It has news. */
  ready(watcher: Watcher): void
}

/** It knows its last notice, and makes the next one out of the history when there is room on its way. */
export class Watcher {
  /** Why it has ended, which its last notice says. */
  failed: StageError | undefined
  #history: WatchedHistory | undefined

  /** @param seq  what it has been told already; undefined: nothing */
  constructor(
    readonly number: number,
    readonly names: readonly string[],
    private readonly latest: boolean,
    private readonly changes: Notifier,
    history: WatchedHistory,
    private seq: number | undefined,
  ) {
    this.#history = history
  }

  /** There may be news. @param seen  it rested, and was up to date until then */
  wake(seen = this.seq): void {
    this.seq = seen
    if (!this.changes.awaits(this) && this.isBehind()) this.changes.ready(this)
  }

  /** Whether there is news. A watcher that is up to date stays so when other properties change. */
  isBehind(): boolean {
    const history = this.#history
    if (!history) return this.failed !== undefined
    if (this.seq === undefined || history.hasNews(this.seq, this.names)) return true
    this.seq = history.seq
    history.rest(this)
    return false
  }

  /** Its next notice, which is the same until it `took` that one. */
  next(): Told | undefined {
    const history = this.#history
    const told = this.seq === undefined ? 'gone' : history?.after(this.seq, this.names, this.latest)
    return told === 'gone' ? history?.whole(this.names) : told
  }

  took({ seq }: Told): void {
    this.seq = seq
  }

  fail(error: StageError): void {
    this.end()
    this.failed = error
    this.changes.ready(this)
  }

  /** Nothing of the actor is held for it any more. */
  end(): void {
    this.#history?.unwatch(this)
    this.#history = undefined
  }
}
