/** Messages about slow turns, and about turns that did not begin in time. */
import { StageError, printable } from '../../../src/errors.js'
import type { Turn } from './turn.js'
import { isInner } from '../words.js'

/** Says where a call has been waiting. */
export function behind(turn: Turn): string {
  const { of } = turn
  if (!of) return 'queued'
  const { address, phase, host, mailbox } = of
  const now = host.mesh.clock.now()
  const [first] = mailbox.running
  const queued = `queued for ${ms(now - turn.arrivedAt)}`
  if (phase === 'starting') return `${queued} while ${address} was being activated`
  if (first) {
    const running = isInner(first.method) ? first.words : `${first.method}() of ${address}`
    return `${queued} behind ${running}, which has been running for ${ms(now - first.startedAt)}`
  }
  return `${queued} at ${address}, ${host.mesh.valid() ? 'behind other turns' : 'whose stage has not been able to renew its lease'}`
}

/** The error of a turn whose deadline has passed. @param now  by the clock's `now()` */
export function late(turn: Turn, now: number): StageError {
  if (turn.id === 0) {
    return new StageError('TIMEOUT', `${turn.words} did not begin in time: ${behind(turn)}`, { phase: 'queued', executed: 'no' })
  }
  const held = ms(turn.startedAt - turn.arrivedAt)
  const why = `it was queued for ${held}, and has been running for ${ms(now - turn.startedAt)}`
  return new StageError('TIMEOUT', `${turn.words} did not end in time: ${why}`, { phase: 'running', executed: 'unknown' })
}

/** Reports a slow turn once, while it still runs, because it may never end. */
export function slow(turn: Turn): void {
  turn.slowAt = 0
  if (!turn.of) return
  const { address, host } = turn.of
  const { clock, error } = host.mesh
  const { chain } = turn.carried
  const what = isInner(turn.method) ? turn.words : `${turn.method} of the actor ${address}`
  const took = `${turn.ended ? 'took' : 'has been running for'} ${ms(clock.now() - turn.startedAt)}`
  const by = chain.length > 0 ? `, called by ${chain.join(' → ')}` : ''
  error(new Error(printable(`${what} ${took}${by}`)))
}

const ms = (time: number): string => `${Math.round(time)} ms`
