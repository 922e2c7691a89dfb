/** Admission of a call before the actor's mailbox: the interceptors of the stage, then the rules of the type. */
import type { AsyncResource } from 'node:async_hooks'
import { StageError, asError, describe } from '../../../src/errors.js'
import { isThenable } from '../../../src/thenable.js'
import type { Peer } from '../../../src/types.js'
import { withHeaders, type Carried } from '../../rpc/context.js'
import { here, type Facts, type Interception } from '../../rpc/interception.js'
import type { InterceptedCall } from '../../rpc/interceptor.js'
import type { Lifetime } from '../../rpc/passage.js'
import { holdIn } from '../calling/copy.js'
import type { Definition } from '../definition.js'
import { GET, WATCH } from '../tasks.js'
import { isInner } from '../words.js'

export type Interceptable = Pick<InterceptedCall, 'kind' | 'method' | 'args'>

/** Describes an actor call to interceptors; undefined for the library's own requests. */
export function asked(name: string, args: readonly unknown[]): Interceptable | undefined {
  if (name === GET) return { kind: 'get', method: text(args[0]), args: [] }
  if (name === WATCH) {
    const names = Array.isArray(args[0]) ? (args[0] as unknown[]).map(text) : []
    return { kind: 'observe', method: names.join(', '), args: names }
  }
  return isInner(name) ? undefined : { kind: 'call', method: name, args }
}

const text = (name: unknown): string => typeof name === 'string' ? name : describe(name)

/** A call that has arrived at the stage that hosts its actor. */
export interface Arrived extends Lifetime {
  readonly address: string
  readonly name: string
  readonly args: readonly unknown[]
  readonly carried: Carried
  readonly peer: Peer
  /** Copies a result, because interceptors may hold it while the next turn modifies the original. */
  snapshot(value: unknown): unknown
}

type Answer = (error: StageError | null, value?: unknown) => void
/** Makes the call a turn. @param within  async context in which the code runs; undefined: an empty one */
export type Begin = (args: readonly unknown[], carried: Carried, done: Answer, within?: AsyncResource) => void

/** Whether calls to actors of this type must pass `admit`: there are interceptors or rules, though perhaps not for every call. */
export const guards = (interception: Interception, definition: Definition | undefined): definition is Definition =>
  definition !== undefined && (interception.guards || definition.guarded)

/**
 * Makes a call a turn once interceptors and rules let it through, synchronously if none of them waits.
 * @param done  gets the outcome of the call
 */
export function admit(interception: Interception, definition: Definition, arrived: Arrived, begin: Begin, done: Answer): void {
  const { address, name, args, carried, peer } = arrived
  const what = asked(name, args)
  const rules = what && definition.rules(what.kind, what.method)
  if (!what || !(rules || interception.guards)) return begin(args, carried, done)
  const actor = { address, pattern: definition.pattern.text }
  const { kind, method } = what
  const { headers } = carried
  const facts: Facts = { side: 'callee', kind, target: address, peer, method, actor, args: what.args, headers, options: definition.given }
  const plain = what.kind === 'call'
  /** The error of the turn, and the exception of its code, which is what interceptors see. */
  let failed: { readonly error: StageError; readonly thrown: unknown } | undefined
  let own: StageError | undefined
  const say = (error: StageError): void => { own = error }
  const discard = definition.share ? (value: unknown): void => holdIn(value, true) : undefined
  let begun = false
  let answered = false
  const answer: Answer = (error, value) => {
    if (answered) return
    answered = true
    done(error, value)
  }
  const run = (call: Pick<InterceptedCall, 'args' | 'headers'>): Promise<unknown> => new Promise((resolve, reject) => {
    begun = true
    begin(plain ? call.args : args, withHeaders(carried, call.headers), (error, value) => {
      if (!error) {
        try {
          const returned = interception.returned(facts, rules, value, say, discard)
          if (interception.intercepts) return resolve(isThenable(returned) ? returned : arrived.snapshot(returned))
          // answer synchronously: the next turn may modify the returned object
          if (!isThenable(returned)) answer(null, returned)
          return resolve(returned)
        } catch (thrown) {
          return reject(thrown)
        }
      }
      failed = { error, thrown: error.code === 'REMOTE_ERROR' ? error.cause : error }
      reject(failed.thrown)
    }, here())
  })
  const fail = (error: unknown): void => {
    if (failed && failed.thrown === error) return answer(failed.error)
    if (!own) interception.failed(error, { what: `${name} of ${address}`, from: peer.id })
    const why = `an interceptor of ${name} of ${address} failed: ${asError(error).message}`
    answer(own ?? new StageError('REMOTE_ERROR', why, { executed: begun ? 'yes' : 'no', cause: error }))
  }
  let result: unknown
  try {
    result = interception.in(facts, arrived, rules, run, say)
  } catch (error) {
    return fail(error)
  }
  Promise.resolve(result).then((value) => answer(null, value), fail)
}
