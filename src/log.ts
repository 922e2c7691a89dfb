import { debuglog } from 'node:util'
import { printable } from './errors.js'
import { Often, andMore } from './often.js'

const write = debuglog('stagemesh')

/** Prints a line with `NODE_DEBUG=stagemesh`: one line per event, no payloads, no secrets. */
export function log(who: string, what: string): void {
  if (!write.enabled) return
  write('%s %s', printable(who), printable(what.slice(0, 400)))
}

/** Logs at most one line of each kind every five seconds, with the number of events in between. */
export class OftenLog {
  readonly #often: Often

  /** @param say  prints a line */
  constructor(clock: { now(): number }, private readonly who: string, private readonly say = log) {
    this.#often = new Often(clock)
  }

  /**
   * @param kind  the event, and the peer: each kind is counted apart
   * @param what  makes the line; called only if the line is printed
   */
  note(kind: string, what: () => string): void {
    if (this.say === log && !write.enabled) return
    const more = this.#often.passes(kind)
    if (more !== undefined) this.say(this.who, `${what()}${andMore(more)}`)
  }
}
