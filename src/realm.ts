/**
 * What something is whatever realm it was made in. jest, vitest's vmThreads and `node:vm` give programs globals of their
 * own, so that `instanceof Error` is false for half of what a program and Node itself throw there.
 */
import { types } from 'node:util'

/** No chain of prototypes is followed further, since a Proxy may make one without an end. */
const LEVELS_MAX = 100

/** An Error, also one of ES5, whose class only inherits from Error. Never throws. */
export function isError(value: unknown): value is Error {
  if (types.isNativeError(value)) return true
  if (typeof value !== 'object' || value === null) return false
  try {
    let level: object = value
    for (let i = 0; i < LEVELS_MAX; i++) {
      const above = Object.getPrototypeOf(level) as object | null
      if (above === null) return false
      if (isErrorPrototype(above)) return true
      level = above
    }
  } catch {}
  return false
}

function isErrorPrototype(level: object): boolean {
  if (level === Error.prototype) return true
  if (!Object.hasOwn(level, 'message') || !Object.hasOwn(level, 'toString')) return false
  const made: unknown = Object.getOwnPropertyDescriptor(level, 'constructor')?.value
  return typeof made === 'function' && made.name === 'Error' && made.prototype === level
}

/** Whether it is an `Object.prototype`: what has it as its prototype is a plain object. */
export const isObjectPrototype = (prototype: unknown): boolean =>
  prototype === Object.prototype || (
    typeof prototype === 'object' && prototype !== null &&
    Object.getPrototypeOf(prototype) === null && Object.hasOwn(prototype, 'isPrototypeOf')
  )
