/** Incoming connections: how many may be in their handshake, and how refused connections are logged. */
import type { Duplex } from 'node:stream'
import { StageError, asError } from './errors.js'
import { OftenLog } from './log.js'
import { outside } from './outside.js'
import { Strangers, place } from './strangers.js'
import type { Clock, Interface } from './types.js'

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
}

export class Accepting {
  readonly #strangers: Strangers
  readonly #often: OftenLog

  constructor(private readonly options: AcceptingOptions) {
    this.#strangers = new Strangers(options.clock)
    this.#often = new OftenLog(options.clock, options.name)
  }

  accept(stream: Duplex, through: Interface): void {
    const { interfaces, greet } = this.options
    const { remoteAddress } = stream as Duplex & { remoteAddress?: unknown }
    const address = typeof remoteAddress === 'string' ? remoteAddress : undefined
    const stranger = this.#strangers.enter(`${interfaces.indexOf(through)} ${place(address)}`, () => stream.destroy(crowded()))
    outside(() => greet(stream, through, (rank) => this.#strangers.rise(stranger, rank)))
      .catch((error: unknown) => this.#refused(asError(error), through.scheme, address))
      .finally(() => this.#strangers.leave(stranger))
  }

  close(): void {
    this.#strangers.close()
  }

  /** Logs at a limited rate, because strangers decide how often they connect. */
  #refused({ message, code }: Error & { code?: unknown }, scheme: string, address: string | undefined): void {
    const from = address === undefined ? '' : ` from ${address}`
    this.#often.note(`refused ${scheme} ${place(address)} ${String(code)}`, () => `refused a connection over ${scheme}${from}: ${message}`)
  }
}

const crowded = (): StageError => new StageError('REFUSED', 'too many connections from there have not finished their handshake')
