import { describe, printable } from '../../../src/errors.js'
import type { Mesh, Timer } from '../../../src/types.js'
import { NOTHING } from '../../rpc/context.js'
import { Turn, isThrown } from './turn.js'
import type { ActorTimer } from '../types.js'

/** The view of the activation that its timers need. */
export interface TimersOwner {
  readonly address: string
  readonly host: { readonly mesh: Pick<Mesh, 'clock' | 'error'> }
  readonly mailbox: { push(turn: Turn): void }
}

/** The volatile timers of one activation: each callback is a turn, and all of them end with the claim. */
export class Timers {
  readonly #waiting = new Set<() => void>()
  #closed = false

  constructor(private readonly activation: TimersOwner) {}

  /** Whether a timer is set; an actor with timers is not idle. */
  get pending(): boolean {
    return this.#waiting.size > 0
  }

  /** @param again  repeats; the period counts from the end of the previous turn */
  set(ms: number, fn: () => unknown, again: boolean): ActorTimer {
    if (!(typeof ms === 'number' && ms >= 0 && ms <= 2 ** 31 - 1)) {
      throw new TypeError(`the delay of a timer is ${describe(ms)} ms: expected 0 to ${2 ** 31 - 1}`)
    }
    if (typeof fn !== 'function') throw new TypeError('a timer needs a function')
    const { host, address } = this.activation
    let timer: Timer | undefined
    let off = false
    const cancel = (): void => {
      off = true // its turn may already wait in the mailbox
      timer?.cancel()
      this.#waiting.delete(cancel)
    }
    const wait = (): void => {
      if (this.#closed) return
      this.#waiting.add(cancel)
      timer = host.mesh.clock.setTimeout(fire, ms)
    }
    const fire = (): void => {
      if (!again) this.#waiting.delete(cancel)
      this.activation.mailbox.push(new Turn('@timer', [], Infinity, NOTHING, (error) => {
        if (error && !this.#closed && !isThrown(error)) {
          host.mesh.error(new Error(`a timer of the actor ${printable(address)} failed: ${error.message}`, { cause: error }))
        }
        if (again && this.#waiting.has(cancel)) wait()
      }, () => off ? undefined : fn()))
    }
    wait()
    return { cancel }
  }

  close(): void {
    this.#closed = true
    for (const cancel of [...this.#waiting]) cancel()
  }
}
