/** Links that are held open, whether or not anybody uses them. */
import type { Directory } from './directory.js'
import type { Links } from './links.js'
import { matches } from './pattern.js'
import type { Peer } from './types.js'

/** Releases the hold of one `keep()`; idempotent. `using` calls it at the end of its block. */
export interface LetGo extends Disposable {
  (): void
}

export class Kept {
  /** Number of holders, by pattern. */
  readonly #patterns = new Map<string, { count: number }>()
  /** Ids of peers to which a kept link is being made. */
  readonly #holding = new Set<string>()

  /** @param closed  whether the stage is closing: then nothing is dialled any more */
  constructor(private readonly directory: Directory, private readonly links: Links, private readonly closed: () => boolean) {}

  /** Holds a link to every match, now and later, until all holders of the same pattern have let go. */
  add(pattern: string): LetGo {
    const patterns = this.#patterns
    const hold = patterns.get(pattern) ?? { count: 0 }
    patterns.set(pattern, hold)
    hold.count++
    for (const peer of this.directory.lookup(pattern)) this.hold(peer)
    let held = true
    return disposable(() => {
      if (held && --hold.count === 0 && patterns.get(pattern) === hold) patterns.delete(pattern)
      held = false
    })
  }

  /** Drops the pattern, however many holders it has. @returns a release without effect */
  drop(pattern: string): LetGo {
    this.#patterns.delete(pattern)
    return disposable(() => {})
  }

  includes(peer: Peer): boolean {
    for (const pattern of this.#patterns.keys()) if (matches(pattern, peer.name)) return true
    return false
  }

  /** Makes a link to a peer if the link is to be kept, with the back-off of the links. */
  hold(peer: Peer): void {
    const { directory, links } = this
    if (this.closed() || this.#holding.has(peer.id) || !this.includes(peer)) return
    if (!directory.get(peer.id) || links.active(peer.id)) return
    this.#holding.add(peer.id)
    links.need(peer, (error) => {
      this.#holding.delete(peer.id)
      if (error) this.hold(peer)
    })
  }

  clear(): void {
    this.#patterns.clear()
  }
}

export const disposable = (letGo: () => void): LetGo => Object.assign(letGo, { [Symbol.dispose]: letGo })
