import { MemoryRegistry, StageError, type Clock, type Registry, type Store } from '../../src/index.js'
import type { Entry, Lease, View } from '../../src/types.js'
import { onAbort } from '../../src/abort.js'
import { passed } from './virtual-clock.js'

/** A registry that pushes nothing at once: a watch learns of changes `lagMs` late, and only its first view is current. */
export class Lagging implements Registry {
  readonly address: string
  /** When each watch began, by the clock. The first watch is the stage's own, the others are looks. */
  readonly watches: number[] = []
  /** The behaviour of watches that begin from now on. */
  way: 'fresh' | 'silent' | 'away' = 'fresh'
  /** The number of watches that have not ended. */
  open = 0

  constructor(private readonly inner: MemoryRegistry, private readonly clock: Clock, public lagMs = 0) {
    this.address = inner.address
  }

  publish(entry: Entry, ttlMs: number): Promise<Lease> {
    return this.inner.publish(entry, ttlMs)
  }

  async *watch(namespace: string, signal: AbortSignal): AsyncGenerator<View> {
    this.watches.push(this.clock.now())
    this.open++
    try {
      if (this.way === 'away') throw new StageError('REGISTRY_UNAVAILABLE', 'the registry of this test is away')
      if (this.way === 'silent') await new Promise<void>((resolve) => { onAbort(signal, resolve) })
      let first = true
      for await (const view of this.inner.watch(namespace, signal)) {
        if (!first) await passed(this.clock, this.lagMs)
        first = false
        yield view
      }
    } finally {
      this.open--
    }
  }

  store(namespace: string): Store {
    return this.inner.store(namespace)
  }

  close(): Promise<void> {
    return this.inner.close()
  }
}
