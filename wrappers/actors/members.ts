import { printable } from '../../src/errors.js'
import { methodsOfClasses, type Method } from '../rpc/serving/public-methods.js'

export type { Method } from '../rpc/serving/public-methods.js'

/** Names that no actor exposes, even if its class has them: the hooks, and names that JavaScript looks up on any object or promise. */
const HIDDEN: ReadonlySet<string> = new Set([
  'constructor', 'prototype', '__proto__', 'then', 'catch', 'finally', 'toString', 'toLocaleString', 'toJSON', 'valueOf',
  'hasOwnProperty', 'isPrototypeOf', 'propertyIsEnumerable', 'inspect', 'self', 'activate', 'deactivate',
])

/** Whether a property or method of that name is visible from outside. */
export const isPublic = (name: unknown): name is string => typeof name === 'string' && name !== '' && name[0] !== '_' && !HIDDEN.has(name)

const found = new WeakMap<object, Map<string, Method>>()
const NONE: ReadonlyMap<string, Method> = new Map()

/** The public methods of an object's class and its base classes, by name. */
export function methodsOf(object: object): ReadonlyMap<string, Method> {
  const prototype = Object.getPrototypeOf(object) as object | null
  if (prototype === null) return NONE
  let methods = found.get(prototype)
  if (!methods) found.set(prototype, methods = methodsOfClasses(prototype, isPublic))
  return methods
}

/** Public functions among an object's own properties, which count as methods too; undefined if there are none. */
export function ownMethods(object: object): Map<string, Method> | undefined {
  let methods: Map<string, Method> | undefined
  for (const name of Object.keys(object)) {
    const value: unknown = Object.getOwnPropertyDescriptor(object, name)?.value
    if (typeof value === 'function' && isPublic(name)) (methods ??= new Map()).set(name, value)
  }
  return methods
}

/** Whether the object has a public method of that name, inherited or own. */
export const hasMethod = (object: object, name: string): boolean => methodsOf(object).has(name) || ownMethods(object)?.has(name) === true

/** Returns a hook of the object, inherited or own. */
export function hook(object: object, name: 'activate' | 'deactivate'): Method | undefined {
  const value: unknown = (object as Record<string, unknown>)[name]
  return typeof value === 'function' ? value as Method : undefined
}

/** Whether the object has an own data property of that name, public or not; functions and accessors do not count. */
export function hasData(object: object, name: string): boolean {
  const own = Object.getOwnPropertyDescriptor(object, name)
  return own !== undefined && 'value' in own && typeof own.value !== 'function'
}

/** Names of the public data properties. */
export const dataNames = (object: object): string[] => Object.keys(object).filter((name) => isPublic(name) && hasData(object, name))

const LISTED_MAX = 8

/** Lists public names in an error message. */
export function listed(names: readonly string[]): string {
  if (names.length === 0) return ''
  const first = names.slice(0, LISTED_MAX).map((name) => name.slice(0, 64))
  return `; it has ${first.join(', ')}${names.length > LISTED_MAX ? ', …' : ''}`
}

/** A missing method of this actor. The same error of another actor arrives as the exception of the call to that actor. */
export class NoSuchMethod extends Error {
  /** @param hint  tells which members exist */
  constructor(readonly address: string, name: string, hint = '') {
    super(printable(`${address} has no public method ${JSON.stringify(name.slice(0, 128))}${hint}`))
  }
}
