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

/** Limits of the walk, the same as for a value that can be sent. */
const MAX_DEPTH = 64
const MAX_NODES = 250_000

/** Streams and iterables that can be read only once and are already being read. */
export const taken = new WeakSet<object>()

/**
 * Ends the streams and iterables in a value that was not sent, outermost first and wherever the codec would have found
 * them, unless they are already being read. No getter runs, because getters in a user's value may have any side effect.
 */
export function dispose(value: unknown): void {
  visit(value, (stream) => {
    if (taken.has(stream)) return
    const node = asNode(stream)
    // without an error the stream would look complete
    if (node && node !== stream) leave(node, undefined, new Error('the call that it was passed to has failed'))
    else leave(stream, stream)
  })
}

/**
 * Holds the streams in the arguments of a call that waits to be sent.
 * @param fail  called at most once, asynchronously, with the error of the first stream that has failed or fails meanwhile
 * @returns     a function to call when the wait is over, after which `fail` is no longer called
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

/** The error of a call that was not sent because a stream among its arguments had failed. */
export function brokenBefore(method: string, cause: unknown): StageError {
  const broken = `a stream among the arguments of ${method} failed before the call was sent`
  return new StageError('BAD_ARGUMENT', `${broken}: ${asError(cause).message}`, { executed: 'no', cause })
}

/**
 * Calls `show` with every stream and iterable in a value, wherever the codec would find one.
 * @param left  how many parts of the value are visited at most
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
        // a part that cannot be read is skipped
      }
    }
    level = next
  }
}

const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null

/** Yields the parts of a value, or shows the value if it is a stream. */
function* within(value: object, show: (stream: object) => void): Generator {
  if (ArrayBuffer.isView(value)) return // possibly millions of numbers, and no streams
  if (Array.isArray(value)) for (let i = 0; i < value.length; i++) yield Object.getOwnPropertyDescriptor(value, i)?.value
  else if (types.isMap(value)) for (const entry of mapEntries.call(value)) yield* entry
  else if (types.isSet(value)) yield* setValues.call(value)
  else if (isStream(value)) show(value)
  else {
    for (const key of isError(value) ? ['cause', 'errors'] : Object.keys(value)) yield Object.getOwnPropertyDescriptor(value, key)?.value
  }
}

/** Plain objects, which may have getters, are examined only if they have an own `Symbol.asyncIterator`. */
function isStream(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  const plain = prototype === null || isObjectPrototype(prototype)
  return (!plain || Object.hasOwn(value, Symbol.asyncIterator)) && handleOf(value) === undefined && streamKind(value) !== 0
}

/** Reads a source. `return()` ends a web stream at once, while the stream's own iterator would wait for the pending read. */
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

/** The methods that end a source, depending on its kind. */
interface Endable {
  readonly destroy?: unknown
  readonly on?: unknown
  cancel?(error: unknown): unknown
  abort?(error: unknown): unknown
}

/**
 * Ends a source of any kind. A stream is destroyed directly, because the iterator of a Node stream would first wait for the
 * next item.
 * @param iterator  the iterator that reads the source, if any
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
    // the source is user code, and its errors while ending are ignored
  }
}

const settle = (result: unknown): void => { Promise.resolve(result).catch(() => {}) }
