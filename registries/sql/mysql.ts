/** The words and connections of MySQL and MariaDB. */
import type { Connection } from 'mysql2'
import type { Connections, Link } from './connections.js'
import { SERVER, type Dialect } from './dialect.js'

export const mysql: Dialect = {
  ...SERVER,
  kind: 'mysql',
  now: "(timestampdiff(microsecond, '1970-01-01', utc_timestamp(3)) div 1000)",
  // for the next transaction only
  begin: ['set transaction isolation level read committed', 'start transaction'],
  returning: false,
  insertNew: 'insert ignore into',
  unlessThere: '',
  // bytes are sent as hexadecimal literals: how text would have to be escaped depends on the sql_mode of the server
  parameter: (value) => typeof value === 'string' ? Buffer.from(value) : value,
}

/** How long a statement waits for a lock, in seconds; the default of a server is 50. */
const LOCK_WAIT_S = 3
/** After how long a MariaDB ends a transaction whose client has stopped in the middle of it, in seconds. A MySQL cannot do that. */
const STALLED_S = 10

/** Options of each query, so that the options of the user's pool do not count. */
const FORM = {
  typeCast: (_: unknown, next: () => unknown) => next(), // only a function takes precedence over a function of the pool's
  rowsAsArray: false, nestTables: false, supportBigNumbers: true, bigNumberStrings: true,
}

function run(connection: Connection, sql: string, values: readonly unknown[]): Promise<unknown> {
  return new Promise((resolve, reject) => {
    connection.query({ sql, values: [...values], ...FORM } as never, (error: unknown, result: unknown) => {
      if (error) reject(error)
      else resolve(result)
    })
  })
}

/** A connection of our own, which begins to connect when it is made. */
export function connectionLink(make: () => Connection): Link {
  const connection = make() as Connection & { readonly stream?: { destroy(): void } }
  connection.on('error', () => {}) // stays for the lifetime of the connection: an emitter without a listener throws
  return {
    ready: async () => {
      await new Promise<void>((resolve, reject) => { connection.connect((error: unknown) => error ? reject(error) : resolve()) })
      const onMariadb = `/*M!100301 , idle_transaction_timeout = ${STALLED_S} */` // a comment for MySQL
      await run(connection, `set session innodb_lock_wait_timeout = ${LOCK_WAIT_S} ${onMariadb}`, [])
    },
    query: (text, values) => run(connection, text, values),
    onend: (fn) => {
      connection.on('error', fn)
      connection.on('end', () => fn())
    },
    quit: () => new Promise<void>((resolve) => { connection.end(() => resolve()) }),
    destroy: () => {
      connection.destroy()
      connection.stream?.destroy() // otherwise a server that hangs keeps the socket open
    },
  }
}

/** A pool of `mysql2`, of the user's: with callbacks, or with promises around a pool with callbacks. */
export interface MysqlPool {
  getConnection(...args: never[]): unknown
  readonly pool?: unknown
}

type PoolConnection = Connection & { release(): void }
type CallbackPool = { getConnection(done: (error: unknown, connection: PoolConnection) => void): void }

/** A connection of the user's pool, given back after each use. */
export function poolLink(pool: MysqlPool): Link {
  const inner = (pool.pool ?? pool) as CallbackPool
  let connection: PoolConnection | undefined
  let over = false
  const give = (destroy: boolean): void => {
    const one = connection
    connection = undefined
    over = true
    if (destroy) one?.destroy()
    else one?.release()
  }
  return {
    ready: () => new Promise<void>((resolve, reject) => {
      inner.getConnection((error, one) => {
        if (error) return reject(error)
        connection = one
        if (over) give(false) // nobody waits for it any more
        resolve()
      })
    }),
    query: (text, values) => run(connection!, text, values),
    onend: () => {}, // the pool listens itself
    quit: async () => give(true),
    destroy: () => give(true),
    release: () => give(false),
  }
}

/** Our connections, as the pool that Kysely's dialect for MySQL expects. */
export const mysqlPool = (connections: Connections) => ({
  getConnection: (done: (error: unknown, connection: never) => void) => {
    connections.acquire().then((held) => {
      const query = (text: string, values: readonly unknown[], answered: (error: unknown, result?: unknown) => void): void => {
        held.query(text, values).then((result) => answered(undefined, result), (error: unknown) => answered(error))
      }
      done(undefined, { query, release: () => held.release() } as never)
    }, (error: unknown) => done(error, undefined as never))
  },
  end: (done: (error: unknown) => void) => {
    void connections.close().then(() => done(undefined))
  },
})
