/**
 * The contract of a good stream, as tests; the suites of interfaces and wrappers run these tests on their streams.
 *
 * The suite writes Buffers of at most 16 KiB. In object mode each Buffer must arrive as one message.
 */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { Duplex, Readable, Writable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import pump from 'pump'
import { systemClock } from '../../src/clock.js'
import { systemRandom } from '../../src/random.js'
import type { Assertions, Test } from './test.js'

/** The two ends of one stream. */
export interface Ends {
  /** One end. */
  near: Duplex
  /** The other end. */
  far: Duplex
}
/** Makes two joined ends of a stream, for one test. */
export type MakeEnds = (t: Assertions) => Promise<Ends>

/** Options of the suite. */
export interface StreamSuiteOptions {
  /** Prefix of the titles; default `stream`. */
  name?: string
  /** One write is one message. */
  objectMode?: boolean
  /** The stream comes from another library than Node and need not be an instance of Node's classes. */
  foreign?: boolean
  /** Maximum bytes in flight while nobody reads, including kernel buffers; default 32 MiB. */
  maxBytes?: number
}

const CHUNK = 16 * 1024
const MIB = 1024 * 1024
/** After this time without a `drain`, the suite assumes that none will come. */
const QUIET_MS = 300

/** Records the events of a stream, in order, and its error. */
export class Told {
  /** Names of the events so far. */
  readonly events: string[] = []
  /** The error of the stream, if it has failed. */
  error: Error | undefined
  /** Resolves with the event `close`. */
  readonly closed: Promise<void>

  constructor(stream: Duplex) {
    stream.on('error', (error) => { this.error = error; this.events.push('error') })
    for (const event of ['end', 'finish']) stream.on(event, () => this.events.push(event))
    this.closed = new Promise((resolve) => stream.on('close', () => { this.events.push('close'); resolve() }))
  }

  /** Asserts that the stream failed, did not look complete, and emitted `close` once and last. */
  async failed(t: Assertions): Promise<void> {
    await this.closed
    await turn()
    t.truthy(this.error, 'an error was expected')
    t.deepEqual(this.events.filter((event) => event !== 'finish'), ['error', 'close'])
  }

  /** Asserts that the stream ended in both directions, and emitted `close` once and last. */
  async parted(t: Assertions): Promise<void> {
    await this.closed
    await turn()
    t.is(this.error, undefined)
    t.deepEqual([...this.events].sort(), ['close', 'end', 'finish'])
    t.is(this.events.at(-1), 'close')
  }
}

/** Waits one turn of the event loop, in which any late event would be emitted. */
export const turn = (): Promise<unknown> => new Promise((resolve) => setImmediate(resolve))

/** Reads everything up to the end. */
export async function readAll(stream: Duplex): Promise<Buffer[]> {
  const chunks: Buffer[] = []
  for await (const chunk of stream) chunks.push(chunk as Buffer)
  return chunks
}

const sum = (chunks: readonly Buffer[]): string => chunks.reduce((hash, chunk) => hash.update(chunk), createHash('sha256')).digest('hex')

/** `count` chunks of all sizes, each different. */
const chunksOf = (count: number): Buffer[] => Array.from({ length: count }, (_, i) => systemRandom.bytes(1 + ((i * 7919) % CHUNK)))

/** Writes until the stream accepts no more; returns the bytes written, or Infinity beyond `maxBytes`. */
async function fill(stream: Duplex, maxBytes: number): Promise<number> {
  const chunk = Buffer.alloc(CHUNK, 'x')
  for (let sent = chunk.length; sent <= maxBytes; sent += chunk.length) {
    if (!stream.write(chunk) && !(await drained(stream))) return sent
  }
  return Infinity
}

function drained(stream: Duplex): Promise<boolean> {
  return new Promise((resolve) => {
    const yes = () => { timer.cancel(); resolve(true) }
    const timer = systemClock.setTimeout(() => { stream.off('drain', yes); resolve(false) }, QUIET_MS, true)
    stream.once('drain', yes)
  })
}

/** Common ways to read a stream to its end without ending one's own direction. */
const readers: Readonly<Record<string, (stream: Duplex) => Promise<string>>> = {
  'for await': async (stream) => Buffer.concat(await readAll(stream)).toString(),
  'stream/consumers': (stream) => text(stream),
  'map and toArray': async (stream) => (await stream.map((chunk: Buffer) => String(chunk)).toArray()).join(''),
  'a pipeline into a function': async (stream) => {
    let got = ''
    await pipeline(stream, async (chunks: AsyncIterable<Buffer>) => { for await (const chunk of chunks) got += String(chunk) })
    return got
  },
}

/** Common ways to consume a stream; each resolves when the stream looks complete and rejects when it does not. */
const ways: Readonly<Record<string, (from: Duplex, to: Writable) => Promise<unknown>>> = {
  pump: (from, to) => new Promise((resolve, reject) => pump(from, to, (error) => { if (error) reject(error); else resolve(undefined) })),
  'stream.pipeline': (from, to) => pipeline(from, to),
  'async iteration': async (from, to) => {
    for await (const chunk of from) if (!to.write(chunk)) await once(to, 'drain')
    to.end()
  },
}

/** What a good Duplex does, as tests: backpressure, ends, errors and closing, in both directions. */
export function streamSuite(test: Test, makeEnds: MakeEnds, options: StreamSuiteOptions = {}): void {
  const { name = 'stream', objectMode = false, foreign = false, maxBytes = 32 * MIB } = options
  const check = (title: string, run: (t: Assertions, ends: Ends) => Promise<void>) =>
    test(`${name}: ${title}`, async (t) => {
      t.timeout(30_000)
      const ends = await makeEnds(t)
      for (const end of [ends.near, ends.far]) {
        end.on('error', () => {})
        t.teardown(() => { end.destroy() })
      }
      await run(t, ends)
    })
  const same = (t: Assertions, got: readonly Buffer[], sent: readonly Buffer[]) => {
    if (objectMode) t.deepEqual(got.map((one) => one.length), sent.map((one) => one.length))
    t.is(sum(got), sum(sent))
  }
  /** A sink that stores chunks, but none before `gate`. */
  const store = (gate: Promise<unknown> = Promise.resolve()) => {
    const chunks: Buffer[] = []
    const sink = new Writable({ objectMode, write: (chunk: Buffer, _encoding, done) => void gate.then(() => { chunks.push(chunk); done() }) })
    return { chunks, sink }
  }

  check('P13: carries both ways at once, in order', async (t, { near, far }) => {
    const [out, back] = [chunksOf(300), chunksOf(200)]
    const arrived = Promise.all([readAllOpen(far), readAllOpen(near)])
    await Promise.all([pipeline(Readable.from(out), near, { end: false }), pipeline(Readable.from(back), far, { end: false })])
    near.end()
    far.end()
    const [there, here] = await arrived
    same(t, there, out)
    same(t, here, back)
  })

  check('carries 16 MiB unchanged', async (t, { near, far }) => {
    const sent = Array.from({ length: 16 * MIB / CHUNK }, () => systemRandom.bytes(CHUNK))
    const [got] = await Promise.all([readAll(far), pipeline(Readable.from(sent), near)])
    same(t, got, sent)
  })

  check('the writer may reuse a chunk after its callback', async (t, { near, far }) => {
    const chunk = Buffer.alloc(64)
    const got = readAll(far)
    for (let i = 0; i < 100; i++) await new Promise((resolve) => near.write(chunk.fill(i), resolve))
    near.end()
    same(t, await got, Array.from({ length: 100 }, (_, i) => Buffer.alloc(64, i)))
  })

  check('P13: pressure reaches the writer, and is let go', async (t, { near, far }) => {
    // the reader begins and then stops, because a stream without any reader may buffer less
    near.write(Buffer.alloc(CHUNK))
    await once(far, 'readable')
    const first = far.read() as Buffer
    const sent = await fill(near, maxBytes)
    t.true(sent < Infinity, `${maxBytes} bytes were taken with nobody reading`)
    t.true(near.writableLength > 0)
    near.end()
    const got = await readAll(far)
    t.is(got.reduce((size, one) => size + one.length, first.length), CHUNK + sent)
  })

  check('P27: each direction ends by itself', async (t, { near, far }) => {
    const told = [new Told(near), new Told(far)] as const
    near.end(Buffer.from('question'))
    t.is(Buffer.concat(await readAllOpen(far)).toString(), 'question')
    far.end(Buffer.from('answer'))
    t.is(Buffer.concat(await readAllOpen(near)).toString(), 'answer')
    for (const one of told) await one.parted(t)
  })

  check('P27: the other direction goes on for as long as it likes when one has ended', async (t, { near, far }) => {
    near.end(Buffer.from('question'))
    await readAllOpen(far)
    const sent = chunksOf(100)
    const arrived = readAllOpen(near)
    for (const chunk of sent) if (!far.write(chunk)) await once(far, 'drain')
    far.end()
    same(t, await arrived, sent)
  })

  for (const [way, readUp] of Object.entries(readers)) {
    check(`${way} reaches the end while our own direction is open`, async (t, { near, far }) => {
      near.write(Buffer.from('question'))
      await once(far, 'readable')
      far.end(Buffer.from('answer'))
      t.is(await readUp(near), 'answer')
    })
  }

  if (!foreign) {
    check("P27: it is a stream of Node's, before, while and after it is used", async (t, { near, far }) => {
      t.true(near instanceof Duplex && near instanceof Readable && near instanceof Writable)
      const state = (): Partial<Duplex> => {
        const { readable, writable, readableEnded, writableFinished, writableEnded, writableNeedDrain, readableAborted, destroyed, closed, errored } = near
        return { readable, writable, readableEnded, writableFinished, writableEnded, writableNeedDrain, readableAborted, destroyed, closed, errored }
      }
      const open = { readable: true, writable: true, readableEnded: false, writableFinished: false, writableEnded: false, writableNeedDrain: false, readableAborted: false, destroyed: false, closed: false, errored: null }
      t.deepEqual(state(), open)
      near.write(Buffer.from('question'))
      await once(far, 'readable')
      t.deepEqual(state(), open)
      const told = new Told(near)
      far.resume()
      far.end(Buffer.from('answer'))
      near.end()
      t.is(Buffer.concat(await readAllOpen(near)).toString(), 'answer')
      await told.parted(t)
      t.deepEqual(state(), { readable: false, writable: false, readableEnded: true, writableFinished: true, writableEnded: true, writableNeedDrain: false, readableAborted: false, destroyed: true, closed: true, errored: null })
    })
  }

  check('destroy(error) fails both ends', async (t, { near, far }) => {
    const told = { near: new Told(near), far: new Told(far) }
    const error = new Error('on purpose')
    far.resume()
    near.resume().destroy(error)
    await told.near.failed(t)
    await told.far.failed(t)
    t.is(told.near.error, error)
  })

  check('a waiting writer learns that the other end was destroyed', async (t, { near, far }) => {
    const told = new Told(near)
    await fill(near, maxBytes)
    far.destroy(new Error('on purpose'))
    await told.failed(t)
  })

  for (const [way, take] of Object.entries(ways)) {
    check(`P13: what was sent is complete with ${way}`, async (t, { near, far }) => {
      const { chunks, sink } = store()
      const sent = chunksOf(100)
      const finished = once(sink, 'finish')
      await Promise.all([take(far, sink), take(Readable.from(sent) as Duplex, near), finished])
      same(t, chunks, sent)
    })

    for (const late of [false, true]) {
      check(`P13: broken off half-way never looks complete with ${way}${late ? ', by a reader behind' : ''}`, async (t, { near, far }) => {
        let open = () => {}
        const { sink } = store(late ? new Promise<void>((resolve) => { open = resolve }) : undefined)
        let complete = false
        sink.on('finish', () => { complete = true }).on('error', () => {})
        const taken = take(far, sink).then(() => { complete = true }, () => {})
        if (late) await fill(near, maxBytes)
        else await new Promise((resolve) => near.write(Buffer.alloc(CHUNK), resolve))
        const told = new Told(near)
        near.destroy(new Error('on purpose'))
        await told.closed
        open()
        await taken
        await turn()
        t.false(complete)
      })
    }
  }
}

/** Reads everything up to the end without closing the other direction, which `for await` would do. */
export async function readAllOpen(stream: Duplex): Promise<Buffer[]> {
  const chunks: Buffer[] = []
  stream.on('data', (chunk: Buffer) => chunks.push(chunk))
  await once(stream, 'end')
  return chunks
}
