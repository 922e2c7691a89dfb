import type { Kind } from './schema.js'

/** Intervals of polls, in milliseconds. */
export interface Polls {
  /** The first after a change, and the longest while nothing changes. */
  readonly firstMs: number
  readonly mostMs: number
  /** After a heartbeat, which says whether there is anything new, too. */
  readonly beatMs: number
}

/** The differences between the kinds of servers that Kysely does not know. Texts stand in SQL as they are. */
export interface Dialect {
  readonly kind: Kind
  /** The server's time when the statement began, in whole milliseconds since 1970. */
  readonly now: string
  /** Statements that begin a transaction in which each statement sees everything that was committed before it. */
  readonly begin: readonly string[]
  readonly polls: Polls
  /** How often an operation runs again after a conflict with others. */
  readonly retries: number
  /** The words behind a `select` of the row that is to be locked; empty where a transaction has locked everything. */
  readonly lockRow: string
  /** The function that returns the greater of two numbers. */
  readonly greatest: string
  /** The words before a part of a `union` that has an `order by` or a `limit` of its own, which stands in parentheses. */
  readonly beforePart: string
  /** The word between `in (` and rows of several columns. */
  readonly valuesOf: string
  /** Whether an `insert` and an `update` can return rows. */
  readonly returning: boolean
  /** The beginning and the end of an `insert` that skips rows which are there already. */
  readonly insertNew: string
  readonly unlessThere: string
  /** Converts a parameter. */
  parameter(value: unknown): unknown
}

/** The part that is the same for all servers. */
export const SERVER = {
  polls: { firstMs: 1000, mostMs: 5000, beatMs: 5700 }, // each poll asks the server, and the one after a heartbeat is later than the next heartbeat
  retries: 20,
  lockRow: 'for update',
  greatest: 'greatest',
  beforePart: '',
  valuesOf: '',
} as const satisfies Partial<Dialect>
