/**
 * Type checks that hold in every realm. jest, vitest's vmThreads and `node:vm` give programs globals of their own, so that
 * `instanceof Error` is false for half of the errors that a program and Node itself throw there.
 */
import { types } from 'node:util'

/** The longest chain of prototypes that is followed, since a Proxy may make an endless chain. */
const LEVELS_MAX = 100

/** Whether the value is an Error; an ES5 class that only inherits from Error counts too. Never throws. */
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

/** Whether the value is an `Object.prototype` of any realm: an object with such a prototype is a plain object. */
export const isObjectPrototype = (prototype: unknown): boolean =>
  prototype === Object.prototype || (
    typeof prototype === 'object' && prototype !== null &&
    Object.getPrototypeOf(prototype) === null && Object.hasOwn(prototype, 'isPrototypeOf')
  )
