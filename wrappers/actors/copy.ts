/**
 * What a call within one stage hands over: the same as if it had gone over a link, and nothing that both ends share.
 */
import { StageError } from '../../src/errors.js'
import type { Reference, References } from '../../src/types.js'
import { Writer } from '../../src/writer.js'
import { watchActivity } from '../../src/activity.js'
import { readThrown, shown } from '../codec/errors.js'
import { ITERABLE, type StreamKind } from '../codec/stream-kind.js'
import { msgpack, type Callable, type Refs } from '../codec.js'

const codec = msgpack()
/** Characters of an error, as over a link. */
const TEXT_MAX = 1024
const scratch = new Writer(1024)
let busy = false

/** A call that is told when something moves of the streams in its arguments. */
export interface Moving {
  /** There is such a stream; the result is called with whatever comes or goes. */
  moves(): () => void
}

/** Functions become ones that return promises, streams stay what they are; all else is encoded and decoded. */
class Passed implements Refs {
  readonly #list: unknown[] = []

  constructor(private readonly references: References, private readonly call?: Moving) {}

  give(fn: Callable): number {
    return this.#list.push((...args: unknown[]): Promise<unknown> => {
      const { references } = this
      const answer = new Promise((resolve) => { resolve(fn(...copied(args, references) as unknown[])) }).then((value) => copied(value, references), (thrown: unknown) => {
        throw copiedError(new StageError('REMOTE_ERROR', `a function that was passed failed: ${readThrown(thrown).text}`.slice(0, TEXT_MAX), { executed: 'yes', cause: thrown }), references)
      })
      answer.catch(() => {}) // handled, as that of a function that came over a link
      return answer
    }) - 1
  }

  take(id: number): unknown {
    return this.#list[id]
  }

  offer(stream: object, kind: StreamKind): number {
    const touch = this.call?.moves()
    if (touch && kind !== ITERABLE) watchActivity(stream, touch)
    return this.#list.push(touch && kind === ITERABLE ? watched(stream as AsyncIterable<unknown>, touch) : stream) - 1
  }

  accept(id: number): unknown {
    return this.#list[id]
  }

  refer(reference: Reference): string {
    return this.references.refer(reference)
  }

  resolve(text: string): object {
    return this.references.resolve(text)
  }
}

const plain = (value: unknown): boolean => value === null || (typeof value !== 'object' && typeof value !== 'function' && typeof value !== 'symbol')

async function* watched(values: AsyncIterable<unknown>, touch: () => void): AsyncGenerator {
  for await (const value of values) {
    touch()
    yield value
  }
}

/** @throws StageError BAD_ARGUMENT it could not be sent */
export function copied(value: unknown, references: References, call?: Moving): unknown {
  if (plain(value)) return value
  const refs = new Passed(references, call)
  const writer = busy ? new Writer(1024) : scratch
  const outer = busy
  busy = true
  try {
    writer.at = 0
    codec.encode(value, writer, refs)
    return codec.decode(writer.bytes, 0, writer.at, refs)
  } finally {
    busy = outer
    if (scratch.bytes.length > 1024 * 1024 && !busy) scratch.bytes = Buffer.allocUnsafeSlow(1024)
  }
}

/** The same for a list of arguments, which is not copied where each of them is a plain value. */
export function copiedAll(args: readonly unknown[], references: References, call: Moving): readonly unknown[] {
  for (let i = 0; i < args.length; i++) if (!plain(args[i])) return copied(args, references, call) as unknown[]
  return args
}

/** An error as it would have come over a link: of what was thrown nothing is shared. */
export function copiedError(error: StageError, references: References): StageError {
  const { code, message, executed, phase, cause } = error
  if (plain(cause)) return error
  let told: { cause?: unknown } = {}
  try {
    told = { cause: shown(copied(readThrown(cause).cause, references)) }
  } catch {} // it could not be sent
  return new StageError(code, message, { executed, ...(phase ? { phase } : {}), ...told })
}
