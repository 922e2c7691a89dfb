import { Duplex, type DuplexOptions } from 'node:stream'
import { destroy } from './destroy.js'
import { StageError, asError } from './errors.js'

/** Whether a stream is read and written in objects; undefined while unknown. */
export interface Modes {
  readonly readable: boolean | undefined
  readonly writable: boolean | undefined
}

/** The state of a joint, and the stream behind it. */
export interface Behind {
  /** Undefined until the stream stands. */
  stream: Duplex | undefined
  /** The stream has failed by itself, and an old stream would say so again when it is destroyed. */
  failed: boolean
  /** Asks for the stream; only the first call counts. */
  connect(): void
  /** Takes from the stream while the reader wants more. */
  pull(): void
  /** The reader wants more. */
  wanted: boolean
  /** Number of writes so far. */
  writes: number
  /** A write or an end that came before the stream. */
  held: (() => void) | undefined
  /** Completes the write in flight: Node calls back no write of a stream that is destroyed meanwhile. */
  written: ((error?: Error | null) => void) | undefined
  /** Only the stream will show whether it reads objects. */
  readonly unsure: boolean
}

/** A Duplex in front of a stream that comes later. */
export interface Joint extends Duplex {
  /** Created with the Duplex. */
  behind: Behind
}

/**
 * The methods of a joint: it asks for its stream on the first read, write or end, and passes everything on. Each
 * direction ends separately, and the joint closes when both have ended or the stream is gone.
 *
 * The methods stand in an object and not in a class, since the constructor of the Duplex runs late as well (src/target.ts).
 */
export const jointMethods: ThisType<Joint> & Pick<Duplex, '_read' | '_write' | '_final' | 'destroy' | '_destroy'> = {
  _read() {
    this.behind.wanted = true
    this.behind.connect()
    this.behind.pull()
  },

  _write(chunk: unknown, encoding, done) {
    const { behind } = this
    const written = behind.written = (error?: Error | null): void => {
      if (behind.written !== written) return
      behind.written = undefined
      done(error)
    }
    const write = (): void => {
      try {
        const { stream } = behind
        if (!stream) return
        if (callsBack(stream)) stream.write(chunk, encoding, written)
        else if (stream.write(chunk)) written()
        else stream.once('drain', () => { written() })
      } catch (thrown) {
        written(asError(thrown)) // an object was written to a stream of bytes
      }
    }
    this.behind.writes++
    this.behind.connect()
    if (this.behind.stream) write()
    else this.behind.held = write
  },

  _final(done) {
    const finish = (): void => {
      const { stream } = this.behind
      if (!stream || stream.writableFinished) return done()
      // old-style streams have no `finish`
      if ('_writableState' in stream) stream.once('finish', done)
      stream.end()
      if (!('_writableState' in stream)) done()
    }
    this.behind.connect()
    if (this.behind.stream) finish()
    else this.behind.held = finish
  },

  destroy(error) {
    return isLetGo(this, error) ? this.end() : Duplex.prototype.destroy.call(this, error)
  },

  _destroy(error, done) {
    const { behind } = this
    behind.held = undefined
    if (behind.written) {
      const cut = new StageError('CANCELLED', 'the stream was destroyed during a write', { executed: 'unknown' })
      process.nextTick(behind.written, error ?? cut)
    }
    if (behind.stream && !behind.failed) destroy(behind.stream, error ?? undefined)
    done(error)
  },
}

/** Options of a joint's Duplex: while the modes are unknown, it takes and gives anything. */
export const jointOptions = ({ readable = true, writable = true }: Modes): DuplexOptions => ({ readableObjectMode: readable, writableObjectMode: writable })

/** Puts a stream behind its joint. */
export function join(joint: Joint, stream: Duplex): void {
  const { behind } = joint
  let failure: Error | undefined
  let ended = false
  stream.on('error', (error: unknown) => {
    failure = asError(error)
    behind.failed = true
    joint.destroy(failure)
  })
  if (joint.destroyed) return destroy(stream)
  stream.on('end', () => {
    ended = true
    if (joint.destroyed) return
    joint.push(null)
    joint.read(0) // lets `end` come even if nobody reads, as on a socket
  })
  stream.on('close', () => {
    if (joint.destroyed || (ended && joint.writableFinished)) return // the joint closes by itself when its reader has seen the end
    if (ended && stream.writableFinished && !joint.writableEnded) return void joint.end() // the peer accepts no more, and nothing is lost
    // a stream that was cut off must not look complete (P13)
    const cut = !ended || joint.writableEnded || joint.writableLength > 0
    const error = failure ?? (cut ? new StageError('DISCONNECTED', 'the stream was cut off', { executed: 'unknown' }) : undefined)
    if (ended && !joint.readableEnded) joint.once('end', () => { joint.destroy(error) })
    else joint.destroy(error)
  })
  if (behind.unsure && !objects(stream)) becomeBytes(joint)
  behind.stream = stream
  if (typeof stream.read === 'function') {
    behind.pull = () => {
      let chunk: unknown
      while (behind.wanted && (chunk = stream.read()) !== null) behind.wanted = joint.push(chunk)
    }
    stream.on('readable', behind.pull)
  } else {
    behind.pull = () => stream.resume()
    stream.on('data', (chunk: unknown) => { if (!joint.push(chunk)) stream.pause() })
  }
  const { held } = behind
  behind.held = undefined
  held?.()
  if (behind.wanted) behind.pull()
}

/**
 * A loop has read everything, as `for await` and `stream/consumers` do, and destroys the stream, with an error since the
 * other direction is open. A socket has ended by then, so the joint ends as well.
 */
export const isLetGo = (stream: Duplex, error: Error | null | undefined): boolean =>
  error?.name === 'AbortError' && error.cause === undefined && stream.readableEnded && stream.writable

/** Streams of Node and readable-stream take a callback for each write; streamx and older streams do not. */
const callsBack = (stream: Duplex): boolean => typeof (stream as { _writableState?: { getBuffer?: unknown } })._writableState?.getBuffer === 'function'

interface Stated extends Partial<Pick<Duplex, 'readableObjectMode' | 'writableObjectMode'>> {
  _readableState?: { objectMode?: boolean }
  _writableState?: { objectMode?: boolean }
}

/** Whether a read may return any value: old-style streams do not say, and count as yes. */
export const objects = (stream: Stated): boolean => stream.readableObjectMode ?? stream._readableState?.objectMode ?? true
/** The same for writes. */
export const writesObjects = (stream: Stated): boolean => stream.writableObjectMode ?? stream._writableState?.objectMode ?? true

/** Switches the readable side to bytes, before anything was read. The writable side was counted in objects, and stays so. */
function becomeBytes(joint: Joint): void {
  const { _readableState: state } = joint as unknown as { _readableState: { objectMode: boolean, highWaterMark: number } }
  state.objectMode = false
  state.highWaterMark = 16 * 1024
}
