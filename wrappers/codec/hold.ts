import { PassThrough, Readable, Writable, type Duplex } from 'node:stream'
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

/** From now on the error of a stream belongs to a call and ends no process. Streams of the web have none that could. */
export function guard(source: object): void {
  const { on } = source as Partial<Duplex>
  if (typeof on === 'function' && !(source as Duplex).listeners('error').includes(nothing)) on.call(source, 'error', nothing)
}

/** From now on a stream belongs to a call: its error is for whoever reads it, and no data of it gets lost meanwhile. */
export function hold(source: object): void {
  const stream = asNode(source)
  if (!stream) return
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

/** A held source as it is handed over within one stage: with the data that was read ahead; one of the web was locked by its wrapper. */
export function asHeld(source: object): object {
  const stream = wrapped.get(source) ?? source
  const ahead = aheads.get(stream)
  if (!ahead) return stream
  return (stream as Duplex).writable ? duplexify(stream as Duplex, ahead) : ahead
}

/** Sockets, and what is made of them, throw away what nobody has read when their process or their peer is gone; streams of ours do not. */
const perishable = (stream: object): boolean => !(ENDS in stream) && ('setKeepAlive' in stream || 'httpVersion' in stream || 'rstCode' in stream)

/** What is read and written of a source, if that is a stream; an iterable is not. */
export function asNode(source: object): Duplex | undefined {
  if (typeof (source as Partial<Duplex>).on === 'function') return source as Duplex
  let stream = wrapped.get(source)
  if (!stream && typeof (source as WritableStream).getWriter === 'function') stream = Writable.fromWeb(source as WritableStream, { objectMode: true }) as Duplex
  else if (!stream && isPair(source)) {
    const { readable, writable } = source as { readable: ReadableStream; writable: WritableStream }
    stream = duplexify.obj(Writable.fromWeb(writable, { objectMode: true }), Readable.fromWeb(readable, { objectMode: true }))
  }
  if (stream) wrapped.set(source, stream)
  return stream
}
