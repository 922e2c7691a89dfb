import type { Duplex } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { Stage } from '../../src/index.js'
import { stageOf } from './carriers.js'
import { SMALL, latency, type Latency } from './latency.js'
import { MIB, median, type Here, type Measure, type Room } from './measure.js'
import { Check, Pattern } from './pattern.js'

const WINDOW_MS = 1000

/** What is done meanwhile, each one at a time. */
type Work = 'calls on the same link' | 'another stream of the same link' | 'calls on another link'
const WORKS: readonly Work[] = ['calls on the same link', 'another stream of the same link', 'calls on another link']

export const orders = (here: Here) => {
  let stage: Stage
  const check = new Check()
  let stopped: Duplex | undefined
  let first = true
  let echo: Duplex
  let sent: Promise<void>
  const works: Record<Work, () => Promise<unknown>> = {
    'calls on the same link': () => stage.to('far').call('echo', SMALL),
    'another stream of the same link': () => new Promise((resolve) => { echo.once('data', resolve); echo.write('x'.repeat(100)) }),
    'calls on another link': () => stage.to('other').call('echo', SMALL),
  }
  return {
    async stage(name: string): Promise<void> {
      stage = stageOf(here, name)
      stage.to('*').provide('echo', (value) => value)
      stage.on('stream', (stream) => {
        if (first) stopped = stream // nobody reads it
        else stream.on('data', (chunk: Buffer) => { stream.write(chunk) })
        first = false
      })
      await stage.ready()
    },
    send(size: number): void {
      sent = pipeline(new Pattern(size), stage.to('far'))
    },
    open(): void {
      echo = stage.to('far')
    },
    sent: () => sent,
    measure: (work: Work): Promise<Latency> => latency(works[work], 1, WINDOW_MS),
    async goOn(): Promise<number> {
      await pipeline(stopped as Duplex, check)
      return check.at
    },
  }
}

const begin = (room: Room) => room.start<ReturnType<typeof orders>>()

export const stopped: Measure = {
  title: 'a reader that stops, and later goes on',
  seconds: [150, 60],
  async run(room) {
    const size = 64 * MIB
    const [near, far, other] = [begin(room), begin(room), begin(room)]
    await Promise.all([near.ask('stage', 'near'), far.ask('stage', 'far'), other.ask('stage', 'other')])
    const measure = async (seconds: number): Promise<Map<Work, Latency>> => {
      const all = new Map<Work, Latency[]>(WORKS.map((work) => [work, []]))
      const end = performance.now() + seconds * 1000
      while (performance.now() < end) for (const [work, windows] of all) windows.push(await near.ask('measure', work))
      return new Map(WORKS.map((work) => {
        const windows = all.get(work) as Latency[]
        return [work, { calls: 0, failed: windows.reduce((sum, { failed }) => sum + failed, 0), p50: median(windows.map(({ p50 }) => p50)), p99: median(windows.map(({ p99 }) => p99)) }]
      }))
    }
    await near.ask('measure', 'calls on another link')
    await near.ask('watch')
    await near.ask('send', size)
    await near.ask('open')
    await near.ask('measure', 'another stream of the same link')
    const during = await measure(room.quick ? 10 : 60)
    const { rss, used } = await near.ask('grown')
    const whole = far.ask('goOn')
    await near.ask('sent')
    room.same('all bytes arrive when it goes on', await whole, size)
    const after = await measure(room.quick ? 6 : 15)
    room.atMost('memory of the sender, rss', rss / MIB, 32, 'MiB more')
    room.atMost('memory of the sender, used after gc', used / MIB, 32, 'MiB more')
    for (const work of WORKS) {
      const [one, other] = [during.get(work) as Latency, after.get(work) as Latency]
      room.same(`${work}: failed`, one.failed + other.failed, 0)
      room.atMost(`${work}: p99`, one.p99 / other.p99, 2, `× without (${one.p99.toFixed(2)} ms)`)
    }
  },
}
