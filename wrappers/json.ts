/**
 * The JSON codec, for links that other programs read or speak. Decoded values are the same as with the msgpack codec;
 * `json/tags.ts` defines how JSON expresses types that it lacks. Node's own JSON does the work, on a plain copy of an
 * outgoing value, and on an incoming text only after a scan for its limits.
 */
import { checkedLimits, type CodecLimits } from './codec/limits.js'
import type { Codec } from './codec/types.js'
import { Decoder } from './json/decode.js'
import { Encoder } from './json/encode.js'

/**
 * The JSON codec, used as `rpc({ codec: json() })`.
 * @param limits  limits of the JSON text, in which elements and properties of tags count like all others
 * @throws TypeError a limit is not a positive integer
 */
export function json(limits: Partial<CodecLimits> = {}): Codec {
  const all = checkedLimits(limits)
  let running: Encoder | undefined
  let weight = 0
  return {
    name: 'json',
    get weight() { return weight },
    encode(value, out, refs) {
      const outer = running
      running = new Encoder(all, out, refs, outer)
      try {
        running.encode(value)
      } finally {
        running = outer
      }
    },
    decode(bytes, start, end, refs) {
      const decoder = new Decoder(all, refs)
      const value = decoder.decode(bytes, start, end)
      weight = decoder.weight
      return value
    },
  }
}
