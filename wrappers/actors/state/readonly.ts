/** Compares an actor's data before and after readonly turns, and rolls back their changes. */
import type { Refs } from '../../codec.js'
import type { Definition } from '../definition.js'
import { NO_BYTES, encode, restore, type Snapshot } from './snapshot.js'
import { dataNames } from '../members.js'

/** The view of an activation that readonly turns need. */
export interface DataOwner {
  readonly instance: object | undefined
  readonly definition: Pick<Definition, 'durable' | 'durableNames'>
  readonly host: { readonly outgoing: { readonly data: Refs } }
}

/** Snapshot of all data of an actor, without values that cannot be encoded. */
export function dataOf({ instance, definition, host }: DataOwner): Snapshot {
  const data = new Map<string, Buffer>()
  for (const name of new Set([...dataNames(instance!), ...definition.durable ? definition.durableNames(instance!) : []])) {
    try {
      data.set(name, encode((instance as Record<string, unknown>)[name], host.outgoing.data))
    } catch {} // changes of this value cannot be detected
  }
  return data
}

/** Rolls back to `before`. @returns the names of the properties that had changed @throws any exception of setters */
export function putBackData(activation: DataOwner, before: Snapshot): readonly string[] {
  const now = dataOf(activation)
  const differs = (name: string): boolean => !(before.get(name)?.equals(now.get(name) ?? NO_BYTES) ?? false)
  const changed = [...new Set([...before.keys(), ...now.keys()])].filter(differs)
  if (changed.length === 0) return changed
  const { instance, host } = activation
  const past = new Map([...before].filter(([name]) => changed.includes(name)))
  restore(instance!, changed, past, host.outgoing.data)
  return changed
}
