import type { Fence, TargetOptions, To } from '../../src/types.js'
import type { Authorize } from '../rpc/interceptor.js'
import type { Actor, ActorCallOptions, Hidden, UntypedActor } from '../rpc/remote-actor.js'
import type { Received } from '../rpc/passed.js'
import type { Fitting } from '../rpc/serving/schema.js'
import type { ProvideOptions, Target } from '../rpc/types.js'

export type { Actor, ActorCallOptions, ActorOf, UntypedActor } from '../rpc/remote-actor.js'

type Names<Pattern extends string> = Pattern extends `${string}{${infer Name}}${infer Rest}` ? Name | Names<Rest> : never

/** The parameters of a pattern with their values: `rooms.{room}.seats.{n}` → `{ room: string, n: string }`. */
export type Params<Pattern extends string> = { readonly [Name in string extends Pattern ? string : Names<Pattern>]: string }

/** Options of an actor type, for classes and factories alike. `Name`: the known names of its properties and methods. */
export interface ActorOptions<Pattern extends string = string, Name extends string = string> {
  /** The addresses of the actors: parts separated by dots, each a word or a parameter. */
  readonly pattern: Pattern
  /** Keeps properties in the store: `true` for all public data properties, or a list of names, public or not. Default: none. */
  readonly durable?: boolean | readonly Name[] | undefined
  /** `turn` (the default) commits the changes of a turn before it answers; `explicit` commits only on `self.save()`. */
  readonly commit?: 'turn' | 'explicit' | undefined
  /** Version of the durable state's shape; default 1. */
  readonly version?: number | undefined
  /** Converts the state of an older version to the present shape. */
  readonly migrate?: ((from: number, data: Record<string, unknown>) => Record<string, unknown>) | undefined
  /** Methods that change nothing; their turns run concurrently. */
  readonly readonly?: readonly Name[] | undefined
  /** Runs calls that come back through the actor's own call chain within the turn, instead of failing them with DEADLOCK. Default false. */
  readonly reentrant?: boolean | undefined
  /** `local` activates an actor on the first calling stage that hosts its type. Default: on any hosting stage, chosen by the address. */
  readonly placement?: 'local' | 'any' | undefined
  /** Calls within a stage pass arguments and results by reference, uncopied. Default false. */
  readonly share?: boolean | undefined
  /** Idle time after which an actor is deactivated, in milliseconds; default 300 000. */
  readonly idleMs?: number | undefined
  /** Limit of active actors of this type per stage; at the limit the least recently used idle actor is deactivated. Default: no limit. */
  readonly maxActors?: number | undefined
  /** Limit of calls queued for one actor; default 1000. */
  readonly mailbox?: number | undefined
  /** Duration above which a turn is reported as slow, in milliseconds; default 5000. */
  readonly slowTurnMs?: number | undefined
  /**
   * Decides, in addition to the stage's own rule, whether a call, a property read or a watch is allowed: any result but `true`
   * is FORBIDDEN. Runs before the mailbox; the actor may already be active. Default: all are allowed.
   */
  readonly authorize?: Authorize | undefined
  /**
   * Options per method name: `authorize` in addition to the type's, `idempotent`, and the schemas `input` and `output`. The
   * options apply to calls from outside, before the mailbox; reminders, timers and the object's calls of its own methods skip them.
   */
  readonly methods?: Readonly<Record<string, ProvideOptions>> | undefined
}

/** Options of methods, checked by the compiler: each method must exist, and its schemas must fit it. */
type MethodsFit<T, Methods, Public = keyof Actor<T>> = {
  readonly [Name in keyof Methods]: Name extends Public
    ? Fitting<T[Name & keyof T], Methods[Name], ProvideOptions>
    : 'no public method of that name'
}

/** Options of `host()`. */
export interface HostOptions<T extends object = object, Methods = unknown> extends Pick<ActorOptions, 'authorize'> {
  /** Same as for `define()`. */
  readonly methods?: (Methods & MethodsFit<T, Methods>) | undefined
}

/** Names that the compiler knows, plus names with a leading underscore, because `keyof` omits private members. */
type NamesIn<T> = Extract<keyof T, string> | `_${string}`
/** The parameters that a constructor gets; `never` where the pattern is known only at run time. */
type Given<Pattern extends string> = string extends Pattern ? never : Params<Pattern>

/** Actors that are instances of a class or an ES5 constructor, which gets the parameters of the address. */
export interface ActorClass<Pattern extends string, T extends object, Methods = unknown>
  extends Omit<ActorOptions<Pattern, NamesIn<NoInfer<T>>>, 'methods'> {
  /** Options per method name, which have to fit the methods of the class. */
  readonly methods?: (Methods & MethodsFit<NoInfer<T>, Methods>) | undefined
  /** A class, or an ES5 constructor, whose instances are the actors. */
  readonly constructor: (new (params: Given<Pattern>) => T) | ((this: T, params: Given<Pattern>) => void)
  /** A type has either a constructor or a factory. */
  readonly create?: undefined
}

/** Actors that a factory function creates. */
export interface ActorFactory<Pattern extends string, T extends object> extends ActorOptions<Pattern> {
  /** Makes the object of an actor, at once. */
  readonly create: (params: Params<Pattern>, self: Self) => T
}

/** Why an actor is deactivated. With `fenced` and `lost` its claim is gone, and nothing that it still does is committed. */
export type DeactivateReason = 'idle' | 'closing' | 'asked' | 'fenced' | 'lost' | 'store'

/** A timer of an actor, cancelled when the activation ends. */
export interface ActorTimer {
  /** Keeps the timer from firing again; harmless afterwards. */
  cancel(): void
}

/** When a reminder is due, and with which arguments it calls its method. */
export interface ReminderOptions {
  /** Milliseconds from now. */
  readonly afterMs: number
  /** Period in milliseconds; default: the reminder fires once. */
  readonly everyMs?: number | undefined
  /** Due times missed while no stage could wake the actor: `once` (the default) makes one call for all of them, `skip` none. */
  readonly missed?: 'skip' | 'once' | undefined
  /** Arguments of the method; data only. */
  readonly args?: readonly unknown[] | undefined
}

/** An actor's access to the mesh: `this.self`, and the second argument of `create`. */
export interface Self {
  /** The address of the actor. */
  readonly address: string
  /** Proves the claim; pass this fence to other systems that the actor writes to. */
  readonly fence: Fence
  /** Fires when the claim is lost. */
  readonly signal: AbortSignal
  /** Headers of the running call; `{}` outside of calls. */
  readonly headers: Readonly<Record<string, string>>
  /** A proxy of another actor; its calls inherit the deadline, the signal and the headers of the turn that makes them. */
  actor<T = UntypedActor>(address: string, options?: ActorCallOptions): Actor<T>
  /** Like `stage.to()`, with the same inheritance. */
  to(to: To, options?: TargetOptions): Target
  /** Runs `fn` as a separate turn after `ms`. */
  after(ms: number, fn: () => unknown): ActorTimer
  /** Runs `fn` as a turn repeatedly; the period counts from the end of the previous turn. */
  every(ms: number, fn: () => unknown): ActorTimer
  /**
   * Calls a method of this actor when the reminder is due, at least once, even after a crash or a restart of all stages. The
   * reminder is committed under `name` with the state of the turn that sets it; setting the same name again replaces it.
   */
  remind(name: string, method: string, options: ReminderOptions): void
  /** Removes a reminder. */
  forget(name: string): void
  /** Commits the current durable state. @throws StageError FENCED · STORE_UNAVAILABLE · BAD_ARGUMENT */
  save(): Promise<void>
  /** Deactivates this actor after its current turn; the next call activates it again. */
  deactivate(): void
}

/** The names of the properties that can be watched. */
export type Watchable<T> = {
  [Name in keyof T & string]: Name extends Hidden | 'version' | 'reset' ? never
    : 0 extends 1 & T[Name] ? Name
      : NonNullable<T[Name]> extends (...args: never[]) => unknown ? never : Name
}[keyof T & string]

/** Options of one watch. */
export interface ObserveOptions extends Omit<ActorCallOptions, 'idempotent'> {
  /** `latest` (the default) merges changes that could not be delivered in time, `every` yields each committed change. */
  readonly mode?: 'latest' | 'every' | undefined
}

/** One update for a watcher: all watched properties, as one turn left them. */
export type Update<T, Name extends keyof T> = { readonly [N in Name]: Received<T[N]> } & {
  /** Commits of the actor so far. */
  readonly version: number
  /** Set if earlier updates may be missing, because the history could not be resumed. */
  readonly reset?: true
}

/** Which of the actors on a stage `actors()` lists: a page at a time, where there are many. */
export interface ActorsOptions {
  /** The most actors of the list; default all. */
  readonly limit?: number | undefined
  /** Only actors whose addresses come after this one in the order of text: the last address of the page before. */
  readonly after?: string | undefined
}

/** An actor that this stage hosts. */
export interface HostedActor {
  /** The address of the actor. */
  readonly address: string
  /** The pattern of its type. */
  readonly pattern: string
  /** Proves its claim; undefined until the actor is claimed. */
  readonly fence: Fence | undefined
  /** Number of calls that wait. */
  readonly queue: number
  /** Names of the methods whose turns run. */
  readonly turns: readonly string[]
  /** Number of watches of the actor, open over links or on this stage. */
  readonly watchers: number
  /** Milliseconds since the actor was last used. */
  readonly idleMs: number
}

/** What is known about one actor; most of it only while the actor is active. */
export interface Explained extends Partial<Omit<HostedActor, 'address' | 'turns'>> {
  /** The address of the actor. */
  readonly address: string
  /** The stage that has the claim; undefined while the actor is not active. */
  readonly owner: { readonly id: string; readonly name: string } | undefined
  /** How long the owner's lease holds without a renewal, in milliseconds. */
  readonly leaseMs?: number
  /** The turns that run now: for how long (`ms`), and how long each waited in the mailbox before (`waitedMs`). */
  readonly turn?: readonly { readonly method: string; readonly ms: number; readonly waitedMs: number }[]
  /** Commits so far; absent if the store does not know the actor. */
  readonly version?: number
  /** The last turns, newest last: how long each ran, how long each waited in the mailbox, and the code of its error. */
  readonly last?: readonly { readonly method: string; readonly ms: number; readonly waitedMs: number; readonly error?: string }[]
}
