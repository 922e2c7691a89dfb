import type { Chance } from './chance.js'

export interface Input {
  bytes: Buffer
  /** The input conforms to the protocol: refusing it is a failure. */
  valid?: boolean
}

/** Code that gets the inputs. */
export interface Subject {
  readonly name: string
  /** The share of inputs for this subject, relative to the others. */
  readonly weight: number
  make(chance: Chance, corpus: readonly Buffer[]): Input
  /** The same input must have the same effect each time. @returns the failure */
  run(input: Input): string | undefined | Promise<string | undefined>
}
