/** When an idempotent call is made again. */
import { withExecuted, type StageError } from '../../../src/errors.js'
import type { Random } from '../../../src/types.js'
import { RetryBudget, backoffMs } from './retry-budget.js'

/** So often one call is made again after its link broke: it may be the call that ends every process which runs it. */
const LOST_MAX = 3

/** What became of one call so far. */
export interface Retried {
  /** How often it was made again. */
  made: number
  /** How often its link broke, so that it may have run. */
  lost: number
  /** It was refused last, and may be made again. */
  refused: boolean
}

/** The retries of one stage's calls. */
export class Retries {
  readonly budget = new RetryBudget()

  constructor(private readonly random: Random) {}

  /** @returns how long to wait before it is made again, in milliseconds; undefined where it is not */
  pause(error: StageError, retried: Retried, now: number, endsAt: number): number | undefined {
    const ran = error.executed !== 'no'
    if (ran && retried.lost >= LOST_MAX) return undefined
    const ms = backoffMs(retried.made, this.random)
    if (now + ms >= endsAt || !this.budget.take(now)) return undefined
    retried.made++
    if (ran) retried.lost++
    return ms
  }
}

/** Certain not to have run, and the same stage may take it a little later. */
export const isRefusal = ({ code, executed }: StageError): boolean => executed === 'no' && (code === 'OVERLOADED' || code === 'REFUSED')

/** Nobody answered: the link over which the call had gone broke. Its code is that of the link's end: DISCONNECTED, SLOW_PEER, PROTOCOL_ERROR … */
export const isLost = ({ code, executed }: StageError, link: { readonly destroyed: boolean }): boolean => link.destroyed && executed === 'unknown' && code !== 'CLOSED'

/** The last failure of a call that may have run before. */
export function honest(error: StageError, { lost }: Retried): StageError {
  return lost === 0 || error.executed !== 'no' ? error : withExecuted(error, 'unknown')
}
