import { debuglog } from 'node:util'
import { printable } from './errors.js'

const write = debuglog('stagemesh')

/** What `NODE_DEBUG=stagemesh` prints: a line an event, no payloads, no secrets. */
export function log(who: string, what: string): void {
  if (!write.enabled) return
  write('%s %s', printable(who), printable(what.slice(0, 400)))
}
