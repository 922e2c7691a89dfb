import type { Clock } from '../../../src/types.js'
import type { Definition } from '../definition.js'
import type { Activation } from './activation.js'

/** Of idle actors, those that were used longest ago: one look at all of a type finds so many. */
const SPARE_MAX = 64
/** What looking for them may take of the time: one part of so many. */
const SHARE = 20

interface Spare {
  readonly at: number
  /** The first to go last. */
  readonly found: Activation[]
  /** When all may be looked through again. */
  readonly restsUntil: number
}

/** Which idle actors make room for others of their type. */
export class Room {
  readonly #spare = new Map<Definition, Spare>()

  /** @param activations  all that are active here */
  constructor(private readonly clock: Clock, private readonly activations: ReadonlyMap<string, Activation>) {}

  /** @returns one of that type that is being put away, the one that was used longest ago; undefined if none is idle */
  make(definition: Definition): Activation | undefined {
    let spare = this.#spare.get(definition)
    for (;;) {
      for (let one = spare?.found.pop(); one; one = spare?.found.pop()) {
        if (!one.idle || one.usedAt > spare!.at) continue // it was used since
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
