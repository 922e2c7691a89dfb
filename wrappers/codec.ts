/**
 * From values to bytes and back.
 *
 * The format is msgpack: nil, booleans, integers, float64 (NaN, -0 and the infinities among them), str in UTF-8, bin for
 * a Buffer, array, and map with str keys for an object. Whatever else there is travels as an extension; `msgpack/ext.ts`
 * numbers them. Leaves: undefined, a function or a stream (the number by which its owner knows it), bigint, Date, and
 * binary data that is not a Buffer (typed arrays, ArrayBuffer, DataView), a reference (a text). With one msgpack array as their content: Map, Set,
 * Error. Extension types that are not ours are refused, those below zero (msgpack's own timestamp) among them.
 *
 * It is our own because the library msgpackr keeps its extensions for the whole process, looks Error classes up by a
 * name from the wire, decodes a Map as an object unless peers may define records, and knows no limit on nodes or depth:
 * small input costs hundreds of megabytes or overflows the stack. Limits around it would take a walk over every value
 * before it encodes and a scan of every message before it decodes.
 */
import type { Reference } from '../src/types.js'
import type { Writer } from '../src/writer.js'
import { Decoder } from './msgpack/decode.js'
import { Encoder } from './msgpack/encode.js'
import type { StreamKind } from './codec/stream-kind.js'

export { streamKind, type StreamKind } from './codec/stream-kind.js'

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

/** The same for both directions, so that what was sent can be received. */
export interface CodecLimits {
  /** Of one value, encoded; default 4 MiB. */
  maxBytes: number
  /** Elements, properties and entries altogether; default 250 000. */
  maxNodes: number
  /** Containers within containers; default 64. */
  maxDepth: number
}

const DEFAULT_LIMITS: Readonly<CodecLimits> = { maxBytes: 4 * 1024 * 1024, maxNodes: 250_000, maxDepth: 64 }

/** @throws TypeError a limit is not a positive integer */
export function checkedLimits(limits: Partial<CodecLimits>): CodecLimits {
  const all: CodecLimits = { ...DEFAULT_LIMITS, ...limits }
  for (const [name, limit] of Object.entries(all)) {
    if (!Number.isSafeInteger(limit) || limit < 1) throw new TypeError(`${name} must be a positive integer, not ${String(limit)}`)
  }
  return all
}

/** The default. @throws TypeError a limit is not a positive integer */
export function msgpack(limits: Partial<CodecLimits> = {}): Codec {
  const all = checkedLimits(limits)
  // One of each serves all calls. A getter that encodes while it is being encoded finds it taken, and gets a new one.
  let encoder: Encoder | undefined = new Encoder(all, undefined)
  let decoder: Decoder | undefined = new Decoder(all)
  let running: Encoder | undefined
  let weight = 0
  return {
    name: 'msgpack',
    get weight() { return weight },
    encode(value, out, refs) {
      const outer = running
      const mine = encoder ?? new Encoder(all, outer)
      encoder = undefined
      running = mine
      try {
        mine.encode(value, out, refs)
      } finally {
        running = outer
        if (!outer) encoder = mine
      }
    },
    decode(bytes, start, end, refs, given = false) {
      const mine = decoder ?? new Decoder(all)
      decoder = undefined
      try {
        return mine.decode(bytes, start, end, refs, given)
      } finally {
        weight = mine.weight
        decoder = mine
      }
    },
  }
}
