/** Something that has frames to send over a link. */
export interface Source {
  /** Sends at most one frame; false if the source has nothing more, or waits for something else than its turn. */
  turn(): boolean
}

/**
 * Decides who sends next: streams and large messages take turns, a frame each, and only while the carrier has room. So none
 * of them holds up another, and small messages, which go at once, find little in front of them.
 */
export class Scheduler {
  /** Sources in the order of their turns: a Set is a queue from which any member can be removed. */
  readonly #ring = new Set<Source>()
  #pumping = false

  /** @param congested  whether the carrier has enough for now; the owner calls `pump` once there is room */
  constructor(readonly congested: () => boolean) {}

  get empty(): boolean {
    return this.#ring.size === 0
  }

  /** Queues a source; its turn may come at once. */
  add(source: Source): void {
    this.#ring.add(source)
    this.pump()
  }

  remove(source: Source): void {
    this.#ring.delete(source)
  }

  pump(): void {
    if (this.#pumping) return // during a turn a writer goes on, and may ask for the next turn at once
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
