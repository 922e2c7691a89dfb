/**
 * What watchers of one activation are told: the values of the watched properties as bytes, encoded once for all of
 * them, and the changes of the last turns, so that one whose link broke can go on where it was.
 */
import { StageError } from '../../src/errors.js'
import type { Activation } from './activation.js'
import { NOTHING, type Image } from './image.js'
import { isPublic } from './members.js'

const CHANGES_MAX = 1024
const BYTES_MAX = 1024 * 1024

/** What travels: all of the watched properties, or those that changed. */
export interface Told {
  readonly seq: number
  readonly version: number
  readonly values: Image
  /** Everything, and not only what has changed since `seq - 1`. */
  readonly whole?: { readonly epoch: number; readonly activation: string; readonly kept: boolean } | undefined
}

interface Change {
  readonly seq: number
  readonly version: number
  readonly values: Image
  readonly bytes: number
}

/** Where a watcher was. */
export interface Seen {
  readonly activation: string
  readonly seq: number
}

export class History {
  /** Counts the turns that changed something watched. */
  seq = 0
  image: Image = NOTHING
  /** Of the actor, when the image was as it is. */
  #version: number
  readonly #watchers = new Set<Watcher>()
  #changes: Change[] = []
  /** When each of them changed last. */
  readonly #changedAt = new Map<string, number>()
  #bytes = 0

  constructor(private readonly activation: Activation) {
    this.#version = activation.keeping.version
  }

  get watched(): number {
    return this.#watchers.size
  }

  /** In one step of the actor's queue, so that nothing is missed between the first value and the next. @throws StageError NO_SUCH_PROPERTY · BAD_ARGUMENT */
  watch(names: readonly string[], mode: 'latest' | 'every', seen?: Seen): Watcher {
    const { activation } = this
    for (const name of names) if (!isPublic(name) || (!activation.hasProperty(name) && !activation.keeping.has(name))) activation.read(name)
    const more = names.filter((name) => !this.image.has(name))
    if (more.length > 0) this.image = new Map([...this.image, ...activation.keeping.shown(more, NOTHING)])
    const watcher: Watcher = new Watcher(this, names, mode, seen && seen.activation === activation.fence?.activation && more.length === 0 ? seen.seq : undefined, () => this.#watchers.delete(watcher))
    this.#watchers.add(watcher)
    return watcher
  }

  /** A turn has ended, and what it kept is committed. */
  publish(activation: Activation): void {
    this.#version = activation.keeping.version
    let next: Image
    try {
      next = activation.keeping.shown([...this.image.keys()], this.image)
    } catch {
      next = this.#shownOf(activation)
    }
    const values = new Map([...next].filter(([name, bytes]) => this.image.get(name) !== bytes))
    if (values.size === 0) return
    this.image = next
    const bytes = [...values.values()].reduce((sum, one) => sum + one.length, 64)
    for (const name of values.keys()) this.#changedAt.set(name, this.seq + 1)
    this.#changes.push({ seq: ++this.seq, version: this.#version, values, bytes })
    this.#bytes += bytes
    while (this.#changes.length > CHANGES_MAX || (this.#changes.length > 1 && this.#bytes > BYTES_MAX)) this.#bytes -= this.#changes.shift()!.bytes
    for (const watcher of [...this.#watchers]) watcher.wake()
  }

  /** One of them cannot be told: whoever watches it is told that, and nobody else. */
  #shownOf(activation: Activation): Image {
    let next: Image = NOTHING
    for (const name of this.image.keys()) {
      try {
        next = new Map([...next, ...activation.keeping.shown([name], this.image)])
      } catch (error) {
        for (const watcher of [...this.#watchers]) if (watcher.watches(name)) {
          this.#watchers.delete(watcher)
          watcher.fail(error as StageError)
        }
      }
    }
    return next
  }

  /** Everything of these properties. */
  whole(names: readonly string[]): Told {
    const { activation } = this
    const { epoch, activation: id } = activation.fence!
    return {
      seq: this.seq, version: this.#version, values: new Map(names.map((name) => [name, this.image.get(name)!])),
      whole: { epoch, activation: id, kept: names.every((name) => activation.keeping.has(name)) },
    }
  }

  /**
   * What comes behind `seq`: the next change of these properties, or all of them in one.
   * @returns undefined if nothing has changed; 'gone' if it is not remembered any more
   */
  after(seq: number, names: ReadonlySet<string>, merge: boolean): Told | 'gone' | undefined {
    if (seq > this.seq) return 'gone'
    // those of others may have been many: none of them matters here
    if (Math.max(...[...names].map((name) => this.#changedAt.get(name) ?? 0)) <= seq) return undefined
    if (seq < this.seq - this.#changes.length) return 'gone'
    const values = new Map<string, Buffer>()
    let last: Change | undefined
    for (const change of this.#changes.slice(this.#changes.length - (this.seq - seq))) {
      for (const [name, bytes] of change.values) {
        if (!names.has(name)) continue
        values.set(name, bytes)
        last = change
      }
      if (last && !merge) break
    }
    return last && { seq: merge ? this.seq : last.seq, version: last.version, values }
  }

  /** It is not here any more: watchers find it elsewhere. */
  end(error: StageError): void {
    for (const watcher of [...this.#watchers]) watcher.fail(error)
    this.#watchers.clear()
  }
}

/** One watcher: pulls what it has not seen, at its own pace. */
export class Watcher implements AsyncIterableIterator<Told> {
  readonly #names: ReadonlySet<string>
  #seq: number | undefined
  #waiting: { resolve(result: IteratorResult<Told, undefined>): void; reject(error: Error): void } | undefined
  #failed: StageError | undefined
  #over = false

  /** @param seq  what it has seen already; undefined: nothing */
  constructor(private readonly history: History, private readonly names: readonly string[], private readonly mode: 'latest' | 'every', seq: number | undefined, private readonly onend: () => void) {
    this.#names = new Set(names)
    this.#seq = seq
  }

  next(): Promise<IteratorResult<Told, undefined>> {
    if (this.#over) return Promise.resolve({ done: true, value: undefined })
    if (this.#failed) {
      this.#over = true
      return Promise.reject(this.#failed)
    }
    const told = this.#take()
    if (told) return Promise.resolve({ done: false, value: told })
    return new Promise((resolve, reject) => { this.#waiting = { resolve, reject } })
  }

  return(): Promise<IteratorResult<Told, undefined>> {
    this.#over = true
    this.onend()
    this.#waiting?.resolve({ done: true, value: undefined })
    return Promise.resolve({ done: true, value: undefined })
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return()
  }

  watches(name: string): boolean {
    return this.#names.has(name)
  }

  wake(): void {
    const waiting = this.#waiting
    const told = waiting && this.#take()
    if (!told) return
    this.#waiting = undefined
    waiting.resolve({ done: false, value: told })
  }

  fail(error: StageError): void {
    this.#failed = error
    if (!this.#waiting) return
    this.#over = true
    this.#waiting.reject(error)
    this.#waiting = undefined
  }

  #take(): Told | undefined {
    const told = this.#seq === undefined ? 'gone' : this.history.after(this.#seq, this.#names, this.mode === 'latest')
    if (!told) {
      this.#seq = this.history.seq
      return undefined
    }
    const found = told === 'gone' ? this.history.whole(this.names) : told
    this.#seq = found.seq
    return found
  }
}
