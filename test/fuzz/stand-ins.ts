/**
 * Stand-ins for functions and streams on either side of a codec: one object for each number, which returns the number
 * again.
 */
import { HANDLE } from '../../src/handle.js'
import type { Callable, Refs, StreamKind } from '../../wrappers/codec.js'

const functions = new Map<number, Callable>()
const numbers = new WeakMap<object, number>()
const streams = new Map<string, object>()
/** The maximum number of stand-ins that are remembered. */
const MAX = 10_000

export function functionOf(id: number): Callable {
  let fn = functions.get(id)
  if (!fn) {
    if (functions.size > MAX) functions.clear()
    functions.set(id, fn = () => id)
    numbers.set(fn, id)
  }
  return fn
}

const nothing = (): void => {}
const reading = { on: nothing, pipe: nothing, read: nothing }
const writing = { on: nothing, write: nothing, end: nothing }
const shapes: Record<StreamKind, object> = {
  1: reading,
  2: { ...reading, readableObjectMode: true },
  3: { async *[Symbol.asyncIterator]() {} },
  4: writing,
  5: { ...reading, ...writing },
  6: { ...reading, ...writing, readableObjectMode: true },
  8: { ...writing, writableObjectMode: true },
  9: { ...reading, ...writing, writableObjectMode: true },
  10: { ...reading, ...writing, readableObjectMode: true, writableObjectMode: true },
}

export function streamOf(id: number, kind: StreamKind): object {
  const key = `${id}/${kind}`
  let stream = streams.get(key)
  if (!stream) {
    if (streams.size > MAX) streams.clear()
    streams.set(key, stream = Object.create(shapes[kind]) as object)
    numbers.set(stream, id)
  }
  return stream
}

const references = new Map<string, object>()

/** A handle that refers to that text. */
export function handleOf(text: string): object {
  let handle = references.get(text)
  if (!handle) {
    if (references.size > MAX) references.clear()
    references.set(text, handle = Object.assign(Object.create(Object.create(null) as object) as object, { [HANDLE]: { namespace: 'default', to: text } }))
    numbers.set(handle, 0)
  }
  return handle
}

const known = (one: object): number => numbers.get(one) ?? 0

export const standIns: Refs = { give: known, take: functionOf, offer: known, accept: streamOf, refer: ({ to }) => to, resolve: handleOf }
export const isStandIn = (one: object): boolean => numbers.has(one)
