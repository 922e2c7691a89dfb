/** Decides when an idempotent call is retried. */
import { withExecuted, type StageError } from '../../../src/errors.js'
import type { Random } from '../../../src/types.js'
import { RetryBudget, backoffMs } from './retry-budget.js'

/** Maximum retries of one call after its link broke: the call itself may crash every process that runs it. */
const LOST_MAX = 3

/** The retries of one call so far. */
export interface Retried {
  /** Number of retries. */
  made: number
  /** Number of retries after the link broke, so that the call may have run before. */
  lost: number
  /** The last failure was a refusal, after which the call may be retried. */
  refused: boolean
}

/** The retries of one stage's calls. */
export class Retries {
  readonly budget = new RetryBudget()

  constructor(private readonly random: Random) {}

  /** @returns how long to wait before the retry, in milliseconds; undefined: no retry */
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

/** Whether the call certainly did not run, and the same stage may accept it a little later. */
export const isRefusal = ({ code, executed }: StageError): boolean => executed === 'no' && (code === 'OVERLOADED' || code === 'REFUSED')

/** Whether the link of a call broke before the answer. The code is that of the link's end: DISCONNECTED, SLOW_PEER, PROTOCOL_ERROR … */
export const isLost = ({ code, executed }: StageError, link: { readonly destroyed: boolean }): boolean => link.destroyed && executed === 'unknown' && code !== 'CLOSED'

/** The last failure of a call, with `executed` 'unknown' if an earlier attempt may have run. */
export function honest(error: StageError, { lost }: Retried): StageError {
  return lost === 0 || error.executed !== 'no' ? error : withExecuted(error, 'unknown')
}
