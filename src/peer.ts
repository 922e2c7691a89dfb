/** The data about each stage that a registry holds and that a handshake exchanges. */

/** The public facts about a stage: data that came over a network, and may be stale by the time it is read. */
export interface Peer {
  /** The identity: random per start, and new after a lost lease. */
  readonly id: string
  /** Several live stages may share a name (replicas). */
  readonly name: string
  /** The wall between environments that the stage is in. */
  readonly namespace: string
  /** Where to dial the stage, with an interface for the scheme: `tcp://10.0.0.5:4000`. */
  readonly addresses: readonly string[]
  /** Facts that the stage publishes about itself (a zone, a version, a role); `{}` if there are none, or if only its handshake is known. */
  readonly meta: Readonly<Record<string, string>>
  /**
   * True while no entry of the registry was seen for this peer: its id, name and addresses are its own claims. An entry
   * replaces them as soon as it is seen. Absent on peers that the registry lists.
   */
  readonly claimed?: boolean
  /**
   * On the peer of a link or of a call: by what the other end has proven who it is, `secret`, `certificate DNS:api` or both,
   * joined by ` and `. A secret proves that it belongs to the mesh, a certificate proves its name. Absent if nothing was proven.
   */
  readonly proven?: string
}

/** One record of the registry. JSON, at most 8 KiB. */
export interface Entry extends Peer {
  /** Refuses to share its name. */
  readonly unique: boolean
  /** The stage is closing: it finishes work in progress and admits nothing new. */
  readonly draining: boolean
  /** How long the entry outlives its last renewal, in milliseconds. */
  readonly ttlMs: number
  /** Announcements of the layers of its chain, by layer name. */
  readonly announces: Readonly<Record<string, unknown>>
}
