/** Rules shared by both codecs: which values can be sent, and how an error names the place in the value and an alternative. */
import { types } from 'node:util'
import { StageError, describe, isStageError } from '../../src/errors.js'
import { isError } from '../../src/realm.js'
import type { Handle } from '../../src/handle.js'
import type { Refs } from './types.js'

/** Thrown while encoding, also by `Refs`, with the second half of the message; the first half is the path. */
export class Refusal extends StageError {
  constructor(what: string) {
    super('BAD_ARGUMENT', what)
  }
}

export const refuse = (what: string): never => {
  throw new Refusal(what)
}

/** Placeholder in a path: in the container, but at none of its elements. */
export const NOWHERE = -1
/** Magnitude of the largest bigint. */
export const MAX_BIGINT_BYTES = 1024 * 1024
const MAX_BIGINT_BITS = BigInt(MAX_BIGINT_BYTES * 8)

export const STREAM = 'is a stream or an async iterable, which cannot be sent here: pass it as a stream of its own, with to()'
export const FUNCTION = 'is a function, which cannot be sent in a stream of values: pass it as an argument of a call'
const STREAM_OTHER = 'is an old-style stream, which cannot be read on demand: pass new Readable().wrap(it)'
const STREAM_LIKE = 'makes its object a stream of a kind that cannot be sent: pass a Node stream'
/** Advice by class tag: the part of such an object that can be sent. */
const INSTEAD: Readonly<Record<string, string>> = {
  Generator: 'spread it into an array, or make it an async generator to send its values one by one',
  Response: 'pass its body, which is a stream, or await its text()',
  Request: 'pass its body, which is a stream, or await its text()',
  Blob: 'pass its stream(), or await its arrayBuffer()',
  File: 'pass its stream(), or await its arrayBuffer()',
  FormData: 'send [...it], a list of its entries',
  Headers: 'send [...it], a list of its entries',
  URLSearchParams: 'send it as a string',
  URL: 'send it as a string',
  ReadableStreamDefaultReader: 'release its lock, and pass the stream',
  WritableStreamDefaultWriter: 'release its lock, and pass the stream',
}
const PROMISE = 'is a promise: await it first'
const PROMISE_LIKE = 'makes its object a promise: await it first'
/** Such a value is a property of a remote actor that was not awaited. */
export const PROMISING = 'is a function and a promise at once, like a property of a remote actor: await it first, or pass a function that calls it'
export const SYMBOL = 'is a symbol, which has no meaning at the other end: send a string'
export const PROTO = 'is a property that could change the prototype of the object at the other end: rename it'
export const INNER = 'was sent by a getter while the value with that getter was being sent over the same link: read the value before you send it'
export const OUTER = 'was being read when one of its getters sent a message over the same link: read the value before you send it'

export const mapEntries = Map.prototype.entries
export const setValues = Set.prototype.values
export const getTime = Date.prototype.getTime
/** 'Uint8Array' and the like, read from the object's internals, for any class and realm; undefined for a DataView. */
export const typedArrayName = Object.getOwnPropertyDescriptor(
  Object.getPrototypeOf(Uint8Array.prototype), Symbol.toStringTag,
)!.get as (this: unknown) => string | undefined

/** Maximum length of a reference, in bytes of UTF-8. */
export const REFERENCE_MAX_BYTES = 1024

/** @returns the text that travels in place of a handle @throws Refusal */
export function referred(handle: Handle, refs: Refs): string {
  if (typeof handle === 'string') return refuse(handle)
  if (!refs.refer) return refuse('refers to an object of another stage, which no layer of this chain can send: send its name')
  const text = refs.refer(handle)
  if (Buffer.byteLength(text) <= REFERENCE_MAX_BYTES) return text
  return refuse(`is a reference of more than ${REFERENCE_MAX_BYTES} bytes: send it in another way`)
}

/** Rejects a function that is also a promise, as the caller most likely forgot to await it. @throws Refusal */
export function checkFunction(fn: object): void {
  if (typeof (fn as { then?: unknown }).then === 'function') refuse(PROMISING)
}

export type Builtin = 'date' | 'map' | 'set' | 'error' | 'arrayBuffer' | 'boxed'

/** Detects built-in objects by their internals instead of their classes, which may be of another realm. @throws Refusal */
export function builtin(value: object): Builtin | undefined {
  if (types.isDate(value)) return 'date'
  if (types.isMap(value)) return 'map'
  if (types.isSet(value)) return 'set'
  if (isError(value)) return 'error'
  if (types.isArrayBuffer(value)) return 'arrayBuffer'
  if (types.isBoxedPrimitive(value)) return 'boxed'
  if (types.isPromise(value)) refuse(PROMISE)
  if (types.isSharedArrayBuffer(value)) refuse('is a SharedArrayBuffer, which peers cannot share: send a copy')
  if (types.isRegExp(value)) refuse('is a RegExp, which cannot be sent: send its source as a string')
  const weak = types.isWeakMap(value) || types.isWeakSet(value) || Object.prototype.toString.call(value) === '[object WeakRef]'
  if (weak) refuse('holds its content weakly and cannot be sent: send the content')
  return undefined
}

export function unbox(value: object): unknown {
  if (types.isNumberObject(value)) return Number.prototype.valueOf.call(value)
  if (types.isStringObject(value)) return String.prototype.valueOf.call(value)
  if (types.isBooleanObject(value)) return Boolean.prototype.valueOf.call(value)
  return types.isBigIntObject(value) ? BigInt.prototype.valueOf.call(value) : Symbol.prototype.valueOf.call(value)
}

/** Rejects an instance, neither built in nor a stream, that is more than its properties. @throws Refusal */
export function checkInstance(value: object): void {
  const like = value as { pipe?: unknown; then?: unknown }
  if (typeof like.pipe === 'function') refuse(STREAM_OTHER)
  if (typeof like.then === 'function') refuse(PROMISE)
}

/** Rejects an instance of which no property would be sent. @throws Refusal */
export function checkSent(properties: number, tag: string): void {
  if (properties > 0 || tag === '[object Object]') return
  const name = tag.slice(8, -1)
  const instead = INSTEAD[name] ?? (name.endsWith(' Iterator') ? 'spread it into an array' : 'send the parts that are needed')
  refuse(`is a ${name}, which would arrive empty: ${instead}`)
}

/** Rejects method names that make the object a promise or a stream, which cannot be sent. @throws Refusal */
export function checkMethod(key: string): void {
  if (key === 'then') refuse(PROMISE_LIKE)
  if (key === 'pipe') refuse(STREAM_LIKE)
}

/** Checks the size of a bigint by its magnitude. @throws Refusal */
export function checkBigint(magnitude: bigint): void {
  if (magnitude >> MAX_BIGINT_BITS) refuse(`is a bigint of more than ${MAX_BIGINT_BYTES} bytes: send it as a Buffer`)
}

export const tooDeep = (maxDepth: number): never => refuse(`is nested deeper than ${maxDepth} or cyclic: send a flatter copy`)
export const tooMany = (maxNodes: number): never =>
  refuse(`has more than ${maxNodes} elements and properties: send it in parts, or as one Buffer`)
export const tooLong = (maxBytes: number): never => refuse(`takes more than ${maxBytes} bytes: send it in parts`)

/** The error that an encoder throws to its caller. */
export function unsendable(thrown: unknown, path: readonly (string | number)[]): StageError {
  if (isStageError(thrown) && thrown.code === 'OVERLOADED') return thrown // this link has reached its limit of functions or streams
  if (isStageError(thrown) && thrown instanceof Refusal) {
    return new StageError('BAD_ARGUMENT', `${where(path)} ${thrown.message}`, { executed: 'no' })
  }
  const said = describe(isError(thrown) ? thrown.message : thrown)
  const why = `cannot be read (it threw ${said}): send a plain copy of it`
  return new StageError('BAD_ARGUMENT', `${where(path)} ${why}`, { executed: 'no', cause: thrown })
}

/** Withdraws the functions and streams of a value whose encoding failed, because they were never sent. */
export function takeBack(refs: Refs, given: readonly number[], offered: readonly number[]): void {
  for (const id of given) refs.back?.(id)
  for (const id of offered) refs.withdraw?.(id)
}

/** Formats a path, as in `[1].user["first name"]`. */
function where(path: readonly (string | number)[]): string {
  const keys = path.filter((key) => key !== NOWHERE)
  if (keys.length === 0) return 'the value'
  return keys.slice(0, 8).map(step).join('') + (keys.length > 8 ? '…' : '')
}

function step(key: string | number): string {
  if (typeof key === 'number') return `[${key}]`
  return /^[A-Za-z_$][\w$]{0,63}$/.test(key) ? `.${key}` : `[${JSON.stringify(key.slice(0, 64))}]`
}

