import { Readable, type Duplex } from 'node:stream'
import { StageError, isStageError } from '../../../src/errors.js'
import { outside } from '../../../src/outside.js'
import { READ_BYTES, READ_OBJECTS, WRITE_BYTES, reads, writes, type StreamKind } from '../../codec/stream-kind.js'
import { asNode, failureOf, readOf } from '../../codec/hold.js'
import { iterate, leave } from '../../codec/dispose.js'
import { runsElsewhere } from '../../codec/hand.js'
import type { Channel } from './channel.js'
import { saidToWire, thrownToWire } from '../errors.js'
import type { Carried } from './faces.js'

// The owner's end of a stream in a call: data of the source goes over the channel, and incoming data is written to the
// source. Each direction begins, goes on and ends by itself.

/** The source behind one channel; a source may be any kind of stream, and belongs to its owner. */
export interface Lent {
  readonly source: object
  readonly kind: StreamKind
}

/** Joins a source with its channel. @throws any error of the source */
export function lend(channel: Channel, { source, kind }: Lent, carried: Carried): void {
  const [reading, writing] = [reads(kind), writes(kind)]
  if (!writing) channel.resume() // the end of the unused direction must be seen
  const stream = asNode(source)
  if (!stream) return void feed(channel, source as AsyncIterable<unknown>, carried)
  const from = readOf(stream)
  const listed = reading === READ_OBJECTS && !writing // a failure is the last item, behind the items before it
  guard(channel, stream, from, listed)
  if (channel.destroyed) return
  if (!reading) channel.end()
  else if (listed) void feed(channel, from, carried)
  else {
    let ended = false
    from.on('end', () => { ended = true })
    channel.once('close', () => { if (!ended) leave(stream) })
    from.on('close', () => { if (!ended) channel.destroy(failed('it was closed before its end')) })
    if (reading === READ_BYTES) from.pipe(channel)
    else void feed(channel, from, carried)
  }
  if (!writing) return
  let stop = (): void => {}
  if (writing === WRITE_BYTES) stop = pour(channel, stream)
  else void fill(channel, stream, carried)
  mind(channel, stream, stop)
}

/** An error on either side is an error on the other side. */
function guard(channel: Channel, stream: Duplex, from: Duplex, listed: boolean): void {
  channel.once('error', (error) => { leave(stream, undefined, error) })
  if (!listed) for (const one of new Set([stream, from])) one.on('error', (error: unknown) => { channel.destroy(failed(error)) })
  const failure = failureOf(stream) ?? failureOf(from)
  if (failure || from.destroyed) channel.destroy(failed(failure ? failure.error : 'it had ended before anybody read it'))
}

/** The owner may write to the source as well, and end it before the peer does: then the peer must not go on. */
function mind(channel: Channel, stream: Duplex, stop: () => void): void {
  const over = (): void => {
    if (channel.readableEnded) return
    stop()
    channel.refuse()
  }
  stream.on('finish', over)
  stream.on('close', over)
  if (stream.writable === false) over()
}

/** Sends the items of a source, one by one; an error of the source is the last item. */
async function feed(channel: Channel, source: AsyncIterable<unknown>, { items, failed: report }: Carried): Promise<void> {
  const sender = items()
  let over = false
  let iterator: AsyncIterator<unknown> | undefined
  const stop = (): void => {
    if (!over) leave(source, iterator)
    over = true
  }
  channel.once('close', stop)
  try {
    // the other direction of a Duplex stays open when it has been read to its end
    iterator = source instanceof Readable ? source.iterator({ destroyOnReturn: false }) : iterate(source)
    while (!over) {
      const next = await outside(iterator.next, iterator)
      if (next.done || over) break
      await sender.value(next.value)
    }
    over = true
  } catch (thrown) {
    // the code of a generator; a stream may fail for reasons of its own, and an actor's iterable was reported there
    if (!(source instanceof Readable) && !('getReader' in source) && !runsElsewhere(source)) report(thrown, over)
    const error = isStageError(thrown) ? saidToWire(thrown) : thrownToWire('the stream', thrown)
    stop()
    await sender.failure(error)
  }
  if (!channel.destroyed) channel.end()
}

/**
 * Writes incoming data to a stream of bytes. Errors thrown by `write` or `end` fail both sides; `pipe()` would leave them to the process.
 * @returns a function that stops the writing
 */
function pour(channel: Channel, stream: Duplex): () => void {
  const attempt = (step: () => unknown): unknown => {
    try {
      return outside(step)
    } catch (thrown) {
      stop()
      leave(stream, undefined, thrown)
      channel.destroy(failed(thrown))
      return true
    }
  }
  const ondata = (chunk: Buffer): void => { if (attempt(() => stream.write(chunk)) === false) channel.pause() }
  const onend = (): void => {
    if (stream === process.stdout as object || stream === process.stderr as object) return // as pipe() does
    attempt(() => stream.end())
  }
  const ondrain = (): void => { channel.resume() }
  const stop = (): void => {
    channel.off('data', ondata).off('end', onend)
    stream.off('drain', ondrain)
  }
  channel.on('data', ondata).on('end', onend)
  stream.on('drain', ondrain)
  if (stream.writableNeedDrain) channel.pause()
  else channel.resume()
  return stop
}

/** Writes incoming values to a stream of objects. */
async function fill(channel: Channel, stream: Duplex, { values }: Carried): Promise<void> {
  try {
    for await (const value of values()) {
      let more = true
      try {
        more = stream.writable === false || outside(() => stream.write(value))
      } catch (thrown) {
        channel.destroy(failed(thrown)) // first, as leaving the loop reports only that the reader has left
        throw thrown
      }
      if (!more) await drained(stream, channel)
    }
    if (stream.writable !== false) outside(() => stream.end())
  } catch (error) {
    leave(stream, undefined, error)
  }
}

export function failed(thrown: unknown): StageError {
  const { code, message, cause } = thrownToWire('the stream', thrown)
  return new StageError(code as 'REMOTE_ERROR', message, { executed: 'yes', cause })
}

const EVENTS = ['drain', 'finish', 'close'] as const

/** Resolves when a stream accepts more, or never will. */
function drained(stream: Duplex, channel: Channel): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      for (const event of EVENTS) stream.off(event, done)
      channel.off('close', done)
      resolve()
    }
    for (const event of EVENTS) stream.on(event, done)
    channel.on('close', done)
  })
}
