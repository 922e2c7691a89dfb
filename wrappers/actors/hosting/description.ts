/** Descriptions of actors that are active on this stage. */
import type { Mesh } from '../../../src/types.js'
import type { Explained, HostedActor } from '../types.js'
import type { Activation } from './activation.js'

/** Limit of running turns in one description. */
const EXPLAINED_MAX = 20

/** An item of the list that `actors()` returns. */
export const described = (one: Activation, now: number): HostedActor => ({
  address: one.address, pattern: one.definition.pattern.text, fence: one.fence, queue: one.mailbox.queued,
  turns: one.mailbox.running.map((turn) => turn.method), watchers: one.history?.watched ?? 0, idleMs: Math.round(now - one.usedAt),
})

/** The owner's part of `explain()`. */
export function explained(one: Activation, { clock, leaseMs }: Pick<Mesh, 'clock' | 'leaseMs'>): Partial<Explained> {
  const { mailbox } = one
  const now = clock.now()
  return {
    pattern: one.definition.pattern.text,
    fence: one.fence,
    queue: mailbox.queued,
    watchers: one.history?.watched ?? 0,
    idleMs: Math.round(now - one.usedAt),
    turn: mailbox.running.slice(0, EXPLAINED_MAX).map((turn) => ({
      method: turn.method,
      ms: Math.round(now - turn.startedAt),
      waitedMs: Math.round(turn.startedAt - turn.arrivedAt),
    })),
    last: mailbox.last,
    version: one.persistence.version,
    leaseMs: Math.round(leaseMs()),
  }
}
