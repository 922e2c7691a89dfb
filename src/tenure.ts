import { StageError, asError } from './errors.js'
import { outside } from './outside.js'
import { newId, jitter } from './random.js'
import { GRACE_MS } from './registry.js'
import { within } from './within.js'
import type { Clock, Entry, Lease, Random, Registry, Timer } from './types.js'

export interface TenureOptions {
  registry: Registry
  clock: Clock
  random: Random
  ttlMs: number
  /** The entry as it should be listed now, under `id`. */
  entry(id: string): Entry
  /** Resolves when a view newer than the call was applied, or when the registry does not answer. */
  look(): Promise<void>
  /** A heartbeat was answered. */
  onrenewed(): void
  /** The lease was lost: `before` is gone for good, and `id` has been replaced. */
  onlost(before: string): void
  /** An attempt failed; the next one follows by itself. */
  onerror(error: Error): void
}

interface Settle {
  resolve(): void
  reject(error: Error): void
}

const RETRY_MS = 250
const RETRY_MAX_MS = 1000
/** The least time between two questions to the registry whether the id is gone, however often peers say so. */
const DOUBT_MS = 1000

/**
 * Keeps one stage listed: publishes the entry, renews it every third of the TTL, and begins anew with a new id after a lost
 * lease. Heartbeats run on the main loop by choice: a stage whose loop hangs must not look alive.
 */
export class Tenure {
  id: string
  #lease: Lease | undefined
  #timer: Timer | undefined
  #running: Promise<void> | undefined
  #again = false
  #renounced = false
  /** The registry's history was reset since the id was listed. */
  #forgotten = false
  #doubt: Timer | undefined
  #doubted = -Infinity
  #started = false
  #failures = 0
  #told: string | undefined
  #closed = false
  #listed: Promise<void>
  #settleListed!: Settle
  /** Callers that wait for an attempt which begins after their question. */
  #asked: Settle[] = []
  // when the last acknowledged heartbeat was sent, by both clocks: the monotonic clock stops while a machine sleeps
  #sentAt = -Infinity
  #sentWall = -Infinity

  constructor(private readonly options: TenureOptions) {
    this.id = newId(options.random)
    this.#listed = this.#promise()
  }

  /** Begins; the addresses must be known by now. */
  start(): void {
    this.#started = true
    void this.#beat()
  }

  /** Whether the entry is listed, as far as is known. */
  get isListed(): boolean {
    return this.#lease !== undefined
  }

  /** Resolves once the entry is visible; rejects with the error of the last attempt, and may be called again. */
  listed(): Promise<void> {
    return this.#listed
  }

  /** The last renewal was sent less than 0.8 TTL ago, so nobody else may believe by now that this stage is gone. */
  valid(now?: number): boolean {
    return this.leftMs(now) > 0
  }

  /** How long the lease stays certain without another renewal. */
  leftMs(now = this.options.clock.now()): number {
    const { clock, ttlMs } = this.options
    return Math.max(0, 0.8 * ttlMs - Math.max(now - this.#sentAt, clock.wall() - this.#sentWall))
  }

  /** The registry's history was reset: the registry no longer knows what it has said about this id. */
  forgot(): void {
    this.#forgotten = this.#lease !== undefined
  }

  /**
   * A peer says that the id was reported gone. Anybody can say so, and the registry decides: a heartbeat finds out whether
   * the lease is lost. If the registry's history was reset meanwhile, its answer says nothing about its earlier reports; then
   * the id is renounced, once, as it may be gone to others for good (P1). If the registry does not answer, the stage's own
   * clock decides: once its lease has certainly expired, the peer must be right.
   */
  doubt(): void {
    if (this.#closed || this.#doubt) return
    const { clock } = this.options
    this.#doubt = clock.setTimeout(() => {
      this.#doubted = clock.now()
      const { id } = this
      void this.#ask(id).catch(() => {}).then(() => { this.#doubt = undefined })
    }, Math.max(0, this.#doubted + DOUBT_MS - clock.now()))
  }

  async #ask(id: string): Promise<void> {
    const answered = await this.relist().then(() => true, () => false)
    if (answered) await this.options.look()
    if (this.id === id && (answered ? this.#forgotten : this.#lapsed)) await this.renounce()
  }

  /** The last renewal was sent so long ago that everybody whom the registry answers must count this stage as gone. */
  get #lapsed(): boolean {
    const { clock, ttlMs } = this.options
    return clock.now() - this.#sentAt > ttlMs + GRACE_MS
  }

  /** Renounces the id, and begins anew with another. */
  async renounce(): Promise<void> {
    if (this.#closed || !this.#lease) return
    this.#renounced = true
    await this.update()
  }

  /** The entry has changed: lists it again at once. Resolves after that attempt. */
  async update(): Promise<void> {
    if (this.#closed || !this.#started) return
    this.#again = true
    await (this.#running ?? outside(() => this.#beat()))
  }

  /** The entry has changed: resolves once it is listed as it is now. @throws the error of the next attempt; others follow by themselves */
  relist(): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#closed) return reject(new StageError('CLOSED', 'the stage was closed'))
      this.#asked.push({ resolve, reject })
      void this.update()
    })
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#timer?.cancel()
    this.#doubt?.cancel()
    for (const one of [this.#settleListed, ...this.#asked.splice(0)]) one.reject(new StageError('CLOSED', 'the stage was closed'))
    await this.#running
    await this.#lease?.close().catch((error: unknown) => this.options.onerror(asError(error)))
  }

  #promise(): Promise<void> {
    const listed = new Promise<void>((resolve, reject) => { this.#settleListed = { resolve, reject } })
    listed.catch(() => {}) // without a caller, a rejection must not count as unhandled
    return listed
  }

  #beat(): Promise<void> {
    this.#timer?.cancel()
    this.#again = false
    const asked = this.#asked.splice(0)
    this.#running = this.#once().then(
      () => {
        this.#next(undefined)
        for (const one of asked) one.resolve()
      },
      (thrown: unknown) => {
        const error = asError(thrown)
        this.#next(error)
        for (const one of asked) one.reject(error)
      },
    )
    return this.#running
  }

  async #once(): Promise<void> {
    const { registry, clock, ttlMs, entry } = this.options
    const sentAt = clock.now()
    const sentWall = clock.wall()
    // one attempt must not use up the lease: a registry that hangs is away
    const slow = () => new StageError('REGISTRY_UNAVAILABLE', `the registry ${registry.address} did not answer a heartbeat in time`)
    if (this.#renounced && this.#lease) {
      this.#renounced = false
      // the old entry expires by itself: a goodbye that hangs must not keep the new entry from being listed
      await within(clock, Math.max(ttlMs / 5, 1000), this.#lease.close(), slow).catch((error: unknown) => this.options.onerror(asError(error)))
      return this.#lost()
    }
    if (!this.#lease) {
      this.#lease = await within(clock, Math.max(ttlMs / 5, 5000), registry.publish(entry(this.id), ttlMs), slow)
      if (this.#lease.lost) return this.#lost()
    } else {
      const answer = await within(clock, Math.max(ttlMs / 5, 1000), this.#lease.renew(entry(this.id)), slow)
      if (answer === 'lost') return this.#lost()
    }
    this.#sentAt = sentAt
    this.#sentWall = sentWall
    this.options.onrenewed()
  }

  async #lost(): Promise<void> {
    const before = this.id
    this.#lease = undefined
    this.#renounced = this.#forgotten = false // flags of the lost id
    this.#sentAt = this.#sentWall = -Infinity
    this.id = newId(this.options.random)
    this.options.onlost(before)
    if (!this.#closed) await this.#once()
  }

  #next(error: Error | undefined): void {
    this.#running = undefined
    if (this.#closed) return
    const { clock, random, ttlMs, onerror } = this.options
    if (error) {
      this.#failures++
      this.#settleListed.reject(error)
      this.#listed = this.#promise()
      // an earlier ready() has got its answer; the next ready() waits for the next attempt
      if (error.message !== this.#told) onerror(error) // once, not with every attempt
      this.#told = error.message
    } else {
      this.#told = undefined
      this.#failures = 0
      this.#settleListed.resolve()
    }
    const wait = this.#again ? 0
      : error ? Math.min(RETRY_MS * 2 ** (this.#failures - 1), RETRY_MAX_MS)
      : jitter(random, ttlMs / 3, 0.1)
    this.#timer = clock.setTimeout(() => void this.#beat(), wait)
  }
}
