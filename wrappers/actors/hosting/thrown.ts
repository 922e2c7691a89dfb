import { outside } from '../../../src/outside.js'

/** Wraps an exception of the actor's code during activation, so that it is never taken for an error of the library. */
export class Thrown extends Error {
  constructor(override readonly cause: unknown) {
    super()
  }
}

/** Runs code of the actor. @throws Thrown wraps any exception of that code */
export function theirs<T>(run: () => T): T {
  try {
    return outside(run)
  } catch (thrown) {
    throw new Thrown(thrown)
  }
}

/** The same for the promise that such code returned, or for its plain result. */
export const settled = (result: unknown): Promise<unknown> => Promise.resolve(result).catch((thrown: unknown) => {
  throw thrown instanceof Thrown ? thrown : new Thrown(thrown)
})
