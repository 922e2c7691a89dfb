/**
 * The types of values that go from one stage to another: a function arrives as a function that returns a promise, and an
 * instance of a class as its data. The compiler cannot tell an instance from an object with functions of its own, which do
 * arrive. So a function among data counts as lost if it is written as a method or takes no parameters (`format(): string`), and
 * as one that arrives if it is a property with parameters (`stop: (why?: string) => void`). One without parameters and result
 * (`done: () => void`) is lost only beside methods. In an object that has only functions, all of them arrive.
 */
import type { Readable, Writable } from 'node:stream'

declare const of: unique symbol
/** Brands a remote actor with its class, since its type is otherwise only a list of functions and promises. Absent at run time. */
export interface ActorOf<T> {
  readonly [of]?: T
}

type Primitive = string | number | bigint | boolean | symbol | null | undefined
/** Arrives as it is: a value of its own kind, or a handle. */
type Whole = Date | RegExp | Error | ArrayBufferView | ArrayBufferLike | Readable | Writable | Promise<unknown>
type IsActor<T> = typeof of extends keyof T ? true : false

type Anything = (...args: never[]) => unknown
type IsAny<T> = 0 extends 1 & T ? true : false

/** A value of this type, as it is at the other end. */
export type Received<T> =
  T extends Primitive ? T
    : T extends Anything ? StubOf<T>
      : T extends Whole ? T
        : T extends Several ? ReceivedItems<T>
          : T extends object ? (IsActor<T> extends true ? T : Data<T>)
            : T

type Several = readonly unknown[] | ReadonlyMap<unknown, unknown> | ReadonlySet<unknown> | AsyncIterable<unknown>
type ReceivedItems<T> =
  T extends readonly (infer Item)[] ? (IsAsItIs<T, Item> extends true ? T : { [Index in keyof T]: Received<T[Index]> })
    : T extends ReadonlyMap<infer Key, infer Value> ? Map<Received<Key>, Received<Value>>
      : T extends ReadonlySet<infer Item> ? Set<Received<Item>>
        : T extends AsyncIterable<infer Item> ? AsyncIterableIterator<Received<Item>>
          : never

/** Lists that stay as they are: those that may hold themselves, which would be endless, and subtypes of lists. */
type IsAsItIs<T extends readonly unknown[], Item> =
  T extends Item ? true
    : number extends T['length'] ? (Item[] extends T ? false : true)
      : false

type StubOf<Fn> = Fn extends (...args: infer Args) => infer Result ? Stub<Fn, Args, Result> : never
type CallbackOf<Fn> = Fn extends (...args: infer Args) => infer Result ? Callback<Args, Result> : never

/** A function that came from elsewhere. One that returns a promise stays as it is, type parameters and all. */
type Stub<Fn, Args extends unknown[], Result> =
  IsAny<Result> extends true ? (...args: Args) => Promise<Result>
    : [Result] extends [Promise<unknown>] ? Fn
      : (...args: Args) => Promise<Received<Awaited<Result>>>

/** A value that may be passed where this type is expected at the other end. */
export type Sent<T> =
  T extends Primitive ? T
    : T extends Anything ? CallbackOf<T>
      : T extends Whole ? T
        : T extends readonly (infer Item)[] ? (IsAsItIs<T, Item> extends true ? T : { [Index in keyof T]: Sent<T[Index]> })
          : T extends Several ? T
            : T extends object ? (IsActor<T> extends true ? T : SentData<T>)
              : T

/** A function that is called from elsewhere: its caller waits for it in any case. */
type Callback<Args extends unknown[], Result> =
  (...args: ReceivedAll<Args>) => IsAny<Result> extends true ? unknown : [Result] extends [void] ? unknown : Later<Result>

/** The result, or a promise of it. */
export type Later<Result> = Sent<Awaited<Result>> | PromiseLike<Sent<Awaited<Result>>>

type SentAll<Args extends unknown[]> = Args extends Primitive[] ? Args : { [Index in keyof Args]: Sent<Args[Index]> }
export type ReceivedAll<Args extends unknown[]> = { [Index in keyof Args]: Received<Args[Index]> }

/** Members of type `any` are data like any other. */
type IsFunction<Member> = IsAny<Member> extends true ? false : NonNullable<Member> extends Anything ? true : false
type FunctionNames<T> = { [Name in keyof T]-?: IsFunction<T[Name]> extends true ? Name : never }[keyof T]
/** Names of members that are not certain to stay as they are. */
type ComplexNames<T> = { [Name in keyof T]-?: [T[Name]] extends [Primitive | Whole] ? never : Name }[keyof T]

/** Whether a function is written as a method: then a function whose parameters are narrower counts as assignable. */
type IsMethod<Fn> = ((...args: never[]) => never) extends Fn ? true : false
/** A function without parameters and without a result, which may be either. */
type IsSignal<Fn> = Fn extends (...args: infer Args) => infer Result ? (Args extends [] ? ([Result] extends [void | Promise<void>] ? true : false) : false) : false
type Kind<Fn> = IsMethod<Fn> extends true ? (IsSignal<Fn> extends true ? 'signal' : 'method') : 'callback'
type Kinds<T, Names extends keyof T> = { [Name in Names]-?: Kind<NonNullable<T[Name]>> }

/** Names of functions that are lost: of an object with data, the methods; functions without parameters and result are lost with them. */
type Lost<T, Names extends keyof T = FunctionNames<T>> =
  [Exclude<keyof T, Names>] extends [never] ? never
    : 'method' extends Kinds<T, Names>[Names] ? { [Name in Names]: Kinds<T, Names>[Name] extends 'callback' ? never : Name }[Names]
      : never

type Data<T> = [ComplexNames<T>] extends [never] ? T : { [Name in keyof T as Exclude<Name, Lost<T>>]: Received<T[Name]> }
type SentData<T> = [ComplexNames<T>] extends [never] ? T : { [Name in keyof T as Exclude<Name, Lost<T>>]: Sent<T[Name]> }

/** A method as its caller has it: it takes what may be sent, and returns a promise of what is received. */
export type Called<Fn> =
  Fn extends (...args: infer Args) => infer Result
    // true for a function with one signature and without type parameters in its result
    ? ((...args: Args) => Result) extends Fn ? Signature<Args, Result> : Special<Fn, Result>
    : never

/** A method with several signatures or with type parameters. One that returns a promise stays as it is, except for the `this` of a handler. */
type Special<Fn, Result> =
  [Result] extends [Promise<unknown>]
    ? (unknown extends ThisParameterType<Fn> ? Fn : OmitThisParameter<Fn>)
    : Overloaded<Fn> extends infer All
      ? [All] extends [never] ? Lossy : All
      : never

/** In place of a method that cannot be called: what the compiler says of its first argument is why. */
type Lossy = (why: 'the type parameters of this method, or more than four signatures, would be lost: declare that it returns a Promise', ...more: unknown[]) => never

type Signature<Args extends unknown[], Result> =
  // the arguments as they are declared, too: the compiler knows no more of a type that is a parameter
  (...args: Args | SentAll<Args>) => Promise<[Result] extends [Primitive] ? Result : Received<Awaited<Result>>>

/** A function of two to four signatures, each as its caller has it; `never` for any other function. */
type Overloaded<Fn> =
  Fn extends { (...args: infer A1): infer R1; (...args: infer A2): infer R2 }
    ? (((...args: A1) => R1) & ((...args: A2) => R2)) extends Fn ? Signature<A1, R1> & Signature<A2, R2>
      : Fn extends { (...args: infer B1): infer S1; (...args: infer B2): infer S2; (...args: infer B3): infer S3 }
        ? (((...args: B1) => S1) & ((...args: B2) => S2) & ((...args: B3) => S3)) extends Fn ? Signature<B1, S1> & Signature<B2, S2> & Signature<B3, S3>
          : Fn extends { (...args: infer C1): infer T1; (...args: infer C2): infer T2; (...args: infer C3): infer T3; (...args: infer C4): infer T4 }
            ? (((...args: C1) => T1) & ((...args: C2) => T2) & ((...args: C3) => T3) & ((...args: C4) => T4)) extends Fn
              ? Signature<C1, T1> & Signature<C2, T2> & Signature<C3, T3> & Signature<C4, T4>
              : never
            : never
        : never
    : never

/** A method as its implementation has it: it gets what arrives, and returns the result or a promise of it. */
export type Served<Fn, Before extends unknown[] = []> =
  IsAny<Fn> extends true ? Fn
    : Fn extends (...args: infer Args) => infer Result
      ? ((...args: Args) => Result) extends Fn ? (...args: [...Before, ...ReceivedAll<Args>]) => ServedResult<Result> : Before extends [] ? Fn : (...args: never[]) => unknown
      : never

type ServedResult<Result> = IsAny<Result> extends true ? unknown : [Result] extends [void] ? unknown : Later<Result>
