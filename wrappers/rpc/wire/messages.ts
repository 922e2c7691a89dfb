/**
 * What travels in the frames of a link. A payload is a type (1 byte), an id (4 bytes, big-endian) and the rest:
 *
 *     CALL      id of the call · ms left (4) · context · length of the method (1) · method · arguments
 *     REF       the same for a function that was passed: its number (4) in place of the method
 *     CAST      id 0 · context · length of the method (1) · method · arguments; never answered
 *     RESULT    id of the call · value
 *     ERROR     id of the call · { code, message, executed, cause?, phase?, issues? }
 *     CANCEL    id of the call
 *     RELEASE   number of a function · how many times less it is held (4)
 *     METHODS   0 · { added, removed, idempotent? }: what this end shows to the other; the first one comes even if empty
 *     GOAWAY    1 if the whole stage is leaving: nothing new from either end; answered by the same
 *     OPEN DATA END RESET CREDIT   the streams: · bytes · nothing · error · how many bytes more (4)
 *     ENDED     a stream whose end has been read
 *     UNWANTED  a stream whose reader has gone: what it has not taken is lost
 *     PART      the id of a message · a part of it that comes before the rest, when it is larger than a frame
 *     READ      0 · how many bytes of PARTs have been read (4)
 *     START     a stream that was passed in a value: its receiver has begun to use it
 *     TOOK      a stream of items · how many of them its reader has taken (4)
 *
 * The context is what `context.ts` says: one byte, 0, where a call carries nothing.
 *
 * Whoever dialled uses odd ids and the other even ones, counting up; an id that does not go up is an error, so that
 * no call can run twice. Values are the codec's. A stream inside a value has an id of its own, and needs no OPEN.
 *
 * Frames of several large messages and streams come in turns. Between the parts of one that brings a new id (CALL, REF,
 * OPEN, or a RESULT with streams in it) and of those without an id nothing else comes that does: they keep their order.
 *
 * Each direction of a stream may be 256 KiB ahead of what its reader has given back by CREDIT, and all streams of a link
 * together 4 MiB; but any of them may have 4 KiB outstanding, so that those nobody reads cannot stop the others.
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

/** Type and id. */
export const HEAD = 5
/** A message that came in parts, joined. */
export const MESSAGE_MAX_BYTES = 4 * 1024 * 1024 + 512
/** Bytes of PARTs that may be on their way, so that small messages find little of them in front. */
export const PARTS_WINDOW_BYTES = 256 * 1024
/** So many messages that came in parts may be unfinished at once, each as large as one can be. */
export const UNFINISHED_MAX = 4
/** A peer that reads nothing of a large message for so long is given up. */
export const STOPPED_MS = 30_000
/** Nobody has begun to use what came in a value. */
export const UNREAD_MS = 60_000
/** A link that drains looks so often which of its streams are idle. */
export const LOOK_MS = 100
export const OPEN_CALLS_MAX = 10_000
export const STREAMS_MAX = 1000
export const REFS_MAX = 10_000
/**
 * Unsent bytes for one peer, of calls and of answers each, so that neither holds up the other: above it they fail
 * rather than wait. With twice as much altogether the peer is given up.
 */
export const HELD_MAX_BYTES = 16 * 1024 * 1024
/** Of a stream, in one frame. */
export const PIECE_MAX_BYTES = 32 * 1024
/** Above it streams and large messages wait for their turns. */
export const CONGESTED_BYTES = 64 * 1024
/** Above it small messages wait as well; only control messages still go at once. */
export const DIRECT_MAX_BYTES = 1024 * 1024
/** What the arguments of the calls that are being served on a link take in memory. */
export const SERVED_MAX_BYTES = 128 * 1024 * 1024
/** How many bytes the sender of a stream may be ahead of its reader. */
export const STREAM_WINDOW_BYTES = 256 * 1024
/** The same for all streams of a link together; each may have the reserve beyond it. */
export const LINK_WINDOW_BYTES = 4 * 1024 * 1024
export const RESERVE_BYTES = 4 * 1024
/** Unfinished values of all async iterables of a link together, beyond what its streams may be ahead. */
export const VALUES_MAX_BYTES = 16 * 1024 * 1024

/** What the wire calls an error. */
export interface WireError {
  code: string
  message: string
  executed: string
  cause?: unknown
  phase?: string | undefined
  /** Each { message, path }. */
  issues?: readonly unknown[] | undefined
}
