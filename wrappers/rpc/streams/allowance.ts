import type { Channel } from './channel.js'

/**
 * The deadline of a call with streams among its arguments: so many milliseconds from its beginning, and again from
 * the latest progress of any of the streams.
 */
export class Allowance {
  /** @param endsAt  by the clock's `now()`, as long as no stream makes progress */
  constructor(readonly channels: readonly Channel[], private readonly endsAt: number, private readonly ms: number) {}

  get until(): number {
    let until = this.endsAt
    for (const { movedAt } of this.channels) if (movedAt + this.ms > until) until = movedAt + this.ms
    return until
  }
}
