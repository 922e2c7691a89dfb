/** The values between a registry that a stage serves and its clients: views in parts, states in chunks, and errors as values. */
import { types } from 'node:util'
import { StageError, asError, isCode, type Code } from '../../src/errors.js'
import type { Entry, View } from '../../src/types.js'

/** A call has a limit of 4 MiB, so large values travel in parts. */
const PART_ENTRIES = 500
const CHUNK_BYTES = 1024 * 1024

/** A view, or a part of one: the parts before the last are marked. */
export interface Part {
  readonly view: View
  readonly more: boolean
}

export function* partsOf(view: View): Generator<Part> {
  let at = 0
  do {
    const entries: readonly Entry[] = view.entries.slice(at, at += PART_ENTRIES)
    const more = at < view.entries.length
    yield { view: { ...view, entries, ...(more && view.removed ? { removed: [] } : {}) }, more }
  } while (at < view.entries.length)
}

/** Bytes of any size: small ones as they are. */
export type Bytes = Buffer | AsyncIterable<Uint8Array>

export const chunked = (bytes: Buffer): Bytes => bytes.length <= CHUNK_BYTES ? bytes : chunks(bytes)

async function* chunks(bytes: Buffer): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += CHUNK_BYTES) yield await Promise.resolve(bytes.subarray(at, at + CHUNK_BYTES))
}

/** @throws StageError PROTOCOL_ERROR the chunks are more than `limit` bytes */
export async function joined(bytes: Bytes, limit: number): Promise<Buffer> {
  if (Buffer.isBuffer(bytes)) return bytes
  if (typeof (bytes as Partial<AsyncIterable<unknown>> | null)?.[Symbol.asyncIterator] !== 'function') throw new StageError('BAD_ARGUMENT', 'a state that is no bytes')
  const all: Uint8Array[] = []
  let size = 0
  for await (const chunk of bytes) {
    if (!types.isUint8Array(chunk)) throw new StageError('PROTOCOL_ERROR', 'a state whose chunks are no bytes')
    size += chunk.length
    if (size > limit) throw new StageError('PROTOCOL_ERROR', `a state of more than ${limit} bytes`)
    all.push(chunk)
  }
  return Buffer.concat(all)
}

/** A result, or the error of the registry: thrown by a handler, an error would be a failure of the handler. */
export type Answer<T> = { ok: T } | { failed: Code; message: string }

export async function answering<T>(run: () => Promise<T>): Promise<Answer<T>> {
  try {
    return { ok: await run() }
  } catch (thrown) {
    const { code, message } = asError(thrown) as Partial<StageError> & Error
    return { failed: isCode(code) ? code : 'REGISTRY_UNAVAILABLE', message }
  }
}

/** @throws StageError that of the registry behind the server */
export function answered<T>(answer: Answer<T>): T {
  if ('ok' in answer) return answer.ok
  throw new StageError(isCode(answer.failed) ? answer.failed : 'REGISTRY_UNAVAILABLE', String(answer.message))
}
