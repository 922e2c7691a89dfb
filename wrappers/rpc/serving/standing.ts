import type { Peer } from '../../../src/types.js'

/** What the stage of a link knows of names. */
export interface Names {
  /**
   * Whether the peer would be shown something else if it were listed under the name that it claims.
   * @param method  what is asked for; undefined: anything
   */
  depends(peer: Peer, method?: string): boolean
  /** Asks the registry; resolves when what it said is known, or when it does not answer. */
  look(): Promise<void>
}

/**
 * Whether the peer of one link is listed as it claims to be. A stage that has just been listed may be here before its entry
 * is, so the first time that something depends on its name the registry is asked, once for each link.
 */
export class Standing {
  #asking = false
  #asked = false

  /** @param onknown  the registry was asked */
  constructor(private readonly names: Names, private readonly peer: () => Peer, private readonly onknown: () => void) {}

  /** Whether an answer has to wait: the registry is being asked, and the answer depends on what it says. */
  open(method?: string): boolean {
    const peer = this.peer()
    if (this.#asked || !peer.claimed || !this.names.depends(peer, method)) return false
    if (!this.#asking) {
      this.#asking = true
      void this.names.look().catch(() => {}).then(() => {
        this.#asked = true
        this.onknown()
      })
    }
    return true
  }
}
