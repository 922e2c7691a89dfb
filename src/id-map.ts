/** The least number of slots; an idle link has no more. */
const LEAST = 16
/** The greatest number of slots. */
const MOST = 16_384
/** A map that a burst has left with more slots than this shrinks to this many once it is empty. */
const KEPT = 1024

/**
 * Values by numbers that are assigned in sequence and released soon, such as the calls of a link by their ids.
 * A busy Map makes a new table every few hundred changes. The old tables, which are in V8's old space by then, keep all their
 * values alive until a full collection. Here a value leaves its slot and nothing is left of it.
 */
export class IdMap<T extends object> {
  #ids: number[] = slots(LEAST, 0)
  #values: (T | undefined)[] = slots<T | undefined>(LEAST, undefined)
  /** Values that stayed so long that another value needed their slot. */
  readonly #old = new Map<number, T>()
  #count = 0

  get size(): number {
    return this.#count + this.#old.size
  }

  get(id: number): T | undefined {
    const at = this.#at(id)
    if (this.#ids[at] === id && this.#values[at] !== undefined) return this.#values[at]
    return this.#old.size > 0 ? this.#old.get(id) : undefined
  }

  set(id: number, value: T): void {
    if (this.#old.size > 0) this.#old.delete(id)
    let at = this.#at(id)
    while (this.#values[at] !== undefined && this.#ids[at] !== id) {
      if (this.#count * 4 < this.#values.length || this.#values.length >= MOST) {
        this.#old.set(this.#ids[at], this.#values[at] as T)
        this.#values[at] = undefined
        this.#count--
      } else this.#grow()
      at = this.#at(id)
    }
    if (this.#values[at] === undefined) this.#count++
    this.#ids[at] = id
    this.#values[at] = value
  }

  /** @returns whether the id was there */
  delete(id: number): boolean {
    const at = this.#at(id)
    if (this.#ids[at] !== id || this.#values[at] === undefined) return this.#old.size > 0 && this.#old.delete(id)
    this.#values[at] = undefined
    if (--this.#count === 0 && this.#values.length > KEPT) this.#resize(KEPT)
    return true
  }

  clear(): void {
    this.#old.clear()
    this.#count = 0
    this.#resize(LEAST)
  }

  /** A copy of the present entries, in the order of their ids. */
  entries(): [id: number, value: T][] {
    const all: [number, T][] = [...this.#old]
    for (const [at, value] of this.#values.entries()) if (value !== undefined) all.push([this.#ids[at], value])
    return all.sort(([a], [b]) => a - b)
  }

  values(): T[] {
    return this.entries().map(([, value]) => value)
  }

  /** The slot of an id. The lowest bit is left out, as the ids of one end are all odd, or all even. */
  #at(id: number): number {
    return (id >>> 1) & (this.#values.length - 1)
  }

  #grow(): void {
    const all = this.entries()
    this.#old.clear()
    this.#count = 0
    this.#resize(this.#values.length * 2)
    for (const [id, value] of all) this.set(id, value)
  }

  #resize(length: number): void {
    this.#ids = slots(length, 0)
    this.#values = slots<T | undefined>(length, undefined)
  }
}

const slots = <V>(length: number, value: V): V[] => Array.from({ length }, () => value)
