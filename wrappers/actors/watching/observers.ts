import { StageError, describe } from '../../../src/errors.js'
import type { Headers } from '../../../src/headers.js'
import { outside } from '../../../src/outside.js'
import type { Mesh } from '../../../src/types.js'
import type { Refs } from '../../codec.js'
import type { Rpc } from '../../rpc/rpc.js'
import { Subscription } from './subscription.js'
import { isPublic } from '../members.js'
import { Loop, Observer } from './observer.js'
import type { Routes } from '../calling/routes.js'
import { Starts } from './starts.js'
import type { ObserveOptions } from '../types.js'
import { Watches } from './watches.js'

const RESERVED: ReadonlySet<string> = new Set(['version', 'reset'])

/** All watches that this stage holds. Loops over the same properties share one watch, and watches over the same link share one stream. */
export class Observers {
  readonly #subscriptions = new Map<string, Subscription>()
  /** Watches by link; for this stage's own actors under `undefined`. */
  readonly #watches = new Map<Rpc | undefined, Watches>()
  readonly #starts: Starts
  #numbers = 0
  #closed = false

  constructor(readonly mesh: Mesh<Rpc>, readonly routes: Routes, private readonly refs: Refs) {
    this.#starts = new Starts(mesh.clock)
  }

  /** @throws StageError BAD_ARGUMENT · NO_SUCH_PROPERTY · CLOSED */
  observe(address: string, names: readonly string[], options: ObserveOptions): Loop {
    if (!isList(names)) {
      throw new StageError('BAD_ARGUMENT', `observe() got ${describe(names)}: expected the names of properties, at least one`)
    }
    const { mode = 'latest' } = options
    if (mode !== 'latest' && mode !== 'every') {
      throw new StageError('BAD_ARGUMENT', `mode is ${describe(mode)}: expected 'latest' or 'every'`)
    }
    for (const name of names) {
      if (RESERVED.has(name)) {
        throw new StageError('BAD_ARGUMENT', `a property named ${name} cannot be watched: each update has a field of that name`)
      }
      if (!isPublic(name)) throw new StageError('NO_SUCH_PROPERTY', `${describe(name)} cannot be a public property`)
    }
    if (this.#closed) throw new StageError('CLOSED', 'this stage is closed')
    const sorted = [...new Set(names)].sort()
    const headers = options.headers as Headers | undefined // checked by checkOptions() already
    const key = JSON.stringify([address, mode, Object.entries(headers ?? {}).sort(), ...sorted])
    let subscription = this.#subscriptions.get(key)
    if (!subscription) this.#subscriptions.set(key, subscription = new Subscription(this, address, sorted, mode, headers, key))
    const observer = new Observer(subscription, this.mesh, options, this.refs)
    if (subscription.size === 0) this.#subscriptions.delete(key) // its signal has already fired
    return new Loop(observer)
  }

  get stats(): Record<string, number> {
    return { observers: [...this.#subscriptions.values()].reduce((sum, subscription) => sum + subscription.size, 0) }
  }

  close(): void {
    this.#closed = true
    this.#starts.close()
    const error = new StageError('CLOSED', 'this stage was closed')
    for (const subscription of [...this.#subscriptions.values()]) subscription.fail(error)
  }

  // ── host of its subscriptions ─────────────────────────────────────────────────────────────────────────────────────────

  /** Queues a subscription to request its watch. */
  begin(subscription: Subscription): void {
    outside(() => this.#starts.add((done) => subscription.ask(done), subscription.shows)) // the subscription outlives its first loop
  }

  /** Forgets a subscription that nobody reads any more. */
  ended(subscription: Subscription, key: string): void {
    if (this.#subscriptions.get(key) === subscription) this.#subscriptions.delete(key)
  }

  /** A number that no watch of this stage has had. */
  nextNumber(): number {
    return ++this.#numbers
  }

  /** The watches over a link; without a link, the watches of this stage's own actors. */
  watches(rpc: Rpc | undefined): Watches {
    let watches = this.#watches.get(rpc)
    if (!watches) this.#watches.set(rpc, watches = new Watches(rpc, this.mesh.clock, () => this.#watches.delete(rpc)))
    return watches
  }
}

const isList = (names: readonly string[]): boolean => Array.isArray(names) && names.length > 0
