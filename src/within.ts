import { judgeAt } from './judge.js'
import type { Clock } from './types.js'

/** `promise`, or `error()` if it took longer than `ms`, not counting a stall of this process; a later result is dropped. */
export function within<T>(clock: Clock, ms: number, promise: Promise<T>, error: () => Error): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const timer = judgeAt(clock, clock.now() + ms, () => reject(error()))
    promise.then(
      (value) => { timer.cancel(); resolve(value) },
      (reason: unknown) => { timer.cancel(); reject(reason) },
    )
  })
}
