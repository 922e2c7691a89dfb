import type { Mesh, Peer } from '../../../src/types.js'
import type { ShownNews } from './methods.js'
import type { Rpc } from '../rpc.js'

const NO_NAMES: ReadonlySet<string> = new Set()

/** The methods that each peer shows, across its links, so that every method is reported once. */
export class Shown {
  /** The methods shown over the latest link of each peer, by peer id; the `Methods` of that link keep the set up to date. */
  readonly #byPeer = new Map<string, ReadonlySet<string>>()

  constructor(private readonly mesh: Mesh<Rpc>) {}

  /** Only the first message of a link is compared with the methods of the link before: each later message lists its changes itself. */
  changed(peer: Peer, { all, gained, lost, first }: ShownNews): void {
    const { mesh } = this
    if (peer.id === mesh.id) return
    const before = this.#byPeer.get(peer.id)
    if (first) {
      this.#byPeer.set(peer.id, all)
      for (const name of all) if (!before?.has(name)) mesh.emit('methodAdded', name, peer)
      for (const name of before ?? []) if (!all.has(name)) mesh.emit('methodRemoved', name, peer)
    } else if (before === all) { // else the link drains, and its successor reports the same
      for (const name of gained) mesh.emit('methodAdded', name, peer)
      for (const name of lost) mesh.emit('methodRemoved', name, peer)
    }
  }

  /** A link is gone; another link to the same peer may go on. */
  closed({ peer, methods: { theirs } }: Rpc, rpcs: Iterable<Rpc>): void {
    if (theirs && this.#byPeer.get(peer.id) === theirs) {
      for (const { peer: { id }, methods } of rpcs) {
        if (id === peer.id && methods.theirs) this.changed(peer, { all: methods.theirs, first: true, gained: NO_NAMES, lost: [] })
      }
    }
    this.trim([peer], rpcs)
  }

  /** Forgets those of the peers that are neither listed nor linked. */
  trim(peers: readonly Peer[], rpcs: Iterable<Rpc>): void {
    const gone = peers.filter(({ id }) => this.#byPeer.has(id) && !this.mesh.find(id))
    if (gone.length === 0) return
    const linked = new Set([...rpcs].map((one) => one.peer.id))
    for (const { id } of gone) if (!linked.has(id)) this.#byPeer.delete(id)
  }
}
