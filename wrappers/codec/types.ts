/** The contract of a codec, and of what stands for functions, streams and handles while they travel. */
import type { Reference } from '../../src/types.js'
import type { Writer } from '../../src/writer.js'
import type { StreamKind } from './stream-kind.js'

/** What functions and streams are while they travel: numbers that their owner knows. And handles: texts that whoever receives them knows. */
export interface Refs {
  /** Called by `encode` for each function; the number (32 bits, unsigned) goes over the wire. */
  give(fn: Callable): number
  /** Called by `decode` for each number; what it returns stands in for the function. */
  take(id: number): unknown
  /** Called when an `encode` failed, for each number that it was given: nobody will hear of it. */
  back?(id: number): void
  /**
   * Called by `encode` for each async iterable and each of Node's streams; `kind` is what `streamKind` says. Returns its
   * number (32 bits, unsigned). Without it they cannot be sent: BAD_ARGUMENT.
   */
  offer?(stream: object, kind: StreamKind): number
  /** Called by `decode` for each number; what it returns stands in for the stream. Without it: PROTOCOL_ERROR. */
  accept?(id: number, kind: StreamKind): unknown
  /** As `back`, for streams. */
  withdraw?(id: number): void
  /** Called by `encode` for each handle that refers to something; what it returns goes over the wire. Without it they cannot be sent: BAD_ARGUMENT. */
  refer?(reference: Reference): string
  /** Called by `decode` for each such text; what it returns stands in for the handle. Without it: PROTOCOL_ERROR. */
  resolve?(text: string): unknown
}
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- any function can be given, whatever it takes
export type Callable = (...args: any[]) => unknown

export interface Codec {
  /** Both ends compare it. */
  readonly name: string
  /**
   * Appends `value` to `out`. Getters and Proxies in it run meanwhile; what they append to the same `out` makes both
   * fail, since neither could be told from the other.
   * @throws StageError BAD_ARGUMENT, and `out.at` is where it was; the message says where in the value it happened
   */
  encode(value: unknown, out: Writer, refs: Refs): void
  /**
   * Reads the one value that is exactly `[start, end)`. Nothing in it is a view of `bytes`, unless they are given away.
   * @param given  nobody else has `bytes`: a Buffer that is most of them may be a view; default false
   * @throws StageError PROTOCOL_ERROR
   */
  decode(bytes: Buffer, start: number, end: number, refs: Refs, given?: boolean): unknown
  /** What the last value that was decoded takes in memory, in bytes and about; without it a value counts as eight times its encoded bytes. */
  readonly weight?: number
}
