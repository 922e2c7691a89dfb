import { VALUES_MAX_BYTES } from './messages.js'

interface Waiting {
  bytes: number
  granted: () => void
}

/** What the unfinished values of all streams of a link may take together. Who finds no room waits in the order of asking. */
export class Budget {
  /** Bytes. */
  used = 0
  readonly #held = new Map<object, number>()
  readonly #waiting = new Map<object, Waiting>()

  /** @param granted  called once there is room, which may be at once */
  ask(who: object, bytes: number, granted: () => void): void {
    this.#waiting.set(who, { bytes, granted })
    this.#admit()
  }

  /** It needs none any more, or does not wait for it. */
  leave(who: object): void {
    this.used -= this.#held.get(who) ?? 0
    this.#held.delete(who)
    this.#waiting.delete(who)
    this.#admit()
  }

  #admit(): void {
    for (const [who, { bytes, granted }] of this.#waiting) {
      if (this.used + bytes > VALUES_MAX_BYTES) return
      this.#waiting.delete(who)
      this.#held.set(who, bytes)
      this.used += bytes
      granted()
    }
  }
}
