/** The call that is being served, for code that is far from its handler: a logger, a metric, a database client. */
import { AsyncLocalStorage } from 'node:async_hooks'
import type { InterceptedCall, Interceptor } from './rpc/interceptor.js'

const served = new AsyncLocalStorage<InterceptedCall>()

/**
 * An interceptor that lets `currentCall()` know of each call that its stage serves: `new Stage('api', { interceptors: [keepCurrentCall] })`.
 * The call is as this interceptor sees it: put it behind those that change headers. It costs an `AsyncLocalStorage` context for each call.
 */
export const keepCurrentCall: Interceptor = (call, next) => call.side === 'callee' ? served.run(call, next, call) : next(call)

/**
 * The call that is being served by the code that asks, also after an `await`: in handlers, in turns of actors, in functions that were
 * passed in a call, and in the interceptors and rules behind `keepCurrentCall`. Undefined elsewhere: where calls are made, in timers and reminders of actors,
 * in events. As with any `AsyncLocalStorage`, a timer of Node's that a handler has set is still part of its call.
 */
export const currentCall = (): InterceptedCall | undefined => served.getStore()
