import { Duplex, PassThrough, Readable, Writable } from 'node:stream'
import type { ReadableStream, WritableStream } from 'node:stream/web'
import duplexify from 'duplexify'
import pump from 'pump'
import { ENDS } from '../../src/socketlike.js'
import { isPair } from './stream-kind.js'

const nothing = (): void => {}
/** How far a source is read ahead, in bytes; the same as for a source that is being sent. */
const AHEAD_BYTES = 256 * 1024
/** Sources that are read ahead, with the stream that holds the data read. */
const aheads = new WeakMap<object, PassThrough>()
/** Node streams around web streams, by web stream. */
const wrapped = new WeakMap<object, Duplex>()

/** Whether the source emits events. Web streams do not, and their errors cannot end the process. */
export const isEmitter = (source: object): source is Duplex => typeof (source as Partial<Duplex>).on === 'function'

/** Errors emitted by guarded streams, because not every stream is destroyed by its error and keeps it in `errored`. */
const failures = new WeakMap<object, { readonly error: unknown }>()
function note(this: object, error: unknown): void { failures.set(this, { error }) }

/** Records errors of a stream from now on, so that they belong to its call and do not end the process. */
export function guard(source: object): void {
  if (isEmitter(source) && !source.listeners('error').includes(note)) source.on('error', note)
}

/** The error of a guarded stream, if any, whether emitted or kept by the stream. */
export function failureOf(stream: Duplex): { readonly error: unknown } | undefined {
  return stream.errored ? { error: stream.errored } : failures.get(stream)
}

/** Holds a stream for a call: its reader gets its error, and no data is lost until reading begins. */
export function hold(stream: object): void {
  if (!isEmitter(stream)) return
  guard(stream)
  if (!perishable(stream) || aheads.has(stream) || stream.destroyed || stream.readable === false) return
  const ahead = new PassThrough({ highWaterMark: AHEAD_BYTES })
  ahead.on('error', nothing)
  stream.on('error', (error: Error) => { ahead.destroy(error) }) // before pump, which would destroy `ahead` without the reason
  aheads.set(stream, ahead)
  pump(stream, ahead, nothing)
}

/** The stream to read from: the stream itself, or the data read ahead. */
export const readOf = (stream: Duplex): Duplex => aheads.get(stream) ?? stream

/** A source as handed over within one stage, including the data that was read ahead. */
export function asHeld(stream: object): object {
  const ahead = aheads.get(stream)
  if (!ahead) return stream
  return (stream as Duplex).writable ? Duplex.from({ readable: ahead, writable: stream as Duplex }) : ahead
}

/** True for sockets and streams built on them, which discard unread data when their process or peer ends; our own streams do not. */
const perishable = (stream: object): boolean =>
  !(ENDS in stream) && ('setKeepAlive' in stream || 'httpVersion' in stream || 'rstCode' in stream)

/** The Node stream by which a source is read and written; undefined for an iterable. */
export function asNode(source: object): Duplex | undefined {
  if (isEmitter(source)) return source
  let stream = wrapped.get(source)
  if (!stream && typeof (source as WritableStream).getWriter === 'function') {
    stream = Writable.fromWeb(source as WritableStream, { objectMode: true }) as Duplex
  } else if (!stream && isPair(source)) {
    const { readable, writable } = source as { readable: ReadableStream; writable: WritableStream }
    stream = duplexify.obj(Writable.fromWeb(writable, { objectMode: true }), Readable.fromWeb(readable, { objectMode: true }))
  }
  if (stream) {
    guard(stream)
    wrapped.set(source, stream)
  }
  return stream
}
