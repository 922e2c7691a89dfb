/** A database of SQLite in one file: opened by the module of this Node or by the package better-sqlite3. */
import { realpathSync, statSync, type Stats } from 'node:fs'
import { StageError } from '../../src/errors.js'
import { loadBetterSqlite, type SqliteHandle, type SqliteStatement } from './driver.js'

/** Before this version, SQLite can lose commits when several processes write (its "WAL-reset bug"). */
const VERSION_MIN = '3.51.3'

const rank = (version: string): number => version.split('.').reduce((sum, part) => sum * 1000 + Number(part), 0)
const isSafe = (version: string): boolean => rank(version) >= rank(VERSION_MIN)

/** The database that Kysely uses: opened on first use, and again when its file was replaced. */
export class SqliteFile {
  /** `real`: the path without links, beside which the write-ahead log is; `log`: its mark, once it is there. */
  #opened: { readonly handle: SqliteHandle, readonly mark: string, readonly real: string, log: string } | undefined
  #inTransaction = false
  #closed = false

  /** @param durable  whether each commit is awaited until it is on the disk */
  constructor(
    private readonly path: string, private readonly durable: boolean, private readonly open: (path: string) => SqliteHandle,
  ) {}

  prepare(text: string): SqliteStatement {
    const statement = this.#handle().prepare(text)
    if (text.startsWith('begin')) this.#inTransaction = true
    if (/^(commit|rollback)/.test(text)) this.#inTransaction = false
    return statement
  }

  close(): void {
    this.#closed = true
    this.#leave()
  }

  #handle(): SqliteHandle {
    if (this.#closed) throw new Error('the database was closed')
    const opened = this.#opened
    // somebody may have deleted the file, and others may use a new one: what is written to the old one reaches nobody
    if (opened && !this.#inTransaction && markOf(this.path) !== opened.mark) {
      // a log that is left from the old file would be applied to the new one
      const isLeft = opened.log !== '' && markOf(`${opened.real}-wal`) === opened.log
      if (isLeft && statOf(this.path)?.size && realpathSync(this.path) === opened.real) throw new Error('its file was replaced without its log')
      this.#leave()
    }
    if (this.#opened) {
      this.#opened.log ||= markOf(`${this.#opened.real}-wal`)
      return this.#opened.handle
    }
    const handle = this.open(this.path)
    try {
      const [mode] = handle.prepare('pragma journal_mode = wal').all([]) as { readonly journal_mode: unknown }[]
      if (mode?.journal_mode !== 'wal') throw new Error('its file system does not support the write-ahead log')
      handle.prepare(`pragma synchronous = ${this.durable ? 'full' : 'normal'}`).run([])
      this.#opened = { handle, mark: markOf(this.path), real: realpathSync(this.path), log: '' }
      return handle
    } catch (error) {
      handle.close()
      throw error
    }
  }

  #leave(): void {
    this.#opened?.handle.close()
    this.#opened = undefined
  }
}

const statOf = (path: string): Stats | undefined => statSync(path, { throwIfNoEntry: false })

/** Tells one file from another that has taken its path. */
function markOf(path: string): string {
  const found = statOf(path)
  return found ? `${found.dev} ${found.ino}` : ''
}

/**
 * The module of this Node if its SQLite is new enough, else the package better-sqlite3.
 * @throws StageError REGISTRY_UNAVAILABLE if there is neither
 */
export async function sqliteDriver(address: string): Promise<(path: string) => SqliteHandle> {
  const builtin = isSafe(process.versions['sqlite'] ?? '0') ? process.getBuiltinModule?.('node:sqlite') as Builtin | undefined : undefined
  if (builtin) return (path) => new BuiltinHandle(new builtin.DatabaseSync(path))
  const { Database, version } = await loadBetterSqlite(address)
  checkVersion(address, version)
  return (path) => new Database(path, { timeout: 0 })
}

/** @throws StageError REGISTRY_UNAVAILABLE if that version of SQLite is too old */
export function checkVersion(address: string, version: string): void {
  if (isSafe(version)) return
  const why = `its SQLite is ${version}, and before ${VERSION_MIN} it can lose commits when several processes write`
  throw new StageError('REGISTRY_UNAVAILABLE', `the registry ${address} is not available: ${why}: npm install better-sqlite3@latest`)
}

/** The parts of `node:sqlite` that are used. Its types are not those of Node 20, which has no such module. */
interface Builtin {
  readonly DatabaseSync: new (path: string) => BuiltinDatabase
}
interface BuiltinDatabase {
  prepare(text: string): BuiltinStatement
  close(): void
}
interface BuiltinStatement {
  columns(): readonly unknown[]
  all(...parameters: readonly unknown[]): unknown[]
  run(...parameters: readonly unknown[]): { changes: number | bigint, lastInsertRowid: number | bigint }
  iterate(...parameters: readonly unknown[]): IterableIterator<unknown>
}

/** Gives statements the form that Kysely expects. */
class BuiltinHandle implements SqliteHandle {
  constructor(private readonly database: BuiltinDatabase) {}

  prepare(text: string): SqliteStatement {
    const statement = this.database.prepare(text)
    return {
      reader: statement.columns().length > 0,
      all: (parameters) => statement.all(...parameters),
      run: (parameters) => statement.run(...parameters),
      iterate: (parameters) => statement.iterate(...parameters),
    }
  }

  close(): void {
    this.database.close()
  }
}
