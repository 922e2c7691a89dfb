import { StageError } from '../../../src/errors.js'
import type { Clock, Store, Timer } from '../../../src/types.js'
import { warnOnce } from '../../../src/warn-once.js'

/** How soon a store that did not answer is asked again. */
const AGAIN_MS = 5000

/** Says once in a process what a store may lose, which depends on how its server is set up. */
export class StoreWarning {
  #asked = false
  #again: Timer | undefined
  #closed = false

  constructor(private readonly clock: Clock) {}

  /** Asks the store, if it has anything to say; to be called for each durable type. */
  ask(store: Store): void {
    if (this.#asked || !store.warning) return
    this.#asked = true
    void this.#ask(store)
  }

  close(): void {
    this.#closed = true
    this.#again?.cancel()
  }

  async #ask(store: Store): Promise<void> {
    try {
      const warning = await store.warning?.()
      if (warning !== undefined && !this.#closed) warnOnce(warning) // not an error event: the user chose this store
    } catch (error) {
      if (this.#closed || !(error instanceof StageError)) return // only a store that is away may answer later
      this.#again = this.clock.setTimeout(() => void this.#ask(store), AGAIN_MS)
    }
  }
}
