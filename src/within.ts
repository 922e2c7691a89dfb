import type { Clock } from './types.js'

/**
 * The longest wait of one timer, in milliseconds. After a stall of the event loop, due timers run before data that
 * already waits: however long a stall was, it counts as one such part of the whole.
 */
const PART_MS = 500

/** `promise`, or `error()` when it took longer than `ms` in which this process could have heard of it; what comes later is dropped. */
export function within<T>(clock: Clock, ms: number, promise: Promise<T>, error: () => Error): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const wait = (left: number) => clock.setTimeout(() => {
      if (left > PART_MS) timer = wait(left - PART_MS)
      else reject(error())
    }, Math.min(left, PART_MS))
    let timer = wait(ms)
    promise.then(
      (value) => { timer.cancel(); resolve(value) },
      (reason: unknown) => { timer.cancel(); reject(reason) },
    )
  })
}
