import type { Duplex } from 'node:stream'
import type { PeerStream } from '../../src/socketlike.js'
import type { Peer, TargetOptions, To } from '../../src/types.js'
import type { StageError } from '../../src/errors.js'
import type { Hand } from '../codec/hand.js'
import type { Actor, ActorCallOptions, UntypedActor } from './remote-actor.js'
import type { Carried } from './context.js'
import type { Authorize } from './interceptor.js'
import type { Called, Served } from './passed.js'
import type { ArgumentsOf, ResultFor, Schema, Schemas } from './serving/schema.js'

/** `this` of a handler: the call being served. */
export interface CallContext {
  /** The caller; its name is unverified while `peer.claimed` is true. */
  readonly peer: Peer
  /** The name of the method. */
  readonly method: string
  /**
   * Fires when the caller cancels, the deadline passes, or the link is gone. If the result contains streams or async
   * iterables, the signal lives until the last of them has ended, and fires then if the reader has left any of them early.
   */
  readonly signal: AbortSignal
  /**
   * When the caller stops waiting: milliseconds since 1970 by this machine's calendar; Infinity for a cast, and once the call
   * was answered with a stream or an async iterable. The deadline moves later while streams in the arguments make progress.
   */
  readonly deadline: number
  /** Text that came with the call, by lower-case name; calls made by `to()` and `actor()` here inherit it. */
  readonly headers: Readonly<Record<string, string>>
  /** Like `stage.to()`, for calls that inherit the deadline, signal and headers of this call. */
  to(to: To, options?: TargetOptions): Target
  /** Like `stage.actor()`, with the same inheritance. @throws TypeError the chain has no actors */
  actor<T = UntypedActor>(address: string, options?: ActorCallOptions): Actor<T>
}

/**
 * A function that answers calls, plain or async. The result is the answer; a thrown value arrives as `REMOTE_ERROR`.
 * A function among the arguments is a stub of the caller's function, and returns a promise.
 */
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- so that handlers need no annotations
export type Handler = (this: CallContext, ...args: any[]) => unknown

/** Options of one method. Schemas may come from any library that follows Standard Schema, such as zod, valibot and arktype. */
export interface ProvideOptions<
  Input extends Schemas | undefined = Schemas | undefined,
  Output extends Schema | undefined = Schema | undefined,
> {
  /** Whether a call may be made, beside the stage's own rule: anything but `true` is FORBIDDEN. Runs before `args` are checked. */
  readonly authorize?: Authorize | undefined
  /**
   * A schema for the only argument, or a list with one for each; a missing argument is checked as `undefined`. The method gets
   * the values that the schemas return. If arguments do not pass or exceed the list, the call fails with BAD_ARGUMENT and `issues`
   * before the method runs. If a schema throws, the call fails without `issues`, and the stage emits an `error` event.
   */
  readonly input?: Input
  /**
   * A schema for the result; the caller gets the value that the schema returns. A result that does not pass is REMOTE_ERROR,
   * and an `error` event of this stage with the `issues`. Effects of the method stay, and stay committed if it is an actor's.
   */
  readonly output?: Output
  /**
   * Running the method twice is the same as running it once, so a call may be retried after its link broke or it was refused,
   * as if the caller had said so (`to(x, { idempotent: true })`). Announced to callers; default false.
   */
  readonly idempotent?: boolean | undefined
}

/** A handler behind schemas: the input schemas return its arguments, and the output schema accepts its result. */
export type CheckedHandler<Input, Output> = (this: CallContext, ...args: ArgumentsOf<Input, Parameters<Handler>>) => ResultFor<Output>

/** A handler with its options in one object. `method()` infers the handler's arguments from the schemas. */
export interface ProvidedMethod extends ProvideOptions {
  /** Answers the calls. */
  handler(this: CallContext, ...args: unknown[]): unknown
}

/** A call to a service of the layer above. */
export interface ServiceCall extends CallContext {
  /** When the caller stops waiting, by the clock's `now()`; later while streams of the call make progress. */
  readonly endsAt: number
  /** What travels along with the call: its chain, its depth and its headers. */
  carried: Carried
  /** Nobody waits for the call any more. */
  readonly over: boolean
  /** The deadline has passed: fires the signal; `error` is also the answer to the call. */
  expire(error: StageError): void
  /** The streams in the arguments. */
  readonly streams: readonly Duplex[]
  /** Called when nobody waits for the answer any more, and when a reader has left a stream in the answer. */
  onend: (() => void) | undefined
  /** Wraps the functions and streams in the answer before they go to the caller. */
  hand: Hand | undefined
  /** To be called before the answer if the arguments stay in use after it. @returns call it once they are not in use any more */
  keep(): () => void
}

/**
 * A service of a layer above on a link, under a name that begins with `@`: such names are not announced to peers, and cannot
 * be provided. A service answers each call once, at once or later; the answer is encoded at that moment, a StageError as it is.
 * `link` is the same for all calls over one link, and closes with it.
 */
export interface Service {
  (call: ServiceCall, args: readonly unknown[], answer: (error: StageError | null, value?: unknown) => void, link: Duplex): void
  /** Describes a request in messages, as the name of the service means nothing to the caller. */
  words?(args: readonly unknown[]): string
}

/** One answer of `callAll`: `error` or `value`. */
export type Answer<T = unknown> =
  | { readonly peer: Peer; readonly value: T; readonly error?: undefined }
  | { readonly peer: Peer; readonly value?: undefined; readonly error: StageError }

/** A class or type as `as<Api>()` shows it: its methods, each returning a promise. */
export type Remote<Api> = {
  readonly [Name in keyof Api as Name extends `_${string}` ? never : Api[Name] extends (...args: never[]) => unknown ? Name : never]:
    0 extends 1 & Api[Name] ? Api[Name] : Called<Api[Name]>
}

/** Names of the methods in the type of an Api. */
type MethodNames<Api> = {
  [Name in keyof Api & string]: Name extends `_${string}` ? never : Api[Name] extends (...args: never[]) => unknown ? Name : never
}[keyof Api & string]

/** An object that has the methods of an Api: each gets the arguments as they arrive, and returns the result or a promise of it. */
export type Implementation<Api> = {
  readonly [Name in MethodNames<Api>]: Served<Api[Name]>
}

/** The same, with the call as the first argument of each method. */
export type ImplementationWithCall<Api> = {
  readonly [Name in MethodNames<Api>]: Served<Api[Name], [call: CallContext]>
}

/** Arguments of `provide<Api>()`: a method of the Api, options, and a handler of its type. */
type ProvideArguments<Api> = {
  [Name in MethodNames<Api>]: [method: Name, handler: HandlerOf<Api[Name]>] | [method: Name, options: ProvideOptions, handler: HandlerOf<Api[Name]>]
}[MethodNames<Api>]
type HandlerOf<Fn> = Served<Fn> extends (...args: infer Args) => infer Result ? (this: CallContext, ...args: Args) => Result : never

/** Options of `serve()`. */
export interface ServeOptions<Api = object> {
  /** Each method gets the call as its first argument, as `this` is the object; default false. Elsewhere `currentCall()` tells it. */
  readonly withCall?: boolean | undefined
  /** Whether a call of any of these methods may be made, in addition to the rule of the stage: anything but `true` is FORBIDDEN. */
  readonly authorize?: Authorize | undefined
  /** Options per method. */
  readonly methods?: { readonly [Name in MethodNames<Api>]?: ProvideOptions } | undefined
}

/** The verbs of `to()` that rpc brings. */
export interface RpcVerbs {
  /**
   * Calls `method` on one match, chosen by the least calls in flight or by `key`. The handler runs at most once, unless the
   * call is idempotent (`TargetOptions.idempotent`).
   * @returns the result of the method, decoded; class instances arrive as plain objects
   * @throws StageError NO_SUCH_PEER none matched in time · NO_SUCH_METHOD · TIMEOUT · CANCELLED · DISCONNECTED ·
   *   REMOTE_ERROR (`cause`: the thrown value) · BAD_ARGUMENT (`issues`: if arguments do not pass a schema) · FORBIDDEN ·
   *   OVERLOADED · REFUSED · REGISTRY_UNAVAILABLE · CLOSED
   */
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- an untyped call; `as<Api>()` is the typed one
  call<T = any>(method: string, ...args: unknown[]): Promise<T>
  /**
   * Calls every match once, oneself included, and yields each answer as it comes. Leaving the loop cancels the rest.
   * Never retried, even if idempotent.
   */
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- as above
  callAll<T = any>(method: string, ...args: unknown[]): AsyncIterableIterator<Answer<T>>
  /** One way, to every match, encoded once; never retried, even if idempotent. @throws StageError BAD_ARGUMENT */
  cast(method: string, ...args: unknown[]): void
  /** Provides a method to every peer that matches, now and later. @throws StageError BAD_NAME */
  provide(method: string, handler: Handler): void
  provide<const Input extends Schemas | undefined = undefined, Output extends Schema | undefined = undefined>(
    method: string, options: ProvideOptions<Input, Output>, handler: CheckedHandler<Input, Output>,
  ): void
  /** The same as `serve(object)`. */
  provide<Api extends object>(object: Implementation<Api> & object, options?: ServeOptions<Api>): () => void
  /** `provide<Api>('greet', handler)`: the name and the handler are those of a method of the Api. */
  provide<Api extends object>(...given: ProvideArguments<Api>): void
  /** Removes a method that was provided to the same pattern. */
  unprovide(method: string): void
  /**
   * Provides the methods of a class instance, or the functions of an object literal, to every peer that matches, now and later,
   * except names that begin with `_` and names that every object has. They run with the object as `this`. Functions among the
   * properties of an instance are provided only if `methods` names them.
   * `serve<Api>(object)` checks the object against the type that callers use in `as<Api>()`.
   * @returns removes these methods again
   * @throws StageError BAD_NAME; TypeError the object has no public methods
   */
  serve<Api extends object>(object: Implementation<Api> & object, options?: ServeOptions<Api> & { readonly withCall?: false | undefined }): () => void
  /** The same for methods whose first parameter is the call. */
  serve<Api extends object>(object: ImplementationWithCall<Api> & object, options: ServeOptions<Api> & { readonly withCall: true }): () => void
  /** The same calls, typed from a class or a type. */
  as<Api extends object>(): Remote<Api>
  /** Names of the methods that a match provides to this stage, sorted. */
  methods(): Promise<string[]>
}

/** The result of `to()` in the default chain. */
export type Target = RpcVerbs & PeerStream
