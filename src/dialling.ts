/** When a peer is dialled, and the consequences of a failed dial. */
import type { Duplex } from 'node:stream'
import { dial, refuses } from './dial.js'
import { StageError } from './errors.js'
import type { Greeted } from './greeter.js'
import { HANDSHAKE_MS } from './exchange.js'
import { log } from './log.js'
import { outside } from './outside.js'
import type { Slot } from './slots.js'
import type { Clock, Entry, Interface, Peer, Random } from './types.js'

export interface DiallingOptions {
  clock: Clock
  random: Random
  interfaces: readonly Interface[]
  /** Name of the stage, for the log. */
  name: string
  find(id: string): Entry | undefined
  closed(): boolean
  greet(stream: Duplex, through: Interface, slot: Slot): Promise<Greeted>
  /** Whether the connection of that id is proven while the other end still decides about it. */
  isUnderway(id: string): boolean
  /** The peer's link broke and its addresses refuse connections: most likely it has crashed. */
  onsuspect(peer: Peer): void
  /** Nobody waits for the slot, and nobody will ask for it again. */
  onforgotten(slot: Slot): void
}

const SUSPECT_AFTER = 3

export class Dialling {
  constructor(private readonly options: DiallingOptions) {}

  /** Dials once, now or when the back-off allows it, and answers all callers that wait in the slot. */
  dial(slot: Slot): void {
    if (slot.dial || slot.redial || this.options.closed()) return
    const wait = slot.failures === 0 ? 0 : slot.notBefore - this.options.clock.now()
    if (wait <= 0) return void outside(() => this.#try(slot))
    slot.redial = this.options.clock.setTimeout(() => {
      slot.redial = undefined
      if (slot.waiting.size > 0) void this.#try(slot)
    }, wait)
  }

  async #try(slot: Slot): Promise<void> {
    const { find, interfaces, clock, random, greet, name } = this.options
    const ending = slot.dial = new AbortController()
    slot.cutOff = false
    const error = await dial(find(slot.peer.id) ?? slot.peer, {
      interfaces, clock,
      signal: ending.signal,
      onunreachable: (address, failure) => slot.missed(address, failure, clock),
      greet: async (stream, through, address) => {
        slot.trying = address
        const { duplicate, failure } = await greet(stream, through, slot)
        slot.reached(address)
        return failure ?? (duplicate === undefined ? undefined : await this.#elsewhere(slot, duplicate))
      },
    })
    slot.dial = undefined
    if (ending.signal.aborted) return
    if (error) log(name, `cannot reach ${slot.peer.name} (${slot.peer.id}): ${error.message}`)
    const { link } = slot.current ?? {}
    if (link?.open) return slot.settle(null, link) // dialled, or accepted meanwhile
    slot.postpone(error, clock, random)
    if (error && refuses(error) && slot.refused !== undefined && ++slot.refused >= SUSPECT_AFTER) {
      slot.refused = undefined
      this.options.onsuspect(slot.peer)
    }
    slot.settle(error ?? new StageError('DISCONNECTED', `the link to ${slot.peer.name} was not established`, { peer: slot.peer }))
    if (slot.waiting.size === 0 && !find(slot.peer.id)) this.options.onforgotten(slot)
  }

  /**
   * The arbiter keeps another connection of this pair: it is about to stand here, or it is dead and the arbiter must be told.
   * @returns why the other connection does not stand
   */
  async #elsewhere(slot: Slot, id: string): Promise<StageError | undefined> {
    if (slot.current?.id === id && slot.current.link?.open) return undefined
    if (this.options.isUnderway(id)) {
      // the verdict is on its way over the other connection
      return await new Promise((resolve) => {
        const done = (error: StageError | null): void => {
          timer.cancel()
          slot.waiting.delete(done)
          resolve(error ?? undefined)
        }
        const timer = this.options.clock.setTimeout(() => done(null), HANDSHAKE_MS)
        slot.waiting.add(done)
      })
    }
    slot.last = { of: id, state: slot.last?.of === id ? slot.last.state : 'closed' }
    return undefined
  }
}
