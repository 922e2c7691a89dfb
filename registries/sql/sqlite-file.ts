/** A database of SQLite in one file: opened by the module of this Node or by the package better-sqlite3. */
import { statSync } from 'node:fs'
import { StageError, asError } from '../../src/errors.js'
import { loadBetterSqlite, type SqliteHandle, type SqliteStatement } from './driver.js'

/** Before this version, SQLite can lose commits when several processes write (its "WAL-reset bug"). */
const VERSION_MIN = '3.51.3'

const rank = (version: string): number => version.split('.').reduce((sum, part) => sum * 1000 + Number(part), 0)
const isSafe = (version: string): boolean => rank(version) >= rank(VERSION_MIN)

/** The database that Kysely uses: opened on first use, and again when its file was replaced. */
export class SqliteFile {
  #opened: { readonly handle: SqliteHandle, readonly mark: string } | undefined
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
    // somebody may have deleted the file, and others may use a new one: what is written to the old one reaches nobody
    if (this.#opened && !this.#inTransaction && markOf(this.path) !== this.#opened.mark) this.#leave()
    if (this.#opened) return this.#opened.handle
    const handle = this.open(this.path)
    try {
      const [mode] = handle.prepare('pragma journal_mode = wal').all([]) as { readonly journal_mode: unknown }[]
      if (mode?.journal_mode !== 'wal') throw new Error('its file system does not support the write-ahead log')
      handle.prepare(`pragma synchronous = ${this.durable ? 'full' : 'normal'}`).run([])
      this.#opened = { handle, mark: markOf(this.path) }
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

/** Tells one file from another that has taken its path. */
function markOf(path: string): string {
  const found = statSync(path, { throwIfNoEntry: false })
  return found ? `${found.dev} ${found.ino}` : ''
}

/**
 * The module of this Node if its SQLite is new enough, else the package better-sqlite3.
 * @throws StageError REGISTRY_UNAVAILABLE if there is neither
 */
export async function sqliteDriver(address: string): Promise<(path: string) => SqliteHandle> {
  const builtin = isSafe(process.versions['sqlite'] ?? '0') ? process.getBuiltinModule?.('node:sqlite') as Builtin | undefined : undefined
  if (builtin) return (path) => new BuiltinHandle(named(() => new builtin.DatabaseSync(path)))
  const Database = await loadBetterSqlite(address)
  const memory = new Database(':memory:', { timeout: 0 })
  const [row] = memory.prepare('select sqlite_version() as version').all([]) as { readonly version: string }[]
  memory.close()
  const version = row?.version ?? '0'
  if (isSafe(version)) return (path) => new Database(path, { timeout: 0 })
  const why = `the SQLite of better-sqlite3 is ${version}, and before ${VERSION_MIN} it can lose commits when several processes write`
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
    const statement = named(() => this.database.prepare(text))
    return {
      reader: statement.columns().length > 0,
      all: (parameters) => named(() => statement.all(...parameters)),
      run: (parameters) => named(() => statement.run(...parameters)),
      iterate: (parameters) => statement.iterate(...parameters),
    }
  }

  close(): void {
    this.database.close()
  }
}

/** The names of SQLite's result codes, of which `node:sqlite` tells only the numbers. */
const NAMES: Readonly<Record<number, string>> = {
  1: 'ERROR', 3: 'PERM', 5: 'BUSY', 6: 'LOCKED', 7: 'NOMEM', 8: 'READONLY', 10: 'IOERR', 11: 'CORRUPT', 13: 'FULL', 14: 'CANTOPEN',
  19: 'CONSTRAINT', 26: 'NOTADB',
}

function named<T>(run: () => T): T {
  try {
    return run()
  } catch (thrown) {
    const error = asError(thrown) as Error & { code?: unknown, errcode?: unknown }
    const name = NAMES[Number(error.errcode) & 0xff]
    if (name) error.code = `SQLITE_${name}`
    throw error
  }
}
