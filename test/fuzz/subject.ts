import type { Chance } from './chance.js'

export interface Input {
  bytes: Buffer
  /** It is as the protocol wants it: to refuse it is a failure. */
  valid?: boolean
}

/** Something that bytes are given to. */
export interface Subject {
  readonly name: string
  /** How many of all inputs are for it, relative to the others. */
  readonly weight: number
  make(chance: Chance, corpus: readonly Buffer[]): Input
  /** The same input, whenever it runs, must do the same. @returns what is wrong */
  run(input: Input): string | undefined | Promise<string | undefined>
}
