/** Calls over a link that wait for their answers. */
import { onAbort } from '../../../src/abort.js'
import { cancelled, type Ending } from '../../../src/bounded.js'
import type { StageError } from '../../../src/errors.js'
import type { Hand } from '../../codec/hand.js'
import { NOTHING, type Carried, type Context } from '../context.js'

/** A call that waits for its answer; settled exactly once. */
export interface Outgoing {
  readonly method: string
  readonly args: readonly unknown[]
  /** The deadline by the clock's `now()`; streams in the arguments extend it while they make progress. */
  readonly endsAt: number
  readonly carried: Carried
  /** Wraps the functions and streams in the arguments before they go to the peer. */
  readonly hand?: Hand | undefined
  /** The streams in the arguments when the call was last sent; undefined if it was never sent. */
  streams?: readonly unknown[]
  /** @param streams  the streams in the answer and in the arguments that are still open */
  settle(error: StageError | null, value?: unknown, streams?: readonly Ending[]): void
}

/** The part of a link that a call needs. */
export interface Asked {
  /** @returns the id that `cancel` takes @throws StageError executed 'no': nothing was sent */
  send(call: Outgoing, target: string | number): number
  /** @returns whether the call was never sent */
  cancel(id: number, reason: StageError): boolean
}

/** Calls a service that a layer above registered at the peer. @param words  describes the request in messages */
export function request(link: Asked, name: string, args: readonly unknown[], context: Pick<Context, 'endsAt'> & Partial<Context>, words: string): Promise<unknown> {
  const { endsAt, signal, carried = NOTHING } = context
  return new Promise((resolve, reject) => {
    let id = 0
    let unlisten = (): void => {}
    const settle = (error: StageError | null, value?: unknown): void => {
      unlisten()
      if (error) reject(error)
      else resolve(value)
    }
    if (signal?.aborted) return reject(cancelled(signal))
    try {
      id = link.send({ method: words, args, endsAt, carried, settle }, name)
    } catch (error) {
      return reject(error)
    }
    if (signal) unlisten = onAbort(signal, () => {
      const error = cancelled(signal)
      link.cancel(id, error)
      reject(error)
    })
  })
}
