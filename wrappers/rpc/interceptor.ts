/** What users write around calls: interceptors, and rules of who may call what. */
import type { Headers } from '../../src/headers.js'
import type { Peer } from '../../src/types.js'
import type { Validation } from './serving/schema.js'

/** A call as interceptors and rules see it. What `next` is given may have other `args` and `headers`; the rest is not theirs to change. */
export interface InterceptedCall {
  /** Where the interceptor runs. */
  readonly side: 'caller' | 'callee'
  /** `get` reads a property of an actor, `observe` begins to watch some, `function` calls one that was passed. */
  readonly kind: 'call' | 'cast' | 'get' | 'observe' | 'function'
  /** At the caller: what `to()` was given, or the address of the actor. At the callee: its own name, or that address. */
  readonly target: string
  /** At the callee: who calls. At the caller: the match that is called, where that is known before: `callAll`, and functions. */
  readonly peer: Peer | undefined
  /** The method or the property; of `observe` the properties, joined by commas. */
  readonly method: string
  /** Of a call of an actor; `pattern` where its type is known, which it is at the callee. */
  readonly actor: { readonly address: string; readonly pattern: string | undefined } | undefined
  /** Of `observe`: the names of the properties. */
  readonly args: readonly unknown[]
  readonly headers: Headers
  /** When the caller stops waiting: milliseconds since 1970 by this machine's calendar; Infinity for a cast. */
  readonly deadline: number
  /** Fires when nobody waits for the answer any more. */
  readonly signal: AbortSignal
  /** At the callee: the options of its `provide()` or `define()`. */
  readonly options: Readonly<object> | undefined
}

/**
 * A function around a call. It may call `next`, with the call as it is or with other `args` and `headers`, and returns what
 * becomes of the call: what `next` resolved to, or something else. A StageError that it throws arrives at the caller as it is.
 * At the callee `next` can be called once; at the caller each time is a call of its own. Of `observe` the result cannot be changed.
 */
export type Interceptor = (call: InterceptedCall, next: (call: InterceptedCall) => Promise<unknown>) => Promise<unknown>

/**
 * Whether a call may be made: anything but `true` is FORBIDDEN. It is also asked which methods a peer is told of: a rule
 * that says `false` without having looked at `args`, `headers`, `deadline` or `signal` hides the method from that peer.
 */
export type Authorize = (call: InterceptedCall) => boolean | Promise<boolean>

/** What has to be so before one method runs, and after. */
export interface Rules {
  /** All of them have to say `true`, in this order. */
  readonly authorize: readonly Authorize[]
  readonly validation?: Validation | undefined
  /** Of `provide()` or `define()`. */
  readonly options?: Readonly<object> | undefined
}
