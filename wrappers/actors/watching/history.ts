/**
 * What watchers of one activation are told: the values of the watched properties as bytes, encoded once for all of
 * them, and the changes of the last turns, so that one whose link broke can go on where it was.
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

/** Where a watcher was. */
export interface Cursor {
  readonly activation: string
  readonly seq: number
}

/** What a watch asks for. */
export interface Watch {
  /** Under which it is notified. */
  readonly number: number
  readonly names: readonly string[]
  readonly mode: 'latest' | 'every'
  /** What the watcher has seen of the actor already. */
  readonly seen?: Cursor | undefined
}

/** What a history asks of its activation. */
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
  /** Counts the turns that changed something watched. */
  seq = 0
  snapshot = new Map<string, Buffer>()
  /** Of the actor, when the snapshot was as it is. */
  #version: number
  readonly #watchers = new Set<Watcher>()
  /** Those that are up to date, by each of their names: a change wakes nobody else. */
  readonly #resting = new Map<string, Set<Watcher>>()
  #changes: Change[] = []
  /** When each of them changed last. */
  readonly #changedAt = new Map<string, number>()
  #bytes = 0

  constructor(private readonly activation: HistoryOwner) {
    this.#version = activation.persistence.version
  }

  get watched(): number {
    return this.#watchers.size
  }

  /** In one step of the actor's queue, so that nothing is missed between the first value and the next. @throws StageError NO_SUCH_PROPERTY · BAD_ARGUMENT · OVERLOADED · CANCELLED */
  watch({ number, names, mode, seen }: Watch, changes: Changes | undefined): void {
    const { activation } = this
    for (const name of names) {
      const isShown = isPublic(name) && (activation.hasProperty(name) || activation.persistence.has(name))
      if (!isShown) activation.read(name) // which throws, and says why
    }
    const more = names.filter((name) => !this.snapshot.has(name))
    const shown = more.length > 0 ? activation.persistence.shown(more, EMPTY) : EMPTY
    if (!changes) throw new StageError('CANCELLED', 'there is no stream of what is watched over this link')
    if (!Number.isSafeInteger(number)) throw new StageError('BAD_ARGUMENT', `a watch with ${describe(number)} for a number`)
    const known = seen && seen.activation === activation.fence?.activation && more.length === 0 ? seen.seq : undefined
    const watcher = new Watcher(number, names, mode === 'latest', changes, this, known)
    changes.add(watcher)
    for (const [name, bytes] of shown) this.snapshot.set(name, bytes)
    this.#watchers.add(watcher)
    watcher.wake()
  }

  /** It is over. */
  unwatch(watcher: Watcher): void {
    this.#watchers.delete(watcher)
    this.#stir(watcher)
  }

  /** It is up to date. */
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

  /** A turn has ended, and what it kept is committed. */
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

  /** One of them cannot be told: whoever watches it is told that, and nobody else. */
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

  /** Everything of these properties. */
  whole(names: readonly string[]): Told {
    const { activation } = this
    const { epoch, activation: id } = activation.fence!
    return {
      seq: this.seq, version: this.#version, values: new Map(names.map((name) => [name, this.snapshot.get(name)!])),
      whole: { epoch, activation: id, kept: names.every((name) => activation.persistence.has(name)) },
    }
  }

  /**
   * What comes behind `seq`: the next change of these properties, or all of them in one.
   * @returns undefined if nothing has changed; 'gone' if it is not remembered any more
   */
  after(seq: number, names: readonly string[], merge: boolean): Told | 'gone' | undefined {
    if (seq > this.seq) return 'gone'
    if (!this.hasNews(seq, names)) return undefined // the changes of other properties may have been many
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

  /** Whether any of these properties has changed behind `seq`. */
  hasNews(seq: number, names: readonly string[]): boolean {
    if (seq > this.seq) return true
    for (const name of names) if ((this.#changedAt.get(name) ?? 0) > seq) return true
    return false
  }

  /** It is not here any more: watchers find it elsewhere. */
  end(error: StageError): void {
    for (const watcher of [...this.#watchers]) watcher.fail(error)
  }
}
