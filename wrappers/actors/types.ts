import type { Fence, TargetOptions, To } from '../../src/types.js'
import type { Authorize } from '../rpc/interceptor.js'
import type { Actor, ActorCallOptions, Hidden, UntypedActor } from '../rpc/remote-actor.js'
import type { Fitting } from '../rpc/serving/schema.js'
import type { ProvideOptions, Target } from '../rpc/types.js'

export type { Actor, ActorCallOptions, ActorOf, UntypedActor } from '../rpc/remote-actor.js'

type Names<Pattern extends string> = Pattern extends `${string}{${infer Name}}${infer Rest}` ? Name | Names<Rest> : never

/** What the parameters of a pattern stand for: `rooms.{room}.seats.{n}` → `{ room: string, n: string }`. */
export type Params<Pattern extends string> = { readonly [Name in string extends Pattern ? string : Names<Pattern>]: string }

/** How a type of actors behaves, whatever makes its objects. `Name`: of its properties and methods, as far as they are known. */
export interface ActorOptions<Pattern extends string = string, Name extends string = string> {
  /** The addresses of its actors: parts between dots, each a word or a parameter. */
  readonly pattern: Pattern
  /** Keeps public properties in the store: `true` all that hold data, a list those (and others by name). Default: none. */
  readonly durable?: boolean | readonly Name[] | undefined
  /** `turn` (the default) commits what a turn has changed before it answers; `explicit` leaves it to `self.save()`. */
  readonly commit?: 'turn' | 'explicit' | undefined
  /** Of the shape of the durable state; default 1. */
  readonly version?: number | undefined
  /** Makes the present shape out of what an older version kept. */
  readonly migrate?: ((from: number, data: Record<string, unknown>) => Record<string, unknown>) | undefined
  /** Methods that change nothing: they run together. */
  readonly readonly?: readonly Name[] | undefined
  /** A call that comes back through the actor's own chain of calls runs within its turn, rather than to fail with DEADLOCK. Default false. */
  readonly reentrant?: boolean | undefined
  /** `local`: an actor lives with the first caller that hosts its type. Default: anywhere, by its address. */
  readonly placement?: 'local' | 'any' | undefined
  /** Calls within a stage pass arguments and results as they are, shared memory and all. Default false. */
  readonly share?: boolean | undefined
  /** An actor that nobody used for so long is collected, in milliseconds; default 300 000. */
  readonly idleMs?: number | undefined
  /** Of this type on one stage; above it the one that was not used for longest is collected. Default: no limit. */
  readonly maxActors?: number | undefined
  /** Calls that may wait for one actor; default 1000. */
  readonly mailbox?: number | undefined
  /** A turn that takes longer is reported, in milliseconds; default 5000. */
  readonly slowTurnMs?: number | undefined
  /**
   * Whether a call may be made, a property be read or some be watched, beside the stage's own rule: anything but `true` is
   * FORBIDDEN. Asked before the mailbox; the actor may be active by then. Default: every call.
   */
  readonly authorize?: Authorize | undefined
  /**
   * Options of single methods, by their names: `authorize` beside that of the type, `idempotent`, and the schemas `input` and `output`. They
   * are for calls from outside, before the mailbox: reminders, timers and what the object calls of itself are its own.
   */
  readonly methods?: Readonly<Record<string, ProvideOptions>> | undefined
}

/** Options of methods that are known to the compiler: only for those that are there, and with schemas that fit them. */
type MethodsFit<T, Methods, Public = keyof Actor<T>> = {
  readonly [Name in keyof Methods]: Name extends Public
    ? Fitting<T[Name & keyof T], Methods[Name], ProvideOptions>
    : 'no public method of that name'
}

/** Of an object that is given to `host()`. */
export interface HostOptions<T extends object = object, Methods = unknown> extends Pick<ActorOptions, 'authorize'> {
  /** As of `define()`. */
  readonly methods?: (Methods & MethodsFit<T, Methods>) | undefined
}

/** Names that the compiler knows, and those of private members, of which it does not tell. */
type NamesIn<T> = Extract<keyof T, string> | `_${string}`
/** Of a pattern that is only known when the program runs nothing can be said. */
type Given<Pattern extends string> = string extends Pattern ? never : Params<Pattern>

/** Actors that are instances of a class, or of an ES5 constructor; it gets the parameters of the address. */
export interface ActorClass<Pattern extends string, T extends object, Methods = unknown>
  extends Omit<ActorOptions<Pattern, NamesIn<NoInfer<T>>>, 'methods'> {
  readonly methods?: (Methods & MethodsFit<NoInfer<T>, Methods>) | undefined
  readonly constructor: (new (params: Given<Pattern>) => T) | ((this: T, params: Given<Pattern>) => void)
  readonly create?: undefined
}

/** Actors that a function makes. */
export interface ActorFactory<Pattern extends string, T extends object> extends ActorOptions<Pattern> {
  readonly create: (params: Params<Pattern>, self: Self) => T
}

/** Why an actor is put away: `fenced` and `lost` mean that it has no claim any more, and nothing is kept of what it does. */
export type DeactivateReason = 'idle' | 'closing' | 'asked' | 'fenced' | 'lost' | 'store'

/** A timer of an actor; it ends with the activation. */
export interface ActorTimer {
  cancel(): void
}

export interface ReminderOptions {
  /** From now, in milliseconds. */
  readonly afterMs: number
  /** Again and again, in milliseconds; default once. */
  readonly everyMs?: number | undefined
  /** What becomes of times that passed while nobody could wake the actor: `once` (the default) makes one of them, `skip` none. */
  readonly missed?: 'skip' | 'once' | undefined
  /** Of the method; data only. */
  readonly args?: readonly unknown[] | undefined
}

/** What an actor has of the mesh: `this.self`, and the second argument of `create`. */
export interface Self {
  readonly address: string
  /** Proves the claim; for whatever else this actor changes. */
  readonly fence: Fence
  /** Fires when the claim is lost. */
  readonly signal: AbortSignal
  /** Of the call that runs; `{}` outside of calls. */
  readonly headers: Readonly<Record<string, string>>
  /** Another actor, by calls that inherit the deadline, the signal and the headers of the turn that makes them. */
  actor<T = UntypedActor>(address: string, options?: ActorCallOptions): Actor<T>
  /** Like `stage.to()`, with the same inheritance. */
  to(to: To, options?: TargetOptions): Target
  /** Runs `fn` as a turn of its own after `ms`. */
  after(ms: number, fn: () => unknown): ActorTimer
  /** Runs `fn` as a turn again and again; the period counts from the end of the last one. */
  every(ms: number, fn: () => unknown): ActorTimer
  /**
   * Calls a method of this actor at its time, also after a crash or a restart of everything: at least once. It is kept
   * with the state of the turn that asks for it, under its name; the same name again replaces it.
   */
  remind(name: string, method: string, options: ReminderOptions): void
  /** Takes a reminder back. */
  forget(name: string): void
  /** Commits what is durable now. @throws StageError FENCED · STORE_UNAVAILABLE · BAD_ARGUMENT */
  save(): Promise<void>
  /** Puts this actor away when its present turn has ended; the next call makes it anew. */
  deactivate(): void
}

/** The names of the properties that can be watched. */
export type Watchable<T> = {
  [Name in keyof T & string]: Name extends Hidden | 'version' | 'reset' ? never
    : 0 extends 1 & T[Name] ? Name
      : NonNullable<T[Name]> extends (...args: never[]) => unknown ? never : Name
}[keyof T & string]

export interface ObserveOptions extends Omit<ActorCallOptions, 'idempotent'> {
  /** `latest` (the default) merges what could not be delivered in time, `every` yields each committed change. */
  readonly mode?: 'latest' | 'every' | undefined
}

/** What a watcher gets: all the properties that it watches, as one turn left them. */
export type Update<T, Name extends keyof T> = { readonly [N in Name]: T[N] } & {
  /** Commits of the actor so far. */
  readonly version: number
  /** Between the last update and this one some may be missing: history could not be resumed. */
  readonly reset?: true
}

/** One actor that this stage hosts. */
export interface HostedActor {
  readonly address: string
  readonly pattern: string
  readonly fence: Fence | undefined
  /** Calls that wait. */
  readonly queue: number
  /** What runs. */
  readonly turns: readonly string[]
  /** Links and loops that watch it. */
  readonly watchers: number
  /** Milliseconds since it was last used. */
  readonly idleMs: number
}

export interface Explained extends Partial<Omit<HostedActor, 'address' | 'turns'>> {
  readonly address: string
  /** Undefined while it is not active. */
  readonly owner: { readonly id: string; readonly name: string } | undefined
  /** How long the lease of its stage holds without a renewal, in milliseconds. */
  readonly leaseMs?: number
  /** What runs at the moment, for how long, and how long the mailbox held it before; in milliseconds. */
  readonly turn?: readonly { readonly method: string; readonly ms: number; readonly waitedMs: number }[]
  /** Commits so far, if the store knows it. */
  readonly version?: number
  /** The calls before, the newest last: how long each ran, how long the mailbox held it, and the code of its error. */
  readonly last?: readonly { readonly method: string; readonly ms: number; readonly waitedMs: number; readonly error?: string }[]
}
