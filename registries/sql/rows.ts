import type { Kind, Seen, Table } from '../shared/ledger.js'

/** One row that a step has changed; undefined: there is none. */
export interface Change {
  readonly id: string
  readonly before: string | undefined
  readonly after: string | undefined
}

/**
 * The part of a namespace's rows that one step needs, in memory. Loaded are the rows of the caller, of its name and of
 * ended leases, and the earliest and the latest other leases, which no step changes.
 */
export class Rows implements Table {
  /** The changes for the log, in order. */
  readonly logged: { readonly id: string, readonly state: Seen }[] = []
  readonly #before = maps()
  readonly #now = maps()

  load(kind: Kind, id: string, text: string): void {
    this.#before[kind].set(id, text)
    this.#now[kind].set(id, text)
  }

  get(kind: Kind, id: string): string | undefined {
    return this.#now[kind].get(id)
  }

  put(kind: Kind, id: string, text: string): void {
    this.#now[kind].set(id, text)
  }

  remove(kind: Kind, id: string): void {
    this.#now[kind].delete(id)
  }

  list(kind: Kind): Iterable<readonly [string, string]> {
    return this.#now[kind]
  }

  log(id: string, state: Seen): void {
    this.logged.push({ id, state })
  }

  before(kind: Kind, id: string): string | undefined {
    return this.#before[kind].get(id)
  }

  /** The rows that are no longer as they were loaded. */
  changed(kind: Kind): Change[] {
    const [before, now] = [this.#before[kind], this.#now[kind]]
    return [...new Set([...before.keys(), ...now.keys()])].flatMap((id) => {
      const change = { id, before: before.get(id), after: now.get(id) }
      return change.before === change.after ? [] : [change]
    })
  }
}

const maps = (): Record<Kind, Map<string, string>> => (
  { state: new Map(), peer: new Map(), lease: new Map(), lapsed: new Map(), missed: new Map() }
)
