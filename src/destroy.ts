/** Ways to destroy a stream, in this order: a stream may lack `destroy`, or throw. */
const WAYS = ['destroy', 'abort', 'close', 'end'] as const

/** Any stream that a wrapper may return: Node's own, readable-stream 1 to 4, streamx, and everything older. */
type Any = Partial<Record<(typeof WAYS)[number], (error?: Error) => unknown>> & {
  on?(event: string, listener: (...args: unknown[]) => void): unknown
  emit?(event: string, ...args: unknown[]): unknown
  readonly _readableState?: { emitClose?: unknown }
  readonly _writableState?: { emitClose?: unknown }
}

/**
 * Destroys a foreign stream of any kind, with the error if it takes one. An old stream reports nothing, or emits `end`, so
 * its listeners are notified here: `error` first, if there is one, and `close` in the next tick. Never throws, and an error
 * of a destroyed stream goes unheard.
 */
export function destroy(stream: object, error?: Error): void {
  const one = stream as Any
  attempt(() => one.on?.('error', () => {}))
  if (isModern(stream)) return void attempt(() => one.destroy?.(error))
  let closed = false
  attempt(() => one.on?.('close', () => { closed = true }))
  if (error) tell(one, 'error', error)
  WAYS.some((way) => typeof one[way] === 'function' && attempt(() => one[way]?.()))
  process.nextTick(() => { if (!closed) tell(one, 'close') })
}

/** Whether the stream reports its destruction itself, and never by `end`: Node's, readable-stream 3 and later, streamx. */
export function isModern(stream: object): boolean {
  const one = stream as Any
  return typeof one.destroy === 'function' && (typeof (one._writableState ?? one._readableState)?.emitClose === 'boolean' || 'destroying' in one)
}

/** @returns whether the step went well */
function attempt(step: () => unknown): boolean {
  try {
    // the result may be a promise, which nobody waits for
    Promise.resolve(step()).catch(() => {})
    return true
  } catch {
    return false
  }
}

/** An error of a listener goes to the process, and must not keep the other streams from being destroyed. */
function tell(one: Any, event: string, ...args: unknown[]): void {
  try {
    one.emit?.(event, ...args)
  } catch (thrown) {
    process.nextTick(() => { throw thrown })
  }
}
