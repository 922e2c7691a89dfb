/** The last turns of one actor, for `explain()`: one flat list, to save memory with many idle actors. */
import type { StageError } from '../../../src/errors.js'
import type { Turn } from './turn.js'

const LAST = 5
/** Values per turn in the list: method, run time, time in the mailbox, and error code or ''. */
const PARTS = 4

/** Ring buffer of at most five turns: the newest replaces the oldest. */
export type LastTurns = (string | number)[]

/** A turn that has ended. */
export interface Past {
  readonly method: string
  readonly ms: number
  /** How long the turn waited in the mailbox. */
  readonly waitedMs: number
  /** The code of its error. */
  readonly error?: string
}

/** @param ran  number of earlier turns @returns the list, created with the first turn */
export function remember(last: LastTurns | undefined, ran: number, turn: Turn, ms: number, error: StageError | null): LastTurns {
  const waited = Math.round(turn.startedAt - turn.arrivedAt)
  const code = error?.code ?? ''
  if (!last) return [turn.method, Math.round(ms), waited, code] // exact length, without spare capacity
  const at = PARTS * (ran % LAST)
  last[at] = turn.method
  last[at + 1] = Math.round(ms)
  last[at + 2] = waited
  last[at + 3] = code
  return last
}

/** @param ran  turns so far @returns the newest last */
export function pastOf(last: LastTurns, ran: number): readonly Past[] {
  const count = last.length / PARTS
  return Array.from({ length: count }, (_, i) => {
    const at = PARTS * ((ran + i) % count)
    const error = last[at + 3]
    const past = { method: String(last[at]), ms: Number(last[at + 1]), waitedMs: Number(last[at + 2]) }
    return error ? { ...past, error: String(error) } : past
  })
}
