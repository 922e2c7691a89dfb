import { debuglog } from 'node:util'
import { printable } from './errors.js'

const write = debuglog('stagemesh')

/** What `NODE_DEBUG=stagemesh` prints: a line an event, no payloads, no secrets. */
export function log(who: string, what: string): void {
  if (!write.enabled) return
  write('%s %s', printable(who), printable(what.slice(0, 400)))
}

/** Between two lines of one kind. */
const OFTEN_MS = 5000
/** Kinds that are remembered; the one that was said longest ago makes room. */
const KINDS_MAX = 256

/** Says at most one line of each kind every five seconds, and with it how many there were meanwhile: a peer decides how often. */
export class OftenLog {
  readonly #kinds = new Map<string, { at: number; more: number }>()

  /** @param say  what is done with a line */
  constructor(private readonly clock: { now(): number }, private readonly who: string, private readonly say = log) {}

  /**
   * @param kind  what happened, and with whom: what differs in it is counted apart
   * @param what  called only where a line is said
   */
  note(kind: string, what: () => string): void {
    if (this.say === log && !write.enabled) return
    const now = this.clock.now()
    const known = this.#kinds.get(kind)
    if (known && now - known.at < OFTEN_MS) return void known.more++
    this.#kinds.delete(kind) // and to the end: the first one is the oldest
    if (this.#kinds.size >= KINDS_MAX) this.#kinds.delete(this.#kinds.keys().next().value as string)
    this.#kinds.set(kind, { at: now, more: 0 })
    this.say(this.who, known?.more ? `${what()} (and ${known.more} more of these since)` : what())
  }
}
