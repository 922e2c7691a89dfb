/** 1 values of an async iterable · 2 bytes to read · 3 objects to read · 4 writable · 5 both ways. The numbers go over the wire. */
export type StreamKind = 1 | 2 | 3 | 4 | 5

interface StreamLike {
  pipe?: unknown
  read?: unknown
  write?: unknown
  end?: unknown
  on?: unknown
  readableObjectMode?: unknown
  _readableState?: { objectMode?: unknown }
  [Symbol.asyncIterator]?: unknown
}

/**
 * Which kind of stream it is; 0 for none. Node's are known by what they can do, since not all of them are instances of
 * its classes; so a Transform and a socket go both ways, even where one of them is closed. What yields objects is read
 * only, as the way back carries bytes.
 */
export function streamKind(value: object): StreamKind | 0 {
  const like = value as StreamLike
  if (typeof like.on === 'function') {
    const readable = typeof like.pipe === 'function' && typeof like.read === 'function'
    if (readable && (like.readableObjectMode === true || like._readableState?.objectMode === true)) return 3
    if (typeof like.write === 'function' && typeof like.end === 'function') return readable ? 5 : 4
    if (readable) return 2
  }
  return typeof like[Symbol.asyncIterator] === 'function' ? 1 : 0
}

export const isStreamKind = (kind: number): kind is StreamKind => Number.isInteger(kind) && kind >= 1 && kind <= 5
