/** What a stage knows of its connections to each peer: their link, those that wait for it, and when to dial again. */
import { backoffMs } from './dial.js'
import type { StageError } from './errors.js'
import type { LastLink } from './hello.js'
import type { LiveLink } from './link.js'
import type { Duplex } from 'node:stream'
import type { Clock, Peer, Random, Timer } from './types.js'

export type Done = (error: StageError | null, link?: LiveLink) => void

/** A peer, and the links that show it. */
export interface Known {
  peer: Peer
  /** All that were built and have not closed. */
  readonly links: Set<LiveLink>
}

/** A link that held this long begins the next back-off from the start. */
const STABLE_MS = 10_000
/** Dials that were cut off in the handshake count as no more than so many failures: there was no room, and that passes. */
const CUT_OFF_MAX = 3

/** What is known of the connections to one id. */
export class Slot implements Known {
  readonly links = new Set<LiveLink>()
  /** The link of the pair, or the connection that was just decided for, whose link does not stand yet. */
  current: { id: string; seq: number; stream: Duplex; link?: LiveLink } | undefined
  last: LastLink | undefined
  readonly waiting = new Set<Done>()
  dial: AbortController | undefined
  redial: Timer | undefined
  failures = 0
  /** The last dial connected, and was cut off before the other end had said anything that it can be held to. */
  cutOff = false
  /** No dial before then. */
  notBefore = 0
  /** Its last link broke without a goodbye; counts refused dials since. */
  refused: number | undefined
  /** Why the last dial failed, if it did. */
  error: StageError | undefined

  constructor(public peer: Peer) {}

  /** Answers all that wait, in the order in which they came. */
  settle(error: StageError | null, link?: LiveLink): void {
    const waiting = [...this.waiting]
    this.waiting.clear()
    for (const done of waiting) done(error, link)
  }

  /** The next dial comes later, the more of them have failed. */
  postpone(error: StageError | undefined, clock: Clock, random: Random): void {
    this.error = error
    this.failures = Math.min(this.failures + 1, this.cutOff ? CUT_OFF_MAX : Infinity)
    this.notBefore = clock.now() + backoffMs(random, this.failures)
  }

  /** A link that stood has closed, which says how soon it is dialled again. */
  closed(link: LiveLink, error: StageError | undefined, clock: Clock, random: Random): void {
    if (this.current?.link === link) this.current = undefined
    this.last = { of: link.id, state: 'closed' }
    // one that breaks right after it stood is as good as a dial that failed
    if (clock.now() - link.since > STABLE_MS) this.failures = 0
    else if (error) this.failures++
    else this.failures = Math.min(this.failures, 1) // with a goodbye: what failed before it stood is over
    this.notBefore = clock.now() + backoffMs(random, this.failures)
  }

  /** The connection that was decided for last is dead. */
  drop(): void {
    const { current } = this
    this.current = undefined
    if (current?.link) current.link.close()
    else current?.stream.destroy()
  }
}

/** By the ids of the peers. */
export class Slots extends Map<string, Slot> {
  of(peer: Peer): Slot {
    let slot = this.get(peer.id)
    if (!slot) this.set(peer.id, slot = new Slot(peer))
    return slot
  }
}
