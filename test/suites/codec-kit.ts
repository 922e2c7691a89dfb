import { StageError } from '../../src/errors.js'
import { Writer } from '../../src/writer.js'
import type { Callable, Codec, CodecLimits, Refs } from '../../wrappers/codec.js'
import type { Assertions } from './test.js'

/** Records the functions passed to `give`. */
export class Table implements Refs {
  readonly functions: (Callable | undefined)[] = []
  give(fn: Callable): number {
    return this.functions.push(fn) - 1
  }
  take(id: number): unknown {
    const fn = this.functions[id]
    if (!fn) throw new Error(`no function ${id}`)
    return fn
  }
  back(id: number): void {
    this.functions[id] = undefined
  }
}
export const noRefs: Refs = {
  give: () => 0,
  take: () => () => {},
}

export type CodecFactory = (limits?: Partial<CodecLimits>) => Codec

/** Helpers for the tests of a codec. */
export interface CodecKit {
  factory: CodecFactory
  encode(value: unknown, codec?: Codec, refs?: Refs): Buffer
  decode(bytes: Buffer, codec?: Codec): unknown
  /** Encodes and decodes a value. */
  trip<T>(value: T, codec?: Codec): T
  malformed(t: Assertions, bytes: Buffer, message: RegExp, limits?: Partial<CodecLimits>, refs?: Refs): StageError | undefined
  refused(t: Assertions, value: unknown, message: RegExp, limits?: Partial<CodecLimits>): StageError | undefined
}

export function codecKit(factory: CodecFactory): CodecKit {
  const encode: CodecKit['encode'] = (value, codec = factory(), refs = noRefs) => {
    const out = new Writer(16)
    codec.encode(value, out, refs)
    return Buffer.from(out.bytes.subarray(0, out.at))
  }
  const decode: CodecKit['decode'] = (bytes, codec = factory()) => codec.decode(bytes, 0, bytes.length, noRefs)
  return {
    factory, encode, decode,
    trip: <T>(value: T, codec = factory()) => decode(encode(value, codec), codec) as T,
    malformed: (t, bytes, message, limits, refs = noRefs) => {
      const error = fails(t, () => factory(limits).decode(bytes, 0, bytes.length, refs), message)
      t.is(error?.code, 'PROTOCOL_ERROR')
      return error
    },
    refused: (t, value, message, limits) => {
      const out = new Writer(16)
      out.at = 3
      const error = fails(t, () => factory(limits).encode(value, out, noRefs), message)
      t.is(error?.code, 'BAD_ARGUMENT')
      t.is(error?.executed, 'no')
      t.is(out.at, 3)
      return error
    },
  }
}

/** Asserts that `body` throws a StageError, and returns the error. */
export function fails(t: Assertions, body: () => unknown, message?: RegExp): StageError | undefined {
  const error = thrown(body)
  if (!(error instanceof StageError)) return void t.fail(`expected a StageError, found ${String(error)}`)
  if (message) t.true(message.test(error.message), error.message)
  return error
}

export function thrown(body: () => unknown): unknown {
  try {
    body()
  } catch (error) {
    return error
  }
  return undefined
}

/** mulberry32: the same values on every run. */
export function seeded(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0
    let t = Math.imul(seed ^ (seed >>> 15), seed | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}
