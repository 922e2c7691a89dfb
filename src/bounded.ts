import { StageError } from './errors.js'
import { onAbort } from './abort.js'
import type { Clock, Link, Selection, Timer } from './types.js'

export interface Bounds {
  readonly clock: Clock
  /** The default deadline, in milliseconds. */
  readonly timeoutMs: number
}

type Done<T> = (error: StageError | null, link?: Link<T>) => void

/**
 * One wait of a selection (`acquire`, `reach`, `known`) that ends at the latest with its deadline or its signal.
 * @param begin  starts the wait, and returns a function that cancels it
 * @param done   called once, perhaps at once
 * @returns      cancels the wait without calling `done`
 */
export function bounded<T>({ clock, timeoutMs }: Bounds, selection: Selection<T>, begin: (done: Done<T>) => () => void, done: Done<T>): () => void {
  const { signal, timeoutMs: own = timeoutMs } = selection.options
  let over = false
  let timer: Timer | undefined
  let unlisten: (() => void) | undefined
  let cancel: (() => void) | undefined
  const stop = (): void => {
    over = true
    timer?.cancel()
    unlisten?.()
    cancel?.()
  }
  const end: Done<T> = (error, link) => {
    if (over) return
    stop()
    done(error, link)
  }
  if (signal?.aborted) {
    end(cancelled(signal))
    return stop
  }
  cancel = begin(end)
  if (over) return stop
  // a waiting caller keeps the process alive until then
  timer = clock.setTimeout(() => end(selection.why(own)), own, true)
  if (signal) unlisten = onAbort(signal, () => end(cancelled(signal)))
  return stop
}

/** A stream, or an iterator that says when it is over. */
export interface Ending {
  readonly destroyed: boolean
  once(event: 'close', listener: () => void): unknown
  destroy(error: Error): unknown
}

/** Lets the signal end a stream that a call has returned, as long as the stream is open. */
export function bind(stream: Ending, signal: AbortSignal): void {
  if (!stream.destroyed) stream.once('close', onAbort(signal, () => { stream.destroy(cancelled(signal)) }))
}

export const cancelled = (signal: AbortSignal): StageError => new StageError('CANCELLED', 'cancelled by its signal', { cause: signal.reason })
