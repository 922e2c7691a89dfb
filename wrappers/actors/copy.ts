/**
 * What a call within one stage hands over: the same as if it had gone over a link, and nothing that both ends share.
 */
import { StageError } from '../../src/errors.js'
import { outside } from '../../src/outside.js'
import { Writer } from '../../src/writer.js'
import { watchActivity } from '../../src/activity.js'
import { ITERABLE, type StreamKind } from '../codec/stream-kind.js'
import { msgpack, type Callable, type Refs } from '../codec.js'
import { Apart } from './apart.js'

const codec = msgpack()
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

  constructor(private readonly call?: Moving) {}

  give(fn: Callable): number {
    return this.#list.push((...args: unknown[]): Promise<unknown> => {
      const answer = new Promise((resolve) => { resolve(outside(fn, undefined, ...copied(args) as unknown[])) }).then((value) => copied(value), (thrown: unknown) => {
        throw new StageError('REMOTE_ERROR', `a function that was passed failed: ${thrown instanceof Error ? thrown.message : String(thrown)}`, { executed: 'yes', cause: thrown })
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
    return this.#list.push(kind === ITERABLE ? new Apart(stream as AsyncIterable<unknown>, touch) : stream) - 1
  }

  accept(id: number): unknown {
    return this.#list[id]
  }
}

const plain = (value: unknown): boolean => value === null || (typeof value !== 'object' && typeof value !== 'function' && typeof value !== 'symbol')

/** @throws StageError BAD_ARGUMENT it could not be sent */
export function copied(value: unknown, call?: Moving): unknown {
  if (plain(value)) return value
  const refs = new Passed(call)
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

/** An error as it would have come over a link: what was thrown is told by its name, message and code, and shares nothing. */
export function copiedError(error: StageError): StageError {
  const { code, message, executed, phase, cause } = error
  if (plain(cause)) return error
  let told: { cause?: unknown } = {}
  try {
    told = { cause: copied(cause instanceof Error ? bare(cause) : cause) }
  } catch {} // it could not be sent
  return new StageError(code, message, { executed, ...(phase ? { phase } : {}), ...told })
}

function bare({ name, message, code }: Error & { code?: unknown }): Error {
  const copy = Object.assign(new Error(message), typeof code === 'string' || typeof code === 'number' ? { code } : {})
  return Object.defineProperty(copy, 'name', { value: name, configurable: true, writable: true })
}
