/** Who is there: the data that a registry holds of each stage, and that a handshake tells. */

/** What others may know of a stage. It is data: it came over a network, and may be stale by the time it is read. */
export interface Peer {
  /** The identity: random per start, and new after a lost lease. */
  readonly id: string
  /** Several live stages may share one (replicas). */
  readonly name: string
  readonly namespace: string
  /** Where it can be dialled, by whoever has an interface for it: `tcp://10.0.0.5:4000`. */
  readonly addresses: readonly string[]
  /** Facts that its stage tells about itself (a zone, a version, a role); `{}` if it tells none, or if only its handshake is known. */
  readonly meta: Readonly<Record<string, string>>
  /**
   * True while no entry of the registry was seen for this peer: its id, name and addresses are what it said of itself. An
   * entry takes its place as soon as it is seen. Absent on peers that the registry lists.
   */
  readonly claimed?: boolean
}

/** One record of the registry. JSON, at most 8 KiB. */
export interface Entry extends Peer {
  /** Refuses to share its name. */
  readonly unique: boolean
  /** It is closing: still there for what was begun, not for anything new. */
  readonly draining: boolean
  /** How long the entry outlives its last renewal, in milliseconds. */
  readonly ttlMs: number
  /** What the layers of its chain announce, by layer name. */
  readonly announces: Readonly<Record<string, unknown>>
}
