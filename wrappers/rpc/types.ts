import type { Duplex } from 'node:stream'
import type { PeerStream } from '../../src/socketlike.js'
import type { Peer, TargetOptions, To } from '../../src/types.js'
import type { StageError } from '../../src/errors.js'
import type { Hand } from '../codec/hand.js'
import type { Actor, ActorCallOptions, UntypedActor } from './remote-actor.js'
import type { Carried } from './context.js'
import type { Authorize } from './interceptor.js'
import type { ArgumentsOf, ResultFor, Schema, Schemas } from './serving/schema.js'

/** `this` of a handler: the call that it answers. */
export interface CallContext {
  /** Who calls; its name is only its word while `peer.claimed` is true. */
  readonly peer: Peer
  readonly method: string
  /**
   * Fires when the caller cancels, its deadline passes, or the link is gone. Where what the call returned has streams or
   * async iterables in it, it lives until the last of them has ended, and fires then if its reader has left one early.
   */
  readonly signal: AbortSignal
  /**
   * When the caller stops waiting: milliseconds since 1970 by this machine's calendar; Infinity for a cast, and once
   * the call was answered with a stream or an async iterable. It becomes
   * later while something moves of the streams in the arguments.
   */
  readonly deadline: number
  /** Text that came with the call, by names in lower case; the calls made by `to()` and `actor()` here inherit it. */
  readonly headers: Readonly<Record<string, string>>
  /** Like `stage.to()`, for calls that inherit this one's deadline, signal and headers. */
  to(to: To, options?: TargetOptions): Target
  /** Like `stage.actor()`, with the same inheritance. @throws TypeError the chain has no actors */
  actor<T = UntypedActor>(address: string, options?: ActorCallOptions): Actor<T>
}

/**
 * What answers a call: plain or async. Its result is the answer; what it throws arrives as `REMOTE_ERROR`.
 * A function among the arguments stands for the caller's: it returns a promise.
 */
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- so that handlers need no annotations
export type Handler = (this: CallContext, ...args: any[]) => unknown

/** Options of one method. Its schemas are those of any library that follows Standard Schema, such as zod, valibot and arktype. */
export interface ProvideOptions<
  Input extends Schemas | undefined = Schemas | undefined,
  Output extends Schema | undefined = Schema | undefined,
> {
  /** Whether a call may be made, beside the stage's own rule: anything but `true` is FORBIDDEN. Its `args` were not checked yet. */
  readonly authorize?: Authorize | undefined
  /**
   * A schema for the only argument, or a list with one for each; a missing argument is checked as `undefined`. The method gets
   * what the schemas return. Arguments that do not pass, or more than there are schemas for, are BAD_ARGUMENT with `issues`, and
   * the method does not run; so it is without `issues` where a schema throws, which is an `error` event of this stage.
   */
  readonly input?: Input
  /**
   * A schema for the result; the caller gets what it returns. A result that does not pass is REMOTE_ERROR, and an `error`
   * event of this stage with the `issues`. What the method has done by then stays done, and committed if it is an actor's.
   */
  readonly output?: Output
  /**
   * A call may be made again where its link broke or it was refused, as if the caller had said so (`to(x, { idempotent: true })`):
   * running it twice is the same as running it once. Callers are told of it; default false.
   */
  readonly idempotent?: boolean | undefined
}

/** A handler behind schemas: it gets what those of the input return, and returns something that the one of the output takes. */
export type CheckedHandler<Input, Output> = (this: CallContext, ...args: ArgumentsOf<Input, Parameters<Handler>>) => ResultFor<Output>

/** A handler with its options in one object. `method()` infers what it gets from the schemas. */
export interface ProvidedMethod extends ProvideOptions {
  handler(this: CallContext, ...args: unknown[]): unknown
}

/** A call to the layer above. */
export interface ServiceCall extends CallContext {
  /** By the clock's `now()`; later while something moves of its streams. */
  readonly endsAt: number
  carried: Carried
  /** Nobody waits for it any more. */
  readonly over: boolean
  /** Its signal fires: it is answered with `error`, as its time has passed. */
  expire(error: StageError): void
  /** That came in its arguments. */
  readonly streams: readonly Duplex[]
  /** Called when nobody waits for the answer any more, and when somebody has left a stream in it. */
  onend: (() => void) | undefined
  /** Stands between the functions and streams in the answer and the caller. */
  hand: Hand | undefined
  /** Called before the answer where the arguments stay in use behind it. @returns to be called when they are not any more */
  keep(): () => void
}

/**
 * What a layer above serves on a link, under names that begin with `@`: no peer is told of them, and nobody can provide
 * them. It answers each call once, at once or later; what it says is encoded in that moment, an error of ours as it is.
 * `link` is the same for all calls over one link, and closes with it.
 */
export interface Service {
  (call: ServiceCall, args: readonly unknown[], answer: (error: StageError | null, value?: unknown) => void, link: Duplex): void
  /** What such a call asks for, for messages: its name means nothing to whoever made it. */
  words?(args: readonly unknown[]): string
}

/** One answer of `callAll`: `error` or `value`. */
export type Answer<T = unknown> =
  | { readonly peer: Peer; readonly value: T; readonly error?: undefined }
  | { readonly peer: Peer; readonly value?: undefined; readonly error: StageError }

/** What `as<Api>()` makes of a class or type: its methods, each returning a promise. */
export type Remote<Api> = {
  readonly [Name in keyof Api as Name extends `_${string}` ? never : Api[Name] extends (...args: never[]) => unknown ? Name : never]:
    // one that returns a promise stays as it is, type parameters and all, but for the `this` of a handler
    Api[Name] extends (this: never, ...args: never[]) => Promise<unknown>
      ? (unknown extends ThisParameterType<Api[Name]> ? Api[Name] : OmitThisParameter<Api[Name]>)
      : Api[Name] extends (...args: infer Args) => infer Result ? (...args: Args) => Promise<Awaited<Result>> : never
}

/** The verbs of `to()` that rpc brings. */
export interface RpcVerbs {
  /**
   * Calls `method` on one peer that matches: the one with the least calls in flight, or by `key`. Its handler runs at most once,
   * unless the call is idempotent (`TargetOptions.idempotent`).
   * @returns what the method returned, decoded; class instances arrive as plain objects
   * @throws StageError NO_SUCH_PEER none matched in time · NO_SUCH_METHOD · TIMEOUT · CANCELLED · DISCONNECTED ·
   *   REMOTE_ERROR (`cause`: what it threw) · BAD_ARGUMENT (`issues`: where they do not pass its schemas) · FORBIDDEN ·
   *   OVERLOADED · REFUSED · REGISTRY_UNAVAILABLE · CLOSED
   */
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- an untyped call; `as<Api>()` is the typed one
  call<T = any>(method: string, ...args: unknown[]): Promise<T>
  /** Calls every match once, oneself included; yields each answer as it comes. Leaving the loop cancels the rest. Never made again, idempotent or not. */
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- as above
  callAll<T = any>(method: string, ...args: unknown[]): AsyncIterableIterator<Answer<T>>
  /** One way, to every match, encoded once; never made again, idempotent or not. @throws StageError BAD_ARGUMENT */
  cast(method: string, ...args: unknown[]): void
  /** Shows a method to every peer that matches, now and later. @throws StageError BAD_NAME */
  provide(method: string, handler: Handler): void
  provide<const Input extends Schemas | undefined = undefined, Output extends Schema | undefined = undefined>(
    method: string, options: ProvideOptions<Input, Output>, handler: CheckedHandler<Input, Output>,
  ): void
  /** Takes back what was provided to the same pattern. */
  unprovide(method: string): void
  /** The same calls, typed from a class or a type. */
  as<Api extends object>(): Remote<Api>
  /** What one match shows to this stage, sorted. */
  methods(): Promise<string[]>
}

/** What `to()` returns in the default chain. */
export type Target = PeerStream & RpcVerbs
