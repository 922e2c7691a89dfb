import { IdMap } from '../../../src/id-map.js'
import { LinkedList, type Linked } from '../../../src/linked-list.js'
import type { Incoming } from './incoming.js'
import type { Handler, Service } from '../types.js'

/** A call that has come and has not begun. */
export interface Queued {
  /** Undefined for a service, or if no handler was found; HELD until the identity of the caller is known. */
  handler: Handler | undefined
  readonly service?: Service | undefined
  readonly call: Incoming
  readonly args: unknown[]
  readonly since: number
}

/** A call with its id, and its place in the order; casts have negative ids. */
export class Place implements Linked {
  before: Linked | undefined
  after: Linked | undefined
  listed = false

  constructor(readonly id: number, readonly queued: Queued) {}
}

/**
 * Calls that wait, in the order of their arrival, found also by their ids. A Map would have to skip the entries that were
 * deleted before its first one, thousands of them under overload, each time that the first call is asked for.
 */
export class Queue {
  readonly #order = new LinkedList<Place>()
  /** Calls only: nothing asks for a cast. */
  readonly #places = new IdMap<Place>()

  get size(): number {
    return this.#order.size
  }

  /** The call that has waited longest. */
  get first(): Place | undefined {
    return this.#order.first
  }

  get(id: number): Place | undefined {
    return this.#places.get(id)
  }

  add(id: number, queued: Queued): void {
    const place = new Place(id, queued)
    this.#order.add(place)
    if (id > 0) this.#places.set(id, place)
  }

  delete(place: Place): void {
    this.#order.delete(place)
    if (this.#places.get(place.id) === place) this.#places.delete(place.id)
  }

  /** Empties the queue. @returns the calls that waited */
  clear(): Queued[] {
    const all = this.#order.all()
    for (const place of all) this.delete(place)
    return all.map(({ queued }) => queued)
  }
}
