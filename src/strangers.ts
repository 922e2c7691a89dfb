import type { Clock, Timer } from './types.js'

/** How much is known of who connected. */
export const SILENT = 0
/** A well-formed HELLO came: anybody can send one. */
export const NAMED = 1
/** The registry lists the id and the name in it. */
export const LISTED = 2
/** Its PROOF was right; without a secret it says nothing. */
export const PROVEN = 3

/** Connections that came in and have said nothing that makes sense yet. */
const SILENT_MAX = 64
/** Those whose HELLO came, and whose handshake is not done. */
const GREETED_MAX = 64
/** All of them, for the moment until those that just came have been read. */
const BURST_MAX = 256

export interface Stranger {
  /** The interface, and the remote address if it has any. */
  readonly from: string
  readonly rank: number
}

interface Held extends Stranger {
  rank: number
  /** When it came, or rose, in turns of the event loop. */
  turn: number
  cut(): void
}

/**
 * Which `count` of them make room: each time the one that has waited longest, from where most of one rank come, of the
 * lower rank where that is a tie. So whoever opens many connections pushes out their own first.
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

/** Where a remote address counts: one IPv6 host can use every address of its /64, so these are one place. */
export function place(address: string | undefined): string {
  if (!address?.includes(':')) return address ?? ''
  if (address.includes('.')) return address.slice(address.lastIndexOf(':') + 1) // IPv4 in IPv6
  const [head = '', tail] = address.split('::')
  const left = head.split(':').filter(Boolean)
  const right = tail?.split(':').filter(Boolean) ?? []
  return [...left, ...Array<string>(Math.max(0, 8 - left.length - right.length)).fill('0'), ...right].slice(0, 4).join(':')
}

/**
 * The connections whose handshake is not done. A new one always gets in, and where there are too many an older one is cut
 * off: to refuse the new ones would let whoever holds the old ones keep everybody out. One that just came is kept until
 * the event loop has had the chance to read what it sent.
 */
export class Strangers {
  readonly #all = new Set<Held>()
  #turn = 0
  #looking: Timer | undefined

  constructor(private readonly clock: Clock) {}

  /** @param cut  ends its connection; `leave` follows */
  enter(from: string, cut: () => void): Stranger {
    const one: Held = { from, cut, rank: SILENT, turn: this.#turn }
    this.#all.add(one)
    if (this.#all.size > BURST_MAX) this.#cut([...this.#all], this.#all.size - BURST_MAX)
    this.#look()
    return one
  }

  /** More is known of it. */
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
      // sockets are read in the turn after the one in which they were accepted
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
