/** The words, connections and notifications of Postgres. */
import type { Client } from 'pg'
import type { Connections, Link } from './connections.js'
import { SERVER, type Dialect } from './dialect.js'

export const postgres: Dialect = {
  ...SERVER,
  kind: 'postgres',
  // the time of a statement, not of its transaction; unlike clock_timestamp() it is one value for all rows, so that an index serves
  now: '(floor(extract(epoch from statement_timestamp()) * 1000)::bigint)',
  // one message; for this transaction only, because behind a pooler the next one is another client's
  begin: [[
    'begin isolation level read committed read write', "set local lock_timeout = '2500ms'",
    "set local idle_in_transaction_session_timeout = '10s'",
  ].join('; ')],
  returning: true,
  insertNew: 'insert into',
  unlessThere: 'on conflict do nothing',
  parameter: (value) => value,
}

const asText = (text: string): string => text
const BYTEA = 17
/** Values as text, and bytes as Buffers: parsers that the user has set do not count. */
const TYPES = { getTypeParser: (oid: number) => oid === BYTEA ? (text: string) => Buffer.from(text.slice(2), 'hex') : asText }

/** A connection over which notifications arrive, too. */
export interface Listening extends Link {
  onnotice(fn: (payload: string) => void): void
}

/** The parts of a client of `pg` that are used. */
type PgClient = Pick<Client, 'query' | 'on' | 'connect' | 'end'> & {
  readonly connection?: { readonly stream?: { destroy(): void } }
}

/** A connection of our own. */
export function clientLink(client: PgClient): Listening {
  let reason: unknown
  client.on('error', (error) => { reason = error }) // stays for the lifetime of the client: an emitter without a listener throws
  return {
    ready: () => client.connect().then(() => {}),
    query: (text, values) => client.query({ text, values: [...values], types: TYPES }),
    onend: (fn) => void client.on('end', () => fn(reason)),
    quit: () => client.end(),
    destroy: () => client.connection?.stream?.destroy(),
    onnotice: (fn) => void client.on('notification', ({ payload = '' }) => fn(payload)),
  }
}

/** A pool of `pg`, of the user's. */
export interface PgPool {
  connect(): Promise<unknown>
  readonly options?: unknown
}

type PoolClient = PgClient & { release(destroy?: boolean): void }

/** A connection of the user's pool, given back after each use. */
export function poolLink(pool: PgPool): Listening {
  let client: PoolClient | undefined
  let over = false
  const ends: ((reason?: unknown) => void)[] = []
  const notices: ((payload: string) => void)[] = []
  const silent = (reason?: unknown): void => { for (const fn of ends) fn(reason) }
  const give = (destroy: boolean): void => {
    const one = client
    client = undefined
    over = true
    const emitter = one as unknown as { removeListener(name: string, fn: unknown): void } | undefined
    for (const [name, fn] of [['error', silent], ['end', silent], ['notification', noticed]] as const) emitter?.removeListener(name, fn)
    one?.release(destroy)
  }
  const noticed = ({ payload = '' }: { payload?: string | undefined }): void => { for (const fn of notices) fn(payload) }
  return {
    ready: async () => {
      client = await pool.connect() as PoolClient
      if (over) return give(false) // nobody waits for it any more
      client.on('error', silent)
      client.on('end', silent)
      client.on('notification', noticed)
    },
    query: (text, values) => client!.query({ text, values: [...values], types: TYPES }),
    onend: (fn) => void ends.push(fn),
    quit: async () => give(true),
    destroy: () => give(true),
    release: () => give(false),
    onnotice: (fn) => void notices.push(fn),
  }
}

/** How many connections a pool of the user's must allow, so that one connection can wait for notifications. */
const POOL_MIN = 3

export const hasRoom = (pool: PgPool): boolean => ((pool.options as { max?: number } | undefined)?.max ?? 10) >= POOL_MIN

/** Our connections, as the pool that Kysely's dialect for Postgres expects. */
export const pgPool = (connections: Connections) => ({
  connect: async () => {
    const held = await connections.acquire()
    return { query: (text: string, values: readonly unknown[]) => held.query(text, values) as never, release: () => held.release() }
  },
  end: () => connections.close(),
})
