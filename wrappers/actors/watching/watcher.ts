/** One watch of one actor, between the actor's history and the stream that notifies the watching stage. */
import type { StageError } from '../../../src/errors.js'
import type { Snapshot } from '../state/snapshot.js'

/** The content of one notice: all watched properties, or the changed ones. */
export interface Told {
  readonly seq: number
  readonly version: number
  readonly values: Snapshot
  /** Set if the notice has all watched properties, and not only the changes after the last notice. */
  readonly whole?: { readonly epoch: number; readonly activation: string; readonly kept: boolean } | undefined
}

/** The view of the actor's history that a watcher needs. */
interface WatchedHistory {
  /** The `seq` of the newest change. */
  readonly seq: number
  hasNews(seq: number, names: readonly string[]): boolean
  after(seq: number, names: readonly string[], merge: boolean): Told | 'gone' | undefined
  whole(names: readonly string[]): Told
  rest(watcher: Watcher): void
  unwatch(watcher: Watcher): void
}

/** The view of the notifying stream that a watcher needs. */
interface Notifier {
  /** Whether the watcher waits for its turn in the stream. */
  awaits(watcher: Watcher): boolean
  /** Called when the watcher has news. */
  ready(watcher: Watcher): void
}

/** Remembers its last notice, and makes the next one from the history when the stream has room. */
export class Watcher {
  /** The error that ended the watch, sent as its last notice. */
  failed: StageError | undefined
  #history: WatchedHistory | undefined

  /** @param seq  `seq` of the last notice that the watching stage has; undefined: none */
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

  /** Called when there may be news. @param seen  the `seq` up to which a resting watcher was up to date */
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

  /** The next notice; the position advances only with `took()`. */
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

  /** Detaches the watcher from the history, so that nothing of the actor is held for it. */
  end(): void {
    this.#history?.unwatch(this)
    this.#history = undefined
  }
}
