/** What a link is asked: calls that wait for their answers. */
import { onAbort } from '../../../src/abort.js'
import { cancelled, type Ending } from '../../../src/bounded.js'
import type { StageError } from '../../../src/errors.js'
import type { Hand } from '../../codec/hand.js'
import { NOTHING, type Carried, type Context } from '../context.js'

/** A call that waits for its answer; settled exactly once. */
export interface Outgoing {
  readonly method: string
  readonly args: readonly unknown[]
  /** By the clock's `now()`; streams in its arguments give it more time while something moves. */
  readonly endsAt: number
  readonly carried: Carried
  /** Stands between the functions and streams in its arguments and the peer. */
  readonly hand?: Hand | undefined
  /** The streams in its arguments when it was last sent; undefined while it never was. */
  streams?: readonly unknown[]
  /** @param streams  those in the answer and in the arguments that are still open */
  settle(error: StageError | null, value?: unknown, streams?: readonly Ending[]): void
}

/** As much of a link as a call needs. */
export interface Asked {
  /** @returns the id that `cancel` takes @throws StageError executed 'no': nothing was sent */
  send(call: Outgoing, target: string | number): number
  /** @returns whether it was never sent */
  cancel(id: number, reason: StageError): boolean
}

/** Asks the peer for what a layer above serves there. @param words  what is asked for, for messages */
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
