/** Framing: the suite of wrappers, and its frames. */
import { once } from 'node:events'
import { Duplex } from 'node:stream'
import test from 'ava'
import { StageError } from '../../src/index.js'
import { pair } from '../../src/pair.js'
import { Framed, frame } from '../../wrappers/framing.js'
import { VirtualClock, lateClock } from '../helpers/virtual-clock.js'
import { wrapperSuite } from '../suites/wrapper.js'

wrapperSuite(test, () => function framing(stream) { return frame(stream) }, { name: 'framing' })

const two = (): [Framed, Framed, ReturnType<typeof pair>] => {
  const [a, b] = pair()
  return [frame(a), frame(b), [a, b]]
}

test('each write is a frame, each frame a chunk', async (t) => {
  const [a, b] = two()
  for (const text of ['one', '', 'three']) a.write(text)
  a.end()
  const got: string[] = []
  for await (const chunk of b) got.push(String(chunk))
  t.deepEqual(got, ['one', '', 'three'])
})

test('all frames of one tick go as one chunk', async (t) => {
  const [inner, far] = pair()
  const a = frame(inner)
  const chunks: Buffer[] = []
  far.on('data', (chunk: Buffer) => chunks.push(chunk))
  for (let i = 0; i < 100; i++) a.frame(Buffer.from(`frame ${i}`))
  await once(far, 'data')
  t.is(chunks.length, 1)
})

test('frames that come byte by byte are put together', async (t) => {
  const [inner, far] = pair()
  const a = frame(inner)
  const got: string[] = []
  a.on('data', (chunk: Buffer) => got.push(String(chunk)))
  const bytes = Buffer.concat(['first', 'second'].map((text) => Buffer.concat([Buffer.from([0, 0, 0, text.length]), Buffer.from(text)])))
  for (const byte of bytes) {
    far.write(Buffer.from([byte]))
    await new Promise((resolve) => setImmediate(resolve))
  }
  t.deepEqual(got, ['first', 'second'])
})

test('a frame that lies in several chunks is handed on in memory of its own, as large as itself; one in the midst of a chunk is not', async (t) => {
  const framed = (text: string): Buffer => Buffer.concat([Buffer.from([0, 0, 0, text.length]), Buffer.from(text)])
  const bytes = Buffer.concat(['before', 'between', '', 'behind'].map(framed))
  for (let cut = 1; cut < bytes.length; cut++) {
    const [inner, far] = pair()
    const a = frame(inner)
    const got: string[] = []
    a.onframe = (memory, start, end) => {
      const own = memory === a.joined
      if (own) t.deepEqual([start, end], [0, memory.buffer.byteLength])
      got.push(`${memory.toString('latin1', start, end)}${own ? '!' : ''}`)
    }
    for (const chunk of [bytes.subarray(0, cut), bytes.subarray(cut)]) {
      far.write(chunk)
      await new Promise((resolve) => setImmediate(resolve))
    }
    const within = (from: number, text: string): string => cut > from && cut < from + 4 + text.length ? `${text}!` : text
    t.deepEqual(got, [within(0, 'before'), within(10, 'between'), within(21, ''), within(25, 'behind')], `cut at ${cut}`)
    t.is(a.joined, undefined)
  }
})

test('what a stream below still says after a bad head has ended it harms nobody', async (t) => {
  const inner = new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() })
  const a = frame(inner)
  const failed = once(a, 'error')
  for (const byte of [9, 0, 0, 0, 1, 2, 3]) inner.emit('data', Buffer.from([byte]))
  t.like((await failed)[0], { code: 'PROTOCOL_ERROR' })
})

test('an end in mid-frame is an error, an end between frames a goodbye', async (t) => {
  for (const [bytes, clean] of [[[0, 0, 0, 2, 65, 66], true], [[0, 0, 0, 2, 65], false], [[0, 0], false]] as const) {
    const [inner, far] = pair()
    far.on('error', () => {})
    const a = frame(inner)
    const ended = new Promise((resolve) => a.once('end', () => resolve(true)).once('error', (error) => resolve(error)))
    a.resume()
    far.end(Buffer.from(bytes))
    const result = await ended
    if (clean) t.true(result)
    else t.is((result as StageError).code, 'DISCONNECTED')
  }
})

test('a frame over the limit and an unknown kind are refused before anything is held for them', async (t) => {
  for (const head of [[0, 0xff, 0xff, 0xff], [9, 0, 0, 0], [1, 0, 0, 1]]) {
    const [inner, far] = pair()
    const a = frame(inner)
    const failed = once(a, 'error')
    far.on('error', () => {})
    far.write(Buffer.from(head))
    const [error] = await failed as [StageError]
    t.is(error.code, 'PROTOCOL_ERROR')
  }
})

test('ping resolves with the answer, and rejects when the stream dies', async (t) => {
  const [a, b, [, inner]] = two()
  a.on('error', () => {})
  b.on('error', () => {})
  await a.ping()
  inner.pause()
  const dead = a.ping()
  a.destroy()
  await t.throwsAsync(dead, { instanceOf: StageError })
})

test('what is handed out is never written again, to a carrier that does not give it back', async (t) => {
  const [inner, far] = pair()
  const a = frame(inner)
  const chunks: Buffer[] = []
  far.on('data', (chunk: Buffer) => chunks.push(chunk)) // keeps them, as a layer in between may
  const sent: string[] = []
  for (let i = 0; i < 200; i++) {
    const text = `${i}`.repeat(1 + (i * 7) % 300)
    sent.push(text)
    a.frame(Buffer.from(text))
    if (i % 3 === 0) await new Promise((resolve) => setImmediate(resolve))
  }
  await new Promise((resolve) => setImmediate(resolve))
  const reader = frame(pair()[0])
  const got: string[] = []
  reader.onframe = (bytes, start, end) => got.push(bytes.toString('latin1', start, end))
  const [x, y] = pair()
  const back = frame(y)
  back.onframe = reader.onframe
  x.write(Buffer.concat(chunks))
  await new Promise((resolve) => setTimeout(resolve, 20))
  t.deepEqual(got, sent)
})

test('a carrier that gives back is handed the same memory again, but only after its callback', async (t) => {
  const taken: { chunk: Buffer; text: string; done: () => void }[] = []
  const carrier = Object.assign(new Duplex({ read() {}, write: (chunk: Buffer, _encoding, done) => { taken.push({ chunk, text: chunk.toString('latin1'), done }) } }), { givesBack: true })
  const a = frame(carrier)
  const memory = new Set<ArrayBufferLike>()
  for (let i = 0; i < 300; i++) {
    a.frame(Buffer.alloc(20_000, i))
    await new Promise((resolve) => setImmediate(resolve))
    while (i % 2 === 0 && taken.length > 0) {
      const { chunk, text, done } = taken.shift()!
      t.true(chunk.toString('latin1') === text, 'it was written to before it was given back')
      memory.add(chunk.buffer)
      done()
      await new Promise((resolve) => setImmediate(resolve))
    }
  }
  t.true(memory.size < 10, `${memory.size} pieces of memory`)
})

test('whoever takes the beginning of a frame gets the rest as it comes, and no end in the middle of it', async (t) => {
  const [inner, far] = pair()
  const a = frame(inner)
  const got: string[] = []
  a.onframe = (bytes, start, end) => got.push(bytes.toString('latin1', start, end))
  a.onpiece = (bytes, start, end) => got.push(`${bytes.toString('latin1', start, end)}…`) > 0
  a.onrest = (bytes, start, end) => got.push(`…${bytes.toString('latin1', start, end)}`)
  for (const chunk of ['\0\0\0\x03one\0\0', '\0\x06thr', 'e', 'e!\0\0\0\x04four\0\0\0\x04fi']) {
    far.write(Buffer.from(chunk, 'latin1'))
    await new Promise((resolve) => setImmediate(resolve))
  }
  t.deepEqual(got, ['one', 'three!', 'four', 'fi…'])
  far.on('error', () => {}).end()
  const [error] = await once(a, 'error') as [StageError]
  t.is(error.code, 'DISCONNECTED')
})

test('a carrier that takes nothing of what waits for 30 s is given up as SLOW_PEER, and one that takes a little is not', async (t) => {
  for (const takes of [false, true]) {
    const clock = new VirtualClock()
    const takers: (() => void)[] = []
    const carrier = new Duplex({ highWaterMark: 600_000, read() {}, write(_chunk, _encoding, done) { takers.push(done) } })
    const a = new Framed(carrier, {}, clock)
    for (let i = 0; i < 20; i++) a.frame(Buffer.alloc(60_000))
    await clock.advance(29_000)
    t.false(a.destroyed)
    if (takes) takers.shift()?.()
    await clock.advance(1500)
    t.is(a.destroyed, !takes)
    if (!takes) t.regex(`${(a.errored as StageError).code} ${a.errored?.message}`, /^SLOW_PEER the peer read none of the \d+ bytes sent to it for 30000 ms/)
    await clock.advance(30_000)
    t.is((a.errored as StageError | null)?.code, 'SLOW_PEER', 'and then nothing again')
    t.is(clock.pending, 0)
  }
})

test('a frame that is begun and not finished is given up on a loop that is late each time too', async (t) => {
  const clock = lateClock(() => 600)
  const [inner, far] = pair()
  const a = new Framed(inner, {}, clock)
  a.resume().on('error', () => {})
  far.on('error', () => {})
  far.write(Buffer.from([0, 0, 1, 0, 0]))
  await clock.advance(30_000)
  t.regex(String(a.errored?.message), /begun and not finished/)
})
