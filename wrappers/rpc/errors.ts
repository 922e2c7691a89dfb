import { StageError, describe, isCode, isPrintable, printable, printableLines, type Executed, type Phase } from '../../src/errors.js'
import type { Peer } from '../../src/types.js'
import { rebuiltError } from '../codec/sendable.js'
import type { WireError } from './messages.js'

const TEXT_MAX = 1024
const PHASES: ReadonlySet<unknown> = new Set(['connecting', 'queued', 'running'])
const EXECUTED: ReadonlySet<unknown> = new Set(['no', 'unknown', 'yes'])

/** Certain not to have run, and another peer may be able to: worth one try at each of the others. */
const ELSEWHERE: ReadonlySet<unknown> = new Set(['NO_SUCH_METHOD', 'REFUSED', 'OVERLOADED'])
export const elsewhere = (error: Error | null | undefined): boolean => error instanceof StageError && error.executed === 'no' && ELSEWHERE.has(error.code)

/** Our own errors as they travel: a code, a bounded text, never a stack. */
export const toWire = (error: StageError): WireError => ({ code: error.code, message: error.message.slice(0, TEXT_MAX), executed: error.executed })

/** What a layer above answers with: an error of ours as it is, with its cause as far as that may travel. */
export const saidToWire = (error: StageError): WireError => ({
  ...toWire(error),
  ...(error.cause === undefined ? {} : { cause: read(error.cause).cause }),
  ...(error.phase ? { phase: error.phase } : {}),
})

/** What a handler threw, as far as it may travel: a plain value as it is, an Error by its name, message and code. */
export function thrownToWire(method: string, thrown: unknown): WireError {
  const { text, cause } = read(thrown)
  return { code: 'REMOTE_ERROR', message: `${method} failed: ${text}`.slice(0, TEXT_MAX), executed: 'yes', cause }
}

/** Anything can be thrown, and looking at it may throw again. */
function read(thrown: unknown): { text: string; cause: unknown } {
  try {
    if (!(thrown instanceof Error)) return { text: describe(thrown), cause: thrown }
    const cause = plain(thrown)
    return { text: cause.message, cause }
  } catch {
    return { text: 'what it threw cannot be read', cause: undefined }
  }
}

/** Without what only the debugger of that process should see, and without what could not be encoded. */
function plain(error: Error): Error {
  const { name, message, code } = error as { name: unknown; message: unknown; code?: unknown }
  const copy = new Error(typeof message === 'string' ? message.slice(0, TEXT_MAX) : describe(message))
  Object.defineProperty(copy, 'name', { value: typeof name === 'string' ? name.slice(0, 128) : 'Error', configurable: true, writable: true })
  if (typeof code === 'string' || typeof code === 'number') Object.assign(copy, { code: typeof code === 'string' ? code.slice(0, 128) : code })
  return copy
}

/** Rebuilt from what came: a code of our list or none at all, and no class is looked up. */
export function fromWire(value: unknown, peer: Peer): StageError {
  const { code, message, executed, cause, phase } = (typeof value === 'object' && value !== null ? value : {}) as Partial<WireError>
  return new StageError(isCode(code) ? code : 'PROTOCOL_ERROR', typeof message === 'string' ? message.slice(0, TEXT_MAX) : 'an error without a message', {
    executed: EXECUTED.has(executed) ? executed as Executed : 'unknown',
    peer,
    ...(cause === undefined ? {} : { cause: shown(cause) }),
    ...(PHASES.has(phase) ? { phase: phase as Phase } : {}),
  })
}

/** An Error that was thrown there will be printed here, so its texts are made printable. Any other value is data, and stays as it is. */
function shown(cause: unknown): unknown {
  if (!(cause instanceof Error)) return cause
  const { name, message, code, cause: inner } = cause as Error & { code?: string | number }
  const below = shown(inner)
  if (below === inner && isPrintable(`${name} ${code}`) && printableLines(message) === message) return cause
  return rebuiltError(printable(name), printableLines(message), typeof code === 'string' ? printable(code) : code, below === undefined ? undefined : { cause: below })
}
