import type { Peer } from '../../../src/types.js'

/** The knowledge of a stage about the names of peers. */
export interface Names {
  /**
   * Whether the peer would be shown something else if it were listed under the name that it claims.
   * @param method  the method that is asked for; undefined: any
   */
  depends(peer: Peer, method?: string): boolean
  /** Asks the registry; resolves when the answer is known, or when the registry does not answer. */
  look(): Promise<void>
}

/**
 * Whether the peer of one link is listed as it claims to be. A stage that was listed just now may connect before its entry
 * arrives, so the registry is asked the first time that something depends on the name, once for each link.
 */
export class Standing {
  #asking = false
  #asked = false

  /** @param onknown  called once the registry was asked */
  constructor(private readonly names: Names, private readonly peer: () => Peer, private readonly onknown: () => void) {}

  /** Whether an answer has to wait, since it depends on the registry, which is being asked. */
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
