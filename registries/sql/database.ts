/**
 * Runs operations on the tables: makes the tables on first use, limits the time of each operation, and runs a transaction
 * again after a conflict. Every other failure is passed to the caller, who decides when to retry.
 */
import type { Kysely, QueryResult, RawBuilder, Sql } from 'kysely'
import { StageError, asError } from '../../src/errors.js'
import { outside } from '../../src/outside.js'
import { jitter } from '../../src/random.js'
import type { Clock, Random } from '../../src/types.js'
import { within } from '../../src/within.js'
import { SERVER, type Dialect, type Polls } from './dialect.js'
import { Conflict, failure, isConflict, isDenied, isMissing } from './failure.js'
import { NO_SCHEMAS, TABLES, VERSION, schemaStatement, statements, tableName, type Place, type TableName } from './schema.js'
import { isTrue, number, type Row } from './values.js'
import type { Base, Target } from './base.js'

/** The pause before an operation runs again, at most, in milliseconds for each try, and in all. */
const RETRY_MS = 5
const RETRY_MAX_MS = 50
/** How many times its limit an operation may wait for a connection, which others of this process use. */
const PATIENCE = 3
/** How long making the tables may take, in milliseconds; until then, it waits for others who make them. */
const PREPARE_MS = 30_000
/** Of the lock under which tables are made; any number that others do not use. */
const LOCK = 7_337_261

export interface DatabaseOptions {
  readonly target: Target
  readonly place: Place
  readonly clock: Clock
  readonly random: Random
  /** How long an operation may take, in milliseconds. */
  readonly limitMs: number
  /** The most connections at a time. */
  readonly most: number
  /** The owner, which errors name. */
  readonly what: 'registry' | 'store'
}

export class Database {
  #opening: Promise<Base> | undefined
  #preparing: Promise<void> | undefined
  /** Of the tables being made, for which all operations wait. */
  #preparation: State = { over: false }
  #prepared = false
  #polls: Polls = SERVER.polls
  #closed = false
  /** Rejects the operations in progress. */
  readonly #pending = new Set<(error: Error) => void>()

  constructor(private readonly options: DatabaseOptions) {}

  /** Runs one operation over one connection. @throws StageError REGISTRY_UNAVAILABLE or STORE_UNAVAILABLE · AUTH_FAILED · CLOSED */
  async run<T>(work: (session: Session) => Promise<T>): Promise<T> {
    for (let tries = 0; ; tries++) {
      if (!this.#prepared) await this.#limited(PREPARE_MS, () => this.#prepare())
      try {
        return await this.#limited(this.options.limitMs * PATIENCE, (state) => this.#repeated(state, work))
      } catch (error) {
        if (!isMissing((error as StageError).cause) || tries > 0) throw error
        this.#prepared = false // somebody deleted the tables
      }
    }
  }

  /** How often to look for changes, which depends on the kind of database. */
  get polls(): Polls {
    return this.#polls
  }

  async close(): Promise<void> {
    this.#closed = true
    for (const abort of [...this.#pending]) abort(new Error('closed'))
    const base = await this.#opening?.catch(() => undefined)
    await base?.close()
  }

  async #limited<T>(limitMs: number, run: (state: State) => Promise<T>): Promise<T> {
    if (this.#closed) throw this.#over()
    const { clock, target, what } = this.options
    const state: State = { over: false }
    const late = () => asError(state.conflict ?? this.#preparation.conflict ?? new Error(`an operation timed out after ${limitMs} ms`))
    let abort: ((error: Error) => void) | undefined
    const running = new Promise<T>((resolve, reject) => {
      abort = reject
      outside(() => run(state)).then(resolve, reject)
    })
    this.#pending.add(abort!)
    try {
      return await within(clock, limitMs, running, late)
    } catch (error) {
      throw this.#closed ? this.#over() : failure(target.address, error, what)
    } finally {
      state.over = true
      this.#pending.delete(abort!)
    }
  }

  /** Runs the operation again after a conflict. */
  async #repeated<T>(
    state: State, work: (session: Session) => Promise<T>, retries?: number, limitMs = this.options.limitMs,
  ): Promise<T> {
    const base = await this.#open()
    for (let tries = 0; ; tries++) {
      if (this.#closed) throw this.#over()
      try {
        return await this.#connected(base, state, work, limitMs)
      } catch (error) {
        if (state.over || tries >= (retries ?? base.dialect.retries) || !isConflict(error)) throw error
        state.conflict = error
        await this.#pause(tries)
      }
    }
  }

  #connected<T>(base: Base, state: State, work: (session: Session) => Promise<T>, limitMs: number): Promise<T> {
    const { clock, place } = this.options
    return new Promise((resolve, reject) => {
      const late = (): Error => {
        state.over = true
        return new Error(`an operation timed out after ${limitMs} ms`)
      }
      // the caller need not wait, but the connection is released only after the last statement was answered
      base.kysely.connection().execute((bound) => {
        const working = work(new Session(base, bound, place, state))
        within(clock, limitMs, working, late).then(resolve, reject)
        return working
      }).catch(reject)
    })
  }

  #open(): Promise<Base> {
    if (this.#closed) throw this.#over()
    const { target, clock, most, limitMs, what } = this.options
    return this.#opening ??= target.open(clock, { most, statementMs: limitMs, durable: what === 'store' }).then((base) => this.#usable(base)).catch((error: unknown) => {
      this.#opening = undefined
      throw error
    })
  }

  #usable(base: Base): Base {
    const { place } = this.options
    if (base.dialect.kind === 'sqlite' && place.schema !== undefined) throw new StageError('BAD_ARGUMENT', NO_SCHEMAS)
    this.#polls = base.dialect.polls
    return base
  }

  /** Makes or migrates the tables, unless they are as they should be; once, however many operations wait for it. */
  #prepare(): Promise<void> {
    return this.#preparing ??= this.#repeated(this.#preparation, async (session) => {
      const found = await versionOf(session)
      if (found > VERSION) throw new Error(`the tables are of a newer version of this library (${found}, and ${VERSION} here)`)
      if (found < VERSION) await this.#migrate(session)
      this.#prepared = true
    }, Infinity, PREPARE_MS).finally(() => {
      this.#preparing = undefined
      this.#preparation = { over: false }
    })
  }

  async #migrate(session: Session): Promise<void> {
    const { place, target, what } = this.options
    const { kind } = session.dialect
    const missing = place.schema !== undefined && !await schemaIsThere(session, place.schema)
    const first = missing ? [schemaStatement(kind, place.schema)] : []
    try {
      if (kind === 'mysql') {
        for (const text of [...first, ...statements(kind, place, await versionOf(session))]) await session.execute(text)
        return
      }
      await session.transaction(async () => {
        if (kind === 'postgres') await this.#lock(session)
        const there = first.length === 0 || await schemaIsThere(session, place.schema!)
        for (const text of [...there ? [] : first, ...statements(kind, place, await versionOf(session))]) await session.execute(text)
      })
    } catch (error) {
      if (!isDenied(error)) throw error
      const sql = [...first, ...statements(kind, place)].map((text) => `${text};`).join(' ')
      throw failure(target.address, error, what, sql)
    }
  }

  /** Locks the making of tables, in this transaction, so that a pooler does no harm; other instances try again meanwhile. */
  async #lock({ rows, sql }: Session): Promise<void> {
    const { schema = '', prefix } = this.options.place
    const [lock] = await rows(sql`select pg_try_advisory_xact_lock(${LOCK}, hashtext(${`${schema}.${prefix}`})) as taken`)
    if (!isTrue(lock?.['taken'])) throw new Conflict()
  }

  #pause(tries: number): Promise<void> {
    const { clock, random } = this.options
    const ms = jitter(random, Math.min(RETRY_MS * (tries + 1), RETRY_MAX_MS), 1)
    // holds the process, because somebody waits for the operation, and a file has no socket that would
    return new Promise((resolve) => { clock.setTimeout(resolve, ms, true) })
  }

  #over(): StageError {
    return new StageError('CLOSED', `the ${this.options.what} ${this.options.target.address} was closed`)
  }
}

/** A statement that changes rows, and how many. */
export interface Write {
  readonly query: RawBuilder<unknown>
  readonly expect?: number
}

/** A notification, sent when its transaction commits. */
export interface Notice {
  readonly channel: string
  readonly payload: string
}

interface State {
  /** Nobody waits for the answer any more. */
  over: boolean
  /** The last conflict, if the operation ran again because of one. */
  conflict?: unknown
}

/** The version of the tables; 0 if there are none. */
async function versionOf(session: Session): Promise<number> {
  const { sql, dialect: { kind }, names, place: { schema = null, prefix } } = session
  const table = `${prefix}schema_version`
  const there = await session.rows({
    postgres: sql`select to_regclass(${names.schema_version}) is not null as there`,
    mysql: sql`select count(*) as there from information_schema.tables
      where table_schema = coalesce(${schema}, database()) and table_name = ${table}`,
    sqlite: sql`select count(*) as there from sqlite_master where type = 'table' and name = ${table}`,
  }[kind])
  if (!isTrue(there[0]?.['there'])) return 0
  const [row] = await session.rows(sql`select max(version) as version from ${session.tables.schema_version}`)
  return number(row?.['version'] ?? 0)
}

async function schemaIsThere({ sql, rows, dialect }: Session, schema: string): Promise<boolean> {
  if (dialect.kind === 'postgres') return (await rows(sql`select 1 as there from pg_namespace where nspname = ${schema}`)).length > 0
  return (await rows(sql`select 1 as there from information_schema.schemata where schema_name = ${schema}`)).length > 0
}

/** One connection for the time of an operation. */
export class Session {
  readonly sql: Sql
  readonly dialect: Dialect
  /** The server's time when the statement began, in milliseconds. */
  readonly now: RawBuilder<unknown>
  readonly tables: Readonly<Record<TableName, RawBuilder<unknown>>>
  /** The same as text. */
  readonly names: Readonly<Record<TableName, string>>

  constructor(base: Base, private readonly bound: Kysely<unknown>, readonly place: Place, private readonly state: State) {
    const { sql, dialect } = base
    this.sql = sql
    this.dialect = dialect
    this.now = sql.raw(dialect.now)
    const names = TABLES.map((name) => [name, tableName(dialect.kind, place, name)] as const)
    this.names = Object.fromEntries(names) as Record<TableName, string>
    this.tables = Object.fromEntries(names.map(([name, quoted]) => [name, sql.raw(quoted)])) as Record<TableName, RawBuilder<unknown>>
  }

  /** The rows that a statement answers. */
  readonly rows = async (query: RawBuilder<unknown>): Promise<readonly Row[]> => (await this.#send(query)).rows as Row[]

  /** How many rows a statement changed. */
  readonly changed = async (query: RawBuilder<unknown>): Promise<number> => Number((await this.#send(query)).numAffectedRows ?? 0)

  /** Runs a statement without parameters. */
  execute(text: string): Promise<QueryResult<unknown>> {
    return this.#send(this.sql.raw(text))
  }

  /** @throws Conflict, after which the operation runs again */
  async transaction<T>(work: () => Promise<T>): Promise<T> {
    try {
      for (const text of this.dialect.begin) await this.execute(text)
      const answer = await work()
      const { rows } = await this.execute('commit')
      if ((rows[0] as Row | undefined)?.['command'] === 'ROLLBACK') throw new Conflict() // Postgres says so when the transaction had failed
      return answer
    } catch (error) {
      await this.#send(this.sql.raw('rollback'), true).catch(() => {}) // the connection is lost, and the transaction with it
      throw error
    }
  }

  /**
   * Runs statements that change different rows: in one message, where the server can.
   * @param notice   for the other clients, where the server can
   * @throws Conflict if a statement changed fewer or more rows than expected
   */
  async write(changes: readonly Write[], notice?: Notice): Promise<void> {
    const counts = this.dialect.kind === 'postgres' ? await this.#together(changes, notice) : []
    for (const [i, { query, expect }] of changes.entries()) {
      const count = counts[i] ?? await this.changed(query)
      if (expect !== undefined && count !== expect) throw new Conflict()
    }
  }

  async #together(changes: readonly Write[], notice: Notice | undefined): Promise<number[]> {
    if (changes.length === 0) return []
    const { sql } = this
    const parts = changes.map(({ query }, i) => sql`${sql.raw(`w${i}`)} as (${query} returning 1)`)
    const counts = changes.map((_, i) => sql.raw(`(select count(*) from w${i}) as n${i}`))
    const told = notice ? sql`, pg_notify(${notice.channel}, ${notice.payload})` : sql``
    const [row] = await this.rows(sql`with ${sql.join(parts)} select ${sql.join(counts)}${told}`)
    return changes.map((_, i) => number(row?.[`n${i}`]))
  }

  #send(query: RawBuilder<unknown>, always = false) {
    if (this.state.over && !always) throw new Error('nobody waits for the answer any more')
    const compiled = query.compile(this.bound)
    return this.bound.executeQuery({ ...compiled, parameters: compiled.parameters.map((one) => this.dialect.parameter(one)) })
  }
}
