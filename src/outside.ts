/**
 * Runs code in an empty `AsyncLocalStorage` context. Node hands the context in which a timer, a socket or a promise is made on
 * to all its callbacks. So everything that outlives a request (links, timers, loops) begins here, and so does each piece of
 * the user's code that the library calls: the context of the caller that dialled, or of an earlier turn, is not its own.
 */
import { AsyncResource } from 'node:async_hooks'

type Fn<Args extends readonly unknown[], Result> = (...args: Args) => Result

/** Two resources made in one place differ in their ids; everything else that they carry is the context of that place. */
const [made, other] = [0, 1].map((triggerAsyncId) => new AsyncResource('stagemesh', { triggerAsyncId, requireManualDestroy: true })) as [AsyncResource, AsyncResource]

/** A resource without a context, even if this module was imported within a context; undefined if none can be made. */
function empty(): AsyncResource | undefined {
  const resource = Object.create(AsyncResource.prototype) as AsyncResource
  for (const key of Reflect.ownKeys(made)) {
    const id: unknown = Reflect.get(made, key)
    if (!Object.is(id, Reflect.get(other, key))) Reflect.set(resource, key, id)
  }
  try {
    // without its ids Node would end the process, so the ids are checked before anything runs
    const whole = resource.asyncId() === made.asyncId() && resource.triggerAsyncId() === made.triggerAsyncId()
    return whole && resource.runInAsyncScope(() => true) ? resource : undefined
  } catch {
    return undefined // another runtime, whose resources have private fields
  }
}

/** Before Node 24, `run` and `enterWith` write into the current resource, so each scope needs its own. */
class Scope {}
const shared = empty()
if (shared) Object.setPrototypeOf(Scope.prototype, shared)

/**
 * Calls `fn` in an empty context; on runtimes whose resources have private fields (Bun, Deno), in the context in which this
 * module was imported.
 */
export function outside<Args extends readonly unknown[], Result>(fn: Fn<Args, Result>, self?: unknown, ...args: Args): Result {
  const scope = shared ? new Scope() as AsyncResource : made
  return scope.runInAsyncScope(fn, self, ...args)
}
