import type { Clock } from './types.js'

/** `promise`, or `error()` when it took longer than `ms`; what comes later is dropped. */
export function within<T>(clock: Clock, ms: number, promise: Promise<T>, error: () => Error): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const timer = clock.setTimeout(() => reject(error()), ms)
    promise.then(
      (value) => { timer.cancel(); resolve(value) },
      (reason: unknown) => { timer.cancel(); reject(reason) },
    )
  })
}
