/** What stands between what an actor gives to others and whoever gets it: there it is decided how it runs. */
import type { StreamKind } from './stream-kind.js'
import type { Callable } from './types.js'

/** Asked for each function and stream while a value is encoded: what it returns is sent in its place. */
export interface Hand {
  give(fn: Callable): Callable
  /** @returns a stream or an iterable of the same kind */
  offer(stream: object, kind: StreamKind): object
}

/** One call of a method or of a function that was passed, as far as what it returns depends on who answers it. */
export class Answering {
  /** Stands between what is returned and the caller. */
  hand: Hand | undefined
  /** The call failed by our own word, which the caller gets as it is. */
  failure: Error | undefined
  /** Called when nobody waits for the answer any more. */
  onend: (() => void) | undefined

  /** When the caller stops waiting, by the clock's `now()`; Infinity: it did not say. */
  get endsAt(): number {
    return Infinity
  }
}

/** On the prototypes of iterables that the library made for something that runs elsewhere. */
export const ELSEWHERE = Symbol('elsewhere')
const elsewhere = new WeakSet<object>()

/** Marks a function or iterable as belonging to somebody else: an actor that passes it on does not run it. */
export function markElsewhere<T extends object>(value: T): T {
  elsewhere.add(value)
  return value
}

export const runsElsewhere = (value: object): boolean => elsewhere.has(value) || ELSEWHERE in value
