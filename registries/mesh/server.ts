/** The methods by which a stage serves a registry, with its store, to stages on other machines. */
import { firstOf } from '../../src/abort.js'
import { checkEntry } from '../../src/entry.js'
import { StageError, describe } from '../../src/errors.js'
import { MAX_STATE_BYTES } from '../../src/store.js'
import type { Claim, Clock, Commit, Committed, Entry, Fence, Lease, Registry, Store, Wake } from '../../src/types.js'
import { answering, chunked, joined, partsOf, type Answer, type Bytes, type Part } from './wire.js'

/** A lease that was not renewed for so many TTLs is forgotten here; the registry has removed its entry long before. */
const FORGET_TTLS = 4

interface Held {
  lease: Lease
  /** Of the publish that made the lease: a client that published again does not take out its own entry. */
  token: number
  ttlMs: number
  renewedAt: number
}

type Sent<T> = Omit<T, 'data'> & { data?: Bytes }

/** The methods of a server, by name; each is called with what the client sends, which is checked here. */
export class Served {
  readonly #leases = new Map<string, Held>()
  readonly #stores = new Map<string, Store>()
  readonly #leaving = new AbortController()
  #tokens = 0

  constructor(private readonly registry: Registry, private readonly clock: Clock) {}

  /** The registry behind the server, and whether it has a store. */
  about(): { address: string; store: boolean } {
    return { address: this.registry.address, store: typeof this.registry.store === 'function' }
  }

  publish(entry: unknown, ttlMs: unknown): Promise<Answer<{ lost: boolean; token: number }>> {
    return answering(async () => {
      const good = entryOf(entry)
      if (typeof ttlMs !== 'number' || !(ttlMs > 0 && ttlMs <= 86_400_000)) throw wrong('ttlMs', ttlMs)
      const lease = await this.registry.publish(good, ttlMs)
      this.#sweep()
      this.#leases.set(keyOf(good.namespace, good.id), { lease, token: ++this.#tokens, ttlMs, renewedAt: this.clock.now() })
      return { lost: lease.lost === true, token: this.#tokens }
    })
  }

  /** @returns `unknown` if this server does not hold the lease, after a restart: the client publishes again */
  renew(namespace: unknown, id: unknown, entry?: unknown): Promise<Answer<'ok' | 'late' | 'lost' | 'unknown'>> {
    return answering(async () => {
      const held = this.#leases.get(keyOf(namespace, id))
      if (!held) return 'unknown'
      held.renewedAt = this.clock.now()
      const found = await held.lease.renew(entry === undefined ? undefined : entryOf(entry))
      if (found === 'lost') this.#leases.delete(keyOf(namespace, id))
      return found
    })
  }

  withdraw(namespace: unknown, id: unknown, token: unknown): Promise<Answer<null>> {
    return answering(async () => {
      const held = this.#leases.get(keyOf(namespace, id))
      if (held?.token !== token) return null
      this.#leases.delete(keyOf(namespace, id))
      await held?.lease.close()
      return null
    })
  }

  async* watch(namespace: unknown, signal: AbortSignal): AsyncGenerator<Part> {
    if (typeof namespace !== 'string') throw wrong('namespace', namespace)
    if (this.#leaving.signal.aborted) return
    const ending = firstOf(signal, this.#leaving.signal)
    try {
      for await (const view of this.registry.watch(namespace, ending.signal)) yield* partsOf(view)
    } finally {
      ending.release()
    }
  }

  warning(namespace: unknown): Promise<Answer<string | null>> {
    return this.#ask(namespace, async (store) => await store.warning?.() ?? null)
  }

  claim(namespace: unknown, actor: unknown, claim: unknown): Promise<Answer<unknown>> {
    return this.#ask(namespace, async (store) => sent(await store.claim(textOf(actor), recordOf(claim) as Claim) as Partial<Committed>))
  }

  async commit(namespace: unknown, actor: unknown, fence: unknown, commit: unknown, data: unknown): Promise<Answer<'ok' | 'fenced'>> {
    return this.#ask(namespace, async (store) => {
      const bytes = await joined(data as Bytes, MAX_STATE_BYTES)
      return store.commit(textOf(actor), recordOf(fence) as Fence, { ...recordOf(commit) as Commit, data: bytes })
    })
  }

  release(namespace: unknown, actor: unknown, fence: unknown): Promise<Answer<null>> {
    return this.#ask(namespace, async (store) => {
      await store.release(textOf(actor), recordOf(fence) as Fence)
      return null
    })
  }

  look(namespace: unknown, actor: unknown): Promise<Answer<unknown>> {
    return this.#ask(namespace, async (store) => {
      const found = await store.look(textOf(actor))
      return found === undefined ? null : sent(found)
    })
  }

  due(namespace: unknown, limit: unknown, after?: unknown): Promise<Answer<readonly Wake[]>> {
    return this.#ask(namespace, (store) => store.due(limit as number, after === undefined ? undefined : recordOf(after) as Wake))
  }

  /** Ends the watches, for which the service would wait when it closes. */
  leave(): void {
    this.#leaving.abort()
  }

  async close(): Promise<void> {
    await Promise.all([...this.#stores.values()].map((store) => store.close()))
  }

  #ask<T>(namespace: unknown, ask: (store: Store) => Promise<T>): Promise<Answer<T>> {
    return answering(async () => {
      const name = textOf(namespace)
      let store = this.#stores.get(name)
      if (!store) {
        store = this.registry.store?.(name)
        if (!store) throw new StageError('STORE_UNAVAILABLE', `the registry ${this.registry.address} has no store`)
        this.#stores.set(name, store)
      }
      return ask(store)
    })
  }

  /** Clients that never came back hold nothing here. */
  #sweep(): void {
    const now = this.clock.now()
    for (const [key, { ttlMs, renewedAt }] of this.#leases) if (now - renewedAt > FORGET_TTLS * ttlMs) this.#leases.delete(key)
  }
}

const keyOf = (namespace: unknown, id: unknown): string => JSON.stringify([namespace, id])

function sent<T extends { data?: Buffer | undefined }>(found: T): Sent<T> {
  const { data, ...rest } = found
  return data === undefined ? rest : { ...rest, data: chunked(data) }
}

function entryOf(value: unknown): Entry {
  const namespace = (value as Partial<Entry> | null)?.namespace
  const entry = typeof namespace === 'string' ? checkEntry(value, namespace) : undefined
  if (!entry) throw wrong('entry', value)
  return entry
}

function recordOf(value: unknown): object {
  if (typeof value === 'object' && value !== null) return value
  throw wrong('argument', value)
}

function textOf(value: unknown): string {
  if (typeof value === 'string') return value
  throw wrong('name', value)
}

const wrong = (what: string, value: unknown): StageError => new StageError('BAD_ARGUMENT', `${what} is ${describe(value)}, which no registry takes`)
