/** Incoming connections: how many may be in their handshake, and how refused connections are told of. */
import type { Duplex } from 'node:stream'
import { StageError } from './errors.js'
import { log } from './log.js'
import { Often, andMore } from './often.js'
import { outside } from './outside.js'
import { Strangers, place } from './strangers.js'
import type { Clock, Interface, RefusedFrom } from './types.js'

export interface AcceptingOptions {
  clock: Clock
  /** Name of the stage, for the log. */
  name: string
  interfaces: readonly Interface[]
  /**
   * Runs the handshake, and makes a link of the connection.
   * @param rise  called when more is known about the peer, with one of the ranks of `strangers.ts`
   */
  greet(stream: Duplex, through: Interface, rise: (rank: number) => void): Promise<unknown>
  /** A connection did not become a link. Called for one of each kind every five seconds. */
  onrefused(error: StageError, from: RefusedFrom): void
}

export class Accepting {
  readonly #strangers: Strangers
  readonly #often: Often

  constructor(private readonly options: AcceptingOptions) {
    this.#strangers = new Strangers(options.clock)
    this.#often = new Often(options.clock)
  }

  accept(stream: Duplex, through: Interface): void {
    const { interfaces, greet } = this.options
    const { remoteAddress } = stream as Duplex & { remoteAddress?: unknown }
    const address = typeof remoteAddress === 'string' ? remoteAddress : undefined
    const stranger = this.#strangers.enter(`${interfaces.indexOf(through)} ${place(address)}`, () => stream.destroy(crowded()))
    outside(() => greet(stream, through, (rank) => this.#strangers.rise(stranger, rank)))
      .catch((error: unknown) => this.#refused(error as StageError, through.scheme, address))
      .finally(() => this.#strangers.leave(stranger))
  }

  close(): void {
    this.#strangers.close()
  }

  /** Tells at a limited rate, because strangers decide how often they connect. */
  #refused(error: StageError, scheme: string, address: string | undefined): void {
    const { code, message } = error
    const more = this.#often.passes(`${scheme} ${place(address)} ${code}`)
    if (more === undefined) return
    const from = address === undefined ? '' : ` from ${address}`
    log(this.options.name, `refused a connection over ${scheme}${from}: ${message}${andMore(more)}`)
    if (code !== 'DISCONNECTED') this.options.onrefused(error, { scheme, address, more }) // the other end has left by itself
  }
}

const crowded = (): StageError => new StageError('REFUSED', 'too many connections from this address have an unfinished handshake')
