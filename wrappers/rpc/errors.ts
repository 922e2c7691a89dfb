import { StageError, isCode, type Executed, type Phase } from '../../src/errors.js'
import type { Peer } from '../../src/types.js'
import { readThrown, shown } from '../codec/errors.js'
import type { WireError } from './wire/messages.js'

const TEXT_MAX = 1024
const PHASES: ReadonlySet<unknown> = new Set(['connecting', 'queued', 'running'])
const EXECUTED: ReadonlySet<unknown> = new Set(['no', 'unknown', 'yes'])

/** Codes after which a call that certainly did not run is tried once at each other match, as another peer may accept it. */
const ELSEWHERE: ReadonlySet<unknown> = new Set(['NO_SUCH_METHOD', 'REFUSED', 'OVERLOADED'])
export const elsewhere = (error: Error | null | undefined): boolean =>
  error instanceof StageError && error.executed === 'no' && ELSEWHERE.has(error.code)

/** A StageError as it travels: a code, a bounded text, never a stack. */
export function toWire({ code, message, executed, issues }: StageError): WireError {
  const told = { code, message: message.slice(0, TEXT_MAX), executed }
  return issues ? { ...told, issues } : told
}

/** A StageError that a layer above answers with, as it travels: with its phase, and its cause as far as the cause may travel. */
export const saidToWire = (error: StageError): WireError => ({
  ...toWire(error),
  ...(error.cause === undefined ? {} : { cause: readThrown(error.cause).cause }),
  ...(error.phase ? { phase: error.phase } : {}),
})

/** A value thrown by a handler, as far as it may travel: a plain value as it is, an Error as `codec/errors.ts` converts it. */
export function thrownToWire(method: string, thrown: unknown): WireError {
  const { text, cause } = readThrown(thrown)
  return { code: 'REMOTE_ERROR', message: `${method} failed: ${text}`.slice(0, TEXT_MAX), executed: 'yes', cause }
}

/** Rebuilds an error from the wire: an unknown code becomes PROTOCOL_ERROR, and no class is looked up. */
export function fromWire(value: unknown, peer: Peer): StageError {
  const { code, message, executed, cause, phase, issues } = (typeof value === 'object' && value !== null ? value : {}) as Partial<WireError>
  const text = typeof message === 'string' ? message.slice(0, TEXT_MAX) : 'an error without a message'
  return new StageError(isCode(code) ? code : 'PROTOCOL_ERROR', text, {
    executed: EXECUTED.has(executed) ? executed as Executed : 'unknown',
    peer,
    ...(cause === undefined ? {} : { cause: shown(cause) }),
    ...(PHASES.has(phase) ? { phase: phase as Phase } : {}),
    ...(Array.isArray(issues) ? { issues } : {}),
  })
}
