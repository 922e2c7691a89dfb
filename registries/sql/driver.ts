import { StageError, asError } from '../../src/errors.js'

/**
 * Loads Kysely and the drivers, which are optional peer dependencies: only this file does, and only when a connection is made.
 * @param address  of the registry, for the error
 * @throws StageError REGISTRY_UNAVAILABLE, with the command that installs the package
 */
export const loadKysely = (address: string): Promise<typeof import('kysely')> => load(address, 'kysely', () => import('kysely'))

/** The same for Postgres. */
export async function loadPg(address: string): Promise<(typeof import('pg'))['default']> {
  return (await load(address, 'pg', () => import('pg'))).default
}

/** The same for MySQL and MariaDB. */
export async function loadMysql(address: string): Promise<typeof import('mysql2')> {
  return (await load(address, 'mysql2', () => import('mysql2'))).default
}

/** No literal, so that compilers and bundlers do not look for a package that few need. */
const BETTER_SQLITE: string = 'better-sqlite3'

/** The same for SQLite, where Node's own will not do. @returns the class, and the version of its SQLite */
export async function loadBetterSqlite(address: string): Promise<{ Database: BetterSqlite, version: string }> {
  return load(address, BETTER_SQLITE, async () => {
    const { default: Database } = await import(BETTER_SQLITE) as { default: BetterSqlite }
    const memory = new Database(':memory:', { timeout: 0 }) // loads the native part, which fits one version of Node
    const [row] = memory.prepare('select sqlite_version() as version').all([]) as { readonly version: string }[]
    memory.close()
    return { Database, version: row?.version ?? '0' }
  })
}

/** A prepared statement, as Kysely expects it. */
export interface SqliteStatement {
  /** Whether it returns rows. */
  readonly reader: boolean
  all(parameters: readonly unknown[]): unknown[]
  run(parameters: readonly unknown[]): { changes: number | bigint, lastInsertRowid: number | bigint }
  iterate(parameters: readonly unknown[]): IterableIterator<unknown>
}

/** An open database. */
export interface SqliteHandle {
  prepare(text: string): SqliteStatement
  close(): void
}

/** The class that better-sqlite3 exports, as far as it is used. */
type BetterSqlite = new (path: string, options: { timeout: number }) => SqliteHandle

async function load<T>(address: string, name: string, importing: () => Promise<T>): Promise<T> {
  try {
    return await importing()
  } catch (cause) {
    const why = asError(cause).message.split('\n')[0]
    const driver = name === 'kysely' ? driverOf(address) : name
    const needs = `the registry ${address} needs the package ${name}, which cannot be loaded here (${why})`
    throw new StageError('REGISTRY_UNAVAILABLE', `${needs}: npm install kysely@0.28 ${driver}`, { cause })
  }
}

function driverOf(address: string): string {
  if (address.startsWith('postgres')) return 'pg'
  return address.startsWith('sqlite') ? 'better-sqlite3' : 'mysql2'
}
