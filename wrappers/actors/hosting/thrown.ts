import { outside } from '../../../src/outside.js'

/** By the code of the actor while it was made: whatever it is, it is not the word of the library. */
export class Thrown extends Error {
  constructor(override readonly cause: unknown) {
    super()
  }
}

/** Runs code of the actor. @throws Thrown whatever that throws */
export function theirs<T>(run: () => T): T {
  try {
    return outside(run)
  } catch (thrown) {
    throw new Thrown(thrown)
  }
}
