/** The rows of a local registry in its database. */
import type { Database } from 'lmdb'
import { LOG_MAX, changesOf } from '../shared/ledger.js'
import type { Changes, Kind, Seen, Table } from '../shared/ledger.js'
import type { Alive } from './alive.js'

export type Key = [kind: string, namespace: string, id: string] | [kind: string, namespace: string, at: number, id: string]
export type Rows = Database<string, Key>
/** A pending write: resolves to whether its condition was met; `flushed` resolves when the data is on disk. */
export type Written = Promise<boolean> & { readonly flushed?: Promise<unknown> }

/** The rows of one namespace: reads go to the file, writes are buffered until `commit`. */
export class Rowset implements Table {
  readonly #version: number | undefined
  readonly #writes = new Map<string, { key: Key, text: string | undefined }>()

  constructor(private readonly rows: Rows, private readonly namespace: string, private readonly signs: Alive) {
    this.#version = rows.getEntry(this.#key('state', ''))?.version
  }

  get(kind: Kind, id: string): string | undefined {
    const written = this.#writes.get(`${kind} ${id}`)
    return written ? written.text : this.rows.get(this.#key(kind, id))
  }

  put(kind: Kind, id: string, text: string): void {
    this.#writes.set(`${kind} ${id}`, { key: this.#key(kind, id), text })
  }

  remove(kind: Kind, id: string): void {
    this.#writes.set(`${kind} ${id}`, { key: this.#key(kind, id), text: undefined })
  }

  * list(kind: Kind): Iterable<readonly [string, string]> {
    const written = new Map<string, string | undefined>()
    for (const { key, text } of this.#writes.values()) if (key[0] === kind) written.set(key[2] as string, text)
    for (const { key, value } of this.rows.getRange({ start: this.#key(kind, ''), end: this.#key(kind, '\uffff') })) {
      const id = key[2] as string
      if (!written.has(id)) yield [id, value]
    }
    for (const [id, text] of written) if (text !== undefined) yield [id, text]
  }

  log(id: string, { revision, mark }: Seen): void {
    const old = id === '' ? [...this.#log(0)].map(({ key }) => key) : [this.#logKey(revision - LOG_MAX)]
    for (const key of old) this.#writes.set(`log ${key[2]}`, { key, text: undefined })
    this.#writes.set(`log ${revision}`, { key: this.#logKey(revision), text: `${mark} ${id}` })
  }

  alive(id: string): number {
    return this.signs.until(id)
  }

  /** The changes since then; undefined if the log does not continue that point in history. */
  since(seen: Seen, state: Seen): Changes | undefined {
    const count = state.revision - seen.revision
    if (state.generation !== seen.generation || count < 1 || count > LOG_MAX) return undefined
    const [first, ...rest] = [...this.#log(seen.revision)].map(({ value }) => value.split(' '))
    if (first?.[0] !== seen.mark || rest.length !== count) return undefined
    return changesOf(this, state, rest.map(([, id = '']) => id))
  }

  #log(from: number): Iterable<{ key: Key, value: string }> {
    return this.rows.getRange({ start: this.#logKey(from), end: this.#logKey(Number.MAX_SAFE_INTEGER) })
  }

  #logKey(revision: number): Key {
    return ['log', this.namespace, revision, '']
  }

  /** Writes if the namespace is still as it was read, and resolves to whether it was. Undefined if there is nothing to write. */
  commit(now: number): Written | undefined {
    if (this.#writes.size === 0) return undefined
    const prolonged = this.#prolonged(now)
    if (prolonged) return prolonged
    const version = (this.#version ?? 0) + 1
    const state = this.#key('state', '')
    const text = this.get('state', '')! // the ledger has written a state in any case
    this.#writes.delete('state ')
    const write = () => {
      void this.rows.put(state, text, version) // the version counts every write of a step, including writes that no view shows
      for (const { key, text } of this.#writes.values()) void (text === undefined ? this.rows.remove(key) : this.rows.put(key, text, version))
    }
    return this.#version === undefined ? this.rows.ifNoExists(state, write) : this.rows.ifVersion(state, this.#version, write)
  }

  /**
   * A step that only prolongs a lease which has not ended depends on no other row, so that the heartbeats of many processes
   * do not undo each other's steps. Nobody sweeps the lease meanwhile: the stage has left a sign of life before.
   */
  #prolonged(now: number): Written | undefined {
    const [only, ...others] = this.#writes.values()
    if (!only || others.length > 0 || only.key[0] !== 'lease' || only.text === undefined) return undefined
    const { key, text } = only
    const before = this.rows.getEntry(key)
    if (before?.version === undefined || !(Number(before.value) > now) || this.alive(key[2] as string) <= now) return undefined
    const version = before.version + 1
    return this.rows.ifVersion(key, before.version, () => void this.rows.put(key, text, version))
  }

  #key(kind: string, id: string): Key {
    return [kind, this.namespace, id]
  }
}
