/** Errors of a link: for calls that it rejects, for calls whose deadline has passed, and for its own end. */
import { StageError } from '../../src/errors.js'
import type { Peer } from '../../src/types.js'
import { OPEN_CALLS_MAX, STOPPED_MS } from './wire/messages.js'

// ── nothing was sent ────────────────────────────────────────────────────────────────────────────────────────────────

export const closing = (peer: Peer): StageError => new StageError('DISCONNECTED', `the link to ${peer.name} is closing`, { peer })

export function tooManyCalls(peer: Peer): StageError {
  const waiting = `${OPEN_CALLS_MAX} calls to ${peer.name} are waiting for their answers`
  return new StageError('OVERLOADED', `${waiting}: no more until some have arrived`, { peer })
}

/** @param bytes  held for the peer */
export const readsSlowly = (peer: Peer, bytes: number): StageError =>
  new StageError('OVERLOADED', `${peer.name} reads too slowly: ${bytes} bytes are waiting for it`, { peer })

// ── the deadline of a call has passed ───────────────────────────────────────────────────────────────────────────────

export function notAnswered(method: string, peer: Peer): StageError {
  const late = `${method} on ${peer.name} did not answer in time`
  return new StageError('TIMEOUT', late, { phase: 'running', executed: 'unknown', peer })
}

export function notSent(method: string, peer: Peer): StageError {
  const late = `${method} waited until its deadline for ${peer.name} to read earlier messages`
  return new StageError('TIMEOUT', late, { phase: 'queued', executed: 'no', peer })
}

// ── the link ends ───────────────────────────────────────────────────────────────────────────────────────────────────

export function readsNothing(peer: Peer): StageError {
  const stopped = `${peer.name} read none of the data waiting for it for ${STOPPED_MS} ms`
  return new StageError('SLOW_PEER', stopped, { executed: 'unknown', peer })
}

export function noGoodbye(peer: Peer): StageError {
  return new StageError('DISCONNECTED', `${peer.name} ended the connection without a goodbye`, { executed: 'unknown', peer })
}

/** The error of everything that waits when the link is gone. @param error  the reason of its destruction, if any */
export function lost(error: Error | null, peer: Peer): StageError {
  const code = error instanceof StageError ? error.code : 'DISCONNECTED'
  const message = error?.message ?? `the link to ${peer.name} is gone`
  return new StageError(code, message, { executed: 'unknown', cause: error?.cause ?? error, peer })
}
