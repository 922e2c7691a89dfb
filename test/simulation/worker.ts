/** A process for a row of worlds: it gets a range of seeds, and sends the outcome of each. */
import { TOLD } from './farm.js'
import { simulate, type Outcome } from './run.js'

export interface Range {
  readonly from: number
  readonly to: number
}
export type Told = { readonly done: Outcome } | { readonly ready: true }

let at = 0
const tell = (told: Told): void => { process.send?.(told) }

// nothing may end the process: an uncaught exception is a failure of the running world
process.on('uncaughtException', (error) => {
  process.send?.({ done: { seed: at, broken: [`uncaught: ${error.stack}`], hash: '', events: 0 } }, () => process.exit(TOLD))
})

process.on('message', ({ from, to }: Range) => {
  void (async () => {
    for (at = from; at < to; at++) tell({ done: await simulate(at) })
    tell({ ready: true })
  })()
})
process.on('disconnect', () => process.exit(0))
tell({ ready: true })
