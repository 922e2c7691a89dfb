import type { Clock, Timer } from './types.js'

/** Ranks say how much is known about the other end of a connection. With this rank, nothing yet. */
export const SILENT = 0
/** A well-formed HELLO came: anybody can send one. */
export const NAMED = 1
/** The registry lists the id and the name in the HELLO. */
export const LISTED = 2
/** The PROOF was right, which means nothing without a secret. */
export const PROVEN = 3

/** The most connections that have sent nothing meaningful yet. */
const SILENT_MAX = 64
/** The most connections that have sent a HELLO and are still in their handshake. */
const GREETED_MAX = 64
/** The most connections in all, for the moment until the newest of them have been read. */
const BURST_MAX = 256

export interface Stranger {
  /** The interface, and the remote address if there is any. */
  readonly from: string
  readonly rank: number
}

interface Held extends Stranger {
  rank: number
  /** When the connection came, or rose, in turns of the event loop. */
  turn: number
  cut(): void
}

/**
 * Chooses `count` connections to make room. Each time, the largest group of one rank and place loses the connection that
 * has waited longest; in a tie, a group of lower rank does. So a host that opens many connections pushes out its own first.
 * @param all  in the order in which they came
 */
export function surplus<One extends Stranger>(all: readonly One[], count: number): One[] {
  const groups = new Map<string, One[]>()
  for (const one of all) {
    const key = `${one.rank} ${one.from}`
    const group = groups.get(key)
    if (group) group.push(one)
    else groups.set(key, [one])
  }
  const out: One[] = []
  while (out.length < Math.min(count, all.length)) {
    let most: One[] = []
    for (const group of groups.values()) {
      if (group.length > most.length || (group.length > 0 && group.length === most.length && group[0].rank < most[0].rank)) most = group
    }
    out.push(most.shift() as One)
  }
  return out
}

/** The place that a remote address counts for: one IPv6 host can use every address of its /64, so a /64 is one place. */
export function place(address: string | undefined): string {
  if (!address?.includes(':')) return address ?? ''
  if (address.includes('.')) return address.slice(address.lastIndexOf(':') + 1) // IPv4 in IPv6
  const [head = '', tail] = address.split('::')
  const left = head.split(':').filter(Boolean)
  const right = tail?.split(':').filter(Boolean) ?? []
  return [...left, ...Array<string>(Math.max(0, 8 - left.length - right.length)).fill('0'), ...right].slice(0, 4).join(':')
}

/**
 * The connections whose handshake is not done. A new connection always gets in, and an older one is cut off if there are
 * too many: refusing new connections would let the holder of the old ones keep everybody out. A new connection is kept
 * until the event loop has had the chance to read its first bytes.
 */
export class Strangers {
  readonly #all = new Set<Held>()
  #turn = 0
  #looking: Timer | undefined

  constructor(private readonly clock: Clock) {}

  /** @param cut  ends the connection; `leave` follows */
  enter(from: string, cut: () => void): Stranger {
    const one: Held = { from, cut, rank: SILENT, turn: this.#turn }
    this.#all.add(one)
    if (this.#all.size > BURST_MAX) this.#cut([...this.#all], this.#all.size - BURST_MAX)
    this.#look()
    return one
  }

  /** More is known about the connection. */
  rise(one: Stranger, rank: number): void {
    const held = one as Held
    if (!this.#all.delete(held)) return
    this.#all.add(Object.assign(held, { rank, turn: this.#turn }))
    this.#look()
  }

  leave(one: Stranger): void {
    this.#all.delete(one as Held)
  }

  close(): void {
    this.#looking?.cancel()
  }

  #look(): void {
    if (this.#looking || !this.#pools().some(([pool, max]) => pool.length > max)) return
    this.#looking = this.clock.setTimeout(() => {
      this.#looking = undefined
      this.#turn++
      // a socket is read in the turn after the turn that accepted it
      for (const [pool, max] of this.#pools()) this.#cut(pool.filter((one) => one.turn < this.#turn - 1), pool.length - max)
      this.#look()
    }, 0)
  }

  #pools(): [pool: Held[], max: number][] {
    const all = [...this.#all]
    return [[all.filter((one) => one.rank === SILENT), SILENT_MAX], [all.filter((one) => one.rank > SILENT), GREETED_MAX]]
  }

  #cut(from: readonly Held[], count: number): void {
    for (const one of surplus(from, count)) {
      this.#all.delete(one)
      one.cut()
    }
  }
}
