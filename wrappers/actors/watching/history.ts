/**
 * The source of notices to the watchers of one activation: the values of the watched properties as bytes, encoded once for
 * all watchers, and the changes of the last turns, so that a watcher whose link broke can resume where it was.
 */
import { StageError, describe } from '../../../src/errors.js'
import type { Fence } from '../../../src/types.js'
import type { Changes } from './changes.js'
import { EMPTY, type Snapshot } from '../state/snapshot.js'
import { isPublic } from '../members.js'
import { Watcher, type Told } from './watcher.js'

const CHANGES_MAX = 1024
const BYTES_MAX = 1024 * 1024

interface Change {
  readonly seq: number
  readonly version: number
  readonly values: Snapshot
  readonly bytes: number
}

/** Position of a watcher: the activation, and its last change that the watcher has seen. */
export interface Cursor {
  readonly activation: string
  readonly seq: number
}

/** The request of a watch. */
export interface Watch {
  /** Number under which the watch is notified. */
  readonly number: number
  readonly names: readonly string[]
  readonly mode: 'latest' | 'every'
  /** Position up to which the watcher has seen the actor. */
  readonly seen?: Cursor | undefined
}

/** The view of the activation that its history needs. */
interface HistoryOwner {
  readonly fence: Fence | undefined
  readonly persistence: {
    readonly version: number
    has(name: string): boolean
    shown(names: readonly string[], before: Snapshot): Map<string, Buffer>
  }
  hasProperty(name: unknown): boolean
  /** @throws StageError NO_SUCH_PROPERTY */
  read(name: unknown): unknown
}

export class History {
  /** Number of turns so far that changed a watched property. */
  seq = 0
  snapshot = new Map<string, Buffer>()
  /** Version of the actor at the time of the snapshot. */
  #version: number
  readonly #watchers = new Set<Watcher>()
  /** Up-to-date watchers by watched property, so that a change wakes no others. */
  readonly #resting = new Map<string, Set<Watcher>>()
  #changes: Change[] = []
  /** The `seq` of the last change of each property. */
  readonly #changedAt = new Map<string, number>()
  #bytes = 0

  constructor(private readonly activation: HistoryOwner) {
    this.#version = activation.persistence.version
  }

  get watched(): number {
    return this.#watchers.size
  }

  /**
   * Adds a watch, within a turn of the actor, so that no change is missed between the first value and the next one.
   * @throws StageError NO_SUCH_PROPERTY · BAD_ARGUMENT · OVERLOADED · CANCELLED
   */
  watch({ number, names, mode, seen }: Watch, changes: Changes | undefined): void {
    const { activation } = this
    for (const name of names) {
      const isShown = isPublic(name) && (activation.hasProperty(name) || activation.persistence.has(name))
      if (!isShown) activation.read(name) // throws, and tells why
    }
    const more = names.filter((name) => !this.snapshot.has(name))
    const shown = more.length > 0 ? activation.persistence.shown(more, EMPTY) : EMPTY
    if (!changes) throw new StageError('CANCELLED', 'there is no stream of watch notices over this link')
    if (!Number.isSafeInteger(number)) throw new StageError('BAD_ARGUMENT', `the number of a watch is ${describe(number)}: expected an integer`)
    const known = seen && seen.activation === activation.fence?.activation && more.length === 0 ? seen.seq : undefined
    const watcher = new Watcher(number, names, mode === 'latest', changes, this, known)
    changes.add(watcher)
    for (const [name, bytes] of shown) this.snapshot.set(name, bytes)
    this.#watchers.add(watcher)
    watcher.wake()
  }

  /** Removes a watcher that has ended. */
  unwatch(watcher: Watcher): void {
    this.#watchers.delete(watcher)
    this.#stir(watcher)
  }

  /** Marks a watcher as up to date. */
  rest(watcher: Watcher): void {
    for (const name of watcher.names) {
      const resting = this.#resting.get(name)
      if (resting) resting.add(watcher)
      else this.#resting.set(name, new Set([watcher]))
    }
  }

  #stir(watcher: Watcher): void {
    for (const name of watcher.names) this.#resting.get(name)?.delete(watcher)
  }

  /** Publishes the changes of a turn, once they are committed. */
  publish(): void {
    const { activation } = this
    this.#version = activation.persistence.version
    let next: Map<string, Buffer>
    try {
      next = activation.persistence.shown([...this.snapshot.keys()], this.snapshot)
    } catch {
      next = this.#readable()
    }
    const values = new Map([...next].filter(([name, bytes]) => this.snapshot.get(name) !== bytes))
    if (values.size === 0) return
    this.snapshot = next
    const bytes = [...values.values()].reduce((sum, one) => sum + one.length, 64)
    for (const name of values.keys()) this.#changedAt.set(name, this.seq + 1)
    this.#changes.push({ seq: ++this.seq, version: this.#version, values, bytes })
    this.#bytes += bytes
    while (this.#changes.length > CHANGES_MAX || (this.#changes.length > 1 && this.#bytes > BYTES_MAX)) {
      this.#bytes -= this.#changes.shift()!.bytes
    }
    for (const name of values.keys()) {
      for (const watcher of this.#resting.get(name) ?? []) {
        this.#stir(watcher)
        watcher.wake(this.seq - 1)
      }
    }
  }

  /** A property cannot be encoded: fails only the watchers of that property, and keeps the others. */
  #readable(): Map<string, Buffer> {
    const next = new Map<string, Buffer>()
    for (const name of this.snapshot.keys()) {
      try {
        next.set(name, this.activation.persistence.shown([name], this.snapshot).get(name)!)
      } catch (error) {
        for (const watcher of [...this.#watchers]) if (watcher.names.includes(name)) watcher.fail(error as StageError)
      }
    }
    return next
  }

  /** A notice with the present values of all these properties. */
  whole(names: readonly string[]): Told {
    const { activation } = this
    const { epoch, activation: id } = activation.fence!
    return {
      seq: this.seq, version: this.#version, values: new Map(names.map((name) => [name, this.snapshot.get(name)!])),
      whole: { epoch, activation: id, kept: names.every((name) => activation.persistence.has(name)) },
    }
  }

  /**
   * The changes of these properties after `seq`: the next one, or with `merge` all in one.
   * @returns undefined if nothing has changed; 'gone' if the changes after `seq` are no longer remembered
   */
  after(seq: number, names: readonly string[], merge: boolean): Told | 'gone' | undefined {
    if (seq > this.seq) return 'gone'
    if (!this.hasNews(seq, names)) return undefined // even if `seq` is old, because many other properties may have changed
    if (seq < this.seq - this.#changes.length) return 'gone'
    const values = new Map<string, Buffer>()
    let last: Change | undefined
    for (const change of this.#changes.slice(this.#changes.length - (this.seq - seq))) {
      for (const [name, bytes] of change.values) {
        if (!names.includes(name)) continue
        values.set(name, bytes)
        last = change
      }
      if (last && !merge) break
    }
    return last && { seq: merge ? this.seq : last.seq, version: last.version, values }
  }

  /** Whether any of these properties has changed after `seq`. */
  hasNews(seq: number, names: readonly string[]): boolean {
    if (seq > this.seq) return true
    for (const name of names) if ((this.#changedAt.get(name) ?? 0) > seq) return true
    return false
  }

  /** Ends all watches, because the actor is no longer here; watchers look for it elsewhere. */
  end(error: StageError): void {
    for (const watcher of [...this.#watchers]) watcher.fail(error)
  }
}
