/**
 * What a call within one stage hands over: the same as if it had gone over a link, and nothing that both ends share.
 */
import { StageError, describe } from '../../src/errors.js'
import { Writer } from '../../src/writer.js'
import { watchActivity } from '../../src/activity.js'
import { Answering, ELSEWHERE, markElsewhere, type Hand } from '../codec/hand.js'
import { FUNCTION, STREAM, refuse } from '../codec/sendable.js'
import { ITERABLE, streamKind, type StreamKind } from '../codec/stream-kind.js'
import { msgpack, type Callable, type Refs } from '../codec.js'

const codec = msgpack()
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

  constructor(private readonly call?: Moving, private readonly hand?: Hand) {}

  give(given: Callable): number {
    const fn = this.hand?.give(given) ?? given
    return this.#list.push(markElsewhere((...args: unknown[]): Promise<unknown> => {
      const call = new Answering()
      const answer = new Promise((resolve) => { resolve(fn.apply(fn === given ? undefined : call, copied(args) as unknown[])) }).then((value) => copied(value, undefined, call.hand), (thrown: unknown) => {
        throw call.failure ?? new StageError('REMOTE_ERROR', `a function that was passed failed: ${thrown instanceof Error ? thrown.message : String(thrown)}`, { executed: 'yes', cause: thrown })
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
    return this.#list.push(kind === ITERABLE && (touch ?? !own) ? new Each(stream as AsyncIterable<unknown>, touch, !own) : stream) - 1
  }

  accept(id: number): unknown {
    return this.#list[id]
  }
}

const plain = (value: unknown): boolean => value === null || (typeof value !== 'object' && typeof value !== 'function' && typeof value !== 'symbol')

/** For the values of an actor's iterable: what cannot be sent in one over a link cannot here. */
const NO_REFS: Refs = { give: () => refuse(FUNCTION), take: () => undefined, offer: () => refuse(STREAM) }

/** The values of an iterable, one by one. Leaving it ends the iterable at once, also while a value is awaited. */
class Each implements AsyncIterableIterator<unknown> {
  #iterator: AsyncIterator<unknown> | undefined

  /**
   * @param touch   called with each of them
   * @param copies  they are an actor's: each is copied, and its errors too
   */
  constructor(private readonly values: AsyncIterable<unknown>, private readonly touch: (() => void) | undefined, private readonly copies: boolean) {}

  get [ELSEWHERE](): true {
    return true
  }

  async next(): Promise<IteratorResult<unknown>> {
    let result: IteratorResult<unknown>
    try {
      result = await (this.#iterator ??= this.values[Symbol.asyncIterator]()).next()
    } catch (thrown) {
      throw this.copies ? copiedError(failed(thrown)) : thrown
    }
    this.touch?.()
    if (!this.copies || plain(result.value)) return result
    try {
      return { done: result.done ?? false, value: copyOf(result.value, NO_REFS) } as IteratorResult<unknown>
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

/** As it comes to somebody who reads it over a link. */
const failed = (thrown: unknown): StageError => thrown instanceof StageError ? thrown
  : new StageError('REMOTE_ERROR', `the stream failed: ${thrown instanceof Error ? thrown.message : describe(thrown)}`.slice(0, 1024), { executed: 'yes', cause: thrown })

/** @param hand  stands between the functions and streams in it and whoever gets it @throws StageError BAD_ARGUMENT it could not be sent */
export function copied(value: unknown, call?: Moving, hand: Hand | undefined = call?.hand): unknown {
  return plain(value) ? value : copyOf(value, new Passed(call, hand))
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
export function copiedAll(args: readonly unknown[], call: Moving): readonly unknown[] {
  for (let i = 0; i < args.length; i++) if (!plain(args[i])) return copied(args, call) as unknown[]
  return args
}

/** What an actor that shares gives to a call within the stage: as it is, but for a function or an iterable itself. */
export function sharedBy(value: unknown, hand: Hand): unknown {
  if (typeof value === 'function') return hand.give(value as Callable)
  const kind = typeof value === 'object' && value !== null ? streamKind(value) : 0
  return kind === 0 ? value : hand.offer(value as object, kind)
}

/** An argument of a call to an actor that shares: as it is, and the caller's still, should the actor return it. */
export function sharedWith(value: unknown, hand: Hand | undefined): unknown {
  const given = hand ? sharedBy(value, hand) : value
  return typeof given === 'function' || (typeof given === 'object' && given !== null && Symbol.asyncIterator in given) ? markElsewhere(given) : given
}

/** An error as it would have come over a link: what was thrown is told by its name, message and code, and shares nothing. */
export function copiedError(error: StageError, hand?: Hand): StageError {
  const { code, message, executed, phase, cause } = error
  if (plain(cause)) return error
  let told: { cause?: unknown } = {}
  try {
    told = { cause: copied(cause instanceof Error ? bare(cause) : cause, undefined, hand) }
  } catch {} // it could not be sent
  return new StageError(code, message, { executed, ...(phase ? { phase } : {}), ...told })
}

function bare({ name, message, code }: Error & { code?: unknown }): Error {
  const copy = Object.assign(new Error(message), typeof code === 'string' || typeof code === 'number' ? { code } : {})
  return Object.defineProperty(copy, 'name', { value: name, configurable: true, writable: true })
}
