import { onAbort } from '../../src/abort.js'
import { Ledger, snapshot, type Published, type Renewed } from '../../registries/shared/ledger.js'
import { Listings } from '../../registries/shared/listing.js'
import { Space } from '../../registries/shared/map-table.js'
import { newId } from '../../src/random.js'
import { Stores } from '../../registries/shared/storing.js'
import { StageError, type Clock, type Registry, type Store } from '../../src/index.js'
import type { Entry, Lease, Random, Timer, View } from '../../src/types.js'
import type { Chance } from './chance.js'
import type { HostClock } from './host-clock.js'
import type { StoreWay } from './store.js'

const NAMESPACE = 'default'
/** The time from a failed attempt to the next one, and for that attempt. */
const RENEW_MS = 1500
const away = (): StageError => new StageError('REGISTRY_UNAVAILABLE', 'the registry is out of reach')

/** The name server of a simulated world, with its own clock, behind connections that take time and break. */
export class Server {
  /** How long a request, an answer or a view takes to arrive. */
  requestMs = (): number => 0
  answerMs = (): number => 0
  viewMs = (): number => 0
  /** Writes are executed, but their answers are lost. */
  lossy = false
  failing = false
  readonly #outages: { from: number; until: number }[] = []
  readonly #space = new Space(NAMESPACE, 'sim')

  constructor(readonly clock: Clock, private readonly random: Random, readonly chance: Chance) {}

  get views(): Space['views'] {
    return this.#space.views
  }

  /** The ids that are listed. */
  get ids(): string[] {
    return (snapshot(this.#space.table)?.records ?? []).map(([id]) => id).sort()
  }

  step<T>(run: (ledger: Ledger) => T): T {
    const answer = run(new Ledger(this.#space.table, NAMESPACE, this.clock.wall(), newId(this.random)))
    this.#space.changed()
    return answer
  }

  fail(failing: boolean): void {
    this.failing = failing
    if (!failing) {
      const outage = this.#outages.at(-1)
      if (outage) outage.until = this.clock.now()
      return
    }
    this.#outages.push({ from: this.clock.now(), until: Infinity })
    this.#space.end(away())
  }

  /** The longest continuous time since then in which the server could be reached. */
  longestUp(since: number): number {
    let [longest, from] = [0, since]
    for (const outage of this.#outages) {
      if (outage.until <= from) continue
      longest = Math.max(longest, outage.from - from)
      from = outage.until
    }
    return Math.max(longest, this.clock.now() - from)
  }

  /** Behaves like a server that was restarted without its data: watchers learn of it with the first contact afterwards. */
  empty(): void {
    this.#space.table.clear()
  }
}

/**
 * One stage's connection to the server. It can be cut so that requests are refused, or so that nothing is ever answered.
 */
export class Client implements Registry {
  readonly address = 'sim:'
  /** When the last acknowledged heartbeat was sent. */
  renewedAt = -Infinity
  /** The last time at which the lease may have run out without a chance to renew it. */
  deniedAt = -Infinity
  #heardAt = 0
  #ttlMs = Infinity
  #cut: 'refused' | 'silent' | undefined
  #closed = false
  #notices: Timer | undefined
  readonly #listings: Listings
  readonly #stores = new Stores()
  readonly #watches = new Set<() => void>()
  #waiting: (() => void)[] = []

  /** @param noticesMs  how long a watch is silent before its driver closes it, as in real registries */
  constructor(private readonly server: Server, private readonly clock: HostClock, random: Random, private readonly noticesMs: number, private readonly way: StoreWay) {
    this.#listings = new Listings(clock, random)
  }

  /** The lease may have run out if the registry was up only for moments since its last renewal. */
  noteDenied(): void {
    const { clock } = this.server
    if (clock.now() - this.#heardAt > this.#ttlMs && this.server.longestUp(this.#heardAt) <= RENEW_MS) this.deniedAt = clock.now()
  }

  cut(how: 'refused' | 'silent' | undefined): void {
    this.#cut = how
    this.#notices?.cancel()
    if (how === 'silent') this.#notices = this.clock.setTimeout(() => { for (const end of this.#watches) end() }, this.noticesMs)
    if (how === 'refused') for (const end of this.#watches) end()
    if (how !== 'silent') for (const go of this.#waiting.splice(0)) go()
  }

  publish(entry: Entry, ttlMs: number): Promise<Lease> {
    this.#ttlMs = ttlMs
    return this.#listings.publish({
      publish: (listed) => this.#beat((ledger) => ledger.publish(listed)),
      renew: (listed, seen) => this.#beat((ledger) => ledger.renew(listed, seen)),
      sweep: (except) => this.#ask((ledger) => ledger.sweep(except)),
      remove: (id) => this.#ask((ledger) => ledger.remove(id)),
    }, entry, ttlMs)
  }

  async *watch(_namespace: string, signal: AbortSignal): AsyncGenerator<View, void, undefined> {
    const ending = new AbortController()
    const end = (): void => ending.abort()
    const release = onAbort(signal, end)
    this.#watches.add(end)
    try {
      await this.#pass(ending.signal, this.server.requestMs())
      // a namespace that has not been requested yet begins with the first contact
      if (!signal.aborted && this.server.ids.length === 0) this.server.step(() => {})
      for await (const view of this.server.views.watch(ending.signal)) {
        await this.#pass(ending.signal, this.server.viewMs())
        if (signal.aborted) return
        yield view
      }
      if (!signal.aborted) throw away()
    } finally {
      release()
      this.#watches.delete(end)
    }
  }

  store(namespace: string): Store {
    return this.#stores.open(this.address, namespace, () => this.way)
  }

  close(): Promise<void> {
    this.#closed = true
    void this.#stores.close()
    this.#listings.close()
    for (const end of this.#watches) end()
    this.cut(undefined)
    return Promise.resolve()
  }

  /** Waits until the message has arrived. @throws REGISTRY_UNAVAILABLE if it does not arrive */
  async #pass(signal: AbortSignal, ms: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const done = (): void => { timer.cancel(); release(); resolve() }
      const release = onAbort(signal, done)
      const timer = this.clock.arrive(done, ms)
    })
    if (this.#cut === 'silent' && !signal.aborted) {
      await new Promise<void>((resolve) => {
        const go = (): void => { release(); resolve() }
        const release = onAbort(signal, go)
        this.#waiting.push(go)
      })
    }
    if (!this.#closed && (this.#cut || this.server.failing)) throw away()
  }

  async #beat<T extends Published | Renewed>(run: (ledger: Ledger) => T): Promise<T> {
    const sentAt = this.clock.now()
    const told = await this.#ask(run)
    this.noteDenied()
    if ('answer' in told && told.answer !== 'lost') this.#heardAt = this.server.clock.now()
    if ('answer' in told) this.renewedAt = told.answer === 'lost' ? -Infinity : Math.max(this.renewedAt, sentAt)
    return told
  }

  #ask<T>(run: (ledger: Ledger) => T): Promise<T> {
    const { server, clock } = this
    return new Promise((resolve, reject) => {
      const answer = (settle: () => void, ms: number): void => { if (this.#cut !== 'silent') clock.arrive(settle, ms) }
      // a sent request is delivered even if its sender fails
      server.clock.setTimeout(() => {
        if (this.#cut || server.failing) return answer(() => reject(away()), server.answerMs())
        try {
          const value = server.step(run)
          answer(() => { if (server.lossy) reject(away()); else resolve(value) }, server.answerMs())
        } catch (error) {
          answer(() => reject(error), server.answerMs())
        }
      }, server.requestMs())
    })
  }
}
