/**
 * The properties of an actor as bytes. A property has changed, at any depth, if it encodes to other bytes than before.
 */
import { types } from 'node:util'
import { StageError, describe } from '../../../src/errors.js'
import { MAX_STATE_BYTES } from '../../../src/store.js'
import type { References } from '../../../src/types.js'
import { Writer } from '../../../src/writer.js'
import { msgpack, type Refs } from '../../codec.js'
import { FUNCTION, refuse } from '../../codec/sendable.js'

export const STATE_MAX_BYTES = 4 * 1024 * 1024
const FORMAT = 1

const codec = msgpack()
/** Codec for the kept state: encoded properties and their frame. */
const whole = msgpack({ maxBytes: MAX_STATE_BYTES })
const DATA: Refs = {
  give: () => refuse(FUNCTION),
  take: () => { throw new StageError('PROTOCOL_ERROR', 'a function where only data is allowed') },
}

/** Data refs of a stage, where proxies of actors are encoded as their addresses. */
export const dataRefs = ({ refer, resolve }: References): Refs => ({ ...DATA, refer, resolve })

/** The encoded values of some properties, by name. Immutable. */
export type Snapshot = ReadonlyMap<string, Buffer>
export const EMPTY: Snapshot = new Map()
export const NO_BYTES = Buffer.alloc(0)

const scratch = new Writer(1024)
let writing = false

/** @throws StageError BAD_ARGUMENT */
export function encode(value: unknown, refs = DATA, by = codec): Buffer {
  const writer = new Writer(256)
  by.encode(value, writer, refs)
  return writer.bytes.subarray(0, writer.at)
}

/** @param given  nobody else uses the bytes, so decoded values may be views of them */
export const decode = (bytes: Buffer, refs = DATA, by = codec, given = false): unknown => by.decode(bytes, 0, bytes.length, refs, given)

/**
 * Takes a snapshot of the properties.
 * @param before  the last snapshot of the same properties; returned itself if nothing has changed
 * @param gone    names of deleted properties, which the snapshot keeps without bytes, so that the deletion is kept too
 * @throws StageError BAD_ARGUMENT a property holds a value that is not data
 */
export function capture(object: object, names: readonly string[], before: Snapshot, refs: Refs, gone: readonly string[] = []): Snapshot {
  let next: Map<string, Buffer> | undefined
  for (const name of names) {
    const known = before.get(name)
    const bytes = encodedOr(known, (object as Record<string, unknown>)[name], name, refs)
    if (bytes !== known) (next ??= new Map(before)).set(name, bytes)
  }
  for (const name of gone) if (before.get(name)?.length !== 0) (next ??= new Map(before)).set(name, NO_BYTES)
  const has = next ?? before
  if (has.size > names.length + gone.length) {
    const left = new Set([...names, ...gone])
    for (const name of [...has.keys()]) if (!left.has(name)) (next ??= new Map(before)).delete(name)
  }
  return next ?? before
}

/** Encodes a value; returns `known` itself if the bytes are equal, without an allocation. */
function encodedOr(known: Buffer | undefined, value: unknown, name: string, refs: Refs): Buffer {
  if (writing) return encode(value, refs) // re-entered through a getter of a value
  writing = true
  scratch.at = 0
  try {
    codec.encode(value, scratch, refs)
    const { bytes, at } = scratch
    if (known?.length === at && known.compare(bytes, 0, at) === 0) return known
    return Buffer.from(bytes.subarray(0, at))
  } catch (error) {
    throw new StageError('BAD_ARGUMENT', `the property ${describe(name)} cannot be stored: ${(error as Error).message}`)
  } finally {
    writing = false
    if (scratch.bytes.length > 1024 * 1024) scratch.bytes = Buffer.allocUnsafeSlow(1024)
  }
}

/** Sets properties to the values of a snapshot and deletes properties that the snapshot does not have. */
export function restore(object: object, names: readonly string[], snapshot: Snapshot, refs: Refs): void {
  const target = object as Record<string, unknown>
  for (const name of new Set([...names, ...snapshot.keys()])) {
    const bytes = snapshot.get(name)
    if (!bytes?.length) Reflect.deleteProperty(target, name)
    else if (!same(target[name], bytes, refs)) target[name] = decode(bytes, refs)
  }
}

function same(value: unknown, bytes: Buffer, refs: Refs): boolean {
  try {
    return encode(value, refs).equals(bytes)
  } catch {
    return false
  }
}

/** The state of an actor in the store. */
export interface Kept {
  /** Version of the state's shape, as the type defines it. */
  readonly version: number
  readonly snapshot: Snapshot
  readonly reminders: readonly Reminder[]
}

export interface Reminder {
  readonly name: string
  /** When the reminder is due, by the store's clock. */
  readonly at: number
  /** Period in milliseconds; undefined: once. */
  readonly everyMs?: number | undefined
  readonly method: string
  readonly args: readonly unknown[]
  readonly missed: 'skip' | 'once'
}

/** @throws StageError BAD_ARGUMENT the state is over the size limit */
export function encodeKept({ version, snapshot, reminders }: Kept, refs: Refs): Buffer {
  const size = [...snapshot].reduce((sum, [name, bytes]) => sum + name.length + bytes.length, 0)
  const bytes = size > STATE_MAX_BYTES ? undefined : encode([FORMAT, version, snapshot, reminders], refs, whole)
  if (!bytes) {
    const allowed = `at most ${STATE_MAX_BYTES} are stored for an actor: divide it over several actors`
    throw new StageError('BAD_ARGUMENT', `the state has more than ${size} bytes, but ${allowed}`)
  }
  return bytes
}

/** @throws StageError STATE_CORRUPT */
export function decodeKept(bytes: Buffer, refs = DATA): Kept {
  try {
    const [format, version, snapshot, reminders] = decode(bytes, refs, whole) as unknown[]
    const isOurs = format === FORMAT && Number.isSafeInteger(version)
    if (isOurs && isSnapshot(snapshot) && Array.isArray(reminders) && reminders.every(isReminder)) {
      return { version: version as number, snapshot, reminders }
    }
  } catch {}
  const found = `the stored state (${bytes.length} bytes)`
  throw new StageError('STATE_CORRUPT', `${found} was written by no known version; it is left as it is`)
}

const isSnapshot = (value: unknown): value is Snapshot =>
  types.isMap(value) && [...value].every(([name, bytes]) => typeof name === 'string' && Buffer.isBuffer(bytes))

function isReminder(value: unknown): value is Reminder {
  const { name, at, everyMs, method, args, missed } = (value ?? {}) as Partial<Record<keyof Reminder, unknown>>
  if (typeof name !== 'string' || typeof at !== 'number') return false
  if (everyMs !== undefined && typeof everyMs !== 'number') return false
  return typeof method === 'string' && Array.isArray(args) && (missed === 'skip' || missed === 'once')
}
