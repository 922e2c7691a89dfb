/**
 * The default codec, which converts values to bytes and back.
 *
 * The format is msgpack: nil, booleans, integers, float64 (including NaN, -0 and the infinities), str in UTF-8, bin for a
 * Buffer, array, and map with str keys for an object. All other types travel as extensions, numbered in `msgpack/ext.ts`.
 * Leaves are undefined, a function or a stream (as the number by which its owner knows it), bigint, Date, binary data that
 * is not a Buffer (typed arrays, ArrayBuffer, DataView), and a reference (as a text). Map, Set and Error contain one msgpack
 * array. The decoder rejects other extension types, including negative ones (msgpack's own timestamp).
 *
 * The codec is our own because the library msgpackr registers extensions for the whole process, looks up Error classes by a
 * name from the wire, decodes a Map as an object unless peers may define records, and has no limit on nodes or depth, so
 * that small input costs hundreds of megabytes or overflows the stack. Limits around msgpackr would need a walk over every
 * value before it is encoded and a scan of every message before it is decoded.
 */
import { checkedLimits, type CodecLimits } from './codec/limits.js'
import type { Codec } from './codec/types.js'
import { Decoder } from './msgpack/decode.js'
import { Encoder } from './msgpack/encode.js'

export type { CodecLimits } from './codec/limits.js'
export { streamKind, type StreamKind } from './codec/stream-kind.js'
export type { Callable, Codec, Refs } from './codec/types.js'

/** The default codec. @throws TypeError a limit is not a positive integer */
export function msgpack(limits: Partial<CodecLimits> = {}): Codec {
  const all = checkedLimits(limits)
  // One encoder and one decoder serve all calls. A getter that encodes during an encode finds the encoder in use and gets a new one.
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
