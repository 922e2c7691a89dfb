/**
 * The kind of a stream in a value: the sum of its readable side (1 bytes, 2 objects, 3 the values of an async iterable) and
 * its writable side (4 bytes, 8 objects). The numbers go over the wire.
 */
export type StreamKind = 1 | 2 | 3 | 4 | 5 | 6 | 8 | 9 | 10

export const READ_BYTES = 1
export const READ_OBJECTS = 2
export const ITERABLE = 3
export const WRITE_BYTES = 4
export const WRITE_OBJECTS = 8

/** The readable side: 0 for none, or READ_BYTES, READ_OBJECTS or ITERABLE. */
export const reads = (kind: StreamKind): number => kind & 3
/** The writable side: 0 for none, or WRITE_BYTES or WRITE_OBJECTS. */
export const writes = (kind: StreamKind): number => kind & 12

interface State { objectMode?: unknown }

interface StreamLike {
  pipe?: unknown
  read?: unknown
  write?: unknown
  end?: unknown
  on?: unknown
  getWriter?: unknown
  readable?: unknown
  writable?: unknown
  readableObjectMode?: unknown
  writableObjectMode?: unknown
  _readableState?: State
  _writableState?: State
  [Symbol.asyncIterator]?: unknown
}

/**
 * The kind of a stream; 0 for any other value. Node streams are recognised by their methods, as not all are instances of
 * Node's classes. A direction that has ended, or that the stream declares missing, does not count while the other is
 * there.
 */
export function streamKind(value: object): StreamKind | 0 {
  const like = value as StreamLike
  if (typeof like.on === 'function') {
    const readable = typeof like.pipe === 'function' && typeof like.read === 'function'
    const writable = typeof like.write === 'function' && typeof like.end === 'function'
    if (!readable && like.readable === true && typeof like.pipe === 'function') return 0 // old-style, cannot be read on demand
    const reading = readable ? objectMode(like.readableObjectMode, like._readableState) ? READ_OBJECTS : READ_BYTES : 0
    const writing = writable ? objectMode(like.writableObjectMode, like._writableState) ? WRITE_OBJECTS : WRITE_BYTES : 0
    const over = reading !== 0 && like.readable === false
    const closed = writing !== 0 && like.writable === false
    if (over !== closed) return (over ? writing || reading : reading || writing)
    if (reading || writing) return reading + writing as StreamKind
  }
  if (typeof like[Symbol.asyncIterator] === 'function') return ITERABLE
  if (typeof like.getWriter === 'function') return WRITE_OBJECTS
  return isPair(like) ? READ_OBJECTS + WRITE_OBJECTS as StreamKind : 0
}

const objectMode = (mode: unknown, state: State | undefined): boolean => mode === true || state?.objectMode === true

/** A pair of WHATWG streams, one readable and one writable, such as a TransformStream. */
export const isPair = ({ readable, writable }: StreamLike): boolean =>
  typeof (readable as StreamLike | null | undefined)?.[Symbol.asyncIterator] === 'function' &&
  typeof (writable as StreamLike | null | undefined)?.getWriter === 'function'

export const isStreamKind = (kind: number): kind is StreamKind =>
  Number.isInteger(kind) && (kind === ITERABLE || (kind >= 1 && kind <= 10 && reads(kind as StreamKind) < ITERABLE))
