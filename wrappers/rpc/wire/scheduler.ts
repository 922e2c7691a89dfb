/** Something that has frames to send over a link. */
export interface Source {
  /** Sends at most one frame's worth; false when it has nothing more, or must wait for something else than its turn. */
  turn(): boolean
}

/**
 * Who sends next: streams and large messages take turns, a frame each, and only while the carrier has room. So neither
 * of them holds up another, and small messages, which go at once, find little in front of them.
 */
export class Scheduler {
  /** In the order of their turns: a Set is a queue from which anybody can be taken. */
  readonly #ring = new Set<Source>()
  #pumping = false

  /** @param congested  the carrier has enough for now; `pump` is called when that is over */
  constructor(readonly congested: () => boolean) {}

  get empty(): boolean {
    return this.#ring.size === 0
  }

  /** Its turn comes, perhaps at once. */
  add(source: Source): void {
    this.#ring.add(source)
    this.pump()
  }

  remove(source: Source): void {
    this.#ring.delete(source)
  }

  pump(): void {
    if (this.#pumping) return // a turn lets its writer go on, which may ask for the next turn at once
    this.#pumping = true
    try {
      while (this.#ring.size > 0 && !this.congested()) {
        const source = this.#ring.values().next().value as Source
        this.#ring.delete(source)
        if (source.turn()) this.#ring.add(source)
      }
    } finally {
      this.#pumping = false
    }
  }
}
