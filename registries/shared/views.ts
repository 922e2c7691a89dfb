import { onAbort } from '../../src/abort.js'
import { checkedEntries, readEntry } from '../../src/entry.js'
import type { Seen } from './ledger.js'
import type { Entry, View } from '../../src/types.js'

/** A stored record: the entry, or the text that is no valid entry. */
type Record = Entry | string

/** How many ids the list of the last changes holds at least. A watch that is further behind gets a complete view. */
const RECENT_MIN = 1000
/**
 * The least time between two reads of changes under churn: a millisecond for each entry, in these bounds. So up to 2 500
 * stages together read about a thousand times a second at most; beyond, each does so every 2.5 s.
 */
const PAUSE_MIN_MS = 50
const PAUSE_MAX_MS = 2500
/** How many lapsed ids are remembered when only changes are read. */
const LAPSED_MAX = 10_000

/**
 * The present records of one namespace, and its watchers. Each watcher gets a complete view, then the changes since its last
 * view. Several changes are one view for a watcher that is slow.
 */
export class Views {
  #records = new Map<string, Record>()
  #lapsed = new Set<string>()
  #generation: string | undefined
  /** Grows with every change; 0 before the records were read. */
  #version = 0
  /** The ids that changed, oldest first, with the version that each change led to. */
  #recent: { readonly version: number, readonly ids: readonly string[] }[] = []
  #recentIds = 0
  /** A watch that has seen this version or a later one can be brought up to date by `#recent`. */
  #since = 0
  #ended: { error?: unknown } | undefined
  readonly #waiting = new Set<() => void>()
  #looking: Promise<void> = Promise.resolve()
  watchers = 0

  /**
   * @param address  of the registry, for the log
   * @param read     reads the present records, and calls `replace` or `change` if they differ from the last ones; without
   *                 `read` the records are always the present ones
   */
  constructor(private readonly namespace: string, private readonly address: string, private readonly read?: () => Promise<void>) {}

  /** How many records there are. */
  get size(): number {
    return this.#records.size
  }

  /** How long a registry over a network waits after a read before the next one, in milliseconds. */
  get pauseMs(): number {
    return Math.min(Math.max(this.size, PAUSE_MIN_MS), PAUSE_MAX_MS)
  }

  /** Reads again, after any read in progress, so that the result is newer than this call. */
  look(): Promise<void> {
    const looking = this.#looking.then(async () => { if (!this.#ended) await this.read?.() })
    this.#looking = looking.catch(() => {})
    return looking
  }

  /** Resolves when no read is in progress any more. */
  settled(): Promise<void> {
    return this.#looking
  }

  /** The complete listing was read. @param records  [id, JSON] of each present record */
  replace(generation: string, records: Iterable<readonly [string, string]>, lapsed: Iterable<string>): void {
    const before = this.#records
    const changed: string[] = []
    this.#records = new Map()
    for (const [id, text] of records) {
      const known = before.get(id)
      const record = this.#decoded(id, text, known)
      this.#records.set(isEntry(record) ? record.id : id, record)
      if (record !== known) changed.push(id)
    }
    for (const id of before.keys()) if (!this.#records.has(id)) changed.push(id)
    this.#lapsed = new Set(lapsed)
    this.#changed(generation, changed)
  }

  /**
   * Changes of the same generation were read.
   * @param records  [id, JSON] of each record that changed, without JSON if it was removed
   * @param lapsed   the ids among them that were removed because their leases had expired
   */
  change(records: Iterable<readonly [string, string | undefined]>, lapsed: Iterable<string>): void {
    const changed: string[] = []
    for (const id of lapsed) this.#lapsed.add(id)
    while (this.#lapsed.size > LAPSED_MAX) this.#lapsed.delete(this.#lapsed.values().next().value!)
    for (const [id, text] of records) {
      if (text === undefined) this.#records.delete(id)
      else this.#records.set(id, this.#decoded(id, text, this.#records.get(id)))
      changed.push(id)
    }
    this.#changed(this.#generation, changed)
  }

  /** Makes every watch throw `error`, or end quietly without an error. Later changes reach nobody. */
  end(error?: unknown): void {
    this.#ended ??= error === undefined ? {} : { error }
    this.#wake()
  }

  get ended(): boolean {
    return this.#ended !== undefined
  }

  async* watch(signal: AbortSignal): AsyncGenerator<View, void, undefined> {
    let seen = 0
    if (this.watchers > 1) await this.look() // the present records were read for earlier watchers
    while (!signal.aborted) {
      if (this.#ended) {
        if ('error' in this.#ended) throw this.#ended.error
        return
      }
      if (seen !== this.#version) {
        const view = this.#view(seen)
        seen = this.#version
        yield view
      } else await this.#change(signal)
    }
  }

  /** @param known  the record so far: it is kept if it has not changed, so that readers need not compare it */
  #decoded(id: string, text: string, known: Record | undefined): Record {
    if (known === text) return text
    const entry = readEntry(id, text, this.namespace, this.address) ?? text
    return isEntry(known) && JSON.stringify(known) === JSON.stringify(entry) ? known : entry
  }

  #changed(generation: string | undefined, ids: readonly string[]): void {
    this.#version++
    if (generation !== this.#generation) {
      this.#generation = generation
      this.#forget(this.#version)
    } else {
      this.#recent.push({ version: this.#version, ids })
      this.#recentIds += ids.length
      // to be brought up to date by more changes than there are records would cost more than a complete view
      while (this.#recentIds > Math.max(RECENT_MIN, this.#records.size)) this.#forget(this.#recent[0].version)
    }
    this.#wake()
  }

  /** Forgets the changes up to that version. */
  #forget(version: number): void {
    while (this.#recent.length > 0 && this.#recent[0].version <= version) this.#recentIds -= this.#recent.shift()!.ids.length
    this.#since = version
  }

  /** The view for a watch that has seen that version. */
  #view(seen: number): View {
    const generation = this.#generation ?? ''
    if (seen === 0 || seen < this.#since) {
      return { generation, entries: entriesOf(this.#records.values()), lapsed: [...this.#lapsed] }
    }
    let from = this.#recent.length
    while (from > 0 && this.#recent[from - 1].version > seen) from--
    const changed = new Set(this.#recent.slice(from).flatMap(({ ids }) => ids))
    const records = [...changed].map((id) => this.#records.get(id))
    // a record that is not a valid entry any more is removed for its readers
    const removed = [...changed].filter((_, i) => !isEntry(records[i]))
    return { generation, entries: entriesOf(records), removed, lapsed: removed.filter((id) => this.#lapsed.has(id)) }
  }

  #change(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        this.#waiting.delete(done)
        release()
        resolve()
      }
      const release = onAbort(signal, done)
      this.#waiting.add(done)
    })
  }

  #wake(): void {
    for (const wake of [...this.#waiting]) wake()
  }
}

const isEntry = (record: Record | undefined): record is Entry => typeof record === 'object'

const entriesOf = (records: Iterable<Record | undefined>): readonly Entry[] => checkedEntries([...records].filter(isEntry))

/** Detects that a registry's history was reset, and gives all later views a new generation. */
export class Witness {
  #seen: Seen | undefined
  #breaks = 0

  get seen(): Seen | undefined {
    return this.#seen
  }

  /**
   * @param continuous  false if the registry does not (or no longer) know the state seen last
   * @returns           the `View.generation` of this state
   */
  see(state: Seen, continuous = true): string {
    const before = this.#seen
    const sameGeneration = before?.generation === state.generation
    const back = before !== undefined && sameGeneration &&
      (!continuous || state.revision < before.revision || (state.revision === before.revision && state.mark !== before.mark))
    if (back) this.#breaks++
    this.#seen = { generation: state.generation, revision: state.revision, mark: state.mark }
    return this.#breaks > 0 ? `${state.generation}+${this.#breaks}` : state.generation
  }
}
