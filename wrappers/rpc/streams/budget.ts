import type { Begun, Unfinished } from '../serving/held.js'
import { VALUES_MAX_BYTES } from '../wire/messages.js'

/** The stream that carries a value. */
interface Asking {
  destroy(error: Error): unknown
}

interface Waiting {
  bytes: number
  granted: () => void
}

/** Memory for the unfinished values of all streams of a link. Streams that find no room wait in the order of asking. */
export class Budget {
  /** Bytes in use. */
  used = 0
  readonly #held = new Map<Asking, Begun>()
  readonly #waiting = new Map<Asking, Waiting>()

  /** @param all  the account of the process, which counts the same bytes */
  constructor(private readonly all: Unfinished) {}

  /** @param granted  called once there is room, which may be at once */
  ask(who: Asking, bytes: number, granted: () => void): void {
    this.#waiting.set(who, { bytes, granted })
    this.#admit()
  }

  /** Returns the room of a stream, or ends its wait for room. */
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
