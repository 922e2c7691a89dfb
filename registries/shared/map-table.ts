/** The rows of one namespace in this process's memory, and the views of its watchers. */
import { changesOf, parseState, same, snapshot } from './ledger.js'
import type { Kind, Seen, Table } from './ledger.js'
import { Views } from './views.js'

/** A table in memory, which notes the ids that changed. */
class MapTable implements Table {
  readonly #rows: Record<Kind, Map<string, string>> = { state: new Map(), peer: new Map(), lease: new Map(), lapsed: new Map(), missed: new Map() }
  #changed: string[] = []

  get(kind: Kind, id: string): string | undefined {
    return this.#rows[kind].get(id)
  }

  put(kind: Kind, id: string, text: string): void {
    this.#rows[kind].set(id, text)
  }

  remove(kind: Kind, id: string): void {
    this.#rows[kind].delete(id)
  }

  list(kind: Kind): Iterable<readonly [string, string]> {
    return this.#rows[kind]
  }

  log(id: string): void {
    this.#changed.push(id)
  }

  /** The ids that changed since the last call. */
  takeChanged(): string[] {
    const changed = this.#changed
    this.#changed = []
    return changed
  }

  clear(): void {
    for (const rows of Object.values(this.#rows)) rows.clear()
  }
}

/** A namespace that is kept in memory: after each step, `changed()` shows the watchers what is different. */
export class Space {
  readonly table = new MapTable()
  views: Views
  #shown: Seen | undefined

  /** @param address  of the registry, for the log */
  constructor(private readonly namespace: string, private readonly address: string) {
    this.views = new Views(namespace, address)
  }

  /** Shows the watchers the changes of the last step, if there are any that they can see. */
  changed(): void {
    const ids = this.table.takeChanged()
    const state = parseState(this.table.get('state', ''))
    if (!state || same(state, this.#shown)) return
    if (state.generation !== this.#shown?.generation) return this.show()
    this.#shown = state
    const { changed, lapsed } = changesOf(this.table, state, ids)
    this.views.change(changed, lapsed)
  }

  /** Shows the watchers all rows, whoever wrote them. */
  show(): void {
    const now = snapshot(this.table)
    if (!now) return
    this.#shown = now
    this.views.replace(now.generation, now.records, now.lapsed)
  }

  /** Makes every open watch throw; later watches start afresh. */
  end(error: unknown): void {
    this.views.end(error)
    this.views = new Views(this.namespace, this.address)
    this.show()
  }
}
