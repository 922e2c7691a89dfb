/** The link of a stage to itself: its own calls run over a chain like all others, with the same copies, errors and order. */
import type { Duplex } from 'node:stream'
import { unbuilt, type ChainLink } from './chain.js'
import type { StageError } from './errors.js'
import { LiveLink } from './link.js'
import { pair } from './pair.js'
import type { Known } from './slots.js'
import type { Clock, Entry, Peer } from './types.js'

export interface LoopbackOptions {
  clock: Clock
  chain: readonly ChainLink[]
  idleLinkMs: number
  self(): Entry
}

export class Loopback implements Known {
  peer: Peer
  readonly links = new Set<LiveLink>()
  /** The end that makes the calls; undefined before its first use. */
  link: LiveLink | undefined

  constructor(private readonly options: LoopbackOptions) {
    this.peer = options.self()
  }

  /** @throws StageError BAD_ARGUMENT the chain cannot be built */
  open(): LiveLink {
    const [near, far] = pair()
    for (const stream of [near, far]) stream.on('error', nothing) // errors of a chain that cannot be built
    const peer = this.peer = this.options.self()
    let link: LiveLink | undefined
    try {
      link = this.#end(near, true)
      this.#end(far, false)
      return this.link = link
    } catch (thrown) {
      const error = unbuilt(peer.name, { peer, dialled: link === undefined }, thrown as StageError)
      link?.close(error)
      near.destroy()
      throw error
    }
  }

  reset(error: StageError): void {
    this.link?.close(error)
    this.link = undefined
  }

  #end(stream: Duplex, dialled: boolean): LiveLink {
    const { clock, chain, idleLinkMs } = this.options
    const built = new LiveLink({
      id: 'loopback', loopback: true, peer: this.peer, clock, chain, idleMs: idleLinkMs, stream, dialled,
      kept: () => true,
      onretire: (retiring, leaving) => void retiring.retire(leaving),
      onstream: () => false,
      onclose: (closed) => {
        this.links.delete(closed)
        if (this.link === closed) this.link = undefined
      },
    })
    this.links.add(built)
    return built
  }
}

const nothing = (): void => {}
