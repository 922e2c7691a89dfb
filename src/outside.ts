/**
 * Runs code in an empty `AsyncLocalStorage` context. Node hands the context of whatever makes a timer, a socket or a promise
 * on to everything that comes of it. So what outlives a request (links, timers, loops) begins here, and so does each piece of
 * the user's code that the library calls: the context of the one who dialled, or whose turn came before, is not its own.
 */
import { AsyncResource } from 'node:async_hooks'

type Fn<Args extends readonly unknown[], Result> = (...args: Args) => Result

/** Two resources made in one place differ in their ids; all else that they carry is the context of that place. */
const [made, other] = [0, 1].map((triggerAsyncId) => new AsyncResource('stagemesh', { triggerAsyncId, requireManualDestroy: true })) as [AsyncResource, AsyncResource]

/** A resource that carries nothing, even where this module was imported within a context; undefined where none can be made. */
function empty(): AsyncResource | undefined {
  const resource = Object.create(AsyncResource.prototype) as AsyncResource
  for (const key of Reflect.ownKeys(made)) {
    const id: unknown = Reflect.get(made, key)
    if (!Object.is(id, Reflect.get(other, key))) Reflect.set(resource, key, id)
  }
  try {
    // without its ids Node would end the process, so they are looked at before anything is run
    const whole = resource.asyncId() === made.asyncId() && resource.triggerAsyncId() === made.triggerAsyncId()
    return whole && resource.runInAsyncScope(() => true) ? resource : undefined
  } catch {
    return undefined // another runtime, whose resources have private fields
  }
}

/** Before Node 24, `run` and `enterWith` write into the resource that is current: each scope needs one of its own. */
class Scope {}
const shared = empty()
if (shared) Object.setPrototypeOf(Scope.prototype, shared)

/** Calls `fn` in an empty context. Where resources have private fields (Bun, Deno), it is the one in which this module was imported. */
export function outside<Args extends readonly unknown[], Result>(fn: Fn<Args, Result>, self?: unknown, ...args: Args): Result {
  const scope = shared ? new Scope() as AsyncResource : made
  return scope.runInAsyncScope(fn, self, ...args)
}
