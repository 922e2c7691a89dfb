import { quantile } from './measure.js'

/** The latency of calls, in milliseconds. */
export interface Latency {
  calls: number
  failed: number
  p50: number
  p99: number
}

/** Keeps that many calls in flight for that time. */
export async function latency(call: () => Promise<unknown>, inFlight: number, ms: number): Promise<Latency> {
  const took: number[] = []
  let failed = 0
  const end = performance.now() + ms
  await Promise.all(Array.from({ length: inFlight }, async () => {
    for (let at = performance.now(); at < end;) {
      await call().catch(() => { failed++ })
      const now = performance.now()
      took.push(now - at)
      at = now
    }
  }))
  return { calls: took.length, failed, p50: quantile(took, 0.5), p99: quantile(took, 0.99) }
}

/** The argument of the measured call. */
export const SMALL = { id: 12345, name: 'bob miller', tags: ['a', 'bb', 'ccc'], active: true }
