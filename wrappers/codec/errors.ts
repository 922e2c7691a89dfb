/**
 * The parts of an Error that travel, for an Error sent as a value and for a thrown one, with every codec and also within one
 * stage: its name, message and code, its cause, the errors of an AggregateError, and own properties that are data. Stack and
 * class are not sent: every Error arrives as a plain Error. Own getters do not run; getters of its class (`get name()`) do.
 */
import { types } from 'node:util'
import { describe, isPrintable, printable, printableLines } from '../../src/errors.js'
import { handleOf } from '../../src/handle.js'
import { isError, isObjectPrototype } from '../../src/realm.js'
import { builtin, checkInstance, mapEntries, refuse, setValues, unbox } from './sendable.js'
import { streamKind } from './stream-kind.js'

/** Limits on the own properties of one Error besides cause and errors: their number, and the bytes of names and values together. */
const PROPERTIES_MAX = 32
const PROPERTIES_MAX_BYTES = 8 * 1024
/** Maximum errors in one AggregateError, and in total below one thrown Error. */
const ERRORS_MAX = 32
/** Nesting depth of containers in an own property. */
const DEPTH_MAX = 8
/** Length of the chain of causes of a thrown Error. */
const CAUSES_MAX = 8
const MESSAGE_MAX = 1024
const NAME_MAX = 128
/** Maximum name-value pairs after code: the own properties, cause and errors. */
export const MORE_MAX = PROPERTIES_MAX + 2

/** Names never taken from own properties: they are sent separately, or would break printing or change the nature of an Error. */
const NEVER: ReadonlySet<string> = new Set([
  'name', 'message', 'stack', 'code', '__proto__', 'constructor', 'prototype', 'toString', 'toLocaleString', 'toJSON', 'valueOf',
  'hasOwnProperty', 'isPrototypeOf', 'propertyIsEnumerable', 'then', 'inspect',
])
/** Whether a property of that name may travel with an Error. */
export const mayHave = (name: unknown): name is string => typeof name === 'string' && !NEVER.has(name)

export type More = readonly (readonly [string, unknown])[]
const NONE: More = []

export interface ErrorFields {
  readonly name: string
  readonly message: string
  readonly code: string | number | undefined
  readonly more: More
}

/** The remaining budget, and the chain of containers around the present value, by which cycles are found and left out. */
interface Room { bytes: number; errors: number; readonly above: object[] }
const newRoom = (): Room => ({ bytes: PROPERTIES_MAX_BYTES, errors: ERRORS_MAX, above: [] })

/** The parts of an Error that is sent as a value; cause and errors are left for the codec to encode like any value. */
export const fieldsOf = (error: Error): ErrorFields => inside(error, newRoom(), (room) => fields(error, room, 0))

/** A copy of a thrown Error: bounded in every part, and containing only data. @throws any error that a Proxy throws */
export const told = (error: Error): Error => copy(error, newRoom(), 0)

/** Reads a thrown value, which can be anything; a value that throws when read yields a fixed text. */
export function readThrown(thrown: unknown): { readonly text: string; readonly cause: unknown } {
  try {
    if (!isError(thrown)) return { text: describe(thrown), cause: thrown }
    const cause = told(thrown)
    return { text: cause.message, cause }
  } catch {
    return { text: 'the thrown value cannot be read', cause: undefined }
  }
}

/** Makes the texts of an Error from elsewhere printable, because it will be printed here. Any other value is data and stays unchanged. */
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

/** Rebuilds an Error from its parts on the wire, enforcing the bounds again, as the sender may have ignored them. */
export const receivedError = (name: string, message: string, code: string | number | undefined, more: More): Error =>
  rebuiltError(name, message, code, more.length === 0 ? more : kept(more, newRoom(), 0))

/** Makes a plain Error with any name: no class is looked up. The stack is empty, because the original was not sent. */
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

/** Skips the stack trace, which takes nine tenths of the time (a message may hold tens of thousands of Errors) and would show this file. */
function stackless(message: string, options: ErrorOptions | undefined): Error {
  const limit = Error.stackTraceLimit
  Error.stackTraceLimit = 0
  try {
    return new Error(message, options)
  } finally {
    Error.stackTraceLimit = limit
  }
}

/** @param depth  container depth of the Error, if it is in a property of another Error */
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

/** Own data properties, with `cause` and `errors` first, which `Object.keys` does not list. */
function* ownData(error: object): Iterable<readonly [string, unknown]> {
  for (const name of ['cause', 'errors', ...Object.keys(error)]) {
    const own = Object.getOwnPropertyDescriptor(error, name)
    if (own && 'value' in own) yield [name, own.value]
  }
}

/** Selects the properties of an Error that may travel. Idempotent: a second pass changes nothing. */
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
        room.bytes = bytes // not data, or too large: the property is left out
      }
    }
  }
  return left ?? NONE
}

/** @param causes  depth in the chain of causes @throws Refusal the Error is its own cause */
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

/** Copies a cause or one of the errors of a thrown Error; empty if the value is not data or lies too deep. */
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

/** Runs `look` with the value on the chain of containers. @throws Refusal the value contains itself */
function inside<T>(value: object, room: Room, look: (room: Room) => T): T {
  if (room.above.includes(value)) refuse('contains itself')
  room.above.push(value)
  try {
    return look(room)
  } finally {
    room.above.pop()
  }
}

function take(room: Room, bytes: number): void {
  if ((room.bytes -= bytes) < 0) refuse('is too large for a property of an Error')
}

/** Minimum cost of any element, in bytes. */
const ELEMENT = 9

/** A deep copy of data; binary data and Dates are shared, not copied. @throws Refusal the value is not data, or exceeds the budget */
function dataOf(value: unknown, room: Room, depth: number): unknown {
  take(room, ELEMENT)
  switch (typeof value) {
    case 'string': take(room, Buffer.byteLength(value)); return value
    case 'bigint': take(room, value.toString(16).length / 2); return value
    case 'object': return value === null ? null : inside(value, room, () => contents(value, room, depth + 1))
    case 'function': case 'symbol': return refuse('is not data')
    default: return value
  }
}

function contents(value: object, room: Room, depth: number): unknown {
  if (depth > DEPTH_MAX) refuse('is nested too deeply')
  const inner = (one: unknown): unknown => dataOf(one, room, depth)
  if (Array.isArray(value)) {
    take(room, value.length)
    return Array.from({ length: value.length }, (_, i) => inner(Object.getOwnPropertyDescriptor(value, i)?.value))
  }
  if (ArrayBuffer.isView(value) || types.isAnyArrayBuffer(value)) {
    take(room, value.byteLength)
    return value
  }
  if (handleOf(value) !== undefined) refuse('is not data')
  switch (builtin(value)) {
    case 'date': return value
    case 'map': return new Map([...mapEntries.call(value as Map<unknown, unknown>)].map(([key, item]) => [inner(key), inner(item)]))
    case 'set': return new Set([...setValues.call(value as Set<unknown>)].map(inner))
    case 'error': return nested(value as Error, room, depth)
    case 'boxed': return inner(unbox(value))
    default: return properties(value, inner)
  }
}

/** Copies an Error in a property of another Error, with printable texts, because both are printed together. */
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
    if (Object.prototype.toString.call(value) !== '[object Object]') refuse('is not data')
    if (typeof (value as { on?: unknown }).on === 'function') refuse('is not data')
  }
  if (streamKind(value) !== 0) refuse('is not data')
  const copied: Record<string, unknown> = {}
  for (const key of Object.keys(value)) {
    const own = Object.getOwnPropertyDescriptor(value, key)
    if (key === '__proto__') refuse('is not data')
    if (own && 'value' in own) copied[key] = inner(own.value)
  }
  return copied
}
