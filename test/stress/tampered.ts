import type { Commit, Entry, Fence, Lease, Registry, Store, View } from '../../src/types.js'

export type Tampering = 'held' | 'unfenced'

/**
 * A registry whose store can be told to hold what is committed, until it is let go. Where it is `unfenced` it ignores the
 * fence besides, and keeps what anybody commits: what is checked must be seen to catch it.
 */
export class Tampered implements Registry {
  readonly address: string
  #holding = false
  #held: (() => void)[] = []
  /** What became of those that were held. */
  readonly answers: Promise<'ok' | 'fenced'>[] = []

  constructor(private readonly inner: Registry, private readonly how: Tampering) {
    this.address = inner.address
  }

  get held(): number {
    return this.#held.length
  }

  /** What is committed from now on waits. */
  hold(): void {
    this.#holding = true
  }

  /** @returns what the store answered to each of those that waited */
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
