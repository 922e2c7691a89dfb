/**
 * A small pool of connections, under Kysely: it limits how long a statement may stay unanswered, destroys a connection that
 * does not answer, and can end all connections at once, also while they are being opened.
 */
import { outside } from '../../src/outside.js'
import type { Clock, Timer } from '../../src/types.js'
import { within } from '../../src/within.js'
import { isHarmless } from './failure.js'

/** One connection of a driver. */
export interface Link {
  /** Resolves once the connection can be used. */
  ready(): Promise<void>
  query(text: string, values: readonly unknown[]): Promise<unknown>
  /** Calls `fn` when the connection has ended by itself, with the reason if it is known; perhaps more than once. */
  onend(fn: (reason?: unknown) => void): void
  /** Ends the connection with the goodbye of its protocol. */
  quit(): Promise<unknown>
  /** Ends the connection at once. */
  destroy(): void
  /** Gives the connection back to a pool of the user's, instead of keeping it here. */
  release?(): void
}

export interface Limits {
  /** The most connections at a time. */
  readonly most: number
  /** How long a statement may stay unanswered, in milliseconds. */
  readonly statementMs: number
  /** Whether a commit waits for the disk, where that is not a setting of the server. */
  readonly durable: boolean
}

/** Time limit for connecting, in milliseconds. */
const CONNECT_MS = 3000
/** A connection that is unused for longer is closed. */
const IDLE_MS = 30_000
/** How long the goodbye of a connection may take. */
const QUIT_MS = 500

export class Connections {
  readonly #open = new Set<Held>()
  /** The last one released is the first one used, so that the others become idle. */
  readonly #idle: Held[] = []
  readonly #waiting: { resolve(held: Held): void; reject(error: unknown): void }[] = []
  #tidying: Timer | undefined
  #closed = false

  constructor(private readonly make: () => Link, private readonly clock: Clock, private readonly limits: Limits) {}

  /** A connection for one user at a time, who releases it. */
  async acquire(): Promise<Held> {
    if (this.#closed) throw new Error('the pool was closed')
    const idle = this.#idle.pop()
    if (idle) return idle
    if (this.#open.size >= this.limits.most) return new Promise((resolve, reject) => { this.#waiting.push({ resolve, reject }) })
    const held = outside(() => new Held(this.make(), this.clock, this.limits.statementMs, {
      onend: (one) => this.#ended(one),
      onrelease: (one) => this.#released(one),
    }))
    this.#open.add(held)
    try {
      await held.ready(CONNECT_MS)
    } catch (error) {
      held.end()
      throw error
    }
    if (held.ended) throw new Error('the connection was closed')
    return held
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#tidying?.cancel()
    for (const { reject } of this.#waiting.splice(0)) reject(new Error('the pool was closed'))
    const idle = this.#idle.splice(0)
    for (const held of [...this.#open]) if (!idle.includes(held)) held.end()
    await Promise.all(idle.map((held) => held.quit(QUIT_MS)))
  }

  #released(held: Held): void {
    if (held.link.release) {
      this.#open.delete(held)
      held.link.release()
      return
    }
    const next = this.#waiting.shift()
    if (next) return next.resolve(held)
    this.#idle.push(held)
    this.#tidying ??= outside(() => this.clock.setTimeout(() => this.#tidy(), IDLE_MS))
  }

  #ended(held: Held): void {
    if (!this.#open.delete(held)) return
    const at = this.#idle.indexOf(held)
    if (at >= 0) this.#idle.splice(at, 1)
    const next = this.#waiting.shift()
    if (next) this.acquire().then((one) => next.resolve(one), (error: unknown) => next.reject(error))
  }

  #tidy(): void {
    this.#tidying = undefined
    const since = this.clock.now() - IDLE_MS
    while (this.#idle.length > 0 && this.#idle[0].usedAt <= since) void this.#idle.shift()!.quit(QUIT_MS)
    const first = this.#idle[0]
    if (first) this.#tidying = this.clock.setTimeout(() => this.#tidy(), Math.max(100, first.usedAt + IDLE_MS - this.clock.now()))
  }
}

/** A connection, and the state in which its last user leaves it. */
export class Held {
  usedAt: number
  ended = false
  /** A transaction is open: nobody else can use the connection. */
  #dirty = false
  /** Rejects the present wait, because a destroyed connection may never answer it. */
  #abort: ((error: unknown) => void) | undefined

  constructor(
    readonly link: Link, private readonly clock: Clock, private readonly statementMs: number,
    private readonly on: { onend(held: Held): void; onrelease(held: Held): void },
  ) {
    this.usedAt = clock.now()
    link.onend((reason) => this.end(reason))
  }

  ready(ms: number): Promise<void> {
    return this.#wait(ms, () => this.link.ready(), 'connecting')
  }

  async query(text: string, values: readonly unknown[]): Promise<unknown> {
    if (this.ended) throw new Error('the connection was closed')
    if (/^(begin|start transaction)/.test(text)) this.#dirty = true
    try {
      const answer = await this.#wait(this.statementMs, () => this.link.query(text, values), 'a statement')
      if (/^(commit|rollback)/.test(text)) this.#dirty = false
      return answer
    } catch (error) {
      if (!isHarmless(error)) this.end()
      throw error
    }
  }

  release(): void {
    if (this.#dirty) this.end()
    if (this.ended) return
    this.usedAt = this.clock.now()
    this.on.onrelease(this)
  }

  /** Ends the connection at once. */
  end(reason: unknown = new Error('the connection was closed')): void {
    if (this.ended) return
    this.ended = true
    this.link.destroy()
    this.#abort?.(reason)
    this.on.onend(this)
  }

  /** Ends an idle connection with a goodbye, or without one if that takes too long. */
  async quit(ms: number): Promise<void> {
    this.ended = true
    this.on.onend(this)
    await within(this.clock, ms, this.link.quit(), () => new Error('no goodbye')).catch(() => {})
    this.link.destroy()
  }

  #wait<T>(ms: number, run: () => Promise<T>, what: string): Promise<T> {
    const answer = new Promise<T>((resolve, reject) => {
      this.#abort = reject
      run().then(resolve, reject)
    })
    return within(this.clock, ms, answer, () => new Error(`${what} timed out after ${ms} ms`))
  }
}
