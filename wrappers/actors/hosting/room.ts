import type { Clock } from '../../../src/types.js'
import type { Definition } from '../definition.js'
import type { Activation } from './activation.js'

/** Limit of least recently used idle actors remembered per scan of a type. */
const SPARE_MAX = 64
/** Scans may take at most one part in this many of the time. */
const SHARE = 20

interface Spare {
  readonly at: number
  /** Least recently used last. */
  readonly found: Activation[]
  /** When the next scan is allowed. */
  readonly restsUntil: number
}

/** Chooses idle actors that make room for others of their type. */
export class Room {
  readonly #spare = new Map<Definition, Spare>()

  /** @param activations  all activations of this stage */
  constructor(private readonly clock: Clock, private readonly activations: ReadonlyMap<string, Activation>) {}

  /** Deactivates the least recently used idle actor of a type. @returns its activation; undefined if none is idle */
  make(definition: Definition): Activation | undefined {
    let spare = this.#spare.get(definition)
    for (;;) {
      for (let one = spare?.found.pop(); one; one = spare?.found.pop()) {
        if (!one.idle || one.usedAt > spare!.at) continue // used since the scan
        one.stop('idle')
        return one
      }
      const at = this.clock.now()
      if (spare && at < spare.restsUntil) return undefined
      const idle = [...this.activations.values()].filter((one) => one.definition === definition && one.idle)
      const found = idle.sort((a, b) => a.usedAt - b.usedAt).slice(0, SPARE_MAX).reverse()
      const ended = this.clock.now()
      this.#spare.set(definition, spare = { at: ended, found, restsUntil: ended + (ended - at) * SHARE })
      if (found.length === 0) return undefined
    }
  }

  clear(): void {
    this.#spare.clear()
  }
}
