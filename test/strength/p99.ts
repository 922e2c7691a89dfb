import { once } from 'node:events'
import { pipeline } from 'node:stream/promises'
import type { Stage } from '../../src/index.js'
import { stageOf } from './carriers.js'
import { SMALL, latency, type Latency } from './latency.js'
import { MIB, median, wait, type Here, type Measure, type Room } from './measure.js'
import { Pattern } from './pattern.js'

const LARGE = Buffer.alloc(4 * MIB - 64)
const PIECE = Buffer.alloc(64 * 1024)

export const orders = (here: Here) => {
  let stage: Stage
  let stop = (): Promise<unknown> => Promise.resolve()
  let bytes = 0
  return {
    async stage(name: string): Promise<void> {
      stage = stageOf(here, name)
      stage.to('*').provide('echo', (value) => value)
      stage.to('*').provide('take', (value: Buffer) => { bytes += value.length })
      stage.to('*').provide('give', () => LARGE)
      stage.on('stream', (stream) => stream.on('data', (chunk: Buffer) => { bytes += chunk.length }))
      await stage.ready()
    },
    measure: (to: string, inFlight: number, ms: number): Promise<Latency> => latency(() => stage.to(to).call('echo', SMALL), inFlight, ms),
    /** Sends as much as possible, until `stop`. */
    pour(to: string): void {
      const source = new Pattern()
      const done = pipeline(source, stage.to(to)).catch(() => {})
      stop = () => { source.destroy(); return done }
    },
    /** The same written by hand, one piece at each `drain`, so that no piece ever waits. */
    write(to: string): void {
      const stream = stage.to(to)
      const ended = new AbortController()
      const going = async (): Promise<void> => { for (;;) if (!stream.write(PIECE)) await once(stream, 'drain', ended) }
      const done = going().catch(() => {})
      stop = () => { ended.abort(); stream.destroy(); return done }
    },
    /** Arguments or results of 4 MiB, two at a time, so that one is always in flight. */
    load(to: string, results: boolean): void {
      let going = true
      const one = async (): Promise<void> => {
        if (results) bytes += (await stage.to(to).call<Buffer>('give')).length
        else await stage.to(to).call('take', LARGE)
      }
      const lane = async (): Promise<void> => { while (going) await one().catch(() => wait(10)) }
      const done = Promise.all([lane(), lane()])
      stop = () => { going = false; return done }
    },
    stop: () => stop(),
    /** Bytes received since the last question. */
    received: (): number => { const now = bytes; bytes = 0; return now },
  }
}

const begin = (room: Room) => room.start<ReturnType<typeof orders>>()
type Process = ReturnType<typeof begin>

/** The traffic that makes a link busy. */
interface Busy {
  what: string
  start(): Promise<unknown>
  stop(): Promise<unknown>
  /** The process that receives it. */
  to: Process
  /**
   * The bounded figure; default p99. A message of 4 MiB is encoded, joined and garbage-collected in a few milliseconds
   * each, in which nothing else runs: that delays one call in a hundred, but gives no reason for most calls to wait. Calls
   * behind large arguments of the same caller start in the order sent, so they have no bound.
   */
  bound?: 'p50' | 'none'
}

export const p99: Measure = {
  title: 'small calls on a busy link, compared with small calls on a quiet one',
  seconds: [560, 170],
  async run(room) {
    const [near, far] = [begin(room), begin(room)]
    await Promise.all([near.ask('stage', 'near'), far.ask('stage', 'far')])
    await near.ask('measure', 'far', 10, 1500) // warm
    const busy: Busy[] = [
      { what: 'a stream the same way', start: () => near.ask('pour', 'far'), stop: () => near.ask('stop'), to: far },
      { what: 'a stream the other way', start: () => far.ask('pour', 'near'), stop: () => far.ask('stop'), to: near },
      { what: 'a stream written by hand the same way', start: () => near.ask('write', 'far'), stop: () => near.ask('stop'), to: far },
      { what: 'a stream written by hand the other way', start: () => far.ask('write', 'near'), stop: () => far.ask('stop'), to: near },
      { what: 'arguments of 4 MiB the other way', start: () => far.ask('load', 'near', false), stop: () => far.ask('stop'), to: near, bound: 'p50' },
      { what: 'results of 4 MiB', start: () => near.ask('load', 'far', true), stop: () => near.ask('stop'), to: near, bound: 'p50' },
      { what: 'arguments of 4 MiB the same way', start: () => near.ask('load', 'far', false), stop: () => near.ask('stop'), to: far, bound: 'none' },
    ]
    for (const inFlight of [1, 10]) {
      for (const { what, start, stop, to, bound = 'p99' } of busy) {
        const ratios: Latency[] = []
        const absolute: Latency[] = []
        const rates: number[] = []
        const ms = room.quick ? 1000 : 3000
        for (let round = 0; round < (room.quick ? 3 : 5); round++) {
          const quiet = await near.ask('measure', 'far', inFlight, ms)
          await start()
          await wait(200)
          await to.ask('received')
          const loud = await near.ask('measure', 'far', inFlight, ms)
          rates.push(await to.ask('received') / MIB / ms * 1000)
          await stop()
          ratios.push({ ...loud, p50: loud.p50 / quiet.p50, p99: loud.p99 / quiet.p99 })
          absolute.push(loud)
        }
        const of = (all: readonly Latency[], key: 'p50' | 'p99'): number => median(all.map((one) => one[key]))
        const title = `${inFlight} in flight, ${what}`
        room.same(`${title}: calls that failed`, ratios.reduce((sum, { failed }) => sum + failed, 0), 0)
        for (const key of ['p50', 'p99'] as const) {
          const unit = `× quiet (${of(absolute, key).toFixed(2)} ms beside ${median(rates).toFixed(0)} MiB/s)`
          if (bound === key) room.atMost(`${title}: ${key}`, of(ratios, key), key === 'p99' ? 10 : 3, unit)
          else room.note(`${title}: ${key}`, of(ratios, key), unit)
        }
      }
    }
  },
}
