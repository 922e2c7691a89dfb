import type { Begun, Unfinished } from '../serving/held.js'
import { VALUES_MAX_BYTES } from '../wire/messages.js'

/** The stream that a value comes over. */
interface Asking {
  destroy(error: Error): unknown
}

interface Waiting {
  bytes: number
  granted: () => void
}

/** What the unfinished values of all streams of a link may take together. Who finds no room waits in the order of asking. */
export class Budget {
  /** Bytes. */
  used = 0
  readonly #held = new Map<Asking, Begun>()
  readonly #waiting = new Map<Asking, Waiting>()

  /** @param all  of which it is a part */
  constructor(private readonly all: Unfinished) {}

  /** @param granted  called once there is room, which may be at once */
  ask(who: Asking, bytes: number, granted: () => void): void {
    this.#waiting.set(who, { bytes, granted })
    this.#admit()
  }

  /** It needs none any more, or does not wait for it. */
  leave(who: Asking): void {
    const held = this.#held.get(who)
    if (held) {
      this.used -= held.bytes
      this.all.end(held)
    }
    this.#held.delete(who)
    this.#waiting.delete(who)
    this.#admit()
  }

  #admit(): void {
    for (const [who, { bytes, granted }] of this.#waiting) {
      if (this.used + bytes > VALUES_MAX_BYTES) return
      this.#waiting.delete(who)
      const begun = this.all.begin((error) => who.destroy(error))
      this.#held.set(who, begun)
      this.used += bytes
      this.all.grow(begun, bytes)
      granted()
    }
  }
}
