/** One end of one measurement; `measure.ts` starts both ends. */
import { isDeepStrictEqual } from 'node:util'
import { VALUES, type Client } from './adapter.js'
import { adapters } from './adapters/index.js'
import { work, type Load } from './load.js'

export type Order =
  | { serve: string; folder: string }
  | { connect: string; where: string; load: Load; warmMs: number; ms: number }
  | 'mark'
  | 'go'
  | 'spent'

/** Since the last mark: µs of CPU, and the growth of the heap in bytes. */
export interface Spent { cpu: number; heap: number }

function now(): Spent {
  const { user, system } = process.cpuUsage()
  return { cpu: user + system, heap: process.memoryUsage().heapUsed }
}

let marked: Spent = { cpu: 0, heap: 0 }

/** V8 also collects after some 64 MiB of buffers, which a fast machine reads within a second: a collection now postpones the next one. */
function mark(): void {
  global.gc?.()
  marked = now()
}

function spent(): Spent {
  const { cpu, heap } = now()
  return { cpu: cpu - marked.cpu, heap: heap - marked.heap }
}

let run: ((ms: number) => Promise<unknown>) | undefined
let ms = 0

/** A library that does not return the value that it was sent is not measured. */
async function prove(call: NonNullable<Client['call']>, load: Load): Promise<void> {
  if (load.kind !== 'calls') return
  const given = VALUES[load.value]
  const found = await call(given)
  const equal = Buffer.isBuffer(found) && !Buffer.isBuffer(given) ? found.length > 0 : isDeepStrictEqual(found instanceof Uint8Array ? Buffer.from(found) : found, given)
  if (!equal) throw new Error(`it answered ${JSON.stringify(found)?.slice(0, 80)} for a ${load.value}`)
}

async function obey(order: Order): Promise<unknown> {
  if (order === 'mark') return mark()
  if (order === 'spent') return spent()
  if (order === 'go') {
    mark()
    const done = await run?.(ms)
    return { ...done as object, ...spent() }
  }
  const name = 'serve' in order ? order.serve : order.connect
  const adapter = await adapters[name]?.load()
  if (!adapter) throw new Error(`there is no adapter '${name}': there are ${Object.keys(adapters).join(', ')}`)
  if ('serve' in order) return adapter.serve({ folder: order.folder })
  const client = await adapter.connect(order.where)
  run = work(client, order.load)
  ms = order.ms
  if (!run) throw new Error('not offered')
  if (client.call) await prove(client.call, order.load)
  if (order.warmMs > 0) await run(order.warmMs)
  return undefined
}

process.once('disconnect', () => process.exit())
process.on('message', (order: Order) => {
  obey(order).then(
    (value) => process.send?.({ value }),
    (error: Error) => process.send?.({ error: error.message.split('\n')[0] }),
  )
})
