import type { Commit, Entry, Fence, Lease, Registry, Store, View } from '../../src/types.js'

export type Tampering = 'held' | 'unfenced'

/**
 * A registry whose store can hold back commits until they are released. If it is `unfenced`, it also ignores the fence and
 * accepts every commit, to show that the judge detects this.
 */
export class Tampered implements Registry {
  readonly address: string
  #holding = false
  #held: (() => void)[] = []
  /** The results of the commits that were held. */
  readonly answers: Promise<'ok' | 'fenced'>[] = []

  constructor(private readonly inner: Registry, private readonly how: Tampering) {
    this.address = inner.address
  }

  get held(): number {
    return this.#held.length
  }

  /** Commits wait from now on. */
  hold(): void {
    this.#holding = true
  }

  /** @returns the store's answers to the commits that waited */
  async release(): Promise<readonly ('ok' | 'fenced')[]> {
    this.#holding = false
    for (const go of this.#held.splice(0)) go()
    return Promise.all(this.answers)
  }

  store(namespace: string): Store {
    const store = this.inner.store!(namespace)
    const commit = async (actor: string, fence: Fence, one: Commit): Promise<'ok' | 'fenced'> => {
      if (this.how === 'held') return store.commit(actor, fence, one)
      const known = await store.look(actor)
      return store.commit(actor, known?.owner ?? fence, { ...one, version: (known?.version ?? 0) + 1 })
    }
    return {
      address: store.address,
      claim: (actor, claim) => store.claim(actor, claim),
      commit: (actor, fence, one) => {
        if (!this.#holding) return commit(actor, fence, one)
        const answer = new Promise<void>((resolve) => { this.#held.push(resolve) }).then(() => commit(actor, fence, one))
        this.answers.push(answer)
        return answer
      },
      release: (actor, fence) => store.release(actor, fence),
      look: (actor) => store.look(actor),
      due: (limit, after) => store.due(limit, after),
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
