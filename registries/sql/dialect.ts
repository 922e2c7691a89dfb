import type { Kind } from './schema.js'

/** The differences between the kinds of servers that Kysely does not know. Texts stand in SQL as they are. */
export interface Dialect {
  readonly kind: Kind
  /** The server's time when the statement began, in whole milliseconds since 1970. */
  readonly now: string
  /** Statements that begin a transaction in which each statement sees everything that was committed before it. */
  readonly begin: readonly string[]
  /** The beginning and the end of an `insert` that skips rows which are there already. */
  readonly insertNew: string
  readonly unlessThere: string
  /** Converts a parameter. */
  parameter(value: unknown): unknown
}
