/** Who listens to each signal: one listener on the signal however many wait for it, and none when nobody does. */
const hubs = new WeakMap<AbortSignal, { waiting: Set<() => void>; listener: () => void }>()

/** Calls `fn` once when `signal` fires; the result takes it back. A signal that has fired already calls nothing. */
export function onAbort(signal: AbortSignal, fn: () => void): () => void {
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
