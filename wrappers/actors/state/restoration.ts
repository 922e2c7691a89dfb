/** Restores the kept state of an actor in a new object of its type. */
import { StageError, asError } from '../../../src/errors.js'
import { outside } from '../../../src/outside.js'
import type { Refs } from '../../codec.js'
import type { Definition } from '../definition.js'
import { decode, type Kept, type Snapshot } from './snapshot.js'

/** The view of the activation that restoring needs. */
interface RestoringOwner {
  readonly address: string
  readonly definition: Pick<Definition, 'version' | 'migrated'>
  readonly host: { readonly outgoing: { readonly data: Refs } }
}

/**
 * Restores all properties, also ones that this type does not know, so that a future migrate() can use them.
 * @throws StageError STATE_CORRUPT
 */
export function restoreKept(object: object, { version, snapshot }: Omit<Kept, 'reminders'>, owner: RestoringOwner): void {
  const { definition } = owner
  for (const [name, value] of Object.entries(valuesOf(version, snapshot, owner))) {
    if (name !== '__proto__' && name !== 'self') (object as Record<string, unknown>)[name] = value
  }
  if (version !== definition.version) return
  for (const [name, bytes] of snapshot) if (bytes.length === 0) Reflect.deleteProperty(object, name)
}

/** The properties by name, migrated if another version of the type kept them. */
function valuesOf(version: number, snapshot: Snapshot, { address, definition, host }: RestoringOwner): Record<string, unknown> {
  const data = (): Record<string, unknown> => decoded(snapshot, host.outgoing.data)
  try {
    return version === definition.version ? data() : outside(() => definition.migrated(version, data))
  } catch (thrown) {
    const error = asError(thrown)
    if (error instanceof StageError && error.code === 'STATE_CORRUPT') throw error
    throw new StageError('STATE_CORRUPT', `the stored state of ${address} cannot be read: ${error.message}`, { cause: thrown })
  }
}

/** Decodes the properties, except deleted ones, which have no bytes. */
function decoded(snapshot: Snapshot, refs: Refs): Record<string, unknown> {
  const held = [...snapshot].filter(([, bytes]) => bytes.length > 0)
  return Object.fromEntries(held.map(([name, bytes]) => [name, decode(bytes, refs)]))
}
