import type { Entry, Lease, Registry, Store, View } from '../../src/types.js'

/** A registry whose store ignores the fence: whoever commits, it keeps. What is checked must be seen to catch it. */
export class Unfenced implements Registry {
  readonly address: string

  constructor(private readonly inner: Registry) {
    this.address = inner.address
  }

  store(namespace: string): Store {
    const store = this.inner.store!(namespace)
    return {
      address: store.address,
      claim: (actor, claim) => store.claim(actor, claim),
      commit: async (actor, fence, commit) => {
        const known = await store.look(actor)
        return store.commit(actor, known?.owner ?? fence, { ...commit, version: (known?.version ?? 0) + 1 })
      },
      release: (actor, fence) => store.release(actor, fence),
      look: (actor) => store.look(actor),
      due: (limit) => store.due(limit),
      close: () => store.close(),
    }
  }

  publish(entry: Entry, ttlMs: number): Promise<Lease> {
    return this.inner.publish(entry, ttlMs)
  }

  watch(namespace: string, signal: AbortSignal): AsyncIterable<View> {
    return this.inner.watch(namespace, signal)
  }

  close(): Promise<void> {
    return this.inner.close()
  }
}
