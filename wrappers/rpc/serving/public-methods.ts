/** The methods that an object's classes define. */
import { EventEmitter } from 'node:events'
import * as streams from 'node:stream'
import { isObjectPrototype } from '../../../src/realm.js'

export type Method = (this: object, ...args: unknown[]) => unknown

/** Prototypes of Node, whose methods are no concern of other stages. */
const OF_NODE: ReadonlySet<object> = new Set([
  EventEmitter, streams.Stream, streams.Readable, streams.Writable, streams.Duplex, streams.Transform, streams.PassThrough,
].map((one) => one.prototype as object))

/** Whether a prototype ends the search: one of Node or of the language. */
function isEnd(level: object): boolean {
  if (OF_NODE.has(level) || isObjectPrototype(level) || typeof level === 'function' || Array.isArray(level)) return true
  const made: unknown = Object.getOwnPropertyDescriptor(level, 'constructor')?.value
  return typeof made === 'function' && (globalThis as Record<string, unknown>)[made.name] === made // such as Map and EventTarget
}

/**
 * The methods of a prototype and of those below it, by name. The first definition of a name counts: a method that a subclass
 * has replaced by something else is none. A name from the wire is only ever looked up in this Map.
 */
export function methodsOfClasses(prototype: object | null, isVisible: (name: string) => boolean): Map<string, Method> {
  const methods = new Map<string, Method>()
  const seen = new Set<string>()
  for (let level = prototype; level !== null && !isEnd(level); level = Object.getPrototypeOf(level) as object | null) {
    for (const name of Object.getOwnPropertyNames(level)) {
      if (seen.has(name)) continue
      seen.add(name)
      const value: unknown = Object.getOwnPropertyDescriptor(level, name)?.value
      if (typeof value === 'function' && isVisible(name)) methods.set(name, value as Method)
    }
  }
  return methods
}

/** Whether an object was written as a literal, so that functions among its properties are its methods. */
export function isLiteral(object: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(object)
  return prototype === null || isObjectPrototype(prototype)
}
