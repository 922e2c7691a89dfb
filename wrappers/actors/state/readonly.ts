/** Turns that may change nothing are looked at before and after: what one has changed all the same is put back. */
import type { Refs } from '../../codec.js'
import type { Definition } from '../definition.js'
import { NO_BYTES, encode, restore, type Snapshot } from './snapshot.js'
import { dataNames } from '../members.js'

/** What is asked of an activation whose turns may change nothing. */
export interface DataOwner {
  readonly instance: object | undefined
  readonly definition: Pick<Definition, 'durable' | 'durableNames'>
  readonly host: { readonly outgoing: { readonly data: Refs } }
}

/** All data of an actor; what cannot be encoded stands for itself. */
export function dataOf({ instance, definition, host }: DataOwner): Snapshot {
  const data = new Map<string, Buffer>()
  for (const name of new Set([...dataNames(instance!), ...definition.durable ? definition.durableNames(instance!) : []])) {
    try {
      data.set(name, encode((instance as Record<string, unknown>)[name], host.outgoing.data))
    } catch {} // nothing could be said about it
  }
  return data
}

/** @returns the names of what has changed since, and was put back @throws whatever its setters throw */
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
