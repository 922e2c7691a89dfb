import { StageError, describe } from '../../src/errors.js'
import { isIdentifier } from '../../src/pattern.js'
import { METHODS, REFS_MAX } from './messages.js'
import type { Wire } from './wire.js'

const nothing: ReadonlySet<string> = new Set()

/** What the two ends of a link show to each other. */
export class Methods {
  /** What the peer shows to us; undefined until it has said so. */
  theirs: ReadonlySet<string> | undefined
  #ours = nothing
  #first = true
  #announcing = false
  #closed = false
  #waiting: (() => void)[] = []

  /**
   * @param visible  the names that the peer can call now
   * @param open     it may be more in a moment, and then `announce` is called again: the first list waits for that
   */
  constructor(private readonly wire: Wire, private readonly visible: () => Set<string>, private readonly open: () => boolean) {}

  /** Tells the peer what it can call from now on; once per tick. */
  announce(): void {
    if (this.#announcing || this.#closed) return
    this.#announcing = true
    process.nextTick(() => {
      this.#announcing = false
      if (this.#first && !this.#closed && this.open()) return
      const before = this.#ours
      const now = this.#ours = this.visible()
      const added = [...now].filter((name) => !before.has(name))
      const removed = [...before].filter((name) => !now.has(name))
      if (this.#first || added.length > 0 || removed.length > 0) this.wire.value(METHODS, 0, { added, removed }, true)
      this.#first = false
    })
  }

  /** @returns all that the peer shows now @throws StageError PROTOCOL_ERROR */
  onmethods(value: unknown): ReadonlySet<string> {
    const { added, removed } = (value ?? {}) as { added?: unknown; removed?: unknown }
    if (!isNames(added) || !isNames(removed)) throw new StageError('PROTOCOL_ERROR', `a malformed list of methods: ${describe(value)}`)
    const now = new Set(this.theirs)
    for (const name of added) if (isIdentifier(name)) now.add(name) // nobody can call another
    for (const name of removed) now.delete(name)
    if (now.size > REFS_MAX) throw new StageError('PROTOCOL_ERROR', `more than ${REFS_MAX} methods`)
    this.theirs = now
    this.#tell()
    return now
  }

  /** Calls `done` once the peer has said what it shows, or the link is gone. */
  whenKnown(done: () => void): void {
    if (this.theirs || this.#closed) done()
    else this.#waiting.push(done)
  }

  close(): void {
    this.#closed = true
    this.#tell()
  }

  #tell(): void {
    for (const done of this.#waiting.splice(0)) done()
  }
}

const isNames = (value: unknown): value is string[] => Array.isArray(value) && value.every((name) => typeof name === 'string' && name.length <= 128)
