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

/** FNV-1a with a final mix: for spread, not for secrecy. */
function hash(text: string): number {
  let h = 0x811c9dc5
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193)
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  return (h ^ (h >>> 13)) >>> 0
}

