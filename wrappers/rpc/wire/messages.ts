/**
 * The messages in the frames of a link. A payload is a type (1 byte), an id (4 bytes, big-endian) and the rest:
 *
 *     CALL      id of the call · ms left (4) · context · length of the method (1) · method · arguments
 *     REF       the same for a function that was passed: its number (4) in place of the method
 *     CAST      id 0 · context · length of the method (1) · method · arguments; never answered
 *     RESULT    id of the call · value
 *     ERROR     id of the call · { code, message, executed, cause?, phase?, issues? }
 *     CANCEL    id of the call
 *     RELEASE   number of a function · how many times less it is held (4)
 *     METHODS   0 · { added, removed, idempotent? }: the methods shown to the other end; the first is sent even if empty
 *     GOAWAY    1 if the whole stage is leaving: nothing new from either end; answered by the same
 *     OPEN DATA END RESET CREDIT   the streams: · bytes · nothing · error · how many bytes more (4)
 *     ENDED     a stream whose end has been read
 *     UNWANTED  a stream whose reader has gone: bytes that were not taken are lost
 *     PART      the id of a message larger than a frame · a part of the message that comes before the rest
 *     READ      0 · how many bytes of PARTs have been read (4)
 *     START     a stream that was passed in a value: its receiver has begun to use it
 *     TOOK      a stream of items · how many of them its reader has taken (4)
 *
 * `context.ts` describes the context: one byte, 0, if a call carries nothing.
 *
 * The dialler uses odd ids and the other end even ids, counting up; an id that does not go up is an error, so that no call
 * can run twice. The codec encodes values. A stream inside a value has an id of its own, and needs no OPEN.
 *
 * Frames of several large messages and streams come in turns. Between the parts of a message that brings a new id (CALL,
 * REF, OPEN, or a RESULT with streams in it) or has no id, no other such message comes: these messages keep their order.
 *
 * Each direction of a stream may be 256 KiB ahead of the bytes that its reader has given back by CREDIT, and all streams of a
 * link together 4 MiB; but any stream may have 4 KiB outstanding, so that streams without a reader cannot stop the others.
 */
export const CALL = 1
export const REF = 2
export const CAST = 3
export const RESULT = 4
export const ERROR = 5
export const CANCEL = 6
export const RELEASE = 7
export const METHODS = 8
export const GOAWAY = 9
export const OPEN = 10
export const DATA = 11
export const END = 12
export const RESET = 13
export const CREDIT = 14
export const PART = 15
export const ENDED = 16
export const START = 17
export const READ = 18
export const TOOK = 19
export const UNWANTED = 20

/** Size of the type and the id. */
export const HEAD = 5
/** Largest message, joined from its parts. */
export const MESSAGE_MAX_BYTES = 4 * 1024 * 1024 + 512
/** Bytes of PARTs that may be in flight, limited so that small messages find little in front of them. */
export const PARTS_WINDOW_BYTES = 256 * 1024
/** Messages of the largest size whose parts may be incomplete at once. */
export const UNFINISHED_MAX = 4
/** How long a peer may read nothing of a large message before its link is closed. */
export const STOPPED_MS = 30_000
/** How long a stream that came in a value may stay unused, and a stream that was left here unread by the peer. */
export const UNREAD_MS = 60_000
/** How often a link that drains looks for idle streams. */
export const LOOK_MS = 100
export const OPEN_CALLS_MAX = 10_000
export const STREAMS_MAX = 1000
export const REFS_MAX = 10_000
/**
 * Unsent bytes for one peer, of calls and of answers each, so that neither holds up the other: above the limit new ones fail
 * rather than wait. At twice as much in total the link is closed.
 */
export const HELD_MAX_BYTES = 16 * 1024 * 1024
/** Bytes of a stream in one frame. */
export const PIECE_MAX_BYTES = 32 * 1024
/** Bytes held by the framing above which streams and large messages wait for their turns. */
export const CONGESTED_BYTES = 64 * 1024
/** Bytes held by the framing above which small messages wait as well; only control messages still go at once. */
export const DIRECT_MAX_BYTES = 1024 * 1024
/** Memory for the arguments of the calls that are being served on a link. */
export const SERVED_MAX_BYTES = 128 * 1024 * 1024
/** How many bytes the sender of a stream may be ahead of its reader. */
export const STREAM_WINDOW_BYTES = 256 * 1024
/** The same for all streams of a link together; each stream may have the reserve beyond this limit. */
export const LINK_WINDOW_BYTES = 4 * 1024 * 1024
export const RESERVE_BYTES = 4 * 1024
/** Unfinished values of all async iterables of a link together, beyond the windows of its streams. */
export const VALUES_MAX_BYTES = 16 * 1024 * 1024

/** An error on the wire. */
export interface WireError {
  code: string
  message: string
  executed: string
  cause?: unknown
  phase?: string | undefined
  /** Each { message, path }. */
  issues?: readonly unknown[] | undefined
}

/** The method of a cast that is a value of `send()`. No method that is provided has such a name. */
export const VALUE = '@value'
