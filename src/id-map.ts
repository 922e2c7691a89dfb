/** The fewest slots there are; an idle link has no more. */
const LEAST = 16
/** The most of them. */
const MOST = 16_384
/** What a burst has left behind is let go of once the map is empty, where it is more than this. */
const KEPT = 1024

/**
 * Values by numbers that are given out one after the other and taken back soon, such as the calls of a link by their ids.
 * A Map that much goes through makes a new table every few hundred changes, and the old ones, which are in V8's old space by
 * then, keep all that was in them alive until a full collection. Here a value leaves its slot and nothing is left of it.
 */
export class IdMap<T extends object> {
  #ids: number[] = slots(LEAST, 0)
  #values: (T | undefined)[] = slots<T | undefined>(LEAST, undefined)
  /** Those that stayed so long that another needed their slot. */
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

  /** @returns whether it was there */
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

  /** As they are now, in the order of their ids. */
  entries(): [id: number, value: T][] {
    const all: [number, T][] = [...this.#old]
    for (const [at, value] of this.#values.entries()) if (value !== undefined) all.push([this.#ids[at], value])
    return all.sort(([a], [b]) => a - b)
  }

  values(): T[] {
    return this.entries().map(([, value]) => value)
  }

  /** Ids of one end are all odd, or all even. */
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
