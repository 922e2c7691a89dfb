/** The registry of a stage, which can be exchanged for another while the stage runs. */
import { onAbort } from './abort.js'
import { StageError } from './errors.js'
import type { Entry, Lease, Registry, Store, View } from './types.js'

/** Passes everything on to the registry that is used at the moment. */
export class Swap implements Registry {
  #now: Registry
  readonly #watches = new Set<AbortController>()

  constructor(private readonly own: Registry) {
    this.#now = own
  }

  get address(): string {
    return this.#now.address
  }

  get lists(): boolean | undefined {
    return this.#now.lists
  }

  get current(): Registry {
    return this.#now
  }

  /** Uses another registry from now on, or the first one again: open watches go on there. @returns the registry that was used until now */
  use(registry: Registry = this.own): Registry {
    const before = this.#now
    this.#now = registry
    for (const watch of this.#watches) watch.abort()
    return before
  }

  async publish(entry: Entry, ttlMs: number): Promise<Lease> {
    const used = this.#now
    return new SwapLease(this, used, await used.publish(entry, ttlMs), entry, ttlMs)
  }

  async* watch(namespace: string, signal: AbortSignal): AsyncGenerator<View, void, undefined> {
    while (!signal.aborted) {
      const used = this.#now
      const ending = new AbortController() // by the caller or by the exchange, whichever is first
      const release = onAbort(signal, () => ending.abort())
      this.#watches.add(ending)
      try {
        yield* used.watch(namespace, ending.signal)
      } finally {
        release()
        this.#watches.delete(ending)
      }
      if (used === this.#now) return
    }
  }

  get store(): ((namespace: string) => Store) | undefined {
    return (this.#now.store ?? this.own.store) && ((namespace) => new SwapStore(this, namespace))
  }

  close(): Promise<void> {
    return Promise.resolve() // their openers close the registries
  }
}

/** A lease that moves to the registry that is used. */
class SwapLease implements Lease {
  readonly lost: boolean

  constructor(
    private readonly swap: Swap, private at: Registry, private lease: Lease, private entry: Entry, private readonly ttlMs: number,
  ) {
    this.lost = lease.lost === true
  }

  async renew(entry?: Entry): Promise<'ok' | 'late' | 'lost'> {
    if (entry) this.entry = entry
    const { current } = this.swap
    if (current === this.at) return this.lease.renew(entry)
    const before = this.lease
    const lease = await current.publish(this.entry, this.ttlMs)
    if (this.swap.current !== current) {
      // it took so long that the stage has turned to another registry, or back
      lease.close().catch(() => {})
      throw new StageError('REGISTRY_UNAVAILABLE', `the registry ${current.address} was left before it had answered`)
    }
    this.lease = lease
    this.at = current
    // the old registry may be away for good
    before.close().catch(() => {})
    return this.lease.lost ? 'lost' : 'ok'
  }

  close(): Promise<void> {
    return this.lease.close()
  }
}

/** The store of the registry that is used: states stay in the store in which they were committed. */
class SwapStore implements Store {
  readonly #stores = new Map<Registry, Store>()

  constructor(private readonly swap: Swap, private readonly namespace: string) {
    this.#now() // an invalid namespace is refused here
  }

  get address(): string {
    return this.#now().address
  }

  warning(): Promise<string | undefined> {
    return this.#now().warning?.() ?? Promise.resolve(undefined)
  }

  async claim(...args: Parameters<Store['claim']>): ReturnType<Store['claim']> {
    return this.#now().claim(...args)
  }

  async commit(...args: Parameters<Store['commit']>): ReturnType<Store['commit']> {
    return this.#now().commit(...args)
  }

  async release(...args: Parameters<Store['release']>): ReturnType<Store['release']> {
    return this.#now().release(...args)
  }

  async look(...args: Parameters<Store['look']>): ReturnType<Store['look']> {
    return this.#now().look(...args)
  }

  async due(...args: Parameters<Store['due']>): ReturnType<Store['due']> {
    return this.#now().due(...args)
  }

  async close(): Promise<void> {
    await Promise.all([...this.#stores.values()].map((store) => store.close()))
  }

  #now(): Store {
    const { current } = this.swap
    let store = this.#stores.get(current)
    if (!store) {
      store = current.store?.(this.namespace)
      if (!store) throw new StageError('STORE_UNAVAILABLE', `the registry ${current.address} has no store`)
      this.#stores.set(current, store)
    }
    return store
  }
}
