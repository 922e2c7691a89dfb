import type { Duplex } from 'node:stream'
import type { ReadableStream } from 'node:stream/web'
import { types } from 'node:util'
import { destroy } from '../../src/destroy.js'
import { StageError, asError } from '../../src/errors.js'
import { handleOf } from '../../src/handle.js'
import { outside } from '../../src/outside.js'
import { isError, isObjectPrototype } from '../../src/realm.js'
import { asNode, failureOf, hold, isEmitter } from './hold.js'
import { mapEntries, setValues } from './sendable.js'
import { streamKind } from './stream-kind.js'

/** As deep and as many as a value that can be sent. */
const MAX_DEPTH = 64
const MAX_NODES = 250_000

/** Streams and iterators that can be read once, and are being read. */
export const taken = new WeakSet<object>()

/**
 * Ends the streams and iterables in what was not sent, unless somebody reads them already: where the codec would have
 * found them, the outermost first. It is the user's value, and may do anything when it is looked at: no getter is run.
 */
export function dispose(value: unknown): void {
  visit(value, (stream) => {
    if (taken.has(stream)) return
    const node = asNode(stream)
    // without an error it would look complete
    if (node && node !== stream) leave(node, undefined, new Error('the call that it was passed to has failed'))
    else leave(stream, stream)
  })
}

/**
 * Holds the streams in the arguments of a call that waits to be sent.
 * @param fail  called once, later, with the error of the first one that has failed or fails meanwhile
 * @returns     call it when the wait is over: `fail` is not called any more
 */
export function holdAll(args: unknown, fail: (error: unknown) => void): () => void {
  const held: Duplex[] = []
  const failed = (error: unknown): void => {
    if (held.length === 0) return
    release()
    fail(error)
  }
  const release = (): void => { for (const stream of held.splice(0)) stream.removeListener('error', failed) }
  visit(args, (source) => {
    if (!isEmitter(source)) return
    hold(source)
    source.on('error', failed)
    held.push(source)
  })
  const broken = held.map(failureOf).find((one) => one)
  if (broken) process.nextTick(failed, broken.error)
  return release
}

/** Of a call that was not sent, since a stream among its arguments has failed. */
export function brokenBefore(method: string, cause: unknown): StageError {
  const broken = `a stream among the arguments of ${method} failed before the call was sent`
  return new StageError('BAD_ARGUMENT', `${broken}: ${asError(cause).message}`, { executed: 'no', cause })
}

/**
 * Shows every stream and iterable in a value, where the codec would find it.
 * @param left  so many parts of it are looked at
 */
export function visit(value: unknown, show: (stream: object) => void, left = MAX_NODES): void {
  if (!isObject(value)) return
  let level = [value]
  for (let depth = 0; level.length > 0 && depth <= MAX_DEPTH; depth++) {
    const next: object[] = []
    for (const one of level) {
      try {
        for (const inner of within(one, show)) {
          if (left-- <= 0) break
          if (isObject(inner)) next.push(inner)
        }
      } catch {
        // as for the next one
      }
    }
    level = next
  }
}

const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null

/** What is in a value; a stream is shown. */
function* within(value: object, show: (stream: object) => void): Generator {
  if (ArrayBuffer.isView(value)) return // millions of numbers
  if (Array.isArray(value)) for (let i = 0; i < value.length; i++) yield Object.getOwnPropertyDescriptor(value, i)?.value
  else if (types.isMap(value)) for (const entry of mapEntries.call(value)) yield* entry
  else if (types.isSet(value)) yield* setValues.call(value)
  else if (isStream(value)) show(value)
  else {
    for (const key of isError(value) ? ['cause', 'errors'] : Object.keys(value)) yield Object.getOwnPropertyDescriptor(value, key)?.value
  }
}

/** Plain objects are not asked, unless they say that they are: they may have getters. */
function isStream(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  const plain = prototype === null || isObjectPrototype(prototype)
  return (!plain || Object.hasOwn(value, Symbol.asyncIterator)) && handleOf(value) === undefined && streamKind(value) !== 0
}

/** Reads a source. `return()` ends a stream of the web at once, where the iterator of its own would wait for the read that is under way. */
export function iterate(source: AsyncIterable<unknown>): AsyncIterator<unknown> {
  if (typeof (source as Partial<ReadableStream<unknown>>).getReader !== 'function') return source[Symbol.asyncIterator]()
  const reader = (source as ReadableStream<unknown>).getReader()
  return {
    next: async () => {
      const { done, value } = await reader.read()
      return done ? { done, value: undefined } : { done, value }
    },
    return: async () => {
      await reader.cancel()
      return { done: true, value: undefined }
    },
  }
}

/** By what a source of any kind is ended. */
interface Endable {
  readonly destroy?: unknown
  readonly on?: unknown
  cancel?(error: unknown): unknown
  abort?(error: unknown): unknown
}

/**
 * Ends a source, whatever kind of stream it is. A stream by itself, as the iterator of one of Node's would wait for the
 * next item first.
 * @param iterator  by which it is read, if it is
 */
export function leave(source: object, iterator?: { return?: () => unknown }, error?: unknown): void {
  try {
    const { destroy: itself, on, cancel, abort } = source as Endable
    if (typeof itself === 'function' || (typeof on === 'function' && typeof iterator?.return !== 'function')) {
      outside(destroy, undefined, source, error === undefined ? undefined : asError(error))
    } else if (typeof iterator?.return === 'function') settle(outside(() => iterator.return?.()))
    else if (typeof cancel === 'function') settle(outside(() => cancel.call(source, error)))
    else if (typeof abort === 'function') settle(outside(() => abort.call(source, error)))
  } catch {
    // it is the user's, and what it thinks of its end is its own
  }
}

const settle = (result: unknown): void => { Promise.resolve(result).catch(() => {}) }
