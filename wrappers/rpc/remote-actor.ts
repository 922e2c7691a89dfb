/** The type of a remote actor, and the options of its calls: for handlers of rpc, which can call actors, and for the layer of actors. */
import type { ActorOf, Called, Received } from './passed.js'

export type { ActorOf } from './passed.js'

export interface ActorCallOptions {
  /**
   * Milliseconds for finding, activating, queueing and running together; default that of the stage. For a call with streams
   * among its arguments the time starts again whenever one of the streams makes progress.
   */
  readonly timeoutMs?: number | undefined
  /** Cancels the calls; the reason becomes the cause of `CANCELLED`. */
  readonly signal?: AbortSignal | undefined
  /**
   * Whether calls may be retried within their deadline after their link broke (the method may then run twice) or they were
   * refused, as with `to()`; also for reads of properties. `false`: never; default: as the type declares for its methods.
   */
  readonly idempotent?: boolean | undefined
  /** Text that travels with each call, as with `to()`. */
  readonly headers?: Readonly<Record<string, string | undefined>> | undefined
}

/** An actor whose type is unknown to the compiler. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- an untyped call, as in to().call
export type UntypedActor = Record<string, any>

/** Members that no actor exposes, even if its class has them; `members.ts` enforces the same at run time. */
export type Hidden =
  | `_${string}` | symbol | 'self' | 'activate' | 'deactivate' | 'then' | 'catch' | 'finally' | 'constructor' | 'prototype' | 'inspect'
  | 'toString' | 'toLocaleString' | 'toJSON' | 'valueOf' | 'hasOwnProperty' | 'isPrototypeOf' | 'propertyIsEnumerable'

// eslint-disable-next-line @typescript-eslint/no-explicit-any -- called or awaited: with `any` only the user knows which
type Either = ((...args: any[]) => Promise<any>) & PromiseLike<any>

/** Stands in for the type of a value that can never be sent. */
type Refused<Value> = Value extends symbol
  ? 'a symbol cannot be sent to another stage'
  : 'a promise cannot be sent to another stage: keep what it resolves to'

/** A remote actor: its methods, each returning a promise, and its properties, each read by awaiting it. */
export type Actor<T> = ActorOf<T> & {
  readonly [Name in keyof T as Name extends Hidden ? never : Name]-?:
    0 extends 1 & T[Name] ? Either
      : T[Name] extends (...args: never[]) => unknown ? Called<T[Name]>
        : NonNullable<T[Name]> extends (...args: never[]) => unknown ? Called<NonNullable<T[Name]>>
        : PromiseLike<T[Name] extends symbol | Promise<unknown> ? Refused<T[Name]> : Received<T[Name]>>
}
