import { debuglog } from 'node:util'
import { printable } from './errors.js'

const write = debuglog('stagemesh')

/** Prints a line with `NODE_DEBUG=stagemesh`: one line per event, no payloads, no secrets. */
export function log(who: string, what: string): void {
  if (!write.enabled) return
  write('%s %s', printable(who), printable(what.slice(0, 400)))
}

/** The least time between two lines of one kind. */
const OFTEN_MS = 5000
/** The most kinds that are remembered; the kind that was logged longest ago makes room. */
const KINDS_MAX = 256

/**
 * Logs at most one line of each kind every five seconds, with the number of events in between, since peers decide how often
 * they happen.
 */
export class OftenLog {
  readonly #kinds = new Map<string, { at: number; more: number }>()

  /** @param say  prints a line */
  constructor(private readonly clock: { now(): number }, private readonly who: string, private readonly say = log) {}

  /**
   * @param kind  the event, and the peer: each kind is counted apart
   * @param what  makes the line; called only if the line is printed
   */
  note(kind: string, what: () => string): void {
    if (this.say === log && !write.enabled) return
    const now = this.clock.now()
    const known = this.#kinds.get(kind)
    if (known && now - known.at < OFTEN_MS) return void known.more++
    this.#kinds.delete(kind) // and added at the end below: the first kind is the oldest
    if (this.#kinds.size >= KINDS_MAX) this.#kinds.delete(this.#kinds.keys().next().value as string)
    this.#kinds.set(kind, { at: now, more: 0 })
    this.say(this.who, known?.more ? `${what()} (and ${known.more} more of these since)` : what())
  }
}
