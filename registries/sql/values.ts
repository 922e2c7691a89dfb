/** Values of rows: drivers return whole numbers as numbers, bigints or text, and the text of `varbinary` columns as bytes. */
import type { Seen } from '../shared/ledger.js'

/** A row of an answer. */
export type Row = Readonly<Record<string, unknown>>

/** A whole number, exact up to 2^53. */
export const number = (value: unknown): number => Number(value)

export const text = (value: unknown): string => Buffer.isBuffer(value) ? value.toString('utf8') : String(value)

/** The value of a column that may be null. */
export const optional = <T>(value: unknown, read: (value: unknown) => T): T | undefined =>
  value === null || value === undefined ? undefined : read(value)

/** Bytes that the caller may modify. */
export const bytes = (value: unknown): Buffer => Buffer.isBuffer(value) ? value : Buffer.from(value as Uint8Array)

/** A point in the history of a namespace. */
export const seenOf = ({ generation, revision, mark }: Row): Seen => (
  { generation: text(generation), revision: number(revision), mark: text(mark) }
)

export const isTrue = (value: unknown): boolean => /^(t|true|1)$/.test(text(value))
