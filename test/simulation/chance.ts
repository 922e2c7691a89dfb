import { seeded } from '../helpers/mesh.js'

/** The random choices of a simulation, from its seed. */
export class Chance {
  readonly float: () => number

  constructor(seed: string) {
    this.float = seeded(seed).float
  }

  odds(part: number): boolean {
    return this.float() < part
  }

  /** A whole number, `from` ≤ n < `to`. */
  between(from: number, to: number): number {
    return from + Math.floor(this.float() * (to - from))
  }

  one<T>(list: readonly T[]): T {
    return list[this.between(0, list.length)]
  }
}
