/** Where the tables are and how to connect to their server: a URL, or a pool or a Kysely instance of the user's. */
import type { Kysely } from 'kysely'
import type { Client } from 'pg'
import { StageError, describe } from '../../src/errors.js'
import type { Clock } from '../../src/types.js'
import type { Base, Target } from './base.js'
import { Connections, type Limits, type Link } from './connections.js'
import type { Dialect } from './dialect.js'
import { loadKysely, loadMysql, loadPg } from './driver.js'
import { connectionLink, mysql, mysqlPool, poolLink as mysqlPoolLink, type MysqlPool } from './mysql.js'
import { clientLink, hasRoom, pgPool, poolLink as pgPoolLink, postgres, type PgPool } from './postgres.js'
import { checkVersion } from './sqlite-file.js'
import { sqlite, sqliteTarget } from './sqlite.js'

const KINDS: Readonly<Record<string, 'postgres' | 'mysql'>> = { 'postgres:': 'postgres', 'postgresql:': 'postgres', 'mysql:': 'mysql', 'mariadb:': 'mysql' }

/** @throws TypeError if the text is not such a URL; the message omits the URL, which may contain a password */
export function urlTarget(text: string): Target {
  if (typeof text !== 'string') throw new TypeError(`the URL of an SQL registry is ${describe(text)}: expected a text`)
  if (/^sqlite:/i.test(text)) return sqliteTarget(text)
  let url: URL
  try {
    url = new URL(text)
  } catch {
    throw new TypeError('the URL of an SQL registry must look like postgres://user:password@host:5432/database (or mysql: or mariadb:), or like sqlite:/path/to/file')
  }
  const kind = KINDS[url.protocol]
  if (!kind) throw new TypeError(`the URL of an SQL registry begins with postgres:, mysql:, mariadb: or sqlite:, not ${url.protocol}`)
  const [schema, prefix] = ['schema', 'prefix'].map((name) => {
    const value = url.searchParams.get(name) ?? undefined
    url.searchParams.delete(name)
    return value
  })
  const database = url.pathname.replace(/^\//, '')
  if (kind === 'mysql' && database === '') {
    throw new TypeError(`the path in the URL of an SQL registry is the name of a database, as in ${url.protocol}//host:3306/database`)
  }
  const host = url.hostname || url.searchParams.get('host') || '127.0.0.1'
  const port = url.port || (kind === 'postgres' ? '5432' : '3306')
  const address = `${url.protocol}//${host}:${port}${database && `/${database}`}`
  const named = { address, schema, prefix }
  if (kind === 'mysql') {
    const maker = () => connectionMaker(address, url, host, Number(port))
    return { ...named, open: (clock, limits) => openMysql(address, clock, limits, maker) }
  }
  const make = async (): Promise<() => Client> => {
    const pg = await loadPg(address)
    // no time limits of the driver's, because after a stall of this process its timers would fire before it reads waiting replies
    return () => new pg.Client({ connectionString: url.href, connectionTimeoutMillis: 0, keepAlive: true, application_name: 'stagemesh' })
  }
  return {
    ...named,
    open: (clock, limits) => openPostgres(address, clock, limits, async () => {
      const client = await make()
      return () => clientLink(client())
    }),
    listen: async () => clientLink((await make())()),
  }
}

async function connectionMaker(address: string, url: URL, host: string, port: number): Promise<() => Link> {
  const driver = await loadMysql(address)
  const uri = url.href.replace(/^mariadb:/, 'mysql:')
  const options = { uri, host: host.replace(/^\[|\]$/g, ''), port, connectTimeout: 0, charset: 'utf8mb4' }
  return () => connectionLink(() => driver.createConnection({ ...options }))
}

/** @param pool  of `pg` or of `mysql2` */
export function poolTarget(pool: PgPool | MysqlPool): Target {
  if ('getConnection' in pool && typeof pool.getConnection === 'function') {
    const address = addressOf('mysql', (pool as { config?: { connectionConfig?: unknown } }).config?.connectionConfig)
    const maker = async () => () => mysqlPoolLink(pool)
    return { address, open: (clock, limits) => openMysql(address, clock, unlimited(limits), maker) }
  }
  if (!('connect' in pool) || typeof pool.connect !== 'function') {
    throw new TypeError(`${describe(pool)} is not a pool: expected a Pool of pg, or a pool of mysql2`)
  }
  const address = addressOf('postgres', pool.options)
  return {
    address,
    open: (clock, limits) => openPostgres(address, clock, unlimited(limits), async () => () => pgPoolLink(pool)),
    ...hasRoom(pool) && { listen: async () => pgPoolLink(pool) },
  }
}

/** The user's pool has a limit of its own. */
const unlimited = (limits: Limits): Limits => ({ ...limits, most: Infinity })

function addressOf(scheme: string, options: unknown): string {
  const { host, port, database, connectionString } = (options ?? {}) as Record<string, unknown>
  if (typeof connectionString === 'string' && URL.canParse(connectionString)) {
    const url = new URL(connectionString)
    return `${scheme}://${url.host}${url.pathname}`
  }
  const [at, of] = [typeof port === 'number' ? `:${port}` : '', typeof database === 'string' ? `/${database}` : '']
  return `${scheme}://${typeof host === 'string' ? host : '?'}${at}${of}`
}

/** How the dialects of Kysely write a name and a parameter. */
const FORMS: readonly (readonly [RegExp, Dialect])[] = [[/`/, mysql], [/\$1/, postgres], [/"a" = \?/, sqlite]]

/** The parts of a Kysely instance that the registry's types name. */
export interface KyselyInstance {
  withoutPlugins(): unknown
  readonly isTransaction: boolean
}

/** @throws TypeError if it is a transaction; operations fail with BAD_ARGUMENT if it is of a database that is not supported */
export function kyselyTarget(given: KyselyInstance): Target {
  if (typeof given.withoutPlugins !== 'function') throw new TypeError(`${describe(given)} is not an instance of Kysely`)
  if (given.isTransaction) throw new TypeError('the Kysely instance of an SQL registry is a transaction: pass the instance that began it')
  const kysely = given.withoutPlugins() as Kysely<unknown>
  return {
    address: 'kysely:',
    open: async () => {
      const { sql } = await loadKysely('kysely:')
      const { sql: text } = sql`select ${sql.ref('a')} = ${1}`.compile(kysely)
      const dialect = FORMS.find(([form]) => form.test(text))?.[1]
      const other = 'the Kysely instance of an SQL registry is of another database: expected one of Postgres, MySQL, MariaDB or SQLite'
      if (!dialect) throw new StageError('BAD_ARGUMENT', other)
      if (dialect === sqlite) {
        const { rows } = await sql<{ version: string }>`select sqlite_version() as version`.execute(kysely)
        checkVersion('kysely:', rows[0]?.version ?? '0')
      }
      return { kysely, sql, dialect, close: async () => {} }
    },
  }
}

async function openPostgres(address: string, clock: Clock, limits: Limits, maker: () => Promise<() => Link>): Promise<Base> {
  const { Kysely, PostgresDialect, sql } = await loadKysely(address)
  const connections = new Connections(await maker(), clock, limits)
  const kysely = new Kysely<unknown>({ dialect: new PostgresDialect({ pool: pgPool(connections) as never }) })
  return { kysely, sql, dialect: postgres, close: () => connections.close() }
}

async function openMysql(address: string, clock: Clock, limits: Limits, maker: () => Promise<() => Link>): Promise<Base> {
  const { Kysely, MysqlDialect, sql } = await loadKysely(address)
  const connections = new Connections(await maker(), clock, limits)
  const kysely = new Kysely<unknown>({ dialect: new MysqlDialect({ pool: mysqlPool(connections) }) })
  return { kysely, sql, dialect: mysql, close: () => connections.close() }
}
