/** Random numbers from two seeds, the same on every run and machine. */
export class Chance {
  #state: number

  constructor(seed: number, index: number) {
    this.#state = Math.imul(seed + 1, 0x9e3779b1) ^ Math.imul(index + 1, 0x85ebca6b)
    for (let i = 0; i < 4; i++) this.float() // adjacent seeds would otherwise begin alike
  }

  float(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0
    let t = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }

  below(n: number): number {
    return Math.floor(this.float() * n)
  }

  /** True once in `n` times. */
  once(n: number): boolean {
    return this.float() * n < 1
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)]
  }

  /** A small number in most cases, a large one rarely. */
  few(most: number): number {
    return this.once(20) ? this.below(most * 8) : this.below(most + 1)
  }

  bytes(size: number): Buffer {
    const bytes = Buffer.alloc(size)
    for (let i = 0; i < size; i++) bytes[i] = this.below(256)
    return bytes
  }
}
