import { Duplex, Readable, Writable, type ReadableOptions, type WritableOptions } from 'node:stream'
import { StageError } from '../../../src/errors.js'
import { READ_OBJECTS, WRITE_OBJECTS, reads, writes, type StreamKind } from '../../codec/stream-kind.js'
import type { Channel } from './channel.js'
import type { ItemWriter } from './item-writer.js'
import { abandoned, type Values } from './values.js'

/** How the two directions of a face are carried. */
export interface Carried {
  values(): Values
  items(): ItemWriter
  /** Reports code of an iterable of this stage that has thrown. @param over  nobody reads it any more */
  failed(thrown: unknown, over: boolean): void
}

/**
 * The receiver's end of a stream in a call: a Readable, a Writable or a Duplex, of bytes or of objects, like the source. Nothing
 * is asked of the source before the face is read or written. The face of a Duplex of bytes is the channel itself.
 */
export function faceOf(channel: Channel, kind: StreamKind, carried: Carried): Readable | Writable {
  const [reading, writing] = [reads(kind), writes(kind)]
  const destroy = function (this: Readable | Writable, error: Error | null, done: (error: Error | null) => void): void {
    const over = (!reading || channel.readableEnded) && (!writing || channel.writableFinished)
    if (error ?? !over) channel.destroy(error ?? undefined)
    done(error)
  }
  const face: Readable | Writable = !writing ? new Readable({ ...readHalf(channel, reading, carried), destroy })
    : !reading ? new Writable({ ...writeHalf(channel, writing, carried), destroy })
    : new Duplex({ ...bothHalves(readHalf(channel, reading, carried), writeHalf(channel, writing, carried)), destroy })
  face.on('error', nothing) // an error without a listener must not end the process
  abandoned.register(face, channel, channel)
  // a face with listeners must live, even if nothing else refers to it; no closure captures `face`, or all of them would hold the face
  const listened: { face?: Readable | Writable | undefined } = {}
  face.once('newListener', function (this: Readable | Writable) { listened.face = this })
  const held = new WeakRef(face) // an unused face without references must be collectable while its channel is open
  channel.on('error', (error) => { held.deref()?.destroy(error) })
  channel.on('close', () => {
    abandoned.unregister(channel) // the registry holds the channel, whose listeners hold a face that was read: neither would be collected
    listened.face = undefined
    if ((reading && !channel.readableEnded) || (writing && !channel.writableFinished)) held.deref()?.destroy()
  })
  if (writing) channel.on('finish', () => { // the owner has ended the stream, and nothing was lost
    const sink = held.deref() as Writable | undefined
    if (sink && !sink.writableEnded) sink.end()
  })
  if (!reading) channel.once('start', () => { channel.resume() }) // the end of the unused direction must be seen
  return face
}

const nothing = (): void => {}

function readHalf(channel: Channel, reading: number, carried: Carried): ReadableOptions & ThisType<Readable> {
  // the window limits how far ahead the peer may be
  if (reading === READ_OBJECTS) {
    let values: Values | undefined
    return {
      objectMode: true,
      highWaterMark: 1,
      read(this: Readable) {
        values ??= carried.values()
        values.next().then(({ done, value }) => {
          if (this.destroyed) return
          if (!done && value === null) {
            this.destroy(new StageError('PROTOCOL_ERROR', 'null among the objects of a stream, where it would mean the end'))
          } else {
            this.push(done ? null : value)
          }
        }, (error: Error) => { this.destroy(error) })
      },
    }
  }
  let pull: (() => void) | undefined
  let wanted = false
  return {
    highWaterMark: 1,
    read(this: Readable) {
      wanted = true
      if (!pull) {
        pull = () => {
          let chunk: unknown
          while (wanted && (chunk = channel.read()) !== null) wanted = this.push(chunk)
        }
        channel.on('readable', pull)
        channel.on('end', () => { if (!this.destroyed) this.push(null) })
      }
      pull()
    },
  }
}

function writeHalf(channel: Channel, writing: number, carried: Carried): WritableOptions & ThisType<Writable> {
  let items: ItemWriter | undefined
  const gone = (): StageError => new StageError('CANCELLED', 'the stream was destroyed during a write', { executed: 'unknown' })
  return {
    objectMode: writing === WRITE_OBJECTS,
    ...(writing === WRITE_OBJECTS ? {} : { highWaterMark: channel.writableHighWaterMark }),
    write(chunk: unknown, _encoding, done) {
      if (writing !== WRITE_OBJECTS) return void channel.write(chunk, done)
      items ??= carried.items()
      let wait: Promise<void> | undefined
      try {
        wait = items.value(chunk)
      } catch (error) {
        return done(error as Error)
      }
      if (wait) void wait.then(() => { done(channel.destroyed ? channel.errored ?? gone() : null) })
      else done()
    },
    final(done) {
      if (channel.writableFinished || channel.destroyed) return done(channel.errored)
      channel.once('finish', done)
      channel.end()
    },
  }
}

/** The options of a Duplex, from the options of its halves. */
const bothHalves = (reading: ReadableOptions, writing: WritableOptions): object => ({
  ...reading, ...writing,
  readableObjectMode: reading.objectMode ?? false, readableHighWaterMark: reading.highWaterMark,
  writableObjectMode: writing.objectMode ?? false,
  ...(writing.highWaterMark === undefined ? {} : { writableHighWaterMark: writing.highWaterMark }),
  objectMode: undefined, highWaterMark: undefined,
})
