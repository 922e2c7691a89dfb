/**
 * What a call within one stage hands over: the same as if it had gone over a link, and nothing that both ends share.
 */
import { StageError, isStageError } from '../../../src/errors.js'
import { outside } from '../../../src/outside.js'
import type { Reference, References } from '../../../src/types.js'
import { Writer } from '../../../src/writer.js'
import { watchActivity } from '../../../src/activity.js'
import type { Ending } from '../../../src/bounded.js'
import { dispose, leave, visit } from '../../codec/dispose.js'
import { readThrown, shown } from '../../codec/errors.js'
import { Answering, markElsewhere, type Hand } from '../../codec/hand.js'
import { asHeld, failureOf, guard, hold, isEmitter } from '../../codec/hold.js'
import { ITERABLE, streamKind, type StreamKind } from '../../codec/stream-kind.js'
import { msgpack, type Callable, type Refs } from '../../codec.js'
import { dataRefs } from '../state/snapshot.js'
import { Through, type Crossing } from './through.js'

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

/** Functions and streams pass by their place in a list. */
class Listed {
  readonly #list: unknown[] = []

  constructor(protected readonly references: References) {}

  protected add(one: unknown): number {
    return this.#list.push(one) - 1
  }

  take(id: number): unknown {
    return this.#list[id]
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

/** Functions become ones that return promises, streams stay what they are; all else is encoded and decoded. */
class Passed extends Listed implements Refs {
  /** @param endings  gets the streams, which may have to be ended by a signal */
  constructor(references: References, private readonly call?: Moving, private readonly hand?: Hand, private readonly endings?: Ending[]) {
    super(references)
  }

  give(given: Callable): number {
    const { references } = this
    const fn = this.hand?.give(given) ?? given
    return this.add(markElsewhere((...args: unknown[]): Promise<unknown> => {
      const call = new Answering()
      const self = fn === given ? undefined : call
      const called = new Promise((resolve) => { resolve(outside(fn, self, ...kept(args, references) as unknown[])) })
      const answer = called.then((value) => kept(value, references, call.hand), (thrown: unknown) => {
        throw call.failure ?? copiedError(failed('a function that was passed', thrown), references)
      })
      answer.catch(() => {}) // handled, as that of a function that came over a link
      return answer
    }))
  }

  offer(given: object, kind: StreamKind): number {
    const touch = this.call?.moves()
    const lent = this.hand?.offer(given, kind) ?? given
    const stream = asHeld(lent)
    guard(stream)
    if (isEmitter(stream)) { // its error ends no process, so that one which is not destroyed by it would leave its reader waiting
      const fail = (error: unknown): void => { if (!stream.destroyed) leave(stream, undefined, error) }
      const failure = failureOf(stream)
      if (failure) fail(failure.error)
      else stream.once('error', fail)
    }
    if (kind !== ITERABLE && touch) watchActivity(stream, touch)
    const crossing = lent === given ? undefined : crossed(this.references) // an actor's own
    const passed = kind === ITERABLE ? new Through(stream as AsyncIterable<unknown>, touch, crossing) : stream
    this.endings?.push(passed as Ending)
    return this.add(passed)
  }
}

const plain = (value: unknown): boolean => value === null || (typeof value !== 'object' && typeof value !== 'function' && typeof value !== 'symbol')

/** Parts of a shared value that are searched for streams: it may be large, and costs nothing otherwise. */
const SHARED_MAX = 100

/** A value waits, and the streams in it go on: their errors end no process. @param shared  it passes as it is */
export function holdIn(value: unknown, shared: boolean): void {
  if (plain(value)) return
  if (shared) visit(value, guard, SHARED_MAX)
  else visit(value, hold)
}

/** As it comes to somebody who gets it over a link. */
const failed = (what: string, thrown: unknown): StageError =>
  new StageError('REMOTE_ERROR', `${what} failed: ${readThrown(thrown).text}`.slice(0, TEXT_MAX), { executed: 'yes', cause: thrown })

/** The values of an actor's iterable, and its error, are copied one by one. */
const crossed = (references: References): Crossing => ({
  value: (value) => plain(value) ? value : copyOf(value, dataRefs(references)),
  failure: (thrown) => copiedError(isStageError(thrown) ? thrown : failed('the stream', thrown), references),
})

/** The streams in what cannot be sent end with that. @throws StageError BAD_ARGUMENT */
function kept(value: unknown, references: References, hand?: Hand): unknown {
  try {
    return copied(value, references, undefined, hand)
  } catch (error) {
    dispose(value)
    throw error
  }
}

/** Functions and streams stay the same ones. */
class Same extends Listed implements Refs {
  give(fn: Callable): number {
    return this.add(fn)
  }

  offer(stream: object): number {
    return this.add(stream)
  }
}

/** What a value is at this moment, so that no later change reaches it; what cannot be sent is left as it is, and fails where it is sent. */
export function snapshotOf(value: unknown, references: References): unknown {
  if (plain(value)) return value
  try {
    return copyOf(value, new Same(references))
  } catch {
    return value
  }
}

/**
 * @param hand     stands between the functions and streams in it and whoever gets it
 * @param endings  gets the streams
 * @throws StageError BAD_ARGUMENT it could not be sent
 */
export function copied(value: unknown, references: References, call?: Moving, hand: Hand | undefined = call?.hand, endings?: Ending[]): unknown {
  return plain(value) ? value : copyOf(value, new Passed(references, call, hand, endings))
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

/** An argument of a call to an actor that shares: as it is, and the caller's still, should the actor return it. */
export function sharedWith(value: unknown, hand: Hand | undefined): unknown {
  const given = hand ? sharedBy(value, hand) : value
  return typeof given === 'function' || (typeof given === 'object' && given !== null && Symbol.asyncIterator in given) ? markElsewhere(given) : given
}

/** An error as it would have come over a link: of what was thrown nothing is shared. */
export function copiedError(error: StageError, references: References, hand?: Hand): StageError {
  const { code, message, executed, phase, cause, issues } = error
  if (plain(cause)) return error
  let told: { cause?: unknown } = {}
  const streams: Ending[] = []
  try {
    told = { cause: shown(copied(readThrown(cause).cause, references, undefined, hand, streams)) }
  } catch {
    streams.length = 0 // it could not be sent
  }
  if (streams.length === 0 && code === 'REMOTE_ERROR') dispose(cause)
  return new StageError(code, message, { executed, issues, ...(phase ? { phase } : {}), ...told })
}
