import { hash } from './hash.js'
import type { Peer } from './types.js'

/** Rendezvous hashing: each key orders the peers in its own way, so a peer that leaves moves only its own keys. */
export function byKey(peers: readonly Peer[], key: string, tried?: ReadonlySet<string>, failed?: { has(id: string): boolean }): Peer | undefined {
  let best: Peer | undefined
  let most = -1
  for (const peer of peers) {
    if (tried?.has(peer.id) || failed?.has(peer.id)) continue
    const weight = hash(`${key}\n${peer.id}`)
    if (weight <= most) continue
    best = peer
    most = weight
  }
  return best
}
