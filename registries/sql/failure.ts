import { StageError, asError, printable } from '../../src/errors.js'
import { isError } from '../../src/realm.js'

/** The parts of an error of a driver: pg has SQLSTATE as `code`, mysql2 and better-sqlite3 a name, node:sqlite a number as `errcode`. */
interface DriverError {
  readonly code?: unknown
  readonly errcode?: unknown
  readonly severity?: unknown
  readonly sqlState?: unknown
  readonly fatal?: unknown
  readonly errors?: readonly unknown[]
}

/** True for an error reply of a server, after which the connection can be used further. */
export function isHarmless(error: unknown): boolean {
  if (!isError(error)) return false
  const { severity, sqlState, fatal } = error as DriverError
  const reply = typeof severity === 'string' ? severity === 'ERROR' : typeof sqlState === 'string' && fatal !== true
  // the next connection may lead to another server, and has the rights that were granted meanwhile
  return reply && !isDenied(error) && !READ_ONLY.test(codeOf(error))
}

/** A step met a change that was made in between: it runs again. */
export class Conflict extends Error {
  constructor() {
    super('other changes were made at the same time, again and again')
  }
}

/** SQLSTATE of Postgres, or the name of an error of MySQL or SQLite. */
function codeOf(error: unknown): string {
  const { code, errcode } = (isError(error) ? error : {}) as DriverError
  if (code === 'ERR_SQLITE_ERROR') return `SQLITE_${SQLITE_NAMES[Number(errcode) & 0xff] ?? String(errcode)}`
  return typeof code === 'string' ? code : ''
}

/** The names of SQLite's result codes, of which `node:sqlite` tells only the numbers. */
const SQLITE_NAMES: Readonly<Record<number, string>> = {
  1: 'ERROR', 3: 'PERM', 5: 'BUSY', 6: 'LOCKED', 7: 'NOMEM', 8: 'READONLY', 10: 'IOERR', 11: 'CORRUPT', 13: 'FULL', 14: 'CANTOPEN',
  19: 'CONSTRAINT', 26: 'NOTADB',
}

/** A transaction that was rolled back because of another transaction: serialization, deadlock, or a row that was made in between. */
export const isConflict = (error: unknown): boolean =>
  error instanceof Conflict || /^(40001|40P01|23505|ER_LOCK_DEADLOCK|ER_DUP_ENTRY|ER_CHECKREAD|SQLITE_(BUSY|LOCKED|CONSTRAINT)\w*)$/.test(codeOf(error))

/** There are no tables, or no schema: nobody has made them yet, or somebody has deleted them. */
export const isMissing = (error: unknown): boolean =>
  /^(42P01|3F000|ER_NO_SUCH_TABLE)$/.test(codeOf(error)) || (isError(error) && NO_TABLE.test(error.message))
const NO_TABLE = /^(SQLITE_ERROR )?no such table: /

/** The user may not do that. */
export const isDenied = (error: unknown): boolean => /^(42501|ER_(DB|TABLE|COLUMN|SPECIFIC_)ACCESS_?DENIED_ERROR)$/.test(codeOf(error))

/** The server takes no writes. */
const READ_ONLY = /^(25006|ER_OPTION_PREVENTS_STATEMENT|ER_READ_ONLY_MODE|ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION)$/

/** Pairs of [code and text of the error, advice]; the first match counts. */
const advice: readonly (readonly [RegExp, string])[] = [
  [/^SQLITE_(BUSY|LOCKED)/, 'another process holds its lock; look for a program that has the file open in a transaction'],
  [/^SQLITE_CANTOPEN|directory does not exist/, 'its file cannot be opened; check that the folder exists, and who may write to it'],
  [/^SQLITE_(READONLY|PERM)/, 'its file cannot be written; check the owner and the mode of the file and of its folder'],
  [/^SQLITE_FULL/, 'its disk is full; free space there'],
  [/^SQLITE_(NOTADB|CORRUPT)/, 'the file is not a database of SQLite, or is damaged; choose another file'],
  [/^SQLITE_IOERR/, "the disk fails, or its file was moved while stages run; look at the system's log"],
  [/without its log/, 'while no stage runs, move or delete a file of SQLite together with those beside it that end in -wal and -shm'],
  [/write-ahead log/, "use a file on a disk of this machine, or a database server"],
  [/ECONNREFUSED|ENOENT/,
    "no database server answers there; start one, set $STAGE_REGISTRY or pass a URL, or use 'local:' which needs no server"],
  [/ENOTFOUND|EAI_AGAIN/, 'no such host; check the URL'],
  [/EHOSTUNREACH|ENETUNREACH/, 'there is no route to it; check the network'],
  [/^3D000|ER_BAD_DB_ERROR|ER_NO_DB_ERROR|3F000/,
    'there is no such database or schema; create it, or check the URL: postgres://user:password@host:5432/database'],
  [/^53300|ER_CON_COUNT_ERROR|TOO_MANY_USER_CONNECTIONS|ER_USER_LIMIT_REACHED|too many (clients|connections)|no more connections/i,
    'it has reached its limit of connections; raise max_connections, or put a pooler in front of it'],
  [/25006|ER_OPTION_PREVENTS_STATEMENT|READ_ONLY|read-only/i,
    'it takes no writes, as a replica or because it was set to read only; use the address of the primary'],
  [/^57P03|starting up|recovery/, 'it is starting; try again in a moment'],
  [/^57P0[12]|ER_SERVER_SHUTDOWN/, 'it is shutting down; reconnecting'],
  [/^53100|ER_DISK_FULL|ER_RECORD_FILE_FULL|ER_ERROR_ON_WRITE|No space left/i, 'its disk is full; free space there'],
  [/^53200|ER_OUT_OF_RESOURCES|ER_OUTOFMEMORY/, 'it is out of memory; look at its log'],
  [/^55P03|ER_LOCK_WAIT_TIMEOUT|lock timeout/i,
    'another transaction holds a lock on its rows; look for a session that is idle in a transaction, and end it'],
  [/^57014|^25P0[34]|ER_QUERY_TIMEOUT|ER_STATEMENT_TIMEOUT/, 'it cancelled a statement that took too long; look for locks and for load'],
  [/NET_PACKET_TOO_LARGE|max_allowed_packet/,
    'a state is larger than its max_allowed_packet; set max_allowed_packet = 32M there, or keep less in the actor'],
  [/^22P05|^22021|ER_TRUNCATED_WRONG_VALUE_FOR_FIELD/, 'its encoding is not UTF-8; use a database with the encoding UTF8'],
  [/^42703|^42804|^42P10|ER_BAD_FIELD_ERROR|no such column|newer version/,
    'its tables are not those of this version; update this library, or choose another schema or prefix'],
  [/^42P01|ER_NO_SUCH_TABLE|no such table/, 'its tables are missing; the next operation makes them'],
  [/BINLOG_STMT|BINLOG_UNSAFE/, 'its binlog_format is STATEMENT; set it to ROW or MIXED'],
  [/startup parameter|08P01/, 'a pooler refuses a parameter of the URL; remove the parameter'],
  [/SSL|TLS|certificate|CERT_/i, 'TLS failed; check the parameters of the URL (sslmode for Postgres, ssl for MySQL) and the certificate'],
  [/timed out|ETIMEDOUT/, 'it did not answer in time; check that it is running and reachable'],
  [/at the same time/, 'try again in a moment'],
  [/ECONNRESET|EPIPE|PROTOCOL_|closed|terminated|Connection lost|not queryable/i, 'the connection was closed; reconnecting'],
]

/** The credentials are missing, wrong, or of a user who may not connect. */
const CREDENTIALS = new RegExp([
  '^28P01', '^28000', 'no pg_hba.conf entry', 'SASL', 'password must be a string',
  'ER_ACCESS_DENIED_ERROR', 'ER_ACCOUNT_HAS_BEEN_LOCKED', 'ER_MUST_CHANGE_PASSWORD', 'AUTH_SWITCH', 'ER_NOT_SUPPORTED_AUTH_MODE',
].join('|'))

/**
 * Converts an error of Kysely, a driver or a server into a StageError.
 * @param address  for the message, without credentials
 * @param what     the part of the library that is unavailable because of it
 * @param sql      what the user may not do: the SQL that a user with more rights can run
 * @returns StageError AUTH_FAILED if the credentials or the rights are insufficient, else REGISTRY_UNAVAILABLE or STORE_UNAVAILABLE
 */
export function failure(address: string, thrown: unknown, what: 'registry' | 'store', sql?: string): StageError {
  if (thrown instanceof StageError) return asPart(thrown, what)
  const error = asError(thrown)
  const said = words(error)
  // a copy, not the error itself: drivers attach the statement and its values to their errors
  const cause = Object.assign(new Error(said), { name: error.name, ...codeOf(error) && { code: codeOf(error) } })
  if (isDenied(error)) {
    const rights = sql === undefined ? 'grant it select, insert, update and delete on the tables, and usage of their schema'
      : `let a user who may create tables run this, and grant it the rights to use them: ${sql}`
    return new StageError('AUTH_FAILED', `${address} denies this user what the ${what} needs (${said}); ${rights}`, { cause })
  }
  if (CREDENTIALS.test(said)) {
    const form = `${address.split(':')[0]}://user:password@host/database`
    return new StageError('AUTH_FAILED', `${address} rejected the credentials (${said}); put them in the URL: ${form}`, { cause })
  }
  const hint = advice.find(([pattern]) => pattern.test(said))?.[1] ?? 'try again, and look at its log'
  const code = what === 'store' ? 'STORE_UNAVAILABLE' : 'REGISTRY_UNAVAILABLE'
  return new StageError(code, `the ${what} ${address} is not available (${said}): ${hint}`, { cause })
}

/** A missing driver is an error of the registry; a store has it too. */
function asPart(error: StageError, what: 'registry' | 'store'): StageError {
  if (what !== 'store' || error.code !== 'REGISTRY_UNAVAILABLE') return error
  return new StageError('STORE_UNAVAILABLE', error.message.replace(/^the registry/, 'the store'), { cause: error.cause })
}

/** Code and message of an error in one line; a host with several addresses yields an AggregateError without a message of its own. */
function words(error: Error): string {
  const { errors } = error as Error & DriverError
  const code = codeOf(error)
  const inner = errors?.[0]
  const text = error.message || (isError(inner) ? inner.message : '') || error.name
  const known = code !== '' && !text.includes(code) ? `${code} ` : ''
  return printable(`${known}${text}`.replace(/\s+/g, ' ').slice(0, 300))
}
