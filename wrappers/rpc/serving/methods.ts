import { StageError, describe } from '../../../src/errors.js'
import { isIdentifier } from '../../../src/pattern.js'
import { METHODS, REFS_MAX } from '../wire/messages.js'
import type { Wire } from '../wire/wire.js'

/** Changes by one METHODS message to the methods that a peer shows. */
export interface ShownNews {
  /** All methods that the peer shows over this link: the same set each time. */
  readonly all: ReadonlySet<string>
  readonly gained: ReadonlySet<string>
  readonly lost: readonly string[]
  /** No METHODS message came before over this link. */
  readonly first: boolean
}

/** The methods that the two ends of a link show to each other. */
export class Methods {
  #theirs: Set<string> | undefined
  /** Methods that the peer announces as idempotent. */
  readonly #idempotent = new Set<string>()
  #ours: ReadonlyMap<string, boolean> = new Map()
  #first = true
  #announcing = false
  #closed = false
  #waiting: (() => void)[] = []

  /**
   * @param visible  the names that the peer can call now, and whether each is idempotent
   * @param open     whether there may be more names in a moment: the first list then waits for the next `announce`
   */
  constructor(
    private readonly wire: Wire,
    private readonly visible: () => ReadonlyMap<string, boolean>,
    private readonly open: () => boolean,
  ) {}

  /** The methods that the peer shows to us; undefined before its first message. */
  get theirs(): ReadonlySet<string> | undefined {
    return this.#theirs
  }

  /** Whether the peer says that calls of the method may be retried, which counts only for calls sent to this peer: see `protocol.md`. */
  idempotent(method: string): boolean {
    return this.#idempotent.has(method)
  }

  /** Tells the peer which methods it can call from now on; once per tick. */
  announce(): void {
    if (this.#announcing || this.#closed) return
    this.#announcing = true
    process.nextTick(() => {
      this.#announcing = false
      if (this.#first && !this.#closed && this.open()) return
      const before = this.#ours
      const now = this.#ours = this.visible()
      const added = [...now.keys()].filter((name) => before.get(name) !== now.get(name)) // or only its idempotence has changed
      const removed = [...before.keys()].filter((name) => !now.has(name))
      const idempotent = added.filter((name) => now.get(name))
      if (this.#first || added.length > 0 || removed.length > 0) {
        this.wire.value(METHODS, 0, idempotent.length > 0 ? { added, removed, idempotent } : { added, removed }, true)
      }
      this.#first = false
    })
  }

  /** The cost depends on the names in the message, not on how many the peer shows in all. @throws StageError PROTOCOL_ERROR */
  onmethods(value: unknown): ShownNews {
    const { added, removed, idempotent = [] } = (value ?? {}) as { added?: unknown; removed?: unknown; idempotent?: unknown }
    if (!isNames(added) || !isNames(removed) || !isNames(idempotent)) {
      throw new StageError('PROTOCOL_ERROR', `a malformed list of methods: ${describe(value)}`)
    }
    const first = this.#theirs === undefined
    const all = this.#theirs ??= new Set()
    const gained = new Set<string>()
    const lost: string[] = []
    const repeatable = new Set(idempotent)
    for (const name of added) {
      if (!isIdentifier(name)) continue // no other name can be called
      if (repeatable.has(name)) this.#idempotent.add(name)
      else this.#idempotent.delete(name)
      if (all.has(name)) continue
      all.add(name)
      gained.add(name)
    }
    for (const name of removed) {
      this.#idempotent.delete(name)
      if (all.delete(name) && !gained.delete(name)) lost.push(name)
    }
    if (all.size > REFS_MAX) throw new StageError('PROTOCOL_ERROR', `more than ${REFS_MAX} methods`)
    this.#tell()
    return { all, gained, lost, first }
  }

  /** Calls `done` once the methods of the peer are known, or the link is gone. */
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

const isNames = (value: unknown): value is string[] =>
  Array.isArray(value) && value.every((name) => typeof name === 'string' && name.length <= 128)
