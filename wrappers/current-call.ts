/** Access to the call being served from code far from its handler: a logger, a metric, a database client. */
import { AsyncLocalStorage } from 'node:async_hooks'
import type { InterceptedCall, Interceptor } from './rpc/interceptor.js'

const served = new AsyncLocalStorage<InterceptedCall>()

/**
 * An interceptor that makes each call served by its stage available to `currentCall()`:
 * `new Stage('api', { interceptors: [keepCurrentCall] })`. The call is stored as this interceptor sees it, so put it behind
 * interceptors that change headers. Each call costs one `AsyncLocalStorage` context.
 */
export const keepCurrentCall: Interceptor = (call, next) => call.side === 'callee' ? served.run(call, next, call) : next(call)

/**
 * The call that the current code is serving, also after an `await`: in handlers, in turns of actors, in functions that were
 * passed in a call, and in the interceptors and rules behind `keepCurrentCall`. Undefined elsewhere: on the caller's side, in
 * timers and reminders of actors, in events. As with any `AsyncLocalStorage`, a Node timer set by a handler still belongs to
 * its call.
 */
export const currentCall = (): InterceptedCall | undefined => served.getStore()
