/**
 * Values as JSON, for links that somebody else wants to read or to speak. What arrives is what msgpack would bring;
 * `json/tags.ts` says how JSON says what it has no words for. Node's own JSON does the work: behind a scan of what comes,
 * and on a copy of what goes.
 */
import { checkedLimits, type CodecLimits } from './codec/limits.js'
import type { Codec } from './codec/types.js'
import { Decoder } from './json/decode.js'
import { Encoder } from './json/encode.js'

/**
 * `rpc({ codec: json() })`
 * @param limits  of the text: an element or property of a tag counts as any other
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
