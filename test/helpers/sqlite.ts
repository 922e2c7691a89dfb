import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { SqliteHandle } from '../../registries/sql/driver.js'
import { sqliteDriver } from '../../registries/sql/sqlite-file.js'

/** Opens a file, if this Node or the package better-sqlite3 can. */
const open = await sqliteDriver('sqlite:').catch(() => undefined)

export const hasSqlite = open !== undefined || process.env['STAGEMESH_REQUIRE_SQLITE'] === '1'
export const NO_SQLITE = 'this Node has no SQLite 3.51.3 or later: use Node 24, or install better-sqlite3 to run these tests'

/** A file of SQLite in a folder of its own, and a connection beside those of the library. */
export class SqlitePlace {
  readonly folder = mkdtempSync(join(tmpdir(), 'stagemesh-sqlite-'))
  readonly path = join(this.folder, 'mesh.db')
  readonly url = `sqlite:${this.path}`

  /** Runs statements, after whoever has the lock, and returns the rows of the last one. */
  run(...statements: string[]): readonly Record<string, unknown>[] {
    const handle = this.open()
    try {
      let rows: unknown[] = []
      for (const text of statements) rows = this.one(handle, text)
      return rows as Record<string, unknown>[]
    } finally {
      handle.close()
    }
  }

  /** A connection that waits for locks. */
  open(): SqliteHandle {
    const handle = open!(this.path)
    this.one(handle, 'pragma busy_timeout = 5000')
    return handle
  }

  one(handle: SqliteHandle, text: string): unknown[] {
    const statement = handle.prepare(text)
    if (statement.reader) return statement.all([])
    statement.run([])
    return []
  }

  close(): void {
    rmSync(this.folder, { recursive: true, force: true })
  }
}
