/** What a remote actor is to the compiler, and the options of its calls: for the handlers of rpc, which can call actors, and for the layer of actors. */

export interface ActorCallOptions {
  /**
   * Milliseconds for finding, activating, queueing and running together; default that of the stage. A call with streams
   * among its arguments has so long from its beginning, and from when something of them last moved.
   */
  readonly timeoutMs?: number | undefined
  /** Cancels; the reason becomes the cause of `CANCELLED`. */
  readonly signal?: AbortSignal | undefined
  /**
   * Whether calls may be made again within their deadline where their link broke (then the method may run twice) or they were
   * refused, as with `to()`. `false`: never, whatever the type says of its methods; default that. Reads of properties too.
   */
  readonly idempotent?: boolean | undefined
  /** Text that travels with each call, as with `to()`. */
  readonly headers?: Readonly<Record<string, string | undefined>> | undefined
}

/** An actor of which nothing is known to the compiler. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- an untyped call, as in to().call
export type UntypedActor = Record<string, any>

/** What no actor shows, though its class may have it; `members.ts` says so when the program runs. */
export type Hidden =
  | `_${string}` | symbol | 'self' | 'activate' | 'deactivate' | 'then' | 'catch' | 'finally' | 'constructor' | 'prototype' | 'inspect'
  | 'toString' | 'toLocaleString' | 'toJSON' | 'valueOf' | 'hasOwnProperty' | 'isPrototypeOf' | 'propertyIsEnumerable'

declare const of: unique symbol
/** How the compiler tells of a remote actor whose it is, from what is otherwise a list of functions and promises. Nothing of it is there when the program runs. */
export interface ActorOf<T> {
  readonly [of]?: T
}

// eslint-disable-next-line @typescript-eslint/no-explicit-any -- called or awaited, as whoever wrote `any` knows best
type Either = ((...args: any[]) => Promise<any>) & PromiseLike<any>

/** In place of a value that can never be sent. */
type Refused<Value> = Value extends symbol
  ? 'a symbol cannot be sent to another stage'
  : 'a promise cannot be sent to another stage: keep what it resolves to'

/** An actor from afar: its methods, each returning a promise, and its properties, each read by awaiting it. */
export type Actor<T> = ActorOf<T> & {
  readonly [Name in keyof T as Name extends Hidden ? never : Name]-?:
    0 extends 1 & T[Name] ? Either
      // a method that returns a promise stays as it is, type parameters and all
      : NonNullable<T[Name]> extends (this: never, ...args: never[]) => Promise<unknown> ? OmitThisParameter<NonNullable<T[Name]>>
        : NonNullable<T[Name]> extends (...args: infer Args) => infer Result ? (...args: Args) => Promise<Awaited<Result>>
          : PromiseLike<T[Name] extends symbol | Promise<unknown> ? Refused<T[Name]> : T[Name]>
}
