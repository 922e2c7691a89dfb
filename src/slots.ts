/** A stage's connections to each peer: the link, the callers that wait for it, and when to dial again. */
import { backoffMs } from './dial.js'
import type { StageError } from './errors.js'
import type { LastLink } from './hello.js'
import type { LiveLink } from './link.js'
import type { Duplex } from 'node:stream'
import type { Clock, Peer, Random, Timer } from './types.js'

export type Done = (error: StageError | null, link?: LiveLink) => void

/** A peer, and the links that show its description. */
export interface Known {
  peer: Peer
  /** All links that were built and have not closed. */
  readonly links: Set<LiveLink>
}

/** After a link that held this long, the back-off starts afresh. */
const STABLE_MS = 10_000
/** Dials that were cut off in the handshake count as at most this many failures: the other end had no room, and that passes. */
const CUT_OFF_MAX = 3
/** A peer is told of an address after so many failures, the last of them within this time. */
const UNREACHABLE_TIMES = 2
const UNREACHABLE_MS = 60_000
export const UNREACHABLE_CHARS = 512

/** Why an address did not lead to its peer, how often in a row, and when last. */
interface Missed { why: string; times: number; at: number }

/** The state of the connections to one id. */
export class Slot implements Known {
  readonly links = new Set<LiveLink>()
  /** The link of the pair, or the connection that was chosen last, whose link does not stand yet. */
  current: { id: string; seq: number; stream: Duplex; link?: LiveLink } | undefined
  last: LastLink | undefined
  readonly waiting = new Set<Done>()
  dial: AbortController | undefined
  redial: Timer | undefined
  failures = 0
  /** The last dial connected, and was cut off before the other end was proven. */
  cutOff = false
  /** The earliest time of the next dial. */
  notBefore = 0
  /** Refused dials since the last link broke without a goodbye; undefined if it did not. */
  refused: number | undefined
  /** Why the last dial failed, if it did. */
  error: StageError | undefined
  /** The address that was connected last, and is being greeted or was. */
  trying: string | undefined
  /** Addresses that did not lead to the peer, and why, since they were last tried with success; undefined: none so far. */
  #unreachable: Map<string, Missed> | undefined

  constructor(public peer: Peer) {}

  /** Answers all waiting callers, in the order in which they came. */
  settle(error: StageError | null, link?: LiveLink): void {
    const waiting = [...this.waiting]
    this.waiting.clear()
    for (const done of waiting) done(error, link)
  }

  /** Delays the next dial, the more so the more dials have failed. */
  postpone(error: StageError | undefined, clock: Clock, random: Random): void {
    this.error = error
    this.failures = Math.min(this.failures + 1, this.cutOff ? CUT_OFF_MAX : Infinity)
    this.notBefore = clock.now() + backoffMs(random, this.failures)
  }

  /** Notes an address that did not lead to the peer. */
  missed(address: string, { message }: StageError, clock: Clock): void {
    if (this.trying === address) this.trying = undefined
    const all = this.#unreachable ??= new Map<string, Missed>()
    all.set(address, { why: message, times: (all.get(address)?.times ?? 0) + 1, at: clock.now() })
    for (const one of all.keys()) if (!this.peer.addresses.includes(one)) all.delete(one)
  }

  /** The address led to the peer: what failed there before has passed. */
  reached(address: string): void {
    this.#unreachable?.delete(address)
  }

  /** Which addresses of the peer failed, again and again and until just now; for the peer itself. */
  unreachable(clock: Clock): string | undefined {
    if (!this.#unreachable) return undefined
    const recent = [...this.#unreachable].filter(([address, { times, at }]) => address !== this.trying && times >= UNREACHABLE_TIMES && clock.now() - at < UNREACHABLE_MS)
    return recent.map(([, { why, times }]) => `${why} (${times} times)`).join('; ').slice(0, UNREACHABLE_CHARS) || undefined
  }

  /** A link that stood has closed; how it ended decides how soon the peer is dialled again. */
  closed(link: LiveLink, error: StageError | undefined, clock: Clock, random: Random): void {
    if (this.current?.link === link) this.current = undefined
    this.last = { of: link.id, state: 'closed' }
    // a link that breaks right after it stood counts as a failed dial
    if (clock.now() - link.since > STABLE_MS) this.failures = 0
    else if (error) this.failures++
    else this.failures = Math.min(this.failures, 1) // after a goodbye, earlier failures count as one at most
    this.notBefore = clock.now() + backoffMs(random, this.failures)
  }

  /** The connection that was chosen last is dead. */
  drop(): void {
    const { current } = this
    this.current = undefined
    if (current?.link) current.link.close()
    else current?.stream.destroy()
  }
}

/** Slots by the ids of the peers. */
export class Slots extends Map<string, Slot> {
  of(peer: Peer): Slot {
    let slot = this.get(peer.id)
    if (!slot) this.set(peer.id, slot = new Slot(peer))
    return slot
  }
}
