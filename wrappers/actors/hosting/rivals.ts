import { printable } from '../../../src/errors.js'
import type { Entry, Mesh } from '../../../src/types.js'
import type { Rpc } from '../../rpc/rpc.js'
import { announced } from '../address.js'
import { announcedBy } from '../announced.js'
import type { Definition } from '../definition.js'

const RIVALS_MAX = 100

/** Finds types of other stages that overlap a type of this stage without being equal: some addresses would have two types. */
export class Rivals {
  readonly #said = new Set<string>()

  /** @param types  types of this stage; the list grows */
  constructor(private readonly mesh: Mesh<Rpc>, private readonly types: readonly Definition[]) {}

  /** Reports each overlapping type of these peers once. */
  compare(peers: readonly Entry[]): void {
    if (this.types.length === 0) return
    for (const peer of peers) {
      for (const text of announcedBy(peer.announces)?.types ?? []) {
        const pattern = announced(text)
        const rival = pattern && this.types.find((one) => one.pattern.overlaps(pattern) && !one.pattern.isLike(pattern))
        if (!rival || this.#said.size >= RIVALS_MAX || this.#said.has(`${rival.pattern.text} ${text}`)) continue
        this.#said.add(`${rival.pattern.text} ${text}`)
        const overlap = `hosts ${printable(text)}, which overlaps ${rival.pattern.text} of this stage`
        const why = 'an address must be of one type everywhere, or the state of an actor is read as that of another type'
        this.mesh.error(new TypeError(`${printable(peer.name)} (${peer.id}) ${overlap}: ${why}`))
      }
    }
  }
}
