/**
 * The rules for listing entries, as functions over a small table: the memory and local registries run them here, Redis
 * runs the same rules as scripts. Each function is one atomic, idempotent step, as callers run it again after a lost reply.
 *
 * A namespace has a generation, which is a random string made by the first contact with an empty table; the time of that
 * contact (`born`); and a revision that every visible change raises. Each change sets a random `mark`, which tells apart
 * two histories that reached the same revision. Times are milliseconds of the registry's own clock.
 */
import { parseEntry } from '../../src/entry.js'
import { GRACE_MS } from '../../src/registry.js'

/** How far into the grace period a lapsed entry is swept; the rest is for notifying the watchers. */
export const SWEEP_MS = GRACE_MS * 0.75
/** After how many of its TTLs a noted entry is removed while other stages hold leases, which should have swept it. */
export const MOURN_TTLS = 4
/** How long a lapsed id is remembered; the contract promises a minute. */
export const LAPSED_MS = 120_000
/** How many entries one sweep removes, so that no step takes long. */
export const SWEEP_MAX = 100

/** How many changes the log of a namespace holds; a watch that is further behind reads the whole listing. */
export const LOG_MAX = 1000

/** A point in a namespace's history, as last seen by a lease or a watch. */
export interface Seen {
  readonly generation: string
  readonly revision: number
  readonly mark: string
}
/** The answer of every step: the present point in history, the registry's time, and the earliest end of a lease (or Infinity). */
export interface Reply extends Seen {
  readonly now: number
  readonly earliest: number
}
/** An entry on its way into a table. */
export interface Listed {
  readonly id: string
  readonly name: string
  readonly unique: boolean
  readonly ttlMs: number
  /** The entry as JSON. */
  readonly text: string
}
/** The stage that holds a name, for an error message; `freeInMs`: when the name is free if that stage crashed. */
export interface Holder {
  readonly id: string
  readonly addresses: readonly string[]
  readonly freeInMs: number
}
export type Granted = Reply & { readonly answer: 'ok' | 'lost', readonly holder?: undefined }
export type Published = Granted | { readonly holder: Holder }
export type Renewed = Reply & { readonly answer: 'ok' | 'late' | 'lost' }
export interface Snapshot extends Seen {
  /** [id, JSON] of every entry that has a lease. */
  readonly records: readonly (readonly [string, string])[]
  readonly lapsed: readonly string[]
}

/** The changes from one point in history to the present one. */
export interface Changes extends Seen {
  /** [id, JSON] of every entry that changed, without JSON if it is not listed any more. */
  readonly changed: readonly (readonly [string, string | undefined])[]
  /** The ids among them that lapsed. */
  readonly lapsed: readonly string[]
}

/** The rows of one namespace, all of them text: `peer` id → JSON, `lease` id → its end, `lapsed` id → when, `state` '' → JSON,
 * `missed` id → when a publish first noted that its lease had ended, and that end. */
export interface Table {
  get(kind: Kind, id: string): string | undefined
  put(kind: Kind, id: string, text: string): void
  remove(kind: Kind, id: string): void
  list(kind: Kind): Iterable<readonly [string, string]>
  /** Notes that the change which led to this state was about that id; '' if a new history begins. */
  log(id: string, state: Seen): void
  /** The end of the lease that a stage tried to get when it last showed a sign of life; 0 if that is not known apart. */
  alive?(id: string): number
}
export type Kind = 'state' | 'peer' | 'lease' | 'lapsed' | 'missed'

interface State extends Seen {
  readonly born: number
}

/** One step on a table, with the time at which the step runs and a fresh random string. */
export class Ledger {
  #state: State

  constructor(
    private readonly table: Table, private readonly namespace: string, private readonly now: number, private readonly fresh: string,
  ) {
    this.#state = this.#stored() ?? this.#begin(0)
  }

  /** Lists an entry for its TTL. An id that lapsed before is not listed again: its lease is lost from the start. */
  publish(entry: Listed): Published {
    this.#mourn()
    const holder = this.#holder(entry)
    if (holder) return { holder }
    if (this.table.get('lapsed', entry.id) !== undefined) return { ...this.#answer(), answer: 'lost' }
    this.#forget()
    this.#list(entry)
    return { ...this.#answer(), answer: 'ok' }
  }

  /**
   * @param seen  the point that the lease saw last: if its history is gone and the present history is younger than one
   *              TTL, the entry is listed again under its id; after that, every peer has dropped the entry
   */
  renew(entry: Listed, seen: Seen): Renewed {
    if (this.#rolledBack(seen)) this.#state = this.#begin(seen.revision)
    const end = this.table.get('lease', entry.id)
    const { generation, born } = this.#state
    const reborn = seen.generation !== generation && this.now - born <= entry.ttlMs && this.table.get('lapsed', entry.id) === undefined
    // after the history was reset, the first stage to renew keeps the name, if one of the two is unique
    if (end === undefined && (!reborn || this.#holder(entry))) return { ...this.#answer(), answer: 'lost' }
    this.#list(entry)
    return { ...this.#answer(), answer: end !== undefined && number(end) <= this.now ? 'late' : 'ok' }
  }

  /** Removes entries that lapsed long enough ago, but never the caller's own entry. */
  sweep(except: string): Reply {
    let left = SWEEP_MAX
    for (const [id, end] of [...this.table.list('lease')]) {
      if (id === except || !this.#ended(id, end) || left-- <= 0) continue
      this.#lapse(id)
    }
    this.#forget()
    return this.#answer()
  }

  /** Removes an entry at the request of its stage. */
  remove(id: string): Reply {
    if (this.table.get('lease', id) !== undefined) this.#drop(id)
    return this.#answer()
  }

  /** Whether the lease ended so long ago that its stage counts as dead. */
  #ended(id: string, end: string): boolean {
    return number(end) + SWEEP_MS <= this.now && this.#until(id, end) + SWEEP_MS <= this.now
  }

  /** When a lease that has ended ends with the signs of life of its stage, which count for a few of its TTLs. */
  #until(id: string, end: string): number {
    const alive = this.table.alive?.(id) ?? 0
    if (alive <= number(end)) return number(end)
    const { ttlMs = 0 } = parseEntry(this.table.get('peer', id), this.namespace) ?? {}
    return Math.min(alive, number(end) + MOURN_TTLS * ttlMs)
  }

  #list(entry: Listed): void {
    this.table.put('lease', entry.id, String(this.now + entry.ttlMs))
    if (this.table.get('peer', entry.id) === entry.text) return
    this.table.put('peer', entry.id, entry.text)
    this.#change(entry.id)
  }

  #lapse(id: string): void {
    this.#drop(id)
    this.table.put('lapsed', id, String(this.now))
  }

  #drop(id: string): void {
    this.table.remove('lease', id)
    this.table.remove('missed', id)
    this.table.remove('peer', id)
    this.#change(id)
  }

  #change(id: string): void {
    this.#save(id, { ...this.#state, revision: this.#state.revision + 1, mark: this.fresh })
  }

  /** Begins a new history, with a revision that starts at the time in milliseconds, above any revision of the history before. */
  #begin(beyond: number): State {
    return this.#save('', { generation: this.fresh, born: this.now, revision: Math.max(beyond + 1, Math.floor(this.now)), mark: this.fresh })
  }

  #save(id: string, state: State): State {
    this.table.put('state', '', JSON.stringify(state))
    this.table.log(id, state)
    return this.#state = state
  }

  #stored(): State | undefined {
    return parseState(this.table.get('state', ''))
  }

  #rolledBack(seen: Seen): boolean {
    const { generation, revision, mark } = this.#state
    return seen.generation === generation && (revision < seen.revision || (revision === seen.revision && mark !== seen.mark))
  }

  #holder(entry: Listed): Holder | undefined {
    const quoted = JSON.stringify(entry.name)
    for (const [id, text] of [...this.table.list('peer')]) {
      if (id === entry.id || !(text.includes(quoted) || text.includes('\\u'))) continue // skips most entries without decoding them
      const other = parseEntry(text, this.namespace)
      const end = this.table.get('lease', id)
      if (other?.id !== id || other.name !== entry.name || end === undefined || !(other.unique || entry.unique)) continue
      const missed = number(this.table.get('missed', id)?.split(' ')[0] ?? '')
      const freeAt = missed === 0 ? number(end) + GRACE_MS : missed + other.ttlMs
      return { id, addresses: other.addresses, freeInMs: freeAt - this.now }
    }
    return undefined
  }

  /**
   * On each publish, notes entries whose leases have ended, and removes entries that were noted one of their TTLs ago and
   * have not renewed since. Nobody else would remove them where stages are too short-lived to sweep, or are refused a name
   * that a dead stage holds. A live stage has renewed by then, even after the registry was unavailable.
   */
  #mourn(): void {
    let left = SWEEP_MAX
    // a stage that holds a lease sweeps, and knows whether the registry was available all the time; removal here is meant
    // for namespaces in which no stage lives that long
    const patience = [...this.table.list('lease')].some(([, end]) => number(end) > this.now) ? MOURN_TTLS : 1
    for (const [id, end] of [...this.table.list('lease')]) {
      if (!this.#ended(id, end) || left-- <= 0) continue
      const [since, of] = (this.table.get('missed', id) ?? '').split(' ')
      const ttlMs = parseEntry(this.table.get('peer', id), this.namespace)?.ttlMs ?? 0
      if (of !== end) this.table.put('missed', id, `${this.now} ${end}`)
      else if (this.now - number(since) >= ttlMs * patience) this.#lapse(id)
    }
  }

  #forget(): void {
    for (const [id, at] of [...this.table.list('lapsed')]) if (number(at) + LAPSED_MS <= this.now) this.table.remove('lapsed', id)
  }

  #answer(): Reply {
    let earliest = Infinity
    for (const [id, end] of this.table.list('lease')) {
      const until = number(end) > this.now ? number(end) : this.#until(id, end)
      if (until < earliest) earliest = until
    }
    const { generation, revision, mark } = this.#state
    return { generation, revision, mark, now: this.now, earliest }
  }
}

export const same = (a: Seen | undefined, b: Seen | undefined): boolean =>
  a?.generation === b?.generation && a?.revision === b?.revision && a?.mark === b?.mark

/** The listed entries, without changing anything; undefined if the table is empty. */
export function snapshot(table: Table): Snapshot | undefined {
  const state = parseState(table.get('state', ''))
  if (!state) return undefined
  const records: [string, string][] = []
  for (const [id] of table.list('lease')) {
    const text = table.get('peer', id)
    if (text !== undefined) records.push([id, text])
  }
  return { ...state, records, lapsed: [...table.list('lapsed')].map(([id]) => id) }
}

/** The present rows of entries that changed. */
export function changesOf(table: Table, state: Seen, ids: Iterable<string>): Changes {
  const all = [...new Set(ids)]
  const listed = (id: string): string | undefined => table.get('lease', id) === undefined ? undefined : table.get('peer', id)
  return { ...state, changed: all.map((id) => [id, listed(id)]), lapsed: all.filter((id) => table.get('lapsed', id) !== undefined) }
}

/** Decodes the `state` row; undefined if there is none or somebody wrote something else there. */
export function parseState(text: string | undefined): State | undefined {
  if (text === undefined) return undefined
  try {
    const { generation, born, revision, mark } = JSON.parse(text) as Partial<State>
    const whole = typeof generation === 'string' && typeof mark === 'string' && typeof born === 'number' && Number.isSafeInteger(revision)
    if (whole) return { generation, born, revision: revision!, mark }
  } catch {}
  return undefined
}

/** Decodes a stored time; anything but a number counts as long past, so that the entry is swept. */
const number = (text: string): number => {
  const value = Number(text)
  return Number.isFinite(value) ? value : 0
}
