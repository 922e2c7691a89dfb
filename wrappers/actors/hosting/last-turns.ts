/** The last turns of one actor, as `explain()` tells of them: in one flat list, because there are many idle actors. */
import type { StageError } from '../../../src/errors.js'
import type { Turn } from './turn.js'

const LAST = 5
/** Values in a row for each of them: its method, how long it ran, how long the mailbox held it, and the code of its error or ''. */
const PARTS = 4

/** Of at most five turns; from then on the newest takes the place of the oldest. */
export type LastTurns = (string | number)[]

/** One ended turn. */
export interface Past {
  readonly method: string
  readonly ms: number
  /** How long the mailbox held it before. */
  readonly waitedMs: number
  /** The code of its error. */
  readonly error?: string
}

/** @param ran  turns before this one @returns the list, made with the first turn */
export function remember(last: LastTurns | undefined, ran: number, turn: Turn, ms: number, error: StageError | null): LastTurns {
  const waited = Math.round(turn.startedAt - turn.arrivedAt)
  const code = error?.code ?? ''
  if (!last) return [turn.method, Math.round(ms), waited, code] // no longer than it must be
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
