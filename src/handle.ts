/** Objects of the library that are more than their properties, and how they travel as values. */
import type { Reference } from './types.js'

/**
 * The property in which such an object describes itself. The symbol is the same for each copy of the library in a process,
 * and in each realm.
 */
export const HANDLE = Symbol.for('stagemesh.handle')

/** A text says why the object cannot be sent, as the second half of a message. */
export type Handle = string | Reference

/** The description of a value, if it is an object of the library's. */
export function handleOf(value: object): Handle | undefined {
  const handle = (value as { [HANDLE]?: unknown })[HANDLE]
  return typeof handle === 'string' || isReference(handle) ? handle : undefined
}

const isReference = (handle: unknown): handle is Reference =>
  typeof handle === 'object' && handle !== null && typeof (handle as Reference).to === 'string'
