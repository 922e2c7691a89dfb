/** Where a stream has no `destroy`, or it throws. */
const WAYS = ['destroy', 'abort', 'close', 'end'] as const

/** What the streams of wrappers may be: Node's own, those of readable-stream 1 to 4, streamx, and what was written before them. */
type Any = Partial<Record<(typeof WAYS)[number], (error?: Error) => unknown>> & {
  on?(event: string, listener: (...args: unknown[]) => void): unknown
  emit?(event: string, ...args: unknown[]): unknown
  readonly _readableState?: { emitClose?: unknown }
  readonly _writableState?: { emitClose?: unknown }
}

/**
 * Destroys a stream of somebody else's, whatever kind it is: with the error where it takes one. An old stream says
 * nothing of that, or says `end`, so its listeners are told here: `error` first, if there is one, and `close` in the
 * next tick. Never throws, and an error of a stream that was destroyed is unheard.
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

/** Tells of its destruction itself, and never by `end`: Node's, readable-stream 3 and later, streamx. */
export function isModern(stream: object): boolean {
  const one = stream as Any
  return typeof one.destroy === 'function' && (typeof (one._writableState ?? one._readableState)?.emitClose === 'boolean' || 'destroying' in one)
}

/** @returns whether it went well */
function attempt(step: () => unknown): boolean {
  try {
    // it may be a promise, which nobody waits for
    Promise.resolve(step()).catch(() => {})
    return true
  } catch {
    return false
  }
}

/** What a listener throws is the process's to hear, and must not keep the others from being destroyed. */
function tell(one: Any, event: string, ...args: unknown[]): void {
  try {
    one.emit?.(event, ...args)
  } catch (thrown) {
    process.nextTick(() => { throw thrown })
  }
}
