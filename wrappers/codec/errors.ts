/**
 * What of an Error travels, as a value and as what was thrown, with every codec and without a link: its name, message and
 * code, its cause, the errors of an AggregateError, and those of its own properties that are data. Its stack and its class
 * do not: it arrives as an Error. No getter of its own is run; what a class computes (`get name()`) is asked.
 */
import { types } from 'node:util'
import { describe, isPrintable, printable, printableLines } from '../../src/errors.js'
import { handleOf } from '../../src/handle.js'
import { isError, isObjectPrototype } from '../../src/realm.js'
import { builtin, checkInstance, mapEntries, refuse, setValues, unbox } from './sendable.js'
import { streamKind } from './stream-kind.js'

/** Own properties of one Error, beside its cause and errors; and what their names and values may take together. */
const PROPERTIES_MAX = 32
const PROPERTIES_MAX_BYTES = 8 * 1024
/** Of one AggregateError; and of all that hang on one Error that was thrown. */
const ERRORS_MAX = 32
/** Containers within containers in such a property. */
const DEPTH_MAX = 8
/** Causes of causes of an Error that was thrown. */
const CAUSES_MAX = 8
const MESSAGE_MAX = 1024
const NAME_MAX = 128
/** Name and value of each property that has no place of its own. */
export const MORE_MAX = PROPERTIES_MAX + 2

/** What an Error must keep to itself, or it could not be printed or would be something else. */
const NEVER: ReadonlySet<string> = new Set([
  'name', 'message', 'stack', 'code', '__proto__', 'constructor', 'prototype', 'toString', 'toLocaleString', 'toJSON', 'valueOf',
  'hasOwnProperty', 'isPrototypeOf', 'propertyIsEnumerable', 'then', 'inspect',
])
/** Whether a property of that name may come with an Error. */
export const mayHave = (name: unknown): name is string => typeof name === 'string' && !NEVER.has(name)

export type More = readonly (readonly [string, unknown])[]
const NONE: More = []

export interface ErrorFields {
  readonly name: string
  readonly message: string
  readonly code: string | number | undefined
  readonly more: More
}

/** What may still be taken, and what it is in that is looked at: one that is in itself is left out. */
interface Room { bytes: number; errors: number; readonly above: object[] }
const newRoom = (): Room => ({ bytes: PROPERTIES_MAX_BYTES, errors: ERRORS_MAX, above: [] })

/** The parts of an Error that is sent as a value: its cause and its errors are values as any other. */
export const fieldsOf = (error: Error): ErrorFields => inside(error, newRoom(), (room) => fields(error, room, 0))

/** A copy of an Error that was thrown: bounded in all of its parts, and nothing in it that is not data. @throws whatever a Proxy throws */
export const told = (error: Error): Error => copy(error, newRoom(), 0)

/** Anything can be thrown, and looking at it may throw again. */
export function readThrown(thrown: unknown): { readonly text: string; readonly cause: unknown } {
  try {
    if (!isError(thrown)) return { text: describe(thrown), cause: thrown }
    const cause = told(thrown)
    return { text: cause.message, cause }
  } catch {
    return { text: 'what it threw cannot be read', cause: undefined }
  }
}

/** An Error that was thrown elsewhere is printed here, so its texts are made printable. Any other value is data, and stays as it is. */
export function shown(cause: unknown): unknown {
  if (!isError(cause)) return cause
  const { name, message, code, more } = fieldsOf(cause)
  const below = more.map(([key, value]) => [key, shownBelow(key, value)] as const)
  const isShown = isPrintable(`${name}${code}`) && printableLines(message) === message
  if (isShown && below.every(([, value], i) => value === more[i][1])) return cause
  return rebuiltError(printable(name), printableLines(message), typeof code === 'string' ? printable(code) : code, below)
}

function shownBelow(key: string, value: unknown): unknown {
  if (key === 'cause') return shown(value)
  return key === 'errors' ? listed(value as unknown[]) : value
}

function listed(errors: readonly unknown[]): readonly unknown[] {
  const all = errors.map(shown)
  return all.every((one, i) => one === errors[i]) ? errors : all
}

/** An Error as its parts came over a wire: whoever sent them may have kept to no bounds. */
export const receivedError = (name: string, message: string, code: string | number | undefined, more: More): Error =>
  rebuiltError(name, message, code, more.length === 0 ? more : kept(more, newRoom(), 0))

/** A plain Error whatever its name says: no class is looked up. Where it really happened was not sent. */
function rebuiltError(name: string, message: string, code: string | number | undefined, more: More): Error {
  const [first] = more
  const error = stackless(message, first?.[0] === 'cause' ? { cause: first[1] } : undefined)
  const put = (key: string, value: unknown, enumerable: boolean): void => {
    Object.defineProperty(error, key, { value, enumerable, writable: true, configurable: true })
  }
  put('name', name, false)
  if (code !== undefined) put('code', code, true)
  for (const [key, value] of more) if (key !== 'cause') put(key, value, key !== 'errors')
  return error
}

/** Taking the stack is nine tenths of making an Error, and a message may hold tens of thousands; and it would show this file. */
function stackless(message: string, options: ErrorOptions | undefined): Error {
  const limit = Error.stackTraceLimit
  Error.stackTraceLimit = 0
  try {
    return new Error(message, options)
  } finally {
    Error.stackTraceLimit = limit
  }
}

/** @param depth  of the containers that it is in, where it is in a property of another one */
function fields(error: Error, room: Room, depth: number): ErrorFields {
  const [name, message, code] = [read(error, 'name'), read(error, 'message'), read(error, 'code')]
  return {
    name: typeof name === 'string' ? name : 'Error',
    message: typeof message === 'string' ? message : '',
    code: typeof code === 'string' || typeof code === 'number' ? code : undefined,
    more: kept(ownData(error), room, depth),
  }
}

function read(error: object, name: string): unknown {
  const own = Object.getOwnPropertyDescriptor(error, name)
  return own ? own.value : (error as Record<string, unknown>)[name]
}

/** The cause first, though neither it nor the errors of an AggregateError can be listed. */
function* ownData(error: object): Iterable<readonly [string, unknown]> {
  for (const name of ['cause', 'errors', ...Object.keys(error)]) {
    const own = Object.getOwnPropertyDescriptor(error, name)
    if (own && 'value' in own) yield [name, own.value]
  }
}

/** What may stay of the properties of an Error. A second time it leaves all of them as they are. */
function kept(all: Iterable<readonly [string, unknown]>, room: Room, depth: number): More {
  let left: (readonly [string, unknown])[] | undefined
  let count = 0
  for (const [name, value] of all) {
    if (!mayHave(name) || left?.some(([other]) => other === name)) continue
    if (name === 'cause') (left ??= []).unshift([name, value])
    else if (name === 'errors' && Array.isArray(value)) (left ??= []).push([name, value.slice(0, ERRORS_MAX)])
    else if (count < PROPERTIES_MAX) {
      const { bytes } = room
      try {
        take(room, Buffer.byteLength(name))
        ;(left ??= []).push([name, dataOf(value, room, depth)])
        count++
      } catch {
        room.bytes = bytes // it is no data, or too much: whoever reads it sees that it is not there
      }
    }
  }
  return left ?? NONE
}

/** @param causes  above it @throws Refusal it is its own cause */
const copy = (error: Error, room: Room, causes: number): Error => inside(error, room, () => {
  const { name, message, code, more } = fields(error, room, 0)
  const below: (readonly [string, unknown])[] = []
  for (const [key, value] of more) {
    if (key === 'cause') below.push(...toldWithin(value, room, causes + 1).map((one) => [key, one] as const))
    else if (key === 'errors') below.push([key, (value as unknown[]).flatMap((one) => toldWithin(one, room, causes + 1))])
    else below.push([key, value])
  }
  const shortCode = typeof code === 'string' ? code.slice(0, NAME_MAX) : code
  return rebuiltError(name.slice(0, NAME_MAX), message.slice(0, MESSAGE_MAX), shortCode, below)
})

/** What hangs on an Error that was thrown; nothing, where it is no data or lies too deep. */
function toldWithin(value: unknown, room: Room, causes: number): readonly unknown[] {
  const { bytes } = room
  try {
    if (isError(value)) return causes > CAUSES_MAX || room.errors-- <= 0 ? [] : [copy(value, room, causes)]
    return [dataOf(value, room, 0)]
  } catch {
    room.bytes = bytes
    return []
  }
}

/** @throws Refusal it is in itself */
function inside<T>(value: object, room: Room, look: (room: Room) => T): T {
  if (room.above.includes(value)) refuse('is in itself')
  room.above.push(value)
  try {
    return look(room)
  } finally {
    room.above.pop()
  }
}

function take(room: Room, bytes: number): void {
  if ((room.bytes -= bytes) < 0) refuse('is too much for a property of an Error')
}

/** What costs so much at least. */
const ELEMENT = 9

/** A copy of what is data through and through, though binary data and Dates are not copied. @throws Refusal it is not, or there is no room for it */
function dataOf(value: unknown, room: Room, depth: number): unknown {
  take(room, ELEMENT)
  switch (typeof value) {
    case 'string': take(room, Buffer.byteLength(value)); return value
    case 'bigint': take(room, value.toString(16).length / 2); return value
    case 'object': return value === null ? null : inside(value, room, () => contents(value, room, depth + 1))
    case 'function': case 'symbol': return refuse('is no data')
    default: return value
  }
}

function contents(value: object, room: Room, depth: number): unknown {
  if (depth > DEPTH_MAX) refuse('is nested too deep')
  const inner = (one: unknown): unknown => dataOf(one, room, depth)
  if (Array.isArray(value)) {
    take(room, value.length)
    return Array.from({ length: value.length }, (_, i) => inner(Object.getOwnPropertyDescriptor(value, i)?.value))
  }
  if (ArrayBuffer.isView(value) || types.isAnyArrayBuffer(value)) {
    take(room, value.byteLength)
    return value
  }
  if (handleOf(value) !== undefined) refuse('is no data')
  switch (builtin(value)) {
    case 'date': return value
    case 'map': return new Map([...mapEntries.call(value as Map<unknown, unknown>)].map(([key, item]) => [inner(key), inner(item)]))
    case 'set': return new Set([...setValues.call(value as Set<unknown>)].map(inner))
    case 'error': return nested(value as Error, room, depth)
    case 'boxed': return inner(unbox(value))
    default: return properties(value, inner)
  }
}

/** An Error in a property of another one is printed with it. */
function nested(error: Error, room: Room, depth: number): Error {
  const { code: given, more, ...texts } = fields(error, room, depth)
  const [name, message, code] = [printable(texts.name), printableLines(texts.message), typeof given === 'string' ? printable(given) : given]
  take(room, Buffer.byteLength(name) + Buffer.byteLength(message) + Buffer.byteLength(String(code)))
  const below = more.map(([key, value]) => [key, key === 'cause' || key === 'errors' ? dataOf(value, room, depth) : value] as const)
  return rebuiltError(name, message, code, below)
}

function properties(value: object, inner: (one: unknown) => unknown): object {
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== null && !isObjectPrototype(prototype)) {
    checkInstance(value)
    if (Object.prototype.toString.call(value) !== '[object Object]') refuse('is no data')
    if (typeof (value as { on?: unknown }).on === 'function') refuse('is no data')
  }
  if (streamKind(value) !== 0) refuse('is no data')
  const copied: Record<string, unknown> = {}
  for (const key of Object.keys(value)) {
    const own = Object.getOwnPropertyDescriptor(value, key)
    if (key === '__proto__') refuse('is no data')
    if (own && 'value' in own) copied[key] = inner(own.value)
  }
  return copied
}
