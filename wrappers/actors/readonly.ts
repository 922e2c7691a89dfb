/** Turns that may change nothing are looked at before and after: what one has changed all the same is put back. */
import type { Activation } from './activation.js'
import { NO_BYTES, encode, restore, type Snapshot } from './snapshot.js'
import { dataNames } from './members.js'

/** All data of an actor; what cannot be encoded stands for itself. */
export function dataOf({ instance, definition, host }: Activation): Snapshot {
  const snapshot = new Map<string, Buffer>()
  for (const name of new Set([...dataNames(instance!), ...definition.durable ? definition.durableNames(instance!) : []])) {
    try {
      snapshot.set(name, encode((instance as Record<string, unknown>)[name], host.outgoing.data))
    } catch {} // nothing could be said about it
  }
  return snapshot
}

/** @returns the names of what has changed since, and was put back @throws whatever its setters throw */
export function putBackData(activation: Activation, before: Snapshot): readonly string[] {
  const now = dataOf(activation)
  const changed = [...new Set([...before.keys(), ...now.keys()])].filter((name) => !(before.get(name)?.equals(now.get(name) ?? NO_BYTES) ?? false))
  if (changed.length > 0) restore(activation.instance!, changed, new Map([...before].filter(([name]) => changed.includes(name))), activation.host.outgoing.data)
  return changed
}
