import type { Adapter } from '../adapter.js'
import { raw } from './raw.js'
import { stagemesh, stagemeshEmpty } from './stagemesh.js'

const OBJECTS = 600_000

/**
 * The same in processes that hold about 60 MB of objects, as an application does. In a heap of less than 10 MB, V8 begins
 * to collect the whole heap for every 12 MB of buffers; in a larger heap it waits for more buffers.
 */
function holding(adapter: Adapter): Adapter {
  const held: unknown[] = []
  const hold = (): void => { for (let id = 0; id < OBJECTS; id++) held.push({ id, name: `object ${id}` }) }
  return {
    serve(place) { hold(); return adapter.serve(place) },
    connect(where) { hold(); return adapter.connect(where) },
  }
}

export const rawHolding = holding(raw)
export const stagemeshHolding = holding(stagemesh)
export const stagemeshEmptyHolding = holding(stagemeshEmpty)
