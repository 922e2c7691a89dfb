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
import { checkedLimits, type CodecLimits } from './codec/limits.js'
import type { Codec } from './codec/types.js'
import { Decoder } from './msgpack/decode.js'
import { Encoder } from './msgpack/encode.js'

export type { CodecLimits } from './codec/limits.js'
export { streamKind, type StreamKind } from './codec/stream-kind.js'
export type { Callable, Codec, Refs } from './codec/types.js'

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
