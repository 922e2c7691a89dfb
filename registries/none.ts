/** The absence of a registry: a stage is listed nowhere, and finds others by their addresses alone. */
import { systemClock } from '../src/clock.js'
import { StageError } from '../src/errors.js'
import { newId, systemRandom } from '../src/random.js'
import type { Clock, Entry, Lease, Random, Registry, View } from '../src/types.js'
import { MemoryRegistry } from './memory.js'

/** Lists a stage to itself, without a store: a stage that hosts actors needs the option `store`. */
export class NoRegistry implements Registry {
  readonly address = 'none:'
  readonly lists = false
  readonly #own: MemoryRegistry
  #user: string | undefined

  constructor({ clock = systemClock, random = systemRandom }: { clock?: Clock; random?: Random } = {}) {
    this.#own = new MemoryRegistry(`none-${newId(random)}`, { clock, random })
  }

  publish(entry: Entry, ttlMs: number): Promise<Lease> {
    this.#user ??= entry.name
    if (this.#user !== entry.name) {
      const advice = 'pass \'none:\' to each stage, and not one object to several'
      return Promise.reject(new StageError('BAD_ARGUMENT', `the registry none: belongs to the stage ${this.#user}: ${advice}`))
    }
    return this.#own.publish(entry, ttlMs)
  }

  watch(namespace: string, signal: AbortSignal): AsyncIterable<View> {
    return this.#own.watch(namespace, signal)
  }

  close(): Promise<void> {
    return this.#own.close()
  }
}
