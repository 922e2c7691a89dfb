/** The callback form of `to()`: a stream to each present match, and with `persist` to each peer that joins later. */
import { AsyncResource } from 'node:async_hooks'
import { onAbort } from './abort.js'
import { bounded } from './bounded.js'
import type { StageError } from './errors.js'
import { endWithPeer } from './half-open.js'
import type { StreamCallback } from './options.js'
import { Picked, type Surroundings } from './selection.js'
import type { PeerStream } from './socketlike.js'
import { openStream, type TargetContext } from './target.js'
import type { Link, Peer } from './types.js'

export class EachMatch {
  readonly #persistent = new Set<(peer: Peer) => void>()

  /** @param bare  the chain is empty: streams are the carriers themselves */
  constructor(private readonly surroundings: Surroundings, private readonly bounds: TargetContext, private readonly bare: boolean) {}

  open(selection: Picked, each: StreamCallback): void {
    const { surroundings, bounds } = this
    const { signal, persist } = selection.options
    // in the next tick, as earlier callers of the same link go first; and in the context of the caller
    const tell = AsyncResource.bind((error: StageError | null, stream?: PeerStream, peer?: Peer): void => process.nextTick(each, error, stream, peer))
    const open = (peer: Peer): void => {
      if (!selection.includes(peer)) return
      const one = new Picked(surroundings, peer, { ...selection.options, self: false })
      openStream(bounds, one, (error, stream, link) => {
        if (stream && link) this.#dialled(stream, link)
        tell(error, stream, peer)
      })
    }
    if (persist && !signal?.aborted) {
      selection.matches().forEach(open)
      this.#persistent.add(open)
      if (signal) onAbort(signal, () => void this.#persistent.delete(open))
      return
    }
    bounded(bounds, selection, (done) => selection.known(done), (error) => {
      if (error) return tell(error)
      const there = selection.matches()
      there.forEach(open)
      if (there.length === 0) tell(selection.why(0))
    })
  }

  joined(peer: Peer): void {
    for (const each of this.#persistent) each(peer)
  }

  clear(): void {
    this.#persistent.clear()
  }

  /** A stream that the top opened ends as `to()` does; the bare carrier ends as a socket, and a top of the user's own as it likes. */
  #dialled(stream: PeerStream, { top }: Link): void {
    if (top.openStream) {
      if (typeof stream.bytesWritten === 'number') endWithPeer(stream, this.bounds.clock, () => stream.bytesWritten)
    } else if (this.bare) stream.allowHalfOpen = false
  }
}
