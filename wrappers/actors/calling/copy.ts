/**
 * Copies values of calls within one stage, with the same result as sending them over a link: both ends share nothing.
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
/** Limit of an error's message in characters, as over a link. */
const TEXT_MAX = 1024
const scratch = new Writer(1024)
let busy = false

/** A call that tracks the activity of its argument streams. */
export interface Moving {
  /** Called for each such stream. @returns a function to call whenever data moves */
  moves(): () => void
  /** Hands out functions and streams of the calling actor. */
  readonly hand?: Hand | undefined
}

/** Encodes functions and streams as their index in a list. */
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

/** Functions are wrapped to return promises, and streams pass as they are; all else is encoded and decoded. */
class Passed extends Listed implements Refs {
  /** @param endings  collects the streams, so that a signal can end them */
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
      answer.catch(() => {}) // marked as handled, like the promise of a function that came over a link
      return answer
    }))
  }

  offer(given: object, kind: StreamKind): number {
    const touch = this.call?.moves()
    const lent = this.hand?.offer(given, kind) ?? given
    const stream = asHeld(lent)
    guard(stream)
    if (isEmitter(stream)) { // guarded errors end no process, so a stream that survives its own error would leave its reader waiting
      const fail = (error: unknown): void => { if (!stream.destroyed) leave(stream, undefined, error) }
      const failure = failureOf(stream)
      if (failure) fail(failure.error)
      else stream.once('error', fail)
    }
    if (kind !== ITERABLE && touch) watchActivity(stream, touch)
    const crossing = lent === given ? undefined : crossed(this.references) // the actor's own iterable
    const passed = kind === ITERABLE ? new Through(stream as AsyncIterable<unknown>, touch, crossing) : stream
    this.endings?.push(passed as Ending)
    return this.add(passed)
  }
}

const plain = (value: unknown): boolean => value === null || (typeof value !== 'object' && typeof value !== 'function' && typeof value !== 'symbol')

/** Limit of parts of a shared value that are searched for streams, because the value may be large. */
const SHARED_MAX = 100

/** Guards the streams in a waiting value, so that their errors do not end the process. @param shared  the value passes by reference */
export function holdIn(value: unknown, shared: boolean): void {
  if (plain(value)) return
  if (shared) visit(value, guard, SHARED_MAX)
  else visit(value, hold)
}

/** The error that a receiver over a link would get. */
const failed = (what: string, thrown: unknown): StageError =>
  new StageError('REMOTE_ERROR', `${what} failed: ${readThrown(thrown).text}`.slice(0, TEXT_MAX), { executed: 'yes', cause: thrown })

/** Copies each value of an actor's iterable, and its error. */
const crossed = (references: References): Crossing => ({
  value: (value) => plain(value) ? value : copyOf(value, dataRefs(references)),
  failure: (thrown) => copiedError(isStageError(thrown) ? thrown : failed('the stream', thrown), references),
})

/** Copies a value; if it cannot be sent, its streams are ended. @throws StageError BAD_ARGUMENT */
function kept(value: unknown, references: References, hand?: Hand): unknown {
  try {
    return copied(value, references, undefined, hand)
  } catch (error) {
    dispose(value)
    throw error
  }
}

/** Functions and streams pass as they are. */
class Same extends Listed implements Refs {
  give(fn: Callable): number {
    return this.add(fn)
  }

  offer(stream: object): number {
    return this.add(stream)
  }
}

/** Copies a value, so that later changes do not reach the copy. A value that cannot be sent is returned as it is, and fails on sending. */
export function snapshotOf(value: unknown, references: References): unknown {
  if (plain(value)) return value
  try {
    return copyOf(value, new Same(references))
  } catch {
    return value
  }
}

/**
 * Copies a value as if it were sent over a link.
 * @param hand     wraps the functions and streams in the value for the receiver
 * @param endings  collects the streams
 * @throws StageError BAD_ARGUMENT the value cannot be sent
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

/** Copies a list of arguments; returns the list itself if all arguments are primitive values. */
export function copiedAll(args: readonly unknown[], references: References, call: Moving): readonly unknown[] {
  for (let i = 0; i < args.length; i++) if (!plain(args[i])) return copied(args, references, call) as unknown[]
  return args
}

/** Passes a value of an actor with `share` within the stage: by reference, unless it is itself a function, iterable or stream. */
export function sharedBy(value: unknown, hand: Hand): unknown {
  if (typeof value === 'function') return hand.give(value as Callable)
  const kind = typeof value === 'object' && value !== null ? streamKind(value) : 0
  return kind === 0 ? value : hand.offer(value as object, kind)
}

/** Passes an argument to an actor with `share`, marked as the caller's in case the actor returns it. */
export function sharedWith(value: unknown, hand: Hand | undefined): unknown {
  const given = hand ? sharedBy(value, hand) : value
  return typeof given === 'function' || (typeof given === 'object' && given !== null && Symbol.asyncIterator in given) ? markElsewhere(given) : given
}

/** Copies an error as if it had come over a link, so that nothing of the thrown value is shared. */
export function copiedError(error: StageError, references: References, hand?: Hand): StageError {
  const { code, message, executed, phase, cause, issues } = error
  if (plain(cause)) return error
  let told: { cause?: unknown } = {}
  const streams: Ending[] = []
  try {
    told = { cause: shown(copied(readThrown(cause).cause, references, undefined, hand, streams)) }
  } catch {
    streams.length = 0 // the cause cannot be sent
  }
  if (streams.length === 0 && code === 'REMOTE_ERROR') dispose(cause)
  return new StageError(code, message, { executed, issues, ...(phase ? { phase } : {}), ...told })
}
