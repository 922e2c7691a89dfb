import type { Duplex } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { Stage } from '../../src/index.js'
import { stageOf } from './carriers.js'
import { SMALL, latency, type Latency } from './latency.js'
import { MIB, median, type Here, type Measure, type Room } from './measure.js'
import { Check, Pattern } from './pattern.js'

/** Short, so that other load of the machine affects both sides. */
const WINDOW_MS = 400

/** The work during the stop, one call at a time. */
type Work = 'calls on the same link' | 'another stream of the same link' | 'calls on another link'
const WORKS: readonly Work[] = ['calls on the same link', 'another stream of the same link', 'calls on another link']

export const orders = (here: Here) => {
  let stage: Stage
  let suffix = ''
  const check = new Check()
  let hand: (stream: Duplex) => void
  const stopped = new Promise<Duplex>((resolve) => { hand = resolve })
  let first = true
  let echo: Duplex
  let sent: Promise<void>
  const works: Record<Work, () => Promise<unknown>> = {
    'calls on the same link': () => stage.to(`far${suffix}`).call('echo', SMALL),
    'another stream of the same link': () => new Promise((resolve) => { echo.once('data', resolve); echo.write('x'.repeat(100)) }),
    'calls on another link': () => stage.to(`other${suffix}`).call('echo', SMALL),
  }
  return {
    async stage(name: string, behind: string): Promise<void> {
      suffix = behind
      stage = stageOf(here, name)
      stage.to('*').provide('echo', (value) => value)
      stage.on('stream', (stream) => {
        if (first) hand(stream) // nobody reads the stream until `goOn`
        else stream.on('data', (chunk: Buffer) => { stream.write(chunk) })
        first = false
      })
      await stage.ready()
    },
    send(size: number): void {
      sent = pipeline(new Pattern(size), stage.to(`far${suffix}`))
    },
    open(): void {
      echo = stage.to(`far${suffix}`)
    },
    sent: () => sent,
    measure: (work: Work): Promise<Latency> => latency(works[work], 1, WINDOW_MS),
    async goOn(): Promise<number> {
      await pipeline(await stopped, check)
      return check.at
    },
  }
}

const begin = (room: Room) => room.start<ReturnType<typeof orders>>()
type Process = ReturnType<typeof begin>

export const stopped: Measure = {
  title: 'a reader that stops and later continues, compared with links on which no reader stops',
  seconds: [150, 60],
  async run(room) {
    const size = 64 * MIB
    const triple = async (suffix: string) => {
      const names = ['near', 'far', 'other'].map((name) => name + suffix)
      const all = names.map(() => begin(room))
      await Promise.all(all.map((one, i) => one.ask('stage', names[i] as string, suffix)))
      return all as [Process, Process, Process]
    }
    const [[near, far], [quiet, calm]] = [await triple(''), await triple('-quiet')]
    for (const one of [near, quiet]) {
      await one.ask('measure', WORKS[2] as Work)
      await one.ask('watch')
    }
    await near.ask('send', size)
    await quiet.ask('send', 1)
    await calm.ask('goOn')
    for (const one of [near, quiet]) {
      await one.ask('open')
      await one.ask('measure', WORKS[1] as Work)
    }
    const windows = new Map(WORKS.map((work) => [work, [] as [one: Latency, other: Latency][]]))
    const end = performance.now() + (room.quick ? 10_000 : 60_000)
    while (performance.now() < end) for (const [work, all] of windows) all.push([await near.ask('measure', work), await quiet.ask('measure', work)])
    const [grown, twin] = [await near.ask('grown'), await quiet.ask('grown')]
    const [whole] = await Promise.all([far.ask('goOn'), near.ask('sent')])
    room.same('all bytes arrive when it goes on', whole, size)
    // the calls make both processes grow, as V8 makes room for their garbage: only the difference is the cost of the reader
    for (const [what, key] of [['rss', 'rss'], ['used after gc', 'used']] as const) {
      room.atMost(`memory of the sender, ${what}`, (grown[key] - twin[key]) / MIB, 32, `MiB more than without (${(grown[key] / MIB).toFixed(1)} more than at the start)`)
    }
    for (const [work, all] of windows) {
      room.same(`${work}: failed`, all.reduce((sum, [one, other]) => sum + one.failed + other.failed, 0), 0)
      room.atMost(`${work}: p99`, median(all.map(([one, other]) => one.p99 / other.p99)), 2, `× without (${median(all.map(([one]) => one.p99)).toFixed(2)} ms)`)
    }
  },
}
