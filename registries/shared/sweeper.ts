import { GRACE_MS } from '../../src/registry.js'
import type { Clock, Random, Timer } from '../../src/types.js'
import { jitter } from '../../src/random.js'

/**
 * When to take lapsed entries out of a registry: at the earliest expiry that a heartbeat's answer told, plus most of
 * the grace. It has no heartbeat of its own, so that an idle stage costs nothing more.
 *
 * A stage that has just come back (or whose registry has) sees everybody late and must not judge them: it sweeps only
 * after one TTL of unbroken contact, in which the registry's clock and its own went on at the same pace.
 */
export class Sweeper {
  #contactSince: number | undefined
  #lastServer = 0
  #lastOwn = 0
  #timer: Timer | undefined

  /** @param sweep takes out what lapsed `GRACE_MS * 0.75` ago or more; its rejection is the heartbeat's to find out */
  constructor(
    private readonly clock: Clock,
    private readonly random: Random,
    private readonly ttlMs: number,
    private readonly sweep: () => Promise<unknown>,
  ) {}

  /** A heartbeat was answered at `server` time; the earliest lease there ends at `earliest` (Infinity: none). */
  renewed(server: number, earliest: number): void {
    const own = this.clock.now()
    const drift = Math.abs(server - this.#lastServer - (own - this.#lastOwn))
    // nor does one know what the registry did while one stood still oneself
    const stalled = own - this.#lastOwn > this.ttlMs / 2
    if (this.#contactSince === undefined || stalled || drift > this.ttlMs / 5) this.#contactSince = own
    this.#lastServer = server
    this.#lastOwn = own
    this.#timer?.cancel()
    this.#timer = undefined
    if (earliest === Infinity) return
    const due = Math.max(earliest + GRACE_MS * 0.75 - server, this.#contactSince + this.ttlMs - own)
    // what is due later than the next heartbeat is its answer's to say: most leases are renewed until then
    if (due > this.ttlMs / 2) return
    const wait = Math.max(0, due) + jitter(this.random, GRACE_MS / 20, 1)
    this.#timer = this.clock.setTimeout(() => {
      this.#timer = undefined
      if (this.clock.now() - own - wait < GRACE_MS / 4) this.sweep().catch(() => {}) // else the next heartbeat comes first
    }, wait)
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
