/** The words of SQLite, and a file as the place of the tables, for the processes of one machine. */
import { resolve } from 'node:path'
import type { Dialect } from './dialect.js'
import { loadKysely } from './driver.js'
import { SqliteFile, sqliteDriver } from './sqlite-file.js'
import type { Base, Target } from './base.js'

export const sqlite: Dialect = {
  kind: 'sqlite',
  now: "cast(round(unixepoch('now', 'subsec') * 1000) as integer)",
  begin: ['begin immediate'], // with the lock for writing, so that the transaction cannot fail later for want of it
  polls: { firstMs: 100, mostMs: 500, beatMs: 500 }, // a poll only reads the file
  retries: 150, // one writer excludes all others, and waiting for the lock would block the event loop
  lockRow: '',
  greatest: 'max',
  beforePart: 'select * from',
  valuesOf: 'values ',
  returning: true,
  insertNew: 'insert into',
  unlessThere: 'on conflict do nothing',
  parameter: (value) => value,
}

/** @throws TypeError if the text is not such a URL */
export function sqliteTarget(url: string): Target {
  const [, place = '', query = ''] = /^sqlite:([^?]*)\??(.*)$/is.exec(url) ?? []
  const path = place.replace(/^\/\/(?=\/)/, '')
  if (path === '' || path.startsWith('//') || path.startsWith(':')) {
    throw new TypeError(`${JSON.stringify(url.replace(/\/\/.*@/, '//…@'))} names no file: expected sqlite:/path/to/file, or memory: for a registry without a file`)
  }
  const parameters = new URLSearchParams(query)
  const unknown = [...parameters.keys()].find((name) => name !== 'prefix')
  if (unknown !== undefined) throw new TypeError(`the URL of a registry on SQLite has no parameter ${JSON.stringify(unknown)}: expected prefix`)
  const file = resolve(path) // now, because the process may go to another folder
  const address = `sqlite:${file}`
  return {
    address,
    prefix: parameters.get('prefix') ?? undefined,
    open: (_, { durable }) => openFile(address, file, durable),
  }
}

async function openFile(address: string, path: string, durable: boolean): Promise<Base> {
  const { Kysely, SqliteDialect, sql } = await loadKysely(address)
  const file = new SqliteFile(path, durable, await sqliteDriver(address))
  const kysely = new Kysely<unknown>({ dialect: new SqliteDialect({ database: file }) })
  return { kysely, sql, dialect: sqlite, close: async () => file.close() }
}
