import { GRACE_MS } from '../../src/registry.js'
import type { Clock, Random, Timer } from '../../src/types.js'
import { jitter } from '../../src/random.js'
import type { Reply } from './ledger.js'

/** What the answer to a heartbeat or to a sweep says about the leases: the registry's time, and when the first of them ends. */
type Leases = Pick<Reply, 'now' | 'earliest'>

/**
 * Decides when to remove lapsed entries from a registry: at the earliest expiry reported by the last heartbeat's answer,
 * plus most of the grace period. The sweeper sends no heartbeat of its own, so an idle stage causes no extra requests.
 *
 * A stage that has just come back (or whose registry has) sees every lease late and must not expire any: it sweeps only
 * after one TTL of unbroken contact in which the registry's clock and its own advanced at the same pace.
 */
export class Sweeper {
  #contactSince: number | undefined
  #lastServer = 0
  #lastOwn = 0
  #timer: Timer | undefined

  /** @param sweep removes entries that lapsed `GRACE_MS * 0.75` ago or more; a rejection is left to the next heartbeat */
  constructor(
    private readonly clock: Clock,
    private readonly random: Random,
    private readonly ttlMs: number,
    private readonly sweep: () => Promise<Leases>,
  ) {}

  /** A heartbeat or a sweep was answered at `server` time; the earliest lease there ends at `earliest` (Infinity: none). */
  renewed(server: number, earliest: number): void {
    const own = this.clock.now()
    const drift = Math.abs(server - this.#lastServer - (own - this.#lastOwn))
    // after a stall of this process, nothing is known about the registry in between
    const stalled = own - this.#lastOwn > this.ttlMs / 2
    if (this.#contactSince === undefined || stalled || drift > this.ttlMs / 5) this.#contactSince = own
    this.#lastServer = server
    this.#lastOwn = own
    this.#timer?.cancel()
    this.#timer = undefined
    if (earliest === Infinity) return
    const due = Math.max(earliest + GRACE_MS * 0.75 - server, this.#contactSince + this.ttlMs - own)
    // a sweep due after the next heartbeat is left to its answer: most leases are renewed until then
    if (due > this.ttlMs / 2) return
    const wait = Math.max(0, due) + jitter(this.random, GRACE_MS / 20, 1)
    this.#timer = this.clock.setTimeout(() => {
      this.#timer = undefined
      if (this.clock.now() - own - wait < GRACE_MS / 4) void this.#swept(earliest) // else, after a stall, the next heartbeat comes first
    }, wait)
  }

  /** Leases that ended a moment after the earliest are due before the next heartbeat, and only the sweep's answer names them. */
  async #swept(due: number): Promise<void> {
    const own = this.#lastOwn
    const began = this.clock.now()
    const left = await this.sweep().catch(() => undefined)
    if (this.#contactSince === undefined || this.#lastOwn !== own) return // a later heartbeat knows more
    if (!left) return this.failed()
    // an earliest lease that is the same may be the caller's own; and what a late answer says about the time may be wrong
    if (left.earliest > due && this.clock.now() - began < GRACE_MS / 4) this.renewed(left.now, left.earliest)
  }

  failed(): void {
    this.#contactSince = undefined
    this.#timer?.cancel()
    this.#timer = undefined
  }

  close(): void {
    this.failed()
  }
}
