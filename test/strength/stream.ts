import { execFile } from 'node:child_process'
import { randomFillSync } from 'node:crypto'
import { once } from 'node:events'
import { createReadStream, createWriteStream, openSync, writeSync, closeSync } from 'node:fs'
import net from 'node:net'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { promisify } from 'node:util'
import pump from 'pump'
import type { Stage } from '../../src/index.js'
import { carrier, stageOf } from './carriers.js'
import { MIB, clock, median, type Here, type Measure, type Room } from './measure.js'
import { Check, Pattern, type Pace } from './pattern.js'

const GROWTH_BYTES = 64 * MIB
const ROUNDS = 5
const SLOW: Pace = { burstBytes: 16 * MIB, pauseMs: 60 }

/** The reader: takes the next stream, and reports when it was complete and its length. */
class Reader {
  #came: Promise<Duplex> | undefined
  #hand: (stream: Duplex) => void = () => {}

  readonly onstream = (stream: Duplex): void => this.#hand(stream)

  /** Called before the stream is sent. */
  expect(): void {
    this.#came = new Promise((resolve) => { this.#hand = resolve })
  }

  async check(pace?: Pace): Promise<{ bytes: number; at: number }> {
    const check = new Check(pace)
    await pipeline(await this.#came as Duplex, check)
    return { bytes: check.at, at: clock() }
  }

  async store(path: string): Promise<void> {
    await pipeline(await this.#came as Duplex, createWriteStream(path))
  }
}

export const orders = (here: Here) => {
  let stage: Stage
  const reader = new Reader()
  const send = async (stream: Duplex, from: NodeJS.ReadableStream): Promise<number> => {
    const at = clock()
    await pipeline(from, stream, { end: true })
    return at
  }
  return {
    async stage(name: string): Promise<void> {
      stage = stageOf(here, name)
      stage.on('stream', reader.onstream)
      await stage.ready()
    },
    /** Passes incoming streams on to another stage. */
    relay: (to: string): void => {
      stage.off('stream', reader.onstream)
      stage.on('stream', (stream) => void pump(stream, stage.to(to)))
    },
    async bare(): Promise<net.AddressInfo | string> {
      const server = net.createServer({ noDelay: true }, reader.onstream)
      await once(server.listen(carrier(here).bare(here.place)), 'listening')
      return server.address() as net.AddressInfo | string
    },
    expect: () => reader.expect(),
    check: (pace?: Pace) => reader.check(pace),
    store: (path: string) => reader.store(path),
    send: (to: string, size: number) => send(stage.to(to), new Pattern(size)),
    sendFile: (to: string, path: string) => send(stage.to(to), createReadStream(path)),
    async sendBare(to: net.AddressInfo | string, size: number): Promise<number> {
      const socket = net.connect(typeof to === 'string' ? { path: to } : { host: to.address, port: to.port, noDelay: true })
      await once(socket, 'connect')
      return send(socket, new Pattern(size))
    },
  }
}

type Process = ReturnType<typeof begin>
const begin = (room: Room) => room.start<ReturnType<typeof orders>>()

export const stream: Measure = {
  title: 'a large stream: its bytes, its memory, and its speed compared with a bare socket',
  seconds: [600, 120],
  async run(room) {
    const size = (room.quick ? 256 : 1024) * MIB
    const [near, middle, far] = [begin(room), begin(room), begin(room)]
    await Promise.all([near.ask('stage', 'near'), middle.ask('stage', 'middle'), far.ask('stage', 'far')])
    await middle.ask('relay', 'far')
    await speed(room, near, far, size)
    await memory(room, 'fast reader', [near, far], 'far', size)
    await memory(room, 'slow reader', [near, far], 'far', size, SLOW)
    await memory(room, 'through a relay', [near, middle, far], 'middle', size)
    await files(room, near, far)
  },
}

/** Alternates between the two, because machines drift: only the ratio of adjacent measurements counts. */
async function speed(room: Room, near: Process, far: Process, size: number): Promise<void> {
  const place = await far.ask('bare')
  const once = async (send: () => Promise<number>): Promise<{ rate: number; cost: number }> => {
    await far.ask('expect')
    const cpu = async (): Promise<number> => await near.ask('cpu') + await far.ask('cpu')
    const before = await cpu()
    const [from, { bytes, at }] = await Promise.all([send(), far.ask('check')])
    if (bytes !== size) throw new Error(`${bytes} bytes arrived of ${size}`)
    return { rate: size / MIB / (at - from) * 1000, cost: (await cpu() - before) / size * MIB }
  }
  const bare = () => once(() => near.ask('sendBare', place, size))
  const ours = () => once(() => near.ask('send', 'far', size))
  await bare()
  await ours()
  const rates: number[] = []
  const costs: number[] = []
  for (let round = 1; round <= ROUNDS; round++) {
    const [one, other] = [await bare(), await ours()]
    rates.push(other.rate / one.rate)
    costs.push(other.cost / one.cost)
    room.say(`round ${round}: bare ${one.rate.toFixed(0)} MiB/s at ${one.cost.toFixed(0)} µs CPU a MiB; to() ${other.rate.toFixed(0)} at ${other.cost.toFixed(0)}; × bare ${(other.rate / one.rate).toFixed(2)}`)
  }
  room.atLeast('bytes/s, × bare socket', median(rates), 0.5)
  room.note('CPU a byte, both ends, × bare socket', median(costs))
}

/** @param line  the processes that the stream passes through: the first one sends, the last one reads */
async function memory(room: Room, what: string, line: readonly Process[], to: string, size: number, pace?: Pace): Promise<void> {
  const [near, far] = [line[0] as Process, line.at(-1) as Process]
  await far.ask('expect')
  for (const one of line) await one.ask('watch')
  const [from, { bytes, at }] = await Promise.all([near.ask('send', to, size), far.ask('check', pace)])
  room.same(`${what}: bytes that are those sent`, bytes, size)
  for (const one of line) {
    const { rss, used } = await one.ask('grown')
    const who = one === near ? 'sender' : one === far ? 'receiver' : 'relay'
    room.atMost(`${what}: memory of the ${who}, rss`, rss / MIB, GROWTH_BYTES / MIB, 'MiB more')
    room.atMost(`${what}: memory of the ${who}, used after gc`, used / MIB, GROWTH_BYTES / MIB, 'MiB more')
  }
  room.note(`${what}: rate`, size / MIB / (at - from) * 1000, 'MiB/s')
}

/** The same with files, compared by `cmp`. */
async function files(room: Room, near: Process, far: Process): Promise<void> {
  const [from, to] = [join(room.place, 'from'), join(room.place, 'to')]
  const file = openSync(from, 'w')
  for (let i = 0; i < (room.quick ? 32 : 256); i++) writeSync(file, randomFillSync(Buffer.allocUnsafe(MIB + i)))
  closeSync(file)
  await far.ask('expect')
  await Promise.all([near.ask('sendFile', 'far', from), far.ask('store', to)])
  const told = await promisify(execFile)('cmp', [from, to]).then(() => 'equal', (error: { stdout?: string }) => error.stdout ?? 'cmp failed')
  room.same('a file of chance, as cmp says', told, 'equal')
}
