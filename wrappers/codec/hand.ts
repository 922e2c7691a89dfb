/** The hook between the functions and streams that an actor passes out and their receivers, which decides how they run. */
import type { StreamKind } from './stream-kind.js'
import type { Callable } from './types.js'

/** Called for each function and stream while a value is encoded; the returned object is sent in its place. */
export interface Hand {
  give(fn: Callable): Callable
  /** @returns a stream or an iterable of the same kind */
  offer(stream: object, kind: StreamKind): object
}

/** One call of a method or passed function, as far as its answer depends on the callee. */
export class Answering {
  /** Applied to the functions and streams in the returned value. */
  hand: Hand | undefined
  /** Error made by the library rather than the handler; the caller gets it unchanged. */
  failure: Error | undefined
  /** What the callee has thrown was reported where it ran. */
  reported = false
  /** Called when the caller no longer waits for the answer. */
  onend: (() => void) | undefined

  /** When the caller stops waiting, by the clock's `now()`; Infinity if unknown. */
  get endsAt(): number {
    return Infinity
  }
}

/** Marks, on the prototype, iterables that the library made for sources that run elsewhere. */
export const ELSEWHERE = Symbol('elsewhere')
const elsewhere = new WeakSet<object>()

/** Marks a function or iterable that runs elsewhere: an actor that passes it on does not run it in its own turns. */
export function markElsewhere<T extends object>(value: T): T {
  elsewhere.add(value)
  return value
}

export const runsElsewhere = (value: object): boolean => elsewhere.has(value) || ELSEWHERE in value
