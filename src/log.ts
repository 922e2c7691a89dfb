import { debuglog } from 'node:util'

const write = debuglog('stagemesh')

/** What `NODE_DEBUG=stagemesh` prints: a line an event, no payloads, no secrets. */
export function log(who: string, what: string): void {
  if (!write.enabled) return
  write('%s %s', who, what.replace(/[^\x20-\x7e\xa0-\uffff]/g, '?').slice(0, 400))
}
