import type { Peer } from './peer.js'
import { isError } from './realm.js'

/** Every way in which the library can fail; a closed list. Misuse by the programmer throws a bare TypeError instead. */
export const codes = [
  'NO_SUCH_PEER', 'NO_SUCH_METHOD', 'NO_SUCH_ACTOR', 'NO_SUCH_PROPERTY', 'TIMEOUT', 'CANCELLED', 'REFUSED', 'DISCONNECTED',
  'OVERLOADED', 'REMOTE_ERROR', 'BAD_ARGUMENT', 'BAD_NAME', 'NAME_TAKEN', 'WRONG_PEER', 'WRONG_NAMESPACE', 'AUTH_FAILED',
  'CHAIN_MISMATCH', 'VERSION_MISMATCH', 'PROTOCOL_ERROR', 'SLOW_PEER', 'REGISTRY_UNAVAILABLE', 'STORE_UNAVAILABLE', 'FENCED',
  'DEADLOCK', 'STATE_CORRUPT', 'CLOSED', 'FORBIDDEN',
] as const
/** One of `codes`. */
export type Code = (typeof codes)[number]

const known: ReadonlySet<string> = new Set(codes)
export const isCode = (value: unknown): value is Code => typeof value === 'string' && known.has(value)

/**
 * Whether the handler's first line ran. `'no'` is never wrong: a retry is safe. `'unknown'` is honest: the handler may
 * have run, may be running, or may never run. `'yes'`: it ran, at least in part.
 */
export type Executed = 'no' | 'unknown' | 'yes'

/** Where the time of a TIMEOUT went. */
export type Phase = 'connecting' | 'queued' | 'running'

/** One thing that is wrong with an argument or a result, and its place. */
export interface Issue {
  /** One line, at most 256 characters. */
  readonly message: string
  /** Names of properties and positions, from the outside in. For arguments, the first element is the position of the argument, from 0. */
  readonly path: readonly (string | number)[]
}

/** An issue as schemas report it. */
interface GivenIssue {
  readonly message: string
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined
}

export interface StageErrorDetails {
  executed?: Executed
  cause?: unknown
  phase?: Phase
  peer?: Peer | undefined
  /** Only the first 32 are kept. */
  issues?: readonly GivenIssue[] | undefined
}

/**
 * The library's only error class. Compare `code`, never the message. The message is one line for people, and foreign text
 * in it (names, addresses, errors of handlers) can neither steer a terminal nor change the direction of text.
 */
export class StageError extends Error {
  /** Always `StageError`. */
  override readonly name = 'StageError'
  /** The kind of failure, which programs compare. */
  readonly code: Code
  /** Whether the handler ran; a retry is safe after `'no'`. */
  readonly executed: Executed
  /** Where the time of a TIMEOUT went. */
  declare readonly phase?: Phase
  /** The peer that the error is about, if there is one. */
  declare readonly peer?: Peer
  /** For a BAD_ARGUMENT: where the arguments fail the schemas of the method; at most 32. */
  declare readonly issues?: readonly Issue[]

  constructor(code: Code, message: string, details: StageErrorDetails = {}) {
    super(printable(message), 'cause' in details ? { cause: details.cause } : undefined)
    this.code = code
    this.executed = details.executed ?? 'no'
    if (details.phase) this.phase = details.phase
    if (details.peer) this.peer = details.peer
    const issues = details.issues && bounded(details.issues)
    if (issues && issues.length > 0) this.issues = issues
  }
}

/** The same error with another `executed`. */
export function withExecuted(error: StageError, executed: Executed): StageError {
  const { code, message, phase, peer, issues } = error
  return new StageError(code, message, { executed, peer, issues, ...(phase && { phase }), ...('cause' in error && { cause: error.cause }) })
}

/** Whether a foreign value is a StageError: a Proxy may throw when it is asked for its prototype. */
export function isStageError(thrown: unknown): thrown is StageError {
  try {
    return thrown instanceof StageError
  } catch {
    return false
  }
}

/** The most issues of one error. */
export const ISSUES_MAX = 32
const ISSUE_MAX = 256
const PATH_MAX = 16
const KEY_MAX = 64

/** Issues come from foreign schemas and from peers: malformed entries are left out. */
const bounded = (given: readonly unknown[]): readonly Issue[] => given.slice(0, ISSUES_MAX).flatMap((one) => {
  const { message, path } = (one ?? {}) as Partial<GivenIssue>
  if (typeof message !== 'string') return []
  const keys = Array.isArray(path) ? path.slice(0, PATH_MAX).map(keyOf) : []
  return { message: printable(message.slice(0, ISSUE_MAX)), path: keys }
})

function keyOf(step: unknown): string | number {
  const key: unknown = typeof step === 'object' && step !== null ? (step as { key?: unknown }).key : step
  return typeof key === 'number' ? key : String(key).slice(0, KEY_MAX)
}

/** Control characters, lone surrogates, line separators, and characters that change the direction of the text behind them. */
const UNPRINTABLE = /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\p{Bidi_C}]/u
const EACH = new RegExp(UNPRINTABLE, 'gu')

export const isPrintable = (text: string): boolean => !UNPRINTABLE.test(text)

/** Foreign text for a message, a log or a terminal, with unprintable characters escaped. */
export const printable = (text: string): string => isPrintable(text) ? text : text.replace(EACH, escaped)

/** The same for text of several lines: line breaks and tabs stay. */
export const printableLines = (text: string): string =>
  isPrintable(text) ? text : text.replace(EACH, escapedUnlessLines)

const escapedUnlessLines = (one: string): string => one === '\n' || one === '\t' ? one : escaped(one)

const escaped = (one: string): string => one === '\n' ? '\\n' : `\\u${one.charCodeAt(0).toString(16).padStart(4, '0')}`

/** A thrown value as an Error whose message can be read: thrown values are the user's, and may do anything when they are inspected. */
export function asError(thrown: unknown): Error {
  try {
    if (isError(thrown) && typeof thrown.message === 'string') return thrown
  } catch {}
  return new Error(`a value that is not an Error was thrown: ${describe(thrown)}`, { cause: thrown })
}

const TEXT_MAX = 200
const PARTS_MAX = 20

/** A foreign value for a message: one line, printable, at most 200 characters; only the beginning of a large value is read. */
export function describe(value: unknown): string {
  let text: string
  try {
    if (ArrayBuffer.isView(value)) text = bytesOf(value)
    else if (typeof value === 'string') text = JSON.stringify(value.slice(0, TEXT_MAX))
    else if (isError(value)) text = String(value).slice(0, TEXT_MAX + 1)
    else text = typeof value === 'object' && value !== null ? JSON.stringify(value, beginning()) ?? typeof value : String(value)
  } catch {
    text = typeof value
  }
  text = printable(text)
  return text.length > TEXT_MAX ? `${text.slice(0, TEXT_MAX - 1)}…` : text
}

const bytesOf = ({ byteLength }: ArrayBufferView): string => `${byteLength} bytes`

/** A replacer for JSON.stringify that keeps a few parts of each value, and not many parts in all. */
function beginning(): (key: string, value: unknown) => unknown {
  let left = TEXT_MAX
  return (_, value) => {
    if (typeof value === 'string') return value.slice(0, TEXT_MAX)
    if (typeof value !== 'object' || value === null) return value
    if (left-- <= 0) return '…'
    const part = (one: unknown): unknown => ArrayBuffer.isView(one) ? bytesOf(one) : one // before JSON turns it into a list of numbers
    if (Array.isArray(value)) return value.slice(0, PARTS_MAX).map(part)
    const some = Object.create(null) as Record<string, unknown>
    let count = 0
    for (const key in value) {
      if (!Object.hasOwn(value, key)) continue
      if (count++ >= PARTS_MAX) break
      some[key] = part((value as Record<string, unknown>)[key])
    }
    return some
  }
}
