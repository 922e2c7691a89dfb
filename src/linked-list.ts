/** An element, which can be in one list at a time. */
export interface Linked {
  before: Linked | undefined
  after: Linked | undefined
  listed: boolean
}

/**
 * Elements that come and go fast, in the order in which they came. A Set would make a new table every few hundred changes.
 * The old tables, which are in V8's old space by then, keep all their elements alive until a full collection: each call that
 * passed would be moved there too.
 */
export class LinkedList<T extends Linked> {
  #first: Linked | undefined
  #last: Linked | undefined
  #size = 0

  get size(): number {
    return this.#size
  }

  get first(): T | undefined {
    return this.#first as T | undefined
  }

  /** Appends an element that is in no list. */
  add(one: T): void {
    one.listed = true
    one.before = this.#last
    if (this.#last) this.#last.after = one
    else this.#first = one
    this.#last = one
    this.#size++
  }

  /** @returns whether the element was there */
  delete(one: T): boolean {
    if (!one.listed) return false
    const { before, after } = one
    if (before) before.after = after
    else this.#first = after
    if (after) after.before = before
    else this.#last = before
    one.before = one.after = undefined
    one.listed = false
    this.#size--
    return true
  }

  /** A copy of the present elements, which later changes of the list do not affect. */
  all(): T[] {
    const all: T[] = []
    for (let one = this.#first; one; one = one.after) all.push(one as T)
    return all
  }
}
