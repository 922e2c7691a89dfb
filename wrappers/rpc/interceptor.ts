/** Functions that users write around calls: interceptors, and rules about who may call what. */
import type { Headers } from '../../src/headers.js'
import type { Peer } from '../../src/types.js'
import type { Validation } from './serving/schema.js'

/** A call as interceptors and rules see it. The call passed to `next` may have other `args` and `headers`; other changes have no effect. */
export interface InterceptedCall {
  /** Where the interceptor runs. */
  readonly side: 'caller' | 'callee'
  /** `get` reads a property of an actor, `observe` begins to watch properties, `function` calls a function that was passed. */
  readonly kind: 'call' | 'cast' | 'get' | 'observe' | 'function'
  /** At the caller: the argument of `to()`, or the address of the actor. At the callee: the name of its stage, or that address. */
  readonly target: string
  /** At the callee: the caller. At the caller: the match that is called, if known beforehand, as for `callAll` and functions. */
  readonly peer: Peer | undefined
  /** The method or the property; for `observe` the properties, joined by commas. */
  readonly method: string
  /** Set for calls of actors; `pattern` if the type is known, as it always is at the callee. */
  readonly actor: { readonly address: string; readonly pattern: string | undefined } | undefined
  /** For `observe`: the names of the properties. */
  readonly args: readonly unknown[]
  /** The headers of the call, by lower-case name. */
  readonly headers: Headers
  /** When the caller stops waiting: milliseconds since 1970 by this machine's calendar; Infinity for a cast. */
  readonly deadline: number
  /** Fires when nobody waits for the answer any more. */
  readonly signal: AbortSignal
  /** At the callee: the options that were given to `provide()` or `define()`. */
  readonly options: Readonly<object> | undefined
}

/**
 * A function around a call. An interceptor may call `next`, with the call as it is or with other `args` and `headers`, and
 * returns the result: the value that `next` resolved to, or any other. A StageError that it throws reaches the caller as it is.
 * At the callee `next` can be called once; at the caller each `next` is a separate call. The result of `observe` cannot be changed.
 */
export type Interceptor = (call: InterceptedCall, next: (call: InterceptedCall) => Promise<unknown>) => Promise<unknown>

/**
 * Whether a call may be made: anything but `true` is FORBIDDEN. A rule is also asked before methods are announced to a peer: if
 * it says `false` without having read `args`, `headers`, `deadline` or `signal`, the method stays hidden from that peer.
 */
export type Authorize = (call: InterceptedCall) => boolean | Promise<boolean>

/** Checks before and after one method runs. */
export interface Rules {
  /** Every rule has to say `true`; they are asked in this order. */
  readonly authorize: readonly Authorize[]
  /** Checks arguments and results by schemas. */
  readonly validation?: Validation | undefined
  /** The options that were given to `provide()` or `define()`. */
  readonly options?: Readonly<object> | undefined
}
