/** Runs the interceptors of a stage around its calls, on either side, and the rules before the calls that it serves. */
import { AsyncResource } from 'node:async_hooks'
import { StageError, asError, isStageError, withExecuted } from '../../src/errors.js'
import { headersOf, type Headers } from '../../src/headers.js'
import { LinkedList, type Linked } from '../../src/linked-list.js'
import { isThenable } from '../../src/thenable.js'
import type { Clock, Deadlines, FailedRun, Mesh, Peer } from '../../src/types.js'
import { brokenBefore, dispose, holdAll } from '../codec/dispose.js'
import type { Answering } from '../codec/hand.js'
import { withHeaders, type Carried } from './context.js'
import type { Authorize, InterceptedCall, Interceptor, Rules } from './interceptor.js'
import { Passage, type Lifetime } from './passage.js'
import type { Validation } from './serving/schema.js'
import type { CallContext, Handler } from './types.js'

/** A call that came over a link. */
type Served = CallContext & Lifetime & Answering & { carried: Carried; readonly signal: AbortSignal }

/** The part of a call's description that is fixed when it begins; deadline and signal are read when asked for. */
export type Facts = Omit<InterceptedCall, 'deadline' | 'signal'>

const NEVER = new AbortController().signal
/** Thrown when a rule that is asked without a call reads a property that only a call has. */
const UNDECIDED = new Error('not available without a call')

/** A call as interceptors and rules get it. */
class Intercepted implements InterceptedCall {
  readonly side: InterceptedCall['side']
  readonly kind: InterceptedCall['kind']
  readonly target: string
  readonly peer: Peer | undefined
  readonly method: string
  readonly actor: InterceptedCall['actor']
  readonly args: readonly unknown[]
  readonly headers: Headers
  readonly options: Readonly<object> | undefined

  readonly #of: Lifetime
  readonly #clock: Clock

  constructor({ side, kind, target, peer, method, actor, args, headers, options }: Facts, of: Lifetime, clock: Clock) {
    this.side = side
    this.kind = kind
    this.target = target
    this.peer = peer
    this.method = method
    this.actor = actor
    this.args = args
    this.headers = headers
    this.options = options
    this.#of = of
    this.#clock = clock
  }

  get deadline(): number {
    return this.#clock.wall() + this.#of.endsAt - this.#clock.now()
  }

  get signal(): AbortSignal {
    return this.#of.signal ?? NEVER
  }

  /** The call with the `args` and `headers` that were passed to `next`. */
  changed({ args, headers }: Pick<InterceptedCall, 'args' | 'headers'> = this): Intercepted {
    if (args === this.args && headers === this.headers) return this
    if (!Array.isArray(args)) throw new TypeError('the args of a call must be a list')
    return new Intercepted({ ...this, args: args as readonly unknown[], headers: headers === this.headers ? headers : headersOf(headers) }, this.#of, this.#clock)
  }
}

/** Receives failures of calls that the caller does not hear of, or not in full. */
export interface Told {
  error(error: StageError): void
  /** A rule has thrown. */
  failed: Mesh['failed']
  /** A cast did not pass, and nobody waits for its answer. */
  dropped?(peer: Peer | undefined, what: string): void
}

/** Options as users pass them, not yet checked. */
interface GivenOptions {
  readonly interceptors?: unknown
  readonly authorize?: unknown
}

/** @throws TypeError */
export function checkInterception({ interceptors = [], authorize }: GivenOptions): void {
  if (!Array.isArray(interceptors) || !interceptors.every((one) => typeof one === 'function')) {
    throw new TypeError('interceptors must be a list of functions (call, next) => Promise')
  }
  if (authorize !== undefined && typeof authorize !== 'function') {
    throw new TypeError('authorize must be a function (call) => boolean | Promise<boolean>')
  }
}

/**
 * One call that waits for an interceptor, a rule or its answer. An instance of a class, since V8 allocates literals that tend
 * to live long directly in old space, where each keeps its whole call alive until a full collection.
 */
class Held implements Linked {
  before: Linked | undefined
  after: Linked | undefined
  listed = false
  /** The call has passed all interceptors and rules. */
  begun = false
  fail: (error: StageError) => void = nothing

  constructor(readonly method: string, readonly of: Lifetime) {}
}

/** The interceptors of one stage, and its rule for all calls. */
export class Interception {
  readonly #held = new LinkedList<Held>()
  readonly #list: readonly Interceptor[]
  readonly #authorize: Authorize | undefined

  /** @throws TypeError */
  constructor(private readonly clock: Clock, private readonly deadlines: Deadlines, given: GivenOptions, private readonly told: Told) {
    checkInterception(given)
    const { interceptors = [], authorize } = given
    this.#list = [...interceptors as readonly Interceptor[]]
    this.#authorize = authorize as Authorize | undefined
    deadlines.add((now) => this.#sweep(now))
  }

  /** Whether calls have interceptors around them. */
  get intercepts(): boolean {
    return this.#list.length > 0
  }

  /** Whether served calls have to pass here even if their methods have no rules of their own. */
  get guards(): boolean {
    return this.intercepts || this.#authorize !== undefined
  }

  /** The passage of a call that this stage makes. @param endsAt  by the clock's `now()` */
  passage(method: string, endsAt: number, signal?: AbortSignal): Passage {
    return new Passage(method, endsAt, signal)
  }

  /**
   * Sends a call of this stage through its interceptors. By its deadline, or when its caller leaves, the call settles without them.
   * @param send  makes the call
   */
  out(facts: Facts, of: Passage, send: (call: InterceptedCall) => Promise<unknown>): Promise<unknown> {
    const held = new Held(facts.method, of)
    of.onleave = (error) => held.fail(error.executed === executed(held) ? error : withExecuted(error, executed(held)))
    let unhold: (() => void) | undefined
    const done = this.#hold(held, this.#through(new Intercepted(facts, of, this.clock), (call) => {
      if (of.left) return Promise.reject(of.left)
      held.begun = true
      unhold?.()
      return send(call)
    }))
    const end = (): void => {
      of.end()
      unhold?.()
      if (!held.begun) dispose(facts.args) // they were not sent
    }
    if (!held.begun) unhold = holdAll(facts.args, (error) => held.fail(brokenBefore(facts.method, error)))
    done.then(end, end)
    return done
  }

  /**
   * Serves a call: through the interceptors, the rules and the schemas, then to `run`, synchronously as long as none of them waits.
   * @param own  called before the call fails with a StageError of an interceptor, a rule or a schema, which the caller gets as it is
   */
  in(facts: Facts, of: Lifetime, rules: Rules | undefined, run: (call: Pick<InterceptedCall, 'args' | 'headers'>) => unknown, own: (error: StageError) => void): unknown {
    const held = new Held(facts.method, of)
    /** The error of the called code itself. */
    let thrown: { readonly error: unknown } | undefined
    let passed = false
    const serve = (call: InterceptedCall): unknown => {
      if (passed) throw new TypeError(`next() was called twice for ${facts.method}: a call is served only once`)
      passed = true
      const validation = rules?.validation
      const allowed = after(this.#allowed(call, rules), () => validation ? this.#checked(call, validation) : call.args)
      return after(allowed, (args) => {
        if (of.over) throw new StageError('CANCELLED', `the caller of ${facts.method} has stopped waiting`, { executed: 'no' })
        if (of.endsAt <= this.clock.now()) throw late(held)
        held.begun = true
        return caught(() => run({ args: args as readonly unknown[], headers: call.headers }), (error) => { thrown = { error } })
      })
    }
    const call = new Intercepted(facts, of, this.clock)
    return caught(() => {
      const result = this.intercepts ? this.#through(call, serve) : serve(call)
      return isThenable(result) ? this.#hold(held, Promise.resolve(result)) : result
    }, (error) => {
      if (!isStageError(error) || thrown?.error === error) return
      own(held.begun && error.executed === 'no' ? withExecuted(error, 'yes') : error)
    })
  }

  /**
   * Wraps a handler, or a function that was passed, so that its calls go through `in`.
   * @param who  the name of this stage
   */
  serving(handler: Handler, method: string, who: string, rules?: Rules, passed = false): Handler {
    if (!this.guards && (!rules || (rules.authorize.length === 0 && !rules.validation))) return handler
    const serve = (call: Served, args: unknown[]): unknown => {
      const kind = passed ? 'function' : call.endsAt === Infinity ? 'cast' : 'call'
      const facts: Facts = { side: 'callee', kind, target: who, peer: call.peer, method, actor: undefined, args, headers: call.headers, options: rules?.options }
      const own = (error: StageError): void => { call.failure = error }
      return this.in(facts, call, rules, ({ args, headers }) => {
        call.carried = withHeaders(call.carried, headers)
        const result = handler.apply(call, [...args])
        return rules?.validation ? after(result, (value) => this.returned(facts, rules, value, own)) : result
      }, own)
    }
    return function (this: CallContext, ...args: unknown[]) {
      return serve(this as Served, args)
    }
  }

  /** Whether a method is hidden from a peer: a rule says no without having looked at a call. */
  hides(peer: Peer, method: string, target: string, rules?: Rules): boolean {
    const ask = (rule: Authorize): boolean => {
      const probe: Partial<InterceptedCall> = { side: 'callee', kind: 'call', target, peer, method, actor: undefined, options: rules?.options }
      for (const name of ['args', 'headers', 'deadline', 'signal']) Object.defineProperty(probe, name, { get: () => { throw UNDECIDED } })
      try {
        const answer = rule(probe as InterceptedCall)
        if (!isThenable(answer)) return answer === false
        Promise.resolve(answer).catch(nothing)
      } catch {
        // the rule depends on the call, or fails for a reason of its own
      }
      return false
    }
    return [this.#authorize, ...rules?.authorize ?? []].some((rule) => rule && ask(rule))
  }

  #allowed(call: InterceptedCall, rules: Rules | undefined): unknown {
    const ask = (rule: Authorize): unknown => after(this.#decided(rule, call), (allowed) => {
      if (allowed === true) return
      const what = `${VERBS[call.kind]} ${call.method} of ${call.target}`
      throw new StageError('FORBIDDEN', `${call.peer?.name ?? 'the caller'} may not ${what}`, { executed: 'no' })
    })
    const all = (list: readonly Authorize[]): unknown => list.reduce<unknown>((before, rule) => after(before, () => ask(rule)), undefined)
    return after(this.#authorize && ask(this.#authorize), () => rules && all(rules.authorize))
  }

  /** The answer of a rule. A rule that fails denies the call: FORBIDDEN, or the StageError that the rule threw. */
  #decided(rule: Authorize, call: InterceptedCall): unknown {
    return caught(() => rule(call), (error) => {
      if (isStageError(error)) return
      this.told.failed(error, { what: `authorize of ${VERBS[call.kind]} ${call.method}`, from: call.peer?.id })
      throw new StageError('FORBIDDEN', `authorize of ${call.target} failed: ${asError(error).message}`, { executed: 'no' })
    })
  }

  /** The arguments of a call as the schemas return them. */
  #checked(call: InterceptedCall, validation: Validation): unknown {
    return caught(() => validation.args(call.args, named(call), (error) => this.told.error(error)), (error) => {
      if (call.kind === 'cast') this.told.dropped?.(call.peer, `a cast was dropped: ${asError(error).message}`)
    })
  }

  /**
   * The result of a call as the output schema of the method returns it, or a promise of that value.
   * @param own      called with the error before the call fails
   * @param discard  ends the streams in a result that is not delivered
   */
  returned(facts: Facts, rules: Rules | undefined, value: unknown, own: (error: StageError) => void, discard = dispose): unknown {
    const validation = rules?.validation
    if (!validation) return value
    return caught(() => validation.returned(value, named(facts), (error) => this.told.error(error)), (error) => {
      discard(value)
      own(error as StageError)
    })
  }

  #through(first: Intercepted, last: (call: InterceptedCall) => unknown): Promise<unknown> {
    const at = (index: number, call: Intercepted): Promise<unknown> => started(() => {
      const one = this.#list[index]
      return one ? one(call, (next) => started(() => at(index + 1, call.changed(next)))) : last(call)
    })
    return at(0, first)
  }

  #hold(held: Held, result: Promise<unknown>): Promise<unknown> {
    return new Promise((resolve, reject) => {
      held.fail = (error) => {
        this.#held.delete(held)
        reject(error)
      }
      this.#held.add(held)
      if (held.of.endsAt < Infinity) this.deadlines.note(held.of.endsAt)
      result.then((value) => {
        if (this.#held.delete(held)) resolve(value)
        else dispose(value) // too late
      }, (error: unknown) => {
        // the call itself or its owner may notice first that the deadline has passed
        if ((error as Partial<StageError> | undefined)?.code === 'TIMEOUT') held.of.expire(error as StageError)
        held.fail(error as StageError)
      })
    })
  }

  /** Code around a served call has thrown. */
  failed(thrown: unknown, run: FailedRun): void {
    this.told.failed(thrown, run)
  }

  /** Calls that wait for an interceptor, a rule, or an answer behind them. */
  get size(): number {
    return this.#held.size
  }

  /** The stage is closed: fails all calls that still wait. */
  close(): void {
    for (const held of this.#held.all()) expire(held, new StageError('CLOSED', 'this stage was closed', { executed: executed(held) }))
  }

  #sweep(now: number): number {
    let next = Infinity
    for (const held of this.#held.all()) {
      if (held.of.endsAt > now) next = Math.min(next, held.of.endsAt)
      else expire(held, late(held))
    }
    return next
  }
}

const nothing = (): void => {}

function expire(held: Held, error: StageError): void {
  held.of.expire(error)
  held.fail(error)
}

/** The error that a caller gets when an interceptor failed. */
export const failedInterceptor = (error: unknown): StageError =>
  error instanceof StageError ? error : new StageError('REMOTE_ERROR', `an interceptor failed: ${asError(error).message}`, { cause: error })

/** The name of the method in messages. */
const named = ({ method, actor }: Pick<Facts, 'method' | 'actor'>): string => actor ? `${method} of ${actor.address}` : method
const VERBS = { call: 'call', cast: 'cast', get: 'read', observe: 'watch', function: 'call' }

const executed = ({ begun }: Held): 'no' | 'unknown' => begun ? 'unknown' : 'no'
const late = (held: Held): StageError => held.begun
  ? new StageError('TIMEOUT', `${held.method} did not answer in time`, { phase: 'running', executed: 'unknown' })
  : new StageError('TIMEOUT', `an interceptor, a rule or a schema held ${held.method} until its deadline`, { phase: 'queued', executed: 'no' })

/** Goes on synchronously if there is nothing to wait for, so that calls begin in the order of their arrival. */
const after = (value: unknown, go: (value: unknown) => unknown): unknown => isThenable(value) ? Promise.resolve(value).then(go) : go(value)

/** Runs a function now, and calls `see` with an error before the error propagates, thrown or as a rejection. */
function caught(run: () => unknown, see: (error: unknown) => void): unknown {
  const fail = (error: unknown): never => { see(error); throw error }
  try {
    const result = run()
    return isThenable(result) ? Promise.resolve(result).catch(fail) : result
  } catch (error) {
    return fail(error)
  }
}

/** Runs a function now, and returns its outcome as a promise. */
function started(run: () => unknown): Promise<unknown> {
  try {
    return Promise.resolve(run())
  } catch (error) {
    return Promise.reject(error)
  }
}

/** Keeps the present async context, which an interceptor may have set, for code that runs later. */
export const here = (): AsyncResource => new AsyncResource('stagemesh')
