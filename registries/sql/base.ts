/** The place where the tables are, as the other parts see it. */
import type { Kysely, Sql } from 'kysely'
import type { Clock } from '../../src/types.js'
import type { Limits } from './connections.js'
import type { Dialect } from './dialect.js'
import type { Listening } from './postgres.js'

/** Connections that are open, or opened on first use. */
export interface Base {
  readonly kysely: Kysely<unknown>
  readonly sql: Sql
  readonly dialect: Dialect
  close(): Promise<void>
}

export interface Target {
  /** For messages, without credentials and parameters. */
  readonly address: string
  /** Names in the URL. */
  readonly schema?: string | undefined
  readonly prefix?: string | undefined
  open(clock: Clock, limits: Limits): Promise<Base>
  /** Makes a connection for notifications, if this target can have one. */
  listen?(): Promise<Listening>
}
