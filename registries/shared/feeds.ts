import type { View } from '../../src/types.js'
import { Witness, type Views } from './views.js'

/** Keeps the records of one namespace as they are in the registry, until it is stopped. */
export interface Feed {
  readonly views: Views
  stop(): void
}

/** The feeds of one registry object: one for each namespace that is watched, however many watches there are. */
export class Feeds<F extends Feed> {
  readonly #feeds = new Map<string, F>()
  /** They outlive the feeds, so that a later watch notices what happened in between. */
  readonly #witnesses = new Map<string, Witness>()

  get(namespace: string): F | undefined {
    return this.#feeds.get(namespace)
  }

  /** Watches a namespace. @param make  makes its feed, if there is none */
  async* watch(namespace: string, signal: AbortSignal, make: (witness: Witness) => F): AsyncGenerator<View, void, undefined> {
    const feed = this.#feed(namespace, make)
    feed.views.watchers++
    try {
      yield* feed.views.watch(signal)
    } finally {
      if (--feed.views.watchers === 0) {
        feed.stop()
        if (this.#feeds.get(namespace) === feed) this.#feeds.delete(namespace)
      }
    }
  }

  /** Ends all watches. */
  stop(): void {
    for (const feed of this.#feeds.values()) feed.stop()
  }

  #feed(namespace: string, make: (witness: Witness) => F): F {
    const present = this.#feeds.get(namespace)
    if (present && !present.views.ended) return present
    const witness = this.#witnesses.get(namespace) ?? new Witness()
    this.#witnesses.set(namespace, witness)
    const feed = make(witness)
    this.#feeds.set(namespace, feed)
    return feed
  }
}
