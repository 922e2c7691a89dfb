import type { Stage, StageError } from '../../src/index.js'
import { stageOf } from './carriers.js'
import { latency, type Latency } from './latency.js'
import { median, quantile, wait, type Here, type Measure, type Room } from './measure.js'

const BURN_MS = 0.1
const TICK_MS = 5

/** The outcomes of the calls of one client. */
interface Ends {
  begun: number
  right: number
  /** Counts by code and `executed`: `OVERLOADED no`. */
  failed: Record<string, number>
  p50: number
  p99: number
}

export const orders = (here: Here) => {
  let stage: Stage
  const call = (): Promise<unknown> => stage.to('server').call('burn')
  return {
    async stage(name: string): Promise<void> {
      stage = stageOf(here, name)
      stage.to('*').provide('burn', () => { for (const end = performance.now() + BURN_MS; performance.now() < end;); })
      await stage.ready()
    },
    /** Makes as many calls as are answered. */
    measure: (inFlight: number, ms: number): Promise<Latency> => latency(call, inFlight, ms),
    /** Makes that many calls a second, regardless of their outcome. */
    async flood(perSecond: number, ms: number): Promise<Ends> {
      const took: number[] = []
      const failed: Record<string, number> = {}
      const all: Promise<void>[] = []
      const started = performance.now()
      const one = async (): Promise<void> => {
        const at = performance.now()
        try {
          await call()
          if (performance.now() - started <= ms) took.push(performance.now() - at)
        } catch (error) {
          const { code, executed } = error as StageError
          const key = `${code} ${executed}`
          failed[key] = (failed[key] ?? 0) + 1
        }
      }
      for (let begun = 0; performance.now() - started < ms; await wait(TICK_MS)) {
        for (const due = (performance.now() - started) / 1000 * perSecond; begun < due; begun++) all.push(one())
      }
      await Promise.all(all)
      return { begun: all.length, right: took.length, failed, p50: quantile(took, 0.5), p99: quantile(took, 0.99) }
    },
  }
}

const begin = (room: Room) => room.start<ReturnType<typeof orders>>()

export const overload: Measure = {
  title: 'twice as many calls as a server can carry, from two clients',
  seconds: [180, 90],
  async run(room) {
    const [server, ...clients] = [begin(room), begin(room), begin(room)]
    await server.ask('stage', 'server')
    await Promise.all(clients.map((one, i) => one.ask('stage', `client-${i}`)))
    const closed = async (inFlight: number, ms: number): Promise<Latency[]> => Promise.all(clients.map((one) => one.ask('measure', inFlight, ms)))
    await closed(200, 2000) // warm
    const ms = room.quick ? 10_000 : 60_000
    const peaks: number[] = []
    for (let i = 0; i < 4; i++) peaks.push((await closed(200, 2000)).reduce((sum, { calls }) => sum + calls, 0) / 2)
    const peak = Math.max(...peaks)
    room.note('peak', peak, 'calls/s')
    const quiet = await closed(1, 2000)
    const ends = await Promise.all(clients.map((one) => one.ask('flood', peak, ms)))
    await wait(5000 - 2000)
    const after = await closed(1, 2000)
    const failed: Record<string, number> = {}
    for (const end of ends) for (const [key, count] of Object.entries(end.failed)) failed[key] = (failed[key] ?? 0) + count
    room.note('asked for', ends.reduce((sum, { begun }) => sum + begun, 0) / ms * 1000 / peak, '× peak')
    const right = ends.reduce((sum, end) => sum + end.right, 0)
    room.atLeast('answered in that time', right / ms * 1000 / peak, 0.8, '× peak')
    room.note('latency of those', ends.map(({ p50, p99 }) => `p50 ${p50.toFixed(0)} ms, p99 ${p99.toFixed(0)} ms`).join(' · '))
    room.note('refused without having run', failed['OVERLOADED no'] ?? 0, 'calls')
    const late = Object.entries(failed).filter(([key]) => /^(TIMEOUT|CANCELLED) /.test(key))
    for (const [key, count] of late) room.note(key, count, 'calls')
    room.same('other ends', Object.keys(failed).filter((key) => key !== 'OVERLOADED no' && !late.some(([one]) => one === key)), [])
    room.atMost('p99 five seconds later, one in flight', median(after.map(({ p99 }) => p99)) / median(quiet.map(({ p99 }) => p99)), 3, '× before')
  },
}
