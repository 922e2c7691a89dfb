/** The waiters of each signal: any number of them share one listener on the signal, and without waiters there is none. */
const hubs = new WeakMap<AbortSignal, { waiting: Set<() => void>; listener: () => void }>()

const sources = new WeakMap<AbortSignal, readonly [AbortSignal, AbortSignal]>()

/**
 * A signal that fires with the first of two, for `onAbort` only. The two are listened to while somebody listens to the result,
 * so a signal that outlives many calls keeps nothing of them. (`AbortSignal.any` leaves a WeakRef per call behind.)
 */
export function either(a: AbortSignal, b: AbortSignal): AbortSignal {
  const both = new AbortController().signal
  const first = (): AbortSignal => a.aborted ? a : b
  sources.set(both, [a, b])
  return Object.defineProperties(both, { aborted: { get: () => first().aborted }, reason: { get: () => first().reason as unknown } })
}

/** A real signal that fires with the first of several, none of which has fired yet. `release` removes its listeners from them. */
export function firstOf(...signals: readonly AbortSignal[]): { signal: AbortSignal; release: () => void } {
  const ending = new AbortController()
  const releases = signals.map((one) => onAbort(one, () => ending.abort()))
  return { signal: ending.signal, release: () => { for (const release of releases) release() } }
}

/** Calls `fn` once when `signal` fires; the returned function removes it. A signal that has fired already calls nothing. */
export function onAbort(signal: AbortSignal, fn: () => void): () => void {
  const both = sources.get(signal)
  if (both) {
    const off = (): void => { for (const one of offs) one() }
    const offs = both.map((one) => onAbort(one, () => { off(); fn() }))
    return off
  }
  let hub = hubs.get(signal)
  if (!hub) {
    const waiting = new Set<() => void>()
    const listener = () => {
      hubs.delete(signal)
      for (const waiter of [...waiting]) waiter()
    }
    hub = { waiting, listener }
    hubs.set(signal, hub)
    signal.addEventListener('abort', listener, { once: true })
  }
  const { waiting, listener } = hub
  const own = () => fn()
  waiting.add(own)
  return () => {
    if (!waiting.delete(own) || waiting.size > 0) return
    signal.removeEventListener('abort', listener)
    if (hubs.get(signal)?.waiting === waiting) hubs.delete(signal)
  }
}
