import { Duplex, PassThrough, Readable, Writable } from 'node:stream'
import type { ReadableStream, WritableStream } from 'node:stream/web'
import duplexify from 'duplexify'
import pump from 'pump'
import { ENDS } from '../../src/socketlike.js'
import { isPair } from './stream-kind.js'

const nothing = (): void => {}
/** How far a source is read ahead: as far as one that is sent, in bytes. */
const AHEAD_BYTES = 256 * 1024
/** Sources that are read ahead, and what has been read. */
const aheads = new WeakMap<object, PassThrough>()
/** Streams of Node's around those of the web. */
const wrapped = new WeakMap<object, Duplex>()

/** Whether it has events: streams of the web have none, and their errors end no process. */
export const isEmitter = (source: object): source is Duplex => typeof (source as Partial<Duplex>).on === 'function'

/** What guarded streams have said as their errors: not every stream is destroyed by one and keeps it. */
const failures = new WeakMap<object, { readonly error: unknown }>()
function note(this: object, error: unknown): void { failures.set(this, { error }) }

/** From now on the error of a stream belongs to a call and ends no process. */
export function guard(source: object): void {
  if (isEmitter(source) && !source.listeners('error').includes(note)) source.on('error', note)
}

/** The error that a guarded stream has had, however it told of it. */
export function failureOf(stream: Duplex): { readonly error: unknown } | undefined {
  return stream.errored ? { error: stream.errored } : failures.get(stream)
}

/** From now on a stream belongs to a call: its error is for whoever reads it, and no data of it gets lost meanwhile. */
export function hold(stream: object): void {
  if (!isEmitter(stream)) return
  guard(stream)
  if (!perishable(stream) || aheads.has(stream) || stream.destroyed || stream.readable === false) return
  const ahead = new PassThrough({ highWaterMark: AHEAD_BYTES })
  ahead.on('error', nothing)
  stream.on('error', (error: Error) => { ahead.destroy(error) }) // before pump does, which tells nothing of why
  aheads.set(stream, ahead)
  pump(stream, ahead, nothing)
}

/** What is read of a stream: itself, or what was read of it ahead. */
export const readOf = (stream: Duplex): Duplex => aheads.get(stream) ?? stream

/** A source as it is handed over within one stage: with the data that was read ahead. */
export function asHeld(stream: object): object {
  const ahead = aheads.get(stream)
  if (!ahead) return stream
  return (stream as Duplex).writable ? Duplex.from({ readable: ahead, writable: stream as Duplex }) : ahead
}

/** Sockets, and what is made of them, throw away what nobody has read when their process or their peer is gone; streams of ours do not. */
const perishable = (stream: object): boolean =>
  !(ENDS in stream) && ('setKeepAlive' in stream || 'httpVersion' in stream || 'rstCode' in stream)

/** What is read and written of a source, if that is a stream; an iterable is not. */
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
