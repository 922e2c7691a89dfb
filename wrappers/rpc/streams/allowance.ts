import type { Channel } from './channel.js'

/**
 * The time that a call has, where streams are among its arguments: so many milliseconds from its beginning, and from
 * whenever something of them last came or went.
 */
export class Allowance {
  /** @param endsAt  by the clock's `now()`, as long as nothing moves */
  constructor(readonly channels: readonly Channel[], private readonly endsAt: number, private readonly ms: number) {}

  get until(): number {
    let until = this.endsAt
    for (const { movedAt } of this.channels) if (movedAt + this.ms > until) until = movedAt + this.ms
    return until
  }
}
