/**
 * The registry on a Postgres, MySQL or MariaDB, or in a file of SQLite. The tables can be inspected with any client (`schema.ts`
 * has them), and each step is one transaction. An instance has up to four connections to a server for its steps, on Postgres one
 * for notifications, and up to eight that its stores share. SQLite has one connection for the steps, and one for the stores.
 */
import { systemClock } from '../../src/clock.js'
import { StageError } from '../../src/errors.js'
import { knownOptions } from '../../src/known-options.js'
import { systemRandom } from '../../src/random.js'
import type { Clock, Entry, Lease, Random, Registry, Store, View } from '../../src/types.js'
import { Feeds } from '../shared/feeds.js'
import { Listings } from '../shared/listing.js'
import { Stores } from '../shared/storing.js'
import type { Target } from './base.js'
import { Database } from './database.js'
import { Feed } from './feed.js'
import { Notices } from './notices.js'
import { DEFAULT_PREFIX, checkNoSchema, placeOf } from './schema.js'
import { SqlSteps } from './steps.js'
import { SqlStore } from './store.js'
import { kyselyTarget, poolTarget, urlTarget } from './target.js'

export { schemaSql } from './schema.js'

/** A pool of `pg`, or of `mysql2` with callbacks or promises. */
export type SqlPool =
  | { connect(): Promise<unknown>; readonly options?: unknown }
  | { getConnection(...args: never[]): unknown; readonly pool?: unknown }

/** Options of a registry on a database. Exactly one option among `url`, `pool` and `kysely` says where it is. */
export interface SqlRegistryOptions {
  /**
   * `postgres:`, `mysql:` or `mariadb:` with user, password, host, port, database and the parameters of the driver, or
   * `sqlite:/path/to/file`. `schema` and `prefix` can be parameters, too.
   */
  url?: string | undefined
  /**
   * A pool of yours instead of a URL, which is used for everything and is not closed. On Postgres one of its connections
   * waits for notifications, if the pool allows three or more.
   */
  pool?: SqlPool | undefined
  /**
   * A Kysely instance of yours instead of a URL, which is used for everything and is not closed. Its plugins are not used,
   * and changes are found by polling.
   */
  kysely?: { withoutPlugins(): unknown; readonly isTransaction: boolean } | undefined
  /** The schema of the tables, or their database on MySQL and MariaDB, made if missing; default: that of the connection. SQLite has none. */
  schema?: string | undefined
  /** The beginning of the names of the tables; default `stagemesh_`. */
  prefix?: string | undefined
  /** Clock for timeouts and waits only, as the registry's time is the database's own; default this machine's. */
  clock?: Clock | undefined
  /** Default: this machine's. */
  random?: Random | undefined
}

/** Values for options that are left out. */
const DEFAULTS = { prefix: DEFAULT_PREFIX } as const satisfies SqlRegistryOptions

/** How long a step may take, in milliseconds. */
const STEP_MS = 3000
/** The same for a store, as a state of 4 MiB may take a while over a slow network. */
const STORE_MS = 5000
const STEP_CONNECTIONS = 4
const STORE_CONNECTIONS = 8

/** A registry on a Postgres 12 or later, MySQL 8 or MariaDB 10.6 or later for any number of machines, or on SQLite for one. */
export class SqlRegistry implements Registry {
  readonly address: string
  readonly #clock: Clock
  readonly #random: Random
  readonly #channel: string
  readonly #database: Database
  /** A heartbeat must not wait behind large states, so stores have connections of their own. */
  readonly #stored: Database
  readonly #notices: Notices | undefined
  readonly #listings: Listings
  readonly #feeds = new Feeds<Feed>()
  readonly #stepping = new Map<string, SqlSteps>()
  readonly #stores = new Stores()
  #closing: Promise<void> | undefined

  /**
   * Does not connect yet: the first operation reports a problem with the server.
   * @throws TypeError for an invalid URL, pool, schema or prefix
   */
  constructor(options: SqlRegistryOptions | string) {
    const given: SqlRegistryOptions = typeof options === 'string' ? { url: options } : options
    knownOptions('the SQL registry', given, ['url', 'pool', 'kysely', 'schema', 'prefix', 'clock', 'random'])
    const { clock = systemClock, random = systemRandom } = given
    const target = targetOf(given)
    const { schema = target.schema, prefix = target.prefix ?? DEFAULTS.prefix } = given
    const place = placeOf(schema, prefix)
    if (target.address.startsWith('sqlite:')) checkNoSchema(place) // an instance of Kysely tells its kind only later
    this.address = target.address
    this.#clock = clock
    this.#random = random
    this.#channel = `${schema ?? ''}.${prefix}`
    const common = { target, place, clock, random }
    this.#database = new Database({ ...common, limitMs: STEP_MS, most: STEP_CONNECTIONS, what: 'registry' })
    this.#stored = new Database({ ...common, limitMs: STORE_MS, most: STORE_CONNECTIONS, what: 'store' })
    this.#listings = new Listings(clock, random)
    this.#notices = target.listen && new Notices({
      channel: this.#channel, clock, random, connect: () => target.listen!(),
      send: (payload) => this.#database.run(({ sql, rows }) => rows(sql`select pg_notify(${this.#channel}, ${payload})`)),
    })
  }

  async publish(entry: Entry, ttlMs: number): Promise<Lease> {
    return this.#listings.publish(this.#steps(entry.namespace), entry, ttlMs)
  }

  async* watch(namespace: string, signal: AbortSignal): AsyncGenerator<View, void, undefined> {
    if (this.#closing) throw new StageError('CLOSED', `the registry ${this.address} was closed`)
    if (signal.aborted) return
    yield* this.#feeds.watch(namespace, signal, (witness) => new Feed({
      namespace, witness, address: this.address, clock: this.#clock, random: this.#random, database: this.#database, notices: this.#notices,
      begin: () => this.#steps(namespace).begin(),
    }))
  }

  /** Opens the store in the same database. */
  store(namespace: string): Store {
    return this.#stores.open(this.address, namespace, () => new SqlStore(this.#stored, this.address, namespace))
  }

  close(): Promise<void> {
    return this.#closing ??= this.#close()
  }

  async #close(): Promise<void> {
    this.#listings.close()
    this.#feeds.stop()
    this.#notices?.close()
    await this.#stores.close()
    await Promise.all([this.#database.close(), this.#stored.close()])
  }

  #steps(namespace: string): SqlSteps {
    const present = this.#stepping.get(namespace)
    if (present) return present
    const steps = new SqlSteps({
      database: this.#database, namespace, random: this.#random, channel: this.#channel,
      onstate: (state) => this.#feeds.get(namespace)?.hint(state),
    })
    this.#stepping.set(namespace, steps)
    return steps
  }
}

function targetOf({ url, pool, kysely }: SqlRegistryOptions): Target {
  const ways = [url, pool, kysely].filter((one) => one !== undefined).length
  if (ways !== 1) throw new TypeError(`an SQL registry needs one of url, pool and kysely, not ${ways} of them`)
  if (url !== undefined) return urlTarget(url)
  return pool ? poolTarget(pool) : kyselyTarget(kysely!)
}
