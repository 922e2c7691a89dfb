/**
 * What travels in the frames of a link. A payload is a type (1 byte), an id (4 bytes, big-endian) and the rest:
 *
 *     CALL      id of the call · ms left (4) · depth (1) · length of the method (1) · method · arguments
 *     REF       the same for a function that was passed: its number (4) in place of the method
 *     CAST      id 0 · depth (1) · length of the method (1) · method · arguments; never answered
 *     RESULT    id of the call · value
 *     ERROR     id of the call · { code, message, executed, cause? }
 *     CANCEL    id of the call
 *     RELEASE   number of a function · how many times less it is held (4)
 *     METHODS   0 · { added, removed }: what this end shows to the other; the first one comes even if empty
 *     GOAWAY    1 if the whole stage is leaving: nothing new from either end; answered by the same
 *     OPEN DATA END RESET CREDIT   the streams: · bytes · nothing · error · how many bytes more (4)
 *     ENDED     a stream whose end has been read
 *     PART      the id of a message · a part of it that comes before the rest, when it is larger than a frame
 *
 * Whoever dialled uses odd ids and the other even ones, counting up; an id that does not go up is an error, so that
 * no call can run twice. Values are the codec's.
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

/** Type and id. */
export const HEAD = 5
/** A message that came in parts, joined. */
export const MESSAGE_MAX_BYTES = 4 * 1024 * 1024 + 512
export const OPEN_CALLS_MAX = 10_000
export const STREAMS_MAX = 1000
export const REFS_MAX = 10_000
export const DEPTH_MAX = 32
/** Unsent bytes for one peer; above it calls fail rather than wait. */
export const HELD_MAX_BYTES = 16 * 1024 * 1024
/** Above it streams wait; calls may still go. */
export const CONGESTED_BYTES = 1024 * 1024

/** What the wire calls an error. */
export interface WireError {
  code: string
  message: string
  executed: string
  cause?: unknown
}
