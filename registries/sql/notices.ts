/**
 * Notifications of Postgres that something has changed, as a hint: every feed polls, too. Notifications need a connection of their
 * own, and arrive nowhere if a pooler in transaction mode stands in between. So after each connect a probe tells whether they do.
 */
import { outside } from '../../src/outside.js'
import { jitter, newId } from '../../src/random.js'
import type { Clock, Random, Timer } from '../../src/types.js'
import { within } from '../../src/within.js'
import type { Listening } from './postgres.js'

/** How long connecting, and again the probe, may take, in milliseconds. */
const LIMIT_MS = 3000
/** The first pause before connecting again; it doubles up to the last one. */
const RETRY_MS = 1000
const RETRY_MAX_MS = 30_000
/** After how long it is tried again where no notifications arrive. */
const AGAIN_MS = 300_000

export interface NoticesOptions {
  readonly channel: string
  readonly clock: Clock
  readonly random: Random
  connect(): Promise<Listening>
  /** Sends a notification over another connection. */
  send(payload: string): Promise<unknown>
}

export class Notices {
  /** Whether notifications arrive at present. */
  live = false
  /** The feeds that want to know, by namespace. */
  readonly #feeds = new Map<string, () => void>()
  #link: Listening | undefined
  #running = false
  #heard: ((payload: string) => void) | undefined
  #pausing: { readonly timer: Timer, readonly resolve: () => void } | undefined

  constructor(private readonly options: NoticesOptions) {}

  /** Calls `wake` when something may have changed in the namespace. @returns removes it again */
  add(namespace: string, wake: () => void): () => void {
    this.#feeds.set(namespace, wake)
    if (!this.#running) {
      this.#running = true
      outside(() => void this.#run())
    }
    return () => {
      if (this.#feeds.get(namespace) === wake) this.#feeds.delete(namespace)
      if (this.#feeds.size === 0) this.close()
    }
  }

  close(): void {
    this.#feeds.clear()
    this.#link?.destroy()
    this.#pausing?.timer.cancel()
    this.#pausing?.resolve()
  }

  async #run(): Promise<void> {
    let failures = 0
    while (this.#feeds.size > 0) {
      const answer = await this.#listen().catch(() => 'failed' as const)
      this.live = false
      this.#wake() // if the server has gone, the polls find out
      if (answer === 'ended') failures = 0
      const wait = answer === 'silent' ? AGAIN_MS : Math.min(RETRY_MS * 2 ** failures++, RETRY_MAX_MS)
      if (this.#feeds.size > 0) await this.#pause(jitter(this.options.random, wait, 0.2))
    }
    this.#running = false
  }

  /** One connection, until it ends. */
  async #listen(): Promise<'ended' | 'silent'> {
    const { clock, connect, channel } = this.options
    const link = await connect()
    if (this.#feeds.size === 0) return 'ended'
    this.#link = link
    try {
      const ended = new Promise<void>((resolve) => { link.onend(() => resolve()) })
      link.onnotice((payload) => this.#notice(payload))
      const late = () => new Error('no answer')
      await within(clock, LIMIT_MS, Promise.race([link.ready(), ended]), late)
      await within(clock, LIMIT_MS, Promise.race([link.query(`listen "${channel}"`, []), ended]), late)
      this.live = await this.#probe()
      if (!this.live) return 'silent'
      this.#wake() // a change may have come before the first notification
      await ended
      return 'ended'
    } finally {
      this.#link = undefined
      link.destroy()
    }
  }

  async #probe(): Promise<boolean> {
    const { clock, random, send } = this.options
    const payload = `?${newId(random)}`
    const heard = new Promise<true>((resolve) => { this.#heard = (one) => { if (one === payload) resolve(true) } })
    try {
      await send(payload)
      return await within(clock, LIMIT_MS, heard, () => new Error('no notification'))
    } catch {
      return false
    } finally {
      this.#heard = undefined
    }
  }

  #notice(payload: string): void {
    this.#heard?.(payload)
    this.#feeds.get(payload)?.()
  }

  #wake(): void {
    for (const wake of [...this.#feeds.values()]) wake()
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.#pausing = { timer: this.options.clock.setTimeout(resolve, ms), resolve }
    })
  }
}
