/** One end of a measure; `room.ts` starts it and sends its orders. */
import type { Common, Orders } from './measure.js'
import { Watch } from './memory.js'
import { parts } from './parts.js'

export interface Question { n: number; order: string; args: unknown[] }
export interface Reply { n: number; value?: unknown; error?: string }

const [name, carrier, place] = process.argv.slice(2) as [string, string, string]
process.once('disconnect', () => process.exit())
// this listener is registered before anything else, so that it counts as present from the start
process.on('message', ({ n, order, args }: Question) => void (async () => {
  let reply: Reply
  try {
    reply = { n, value: await orders[order]?.(...args) }
  } catch (error) {
    reply = { n, error: (error as Error).stack ?? String(error) }
  }
  process.send?.(reply)
})())

let watch: Watch | undefined
const common: Common = {
  watch: () => { watch = new Watch() },
  grown: () => watch?.end() ?? { rss: 0, used: 0 },
  cpu: () => { const { user, system } = process.cpuUsage(); return user + system },
}
const orders: Orders = { ...common, ...parts[name]?.({ carrier, place }) }
