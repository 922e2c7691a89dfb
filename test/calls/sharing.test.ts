/** Many things on one link at once: P13 and P14, and what none of them may do to the others. */
import { once } from 'node:events'
import { Readable, type Duplex } from 'node:stream'
import test from 'ava'
import { StageError, type Stage } from '../../src/index.js'
import { advance, virtualMesh } from '../helpers/mesh.js'
import { MIB } from '../helpers/mallory.js'
import { nothingUnhandled } from '../helpers/unhandled.js'
import { settle } from '../helpers/virtual-clock.js'

nothingUnhandled(test)

/** Two stages, linked; the streams that `b` gets are kept unread. */
async function two(t: Parameters<typeof virtualMesh>[0], latencyMs = 1) {
  const mesh = virtualMesh(t, { latencyMs })
  const [a, b] = [mesh.stage('a'), mesh.stage('b')] as const
  const streams: Duplex[] = []
  b.on('stream', (stream) => { streams.push(stream.on('error', () => {})) })
  for (const one of [a, b]) one.to('*').provide('echo', (value: unknown) => value)
  await advance(mesh.clock, a.to('b').call('echo'))
  return { ...mesh, a, b, streams }
}

/** Writes as long as it is let. @returns how much it wrote so far */
function pour(stream: Duplex, size = 64 * 1024): () => number {
  let sent = 0
  const more = (): void => { do sent += size; while (stream.write(Buffer.alloc(size))) }
  stream.on('drain', more).on('error', () => {})
  more()
  return () => sent
}
const MIB4 = 4 * 1024 * 1024 - 64

const large: [title: string, begin: (a: Stage, b: Stage) => Promise<unknown>][] = [
  ['an answer of 4 MiB', (a) => a.to('b').call('make')],
  ['an argument of 4 MiB in the other direction', (_, b) => b.to('a').call('echo', Buffer.alloc(MIB4))],
  ['a stream of 8 MiB', (a) => once(a.to('b').end(Buffer.alloc(8 * MIB)), 'finish')],
  ['a stream of 8 MiB in the other direction', (_, b) => once(b.to('a').end(Buffer.alloc(8 * MIB)), 'finish')],
  ['a result that is a stream of 8 MiB', async (a) => { for await (const _ of await a.to('b').call<Readable>('bytes')) void _ }],
]

for (const [title, begin] of large) {
  test(`P14: small calls are answered while ${title} is under way`, async (t) => {
    const { clock, a, b } = await two(t, 2)
    for (const one of [a, b]) one.on('stream', (stream) => { stream.resume() })
    b.to('*').provide('make', () => Buffer.alloc(MIB4))
    b.to('*').provide('bytes', () => Readable.from([Buffer.alloc(8 * MIB)], { objectMode: false }))
    let through = false
    const whole = begin(a, b).then(() => { through = true })
    const took: number[] = []
    for (let i = 0; i < 10; i++) {
      const from = clock.now()
      t.is(await advance(clock, a.to('b').call('echo', i), 1000, 1), i)
      took.push(clock.now() - from)
    }
    t.true(Math.max(...took) <= 40, took.join())
    t.false(through, 'or it was not large')
    await advance(clock, whole)
  })
}

test('a getter in arguments may end a stream and a call of the same link, and the peer hears of it', async (t) => {
  const { clock, a, b, streams } = await two(t)
  const stream = a.to('b')
  stream.on('error', () => {}).write('x')
  await clock.advance(100)
  let cancelled = 0
  b.to('*').provide('never', function () { this.signal.addEventListener('abort', () => { cancelled++ }); return new Promise(() => {}) })
  const aborting = new AbortController()
  const call = t.throwsAsync(a.to('b', { signal: aborting.signal }).call('never', Readable.from(['x'])), { code: 'CANCELLED' })
  await clock.advance(100)
  const value = { get x() { stream.destroy(); aborting.abort(); return 1 } }
  t.deepEqual(await advance(clock, a.to('b').call('echo', value)), { x: 1 })
  await call
  await clock.advance(100)
  t.is(cancelled, 1)
  t.true(streams[0].destroyed, 'or its reader waits for ever')
  t.deepEqual([a.stats()['streams'], b.stats()['streams'], b.stats()['serving']], [0, 0, 1])
})

test('a stream that a getter in arguments begins fails, and takes no place', async (t) => {
  const { clock, a } = await two(t)
  const opened: Duplex[] = []
  const value = { get x() { const stream = a.to('b').on('error', () => {}); stream.write('x'); opened.push(stream); return 1 } }
  t.deepEqual(await advance(clock, a.to('b').call('echo', value)), { x: 1 })
  await clock.advance(100)
  t.true(opened.length > 0 && opened.every((one) => one.destroyed))
  t.is(a.stats()['streams'], 0)
})

test('what a handler throws may hold a stream, whatever else is on its way', async (t) => {
  const { clock, a, b } = await two(t, 2)
  b.to('*').provide('fail', () => { throw { status: 500, body: Readable.from(['why']) } })
  const large = Array.from({ length: 2 }, () => b.to('a').call<Buffer>('echo', Buffer.alloc(MIB4))) // the second has a lower id, and goes later
  const error = await t.throwsAsync(advance(clock, a.to('b').call('fail'), 1000, 1), { instanceOf: StageError })
  t.is(error.code, 'REMOTE_ERROR')
  const { body } = error.cause as { body: Readable }
  t.deepEqual(await advance(clock, body.toArray()), ['why'])
  for (const { length } of await advance(clock, Promise.all(large))) t.is(length, MIB4)
  t.is(a.links().length, 1)
})

test('P13: a stream that nobody reads holds up its writer, and nobody else', async (t) => {
  const { clock, a, streams } = await two(t)
  const stopped = pour(a.to('b'))
  await clock.advance(500)
  t.true(stopped() <= 512 * 1024, `${stopped()}`)
  const fast = pour(a.to('b'))
  await clock.advance(50)
  streams[1].resume()
  const before = stopped()
  await clock.advance(500)
  t.true(fast() > 8 * MIB, `${fast()}`)
  t.is(stopped(), before)
  t.is(await advance(clock, a.to('b').call('echo', 1)), 1)
  streams[0].resume()
  await clock.advance(500)
  t.true(stopped() > 4 * MIB, `${stopped()}: and it goes on when it is read`)
})

const readers: [title: string, read: (stream: Duplex, take: (chunk: Buffer) => Promise<void>) => void][] = [
  ['iterates', async (stream, take) => { for await (const chunk of stream) await take(chunk as Buffer) }],
  ['pauses at each chunk', (stream, take) => { stream.on('data', (chunk: Buffer) => { stream.pause(); void take(chunk).then(() => stream.resume()) }) }],
  ['reads once each time it is told to', (stream, take) => { stream.on('readable', () => { const chunk = stream.read() as Buffer | null; if (chunk) void take(chunk) }) }],
  ['waits for so many bytes at once', (stream, take) => { stream.on('readable', () => { for (let chunk; (chunk = stream.read(3000) as Buffer | null);) void take(chunk) }) }],
  ['waits for a few bytes at once', (stream, take) => { stream.on('readable', () => { for (let chunk; (chunk = stream.read(7) as Buffer | null);) void take(chunk) }) }],
]

for (const [title, read] of readers) {
  test(`P13: small and large writes arrive in order where the reader is slow and ${title}`, async (t) => {
    const { clock, a, streams } = await two(t)
    const stream = a.to('b')
    const sent: Buffer[] = []
    const got: Buffer[] = []
    stream.write('x')
    await clock.advance(20)
    read(streams[0], async (chunk) => { got.push(chunk); if (got.length % 3 === 0) await new Promise<void>((resolve) => { clock.setTimeout(resolve, 2) }) })
    for (let i = 0; i < 600; i++) {
      const chunk = Buffer.alloc(i % 50 === 49 ? 20_000 : 1 + (i * 7919) % 300, i % 251)
      sent.push(chunk)
      stream.write(chunk)
      if (i % 7 === 0) await clock.advance(1)
    }
    const all = Buffer.concat([Buffer.from('x'), ...sent])
    await clock.advance(5000)
    stream.end() // what comes behind it is not what brings the last bytes
    const before = Buffer.concat(got).length
    t.true(all.length - before < 3000, `${before} of ${all.length}`)
    await clock.advance(1000)
    t.true(Buffer.concat(got).equals(all))
  })
}

test('P13: a reader that waits for more bytes than came gets them, however few come at a time', async (t) => {
  const { clock, a, streams } = await two(t)
  const stream = a.to('b')
  const got: string[] = []
  for (let i = 0; i < 25; i++) {
    stream.write(String(i % 10))
    await clock.advance(10)
    if (i === 0) streams[0].on('readable', () => { for (let chunk; (chunk = streams[0].read(10) as Buffer | null);) got.push(String(chunk)) })
  }
  t.deepEqual(got, ['0123456789', '0123456789'])
  stream.end()
  await clock.advance(50)
  t.deepEqual(got, ['0123456789', '0123456789', '01234'])
})

test('P13: streams that nobody reads use up the credit of the link, and the next one goes on', async (t) => {
  const { clock, a, b, streams } = await two(t)
  const stopped = Array.from({ length: 32 }, () => pour(a.to('b')))
  await clock.advance(1000)
  t.is(streams.length, 32)
  t.true(Number(b.stats()['unreadBytes']) <= 4 * MIB + 34 * 4096, `${b.stats()['unreadBytes']}`)
  const next = pour(a.to('b'))
  await clock.advance(100)
  streams[32].resume()
  await clock.advance(2000)
  t.true(next() > MIB, `${next()}`)
  t.deepEqual(a.links().length, 1)
  for (const one of streams) one.resume()
  await clock.advance(1000)
  for (const sent of stopped) t.true(sent() > 512 * 1024)
})

test('a thousand streams of a link all arrive whole, and one more is refused at once', async (t) => {
  const { clock, a, streams } = await two(t, 0)
  const all = Array.from({ length: 1000 }, () => a.to('b'))
  for (const one of all) one.on('error', () => {}).write('x')
  await clock.advance(100)
  t.is(streams.length, 1000)
  const more = a.to('b')
  const failed = once(more, 'error') as Promise<[StageError]>
  more.write('x')
  await clock.advance(100)
  const [error] = await failed
  t.is(error.code, 'OVERLOADED')
  const got = streams.map((one) => { let text = ''; one.on('data', (chunk: Buffer) => { text += String(chunk) }); return () => text })
  for (const one of all) one.end('y')
  await clock.advance(500)
  t.deepEqual(new Set(got.map((text) => text())), new Set(['xy']))
  t.is(a.stats()['streams'], 0)
})

test('values of exactly 4 MiB go both ways, as arguments and as answers, and one byte more does not', async (t) => {
  const { clock, a, b } = await two(t, 0)
  const most = Buffer.alloc(4 * MIB - 6) // with the heads of a list and of a Buffer
  for (const [from, to] of [[a, 'b'], [b, 'a']] as const) t.is((await advance(clock, from.to(to).call<Buffer>('echo', most))).length, most.length)
  const error = await t.throwsAsync<StageError>(advance(clock, a.to('b').call('echo', Buffer.alloc(4 * MIB - 5))), { instanceOf: StageError })
  t.is(`${error?.code} ${error?.executed}`, 'BAD_ARGUMENT no')
})

test('P12: above 16 MiB unsent calls and casts are refused before anything is sent, and go on when it is read', async (t) => {
  const { clock, network, a } = await two(t, 0)
  network.hold()
  const code = (promise: Promise<unknown>): Promise<string> => promise.then(() => 'done', ({ code: one, executed }: StageError) => `${one} ${executed}`)
  const calls = Array.from({ length: 40 }, () => code(a.to('b').call('echo', Buffer.alloc(MIB))))
  await settle()
  t.true(Number(a.stats()['heldBytes']) <= 17.5 * MIB, `${a.stats()['heldBytes']}`)
  t.is(await code(a.to('b').call('echo', 1)), 'OVERLOADED no')
  for (let i = 0; i < 100; i++) a.to('b').cast('echo', Buffer.alloc(MIB))
  t.true(Number(a.stats()['heldBytes']) <= 17.5 * MIB, 'casts are dropped')
  network.release()
  const ends = await advance(clock, Promise.all(calls))
  t.true(ends.filter((end) => end === 'done').length >= 16)
  t.deepEqual(new Set(ends), new Set(['done', 'OVERLOADED no']))
  t.is(await code(advance(clock, a.to('b').call('echo', 1))), 'done')
})

test('P12: casts to a peer that does not answer wait for a link up to 16 MiB, those above are dropped, and others get theirs', async (t) => {
  const { clock, network, stage } = virtualMesh(t)
  const [a, b, c] = [stage('a'), stage('b'), stage('c')] as const
  const got: number[] = []
  b.to('*').provide('note', (n: number) => { got.push(n) })
  c.to('*').provide('echo', (value: unknown) => value)
  await advance(clock, Promise.all([a.ready(), b.ready(), c.ready()]))
  await advance(clock, a.to('c').call('echo', 1))
  network.hold()
  const held = (): number => Number(a.stats()['heldBytes'])
  for (let n = 0; n < 40; n++) a.to('b').cast('note', n, Buffer.alloc(MIB / 2))
  t.true(held() > 16 * MIB && held() < 17.5 * MIB, `${held()}`)
  await clock.advance(11_000)
  t.is(held(), 0, 'and not longer than their deadline')
  for (let n = 0; n < 12_500; n++) a.to('b').cast('note', n)
  t.true(held() > 16 * MIB && held() < 17.5 * MIB, `${held()}: small ones weigh what keeping them costs`)
  network.release()
  t.is(await advance(clock, a.to('c').call('echo', 1)), 1)
  await clock.advance(20_000)
  t.is(held(), 0)
  t.true(got.length > 1000)
  t.deepEqual(got, Array.from(got, (_, i) => i))
  a.to('b').cast('note', got.length)
  await clock.advance(100)
  t.is(got.at(-1), got.length - 1)
})

test('P12: casts wait for a registry that does not answer up to 16 MiB', async (t) => {
  const { clock, stage, cutOff } = virtualMesh(t)
  const a = stage('a')
  cutOff(a, true)
  for (let n = 0; n < 40; n++) a.to('b').cast('note', Buffer.alloc(MIB / 2))
  const held = Number(a.stats()['heldBytes'])
  t.true(held > 16 * MIB && held < 17.5 * MIB, `${held}`)
  await clock.advance(11_000)
  t.is(a.stats()['heldBytes'], 0)
})

