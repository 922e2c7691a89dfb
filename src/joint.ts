import { Duplex, type DuplexOptions } from 'node:stream'
import { destroy } from './destroy.js'
import { StageError, asError } from './errors.js'

/** Whether a stream reads objects, and whether it is written objects; undefined where nobody knows yet. */
export interface Modes {
  readonly readable: boolean | undefined
  readonly writable: boolean | undefined
}

/** What a joint keeps of the stream behind it. */
export interface Behind {
  /** Undefined until it stands. */
  stream: Duplex | undefined
  /** The stream has failed by itself, and old ones would say so once more when they are destroyed. */
  failed: boolean
  /** Asks for the stream; only the first call counts. */
  connect(): void
  /** Takes from the stream while the reader wants more. */
  pull(): void
  /** The reader wants more. */
  wanted: boolean
  /** Counts what was written. */
  writes: number
  /** A write or an end that came before the stream. */
  held: (() => void) | undefined
  /** Called when the write that is under way has gone: Node calls back none of a stream that is destroyed meanwhile. */
  written: ((error?: Error | null) => void) | undefined
  /** Whether it reads objects is known only once the stream stands. */
  readonly unsure: boolean
}

/** A Duplex in front of a stream that comes later. */
export interface Joint extends Duplex {
  /** Made with the Duplex. */
  behind: Behind
}

/**
 * The methods of a joint: it asks for its stream on the first read, write or end, and passes everything on. Each
 * direction ends by itself, and it closes when both have ended or the stream is gone.
 *
 * They stand in an object and not in a class, since the constructor of the Duplex runs late as well (src/target.ts).
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
        written(asError(thrown)) // a stream of bytes that is written an object
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
      // streams of the old style have no `finish`
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
      const cut = new StageError('CANCELLED', 'the stream was destroyed while it was written to', { executed: 'unknown' })
      process.nextTick(behind.written, error ?? cut)
    }
    if (behind.stream && !behind.failed) destroy(behind.stream, error ?? undefined)
    done(error)
  },
}

/** How the Duplex of a joint is made: one that does not know better takes and gives anything. */
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
    joint.read(0) // lets `end` come though nobody reads, as a socket's would
  })
  stream.on('close', () => {
    if (joint.destroyed || (ended && joint.writableFinished)) return // it closes by itself when its reader has seen the end
    if (ended && stream.writableFinished && !joint.writableEnded) return void joint.end() // the peer wants no more, and nothing is lost
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
 * other direction is open. On a socket that has ended by then, and here it ends as well.
 */
export const isLetGo = (stream: Duplex, error: Error | null | undefined): boolean =>
  error?.name === 'AbortError' && error.cause === undefined && stream.readableEnded && stream.writable

/** Node's streams, and those of readable-stream, take a callback for each write; those of streamx and older ones do not. */
const callsBack = (stream: Duplex): boolean => typeof (stream as { _writableState?: { getBuffer?: unknown } })._writableState?.getBuffer === 'function'

interface Stated extends Partial<Pick<Duplex, 'readableObjectMode' | 'writableObjectMode'>> {
  _readableState?: { objectMode?: boolean }
  _writableState?: { objectMode?: boolean }
}

/** Whether what is read of a stream may be anything: streams of the old style do not say. */
export const objects = (stream: Stated): boolean => stream.readableObjectMode ?? stream._readableState?.objectMode ?? true
/** The same of what it is written. */
export const writesObjects = (stream: Stated): boolean => stream.writableObjectMode ?? stream._writableState?.objectMode ?? true

/** Nothing has been read by then. What was written is counted in objects, and stays so. */
function becomeBytes(joint: Joint): void {
  const { _readableState: state } = joint as unknown as { _readableState: { objectMode: boolean, highWaterMark: number } }
  state.objectMode = false
  state.highWaterMark = 16 * 1024
}
