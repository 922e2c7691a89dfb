/** The contract of a codec, and of the table that replaces functions, streams and handles while they travel. */
import type { Reference } from '../../src/types.js'
import type { Writer } from '../../src/writer.js'
import type { StreamKind } from './stream-kind.js'

/** Replaces functions and streams by numbers that their owner knows, and handles by texts that the receiver can resolve. */
export interface Refs {
  /** Called by `encode` for each function; the number (32 bits, unsigned) goes over the wire. */
  give(fn: Callable): number
  /** Called by `decode` for each number; returns the stand-in for the function. */
  take(id: number): unknown
  /** Called when an `encode` failed, for each number returned by `give`, because the number was never sent. */
  back?(id: number): void
  /**
   * Called by `encode` for each stream and async iterable; `kind` is the result of `streamKind`. Returns a number (32 bits,
   * unsigned). Without `offer`, streams cannot be sent: BAD_ARGUMENT.
   */
  offer?(stream: object, kind: StreamKind): number
  /** Called by `decode` for each number; returns the stand-in for the stream. Without `accept`: PROTOCOL_ERROR. */
  accept?(id: number, kind: StreamKind): unknown
  /** Like `back`, for streams. */
  withdraw?(id: number): void
  /** Called by `encode` for each handle with a reference; returns the text that goes over the wire. Without `refer`: BAD_ARGUMENT. */
  refer?(reference: Reference): string
  /** Called by `decode` for each such text; returns the stand-in for the handle. Without `resolve`: PROTOCOL_ERROR. */
  resolve?(text: string): unknown
}
/** Any function that is called with values. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- any function can be sent, whatever its parameters
export type Callable = (...args: any[]) => unknown

/** Converts values to bytes and back. */
export interface Codec {
  /** Name of the codec, which both ends compare. */
  readonly name: string
  /**
   * Appends `value` to `out`. Getters and Proxies in the value run meanwhile; a getter that encodes to the same `out`
   * makes both calls fail, because their bytes could not be told apart.
   * @throws StageError BAD_ARGUMENT, with `out.at` restored; the message names the place in the value
   */
  encode(value: unknown, out: Writer, refs: Refs): void
  /**
   * Reads the single value that fills `[start, end)` exactly. The result contains no view of `bytes`, unless `given`.
   * @param given  nobody else uses `bytes`, so a Buffer that makes up most of them may be a view; default false
   * @throws StageError PROTOCOL_ERROR
   */
  decode(bytes: Buffer, start: number, end: number, refs: Refs, given?: boolean): unknown
  /** Approximate memory of the last decoded value, in bytes; without `weight` a value counts as eight times its encoded bytes. */
  readonly weight?: number
}
