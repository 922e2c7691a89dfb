/**
 * What a call within one stage hands over: the same as if it had gone over a link, and nothing that both ends share.
 */
import { StageError } from '../../src/errors.js'
import type { Reference, References } from '../../src/types.js'
import { Writer } from '../../src/writer.js'
import { watchActivity } from '../../src/activity.js'
import { readThrown, shown } from '../codec/errors.js'
import { Answering, ELSEWHERE, markElsewhere, type Hand } from '../codec/hand.js'
import { ITERABLE, streamKind, type StreamKind } from '../codec/stream-kind.js'
import { msgpack, type Callable, type Refs } from '../codec.js'
import { dataRefs } from './image.js'

const codec = msgpack()
/** Characters of an error, as over a link. */
const TEXT_MAX = 1024
const scratch = new Writer(1024)
let busy = false

/** A call that is told when something moves of the streams in its arguments. */
export interface Moving {
  /** There is such a stream; the result is called with whatever comes or goes. */
  moves(): () => void
  /** Of the actor that makes it. */
  readonly hand?: Hand | undefined
}

/** Functions become ones that return promises, streams stay what they are; all else is encoded and decoded. */
class Passed implements Refs {
  readonly #list: unknown[] = []

  constructor(private readonly references: References, private readonly call?: Moving, private readonly hand?: Hand) {}

  give(given: Callable): number {
    const { references } = this
    const fn = this.hand?.give(given) ?? given
    return this.#list.push(markElsewhere((...args: unknown[]): Promise<unknown> => {
      const call = new Answering()
      const answer = new Promise((resolve) => { resolve(fn.apply(fn === given ? undefined : call, copied(args, references) as unknown[])) }).then((value) => copied(value, references, undefined, call.hand), (thrown: unknown) => {
        throw call.failure ?? copiedError(failed('a function that was passed', thrown), references)
      })
      answer.catch(() => {}) // handled, as that of a function that came over a link
      return answer
    })) - 1
  }

  take(id: number): unknown {
    return this.#list[id]
  }

  offer(given: object, kind: StreamKind): number {
    const touch = this.call?.moves()
    const stream = this.hand?.offer(given, kind) ?? given
    if (touch && kind !== ITERABLE) watchActivity(stream, touch)
    const own = stream === given // of nobody whose values must be copied
    return this.#list.push(kind === ITERABLE && (touch ?? !own) ? new Each(stream as AsyncIterable<unknown>, touch, own ? undefined : this.references) : stream) - 1
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

/** The values of an iterable, one by one. Leaving it ends the iterable at once, also while a value is awaited. */
class Each implements AsyncIterableIterator<unknown> {
  #iterator: AsyncIterator<unknown> | undefined

  /**
   * @param touch       called with each of them
   * @param references  they are an actor's: each is copied, and its errors too
   */
  constructor(private readonly values: AsyncIterable<unknown>, private readonly touch: (() => void) | undefined, private readonly references?: References) {}

  get [ELSEWHERE](): true {
    return true
  }

  async next(): Promise<IteratorResult<unknown>> {
    let result: IteratorResult<unknown>
    try {
      result = await (this.#iterator ??= this.values[Symbol.asyncIterator]()).next()
    } catch (thrown) {
      throw this.references ? copiedError(thrown instanceof StageError ? thrown : failed('the stream', thrown), this.references) : thrown
    }
    this.touch?.()
    if (!this.references || plain(result.value)) return result
    try {
      return { done: result.done ?? false, value: copyOf(result.value, dataRefs(this.references)) } as IteratorResult<unknown>
    } catch (error) {
      this.return().catch(() => {})
      throw error
    }
  }

  async return(): Promise<IteratorResult<unknown>> {
    const iterator = this.#iterator ?? this.values as Partial<AsyncIterator<unknown>>
    await iterator.return?.()
    return { done: true, value: undefined }
  }

  [Symbol.asyncIterator](): this {
    return this
  }
}

/** As it comes to somebody who gets it over a link. */
const failed = (what: string, thrown: unknown): StageError =>
  new StageError('REMOTE_ERROR', `${what} failed: ${readThrown(thrown).text}`.slice(0, TEXT_MAX), { executed: 'yes', cause: thrown })

/** @param hand  stands between the functions and streams in it and whoever gets it @throws StageError BAD_ARGUMENT it could not be sent */
export function copied(value: unknown, references: References, call?: Moving, hand: Hand | undefined = call?.hand): unknown {
  return plain(value) ? value : copyOf(value, new Passed(references, call, hand))
}

function copyOf(value: unknown, refs: Refs): unknown {
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

/** What an actor that shares gives to a call within the stage: as it is, but for a function or an iterable itself. */
export function sharedBy(value: unknown, hand: Hand): unknown {
  if (typeof value === 'function') return hand.give(value as Callable)
  const kind = typeof value === 'object' && value !== null ? streamKind(value) : 0
  return kind === 0 ? value : hand.offer(value as object, kind)
}

/** An error as it would have come over a link: of what was thrown nothing is shared. */
export function copiedError(error: StageError, references: References, hand?: Hand): StageError {
  const { code, message, executed, phase, cause } = error
  if (plain(cause)) return error
  let told: { cause?: unknown } = {}
  try {
    told = { cause: shown(copied(readThrown(cause).cause, references, undefined, hand)) }
  } catch {} // it could not be sent
  return new StageError(code, message, { executed, ...(phase ? { phase } : {}), ...told })
}
