/** What is under way on one link: nothing is lost, mixed up or held without bound, however much of it there is. */
import { Readable, type Duplex } from 'node:stream'
import test from 'ava'
import type { StageError } from '../../src/index.js'
import { pair } from '../../src/pair.js'
import { msgpack } from '../../wrappers/codec.js'
import { systemClock } from '../../src/clock.js'
import { frame } from '../../wrappers/framing.js'
import { CALL, CREDIT, GOAWAY, RELEASE, RESET } from '../../wrappers/rpc/wire/messages.js'
import { Wire } from '../../wrappers/rpc/wire/wire.js'
import { advance, virtualMesh } from '../helpers/mesh.js'
import { settle } from '../helpers/virtual-clock.js'

const MIB = 1024 * 1024

/** A link on which nothing arrives until `network.release()`, and with so much under way that all else has to wait. */
async function crowded(t: Parameters<typeof virtualMesh>[0]) {
  const mesh = virtualMesh(t)
  const [a, b] = [mesh.stage('a'), mesh.stage('b')] as const
  for (const one of [a, b]) one.to('*').provide('size', (bytes: Buffer) => bytes.length)
  await advance(mesh.clock, a.to('b').call('size', Buffer.alloc(1)))
  const [{ id }] = a.links()
  mesh.network.hold()
  const large = [1, 2].map(() => a.to('b').call('size', Buffer.alloc(3 * MIB)))
  await settle()
  return { ...mesh, a, b, id, large }
}

const code = (promise: Promise<unknown>): Promise<string> => promise.then(() => 'none', (error: StageError) => `${error.code} ${error.executed}`)

test('a call that was cancelled before it was sent takes the streams in its arguments with it, and the link stands', async (t) => {
  const { clock, network, a, b, id, large } = await crowded(t)
  const controller = new AbortController()
  const source = Readable.from(['x'])
  const call = code(a.to('b', { signal: controller.signal }).call('size', { deep: source }))
  controller.abort()
  t.is(await call, 'CANCELLED no')
  network.release()
  t.deepEqual(await advance(clock, Promise.all(large)), [3 * MIB, 3 * MIB])
  t.is(await advance(clock, a.to('b').call('size', Buffer.alloc(2))), 2)
  t.deepEqual([a, b].map((one) => [one.links()[0]?.id, one.stats()['streams']]), [[id, 0], [id, 0]])
  t.true(source.destroyed)
})

test('a call that was cancelled with half of its arguments sent does so too', async (t) => {
  const { clock, network, stage } = virtualMesh(t)
  const [a, b] = [stage('a'), stage('b')] as const
  b.to('*').provide('size', (bytes: Buffer) => bytes.length)
  await advance(clock, a.to('b').call('size', Buffer.alloc(1)))
  const [{ id }] = a.links()
  network.hold()
  const controller = new AbortController()
  const source = Readable.from(['x'])
  const call = code(a.to('b', { signal: controller.signal }).call('size', Buffer.alloc(3 * MIB), { deep: source }))
  await settle()
  controller.abort()
  t.is(await call, 'CANCELLED unknown')
  network.release()
  t.is(await advance(clock, a.to('b').call('size', Buffer.alloc(2))), 2)
  t.deepEqual([a, b].map((one) => [one.links()[0]?.id, one.stats()['streams']]), [[id, 0], [id, 0]])
  t.true(source.destroyed)
})

test('five answers of 4 MiB at once arrive, and fifty are answered or refused', async (t) => {
  const { clock, stage } = virtualMesh(t, { latencyMs: 1 })
  const [a, b] = [stage('a'), stage('b')] as const
  let release = (): void => {}
  const gate = new Promise<void>((resolve) => { release = resolve })
  b.to('*').provide('large', async () => { await gate; return Buffer.alloc(4 * MIB - 64) })
  await advance(clock, Promise.all([a.ready(), b.ready()]))
  await clock.advance(100)
  const calls = Array.from({ length: 50 }, () => code(a.to('b').call('large')))
  await clock.advance(100)
  const [{ id }] = a.links()
  release()
  const ends = await advance(clock, Promise.all(calls))
  t.deepEqual([...new Set(ends)].sort(), ['OVERLOADED yes', 'none'])
  t.true(ends.filter((end) => end === 'none').length >= 4)
  t.is(a.links()[0]?.id, id)
})

test('answers of 4 MiB one behind the other never become too much for the other end', async (t) => {
  const { clock, stage } = virtualMesh(t, { latencyMs: 1 })
  const [a, b] = [stage('a'), stage('b')] as const
  b.to('*').provide('large', async () => { await null; return Buffer.alloc(4 * MIB - 64) })
  await advance(clock, Promise.all([a.ready(), b.ready()]))
  await clock.advance(100)
  let answered = 0
  const lane = async (): Promise<void> => { for (let i = 0; i < 6; i++) if (await code(a.to('b').call('large')) === 'none') answered++ }
  const lanes = Promise.all(Array.from({ length: 8 }, lane))
  await advance(clock, lanes)
  t.true(answered >= 20, `${answered}`)
  t.is(a.links().length, 1)
})

test('numbers that are no ids push no call of the same number out of the queue, nor each other', async (t) => {
  const [inner, far] = pair()
  const got: string[] = []
  const other = frame(far)
  const wire = new Wire(frame(inner), msgpack(), { give: () => 0, take: () => undefined }, systemClock, true)
  for (let i = 0; i < 30; i++) {
    const id = wire.newId()
    wire.finish(id, wire.begin(CALL, id), Buffer.alloc(60_000), true)
  }
  t.true(wire.awaits(51, () => {}), 'or it is not crowded at all')
  const waiting = Array.from({ length: 30 }, (_, i) => 2 * i + 1).find((id) => wire.awaits(id, () => {}))
  for (const id of [51, 51, 1]) wire.order(RELEASE, id, 1)
  wire.order(GOAWAY, 51)
  for (let i = 0; i < 4000; i++) wire.signal(CREDIT, 1, 1) // until nothing goes at once that could wait
  wire.reset(1, { code: 'CANCELLED', message: '', executed: 'no' })
  other.onframe = (bytes, start) => { if (bytes[start] !== CREDIT) got.push(`${bytes[start]} ${bytes.readUInt32BE(start + 1)}`) }
  other.resume()
  for (let i = 0; i < 500 && wire.held > 0; i++) { await settle(); wire.scheduler.pump() }
  t.true(got.indexOf(`${RESET} 1`) < got.indexOf(`${CALL} ${waiting}`), 'what makes room for others comes before them')
  t.deepEqual(got.filter((one) => one !== `${RESET} 1`), [...Array.from({ length: 30 }, (_, i) => `${CALL} ${2 * i + 1}`), `${RELEASE} 51`, `${RELEASE} 51`, `${RELEASE} 1`, `${GOAWAY} 51`])
})

test('a peer that asks for a little of everything is answered in any case, and in order where there is one', async (t) => {
  const { clock, network, a, b, id, large } = await crowded(t)
  const order: number[] = []
  b.to('*').provide('note', (n: number) => { order.push(n) })
  const sizes = [10, 5 * MIB / 2, 100_000, 0, 70_000, MIB, 1]
  const calls = sizes.map((size, n) => a.to('b', { timeoutMs: 60_000 }).call('note', n, Buffer.alloc(size)))
  a.to('b').cast('note', 7, Buffer.alloc(200_000))
  calls.push(a.to('b').call('note', 8, Readable.from([])), a.to('b').call('note', 9))
  await settle()
  network.release()
  await advance(clock, Promise.all([...large, ...calls]))
  t.deepEqual(order, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
  t.is(a.links()[0]?.id, id)
})

for (const [title, end, expected] of [
  ['it is destroyed', ({ stream }) => stream.destroy(), 'CANCELLED'],
  ['it is destroyed with an error', ({ stream }) => stream.destroy(new TypeError('mine')), 'mine'],
  ['its peer gives it up', ({ far }) => far.destroy(new Error('enough')), 'CANCELLED'],
  ['its link is cut', ({ network }) => { network.cut() }, 'DISCONNECTED'],
] as [string, (scene: { stream: Duplex; far: Duplex; network: { cut(): void } }) => void, string][]) {
  test(`whoever waits for a write or the end of a stream is told when ${title}`, async (t) => {
    const { clock, network, stage } = virtualMesh(t)
    const [a, b] = [stage('a'), stage('b')] as const
    const came: Duplex[] = []
    b.on('stream', (far) => { came.push(far.on('error', () => {})) })
    await advance(clock, Promise.all([a.ready(), b.ready()]))
    await clock.advance(100)
    const told: string[] = []
    const tell = (name: string) => (error?: Error | null): void => { told.push(`${name} ${(error as StageError | undefined)?.code ?? error?.message ?? 'done'}`) }
    for (const size of [MIB, 10]) {
      const stream = await advance(clock, new Promise<Duplex>((resolve, reject) => { a.to('b', (error, one) => { if (error) reject(error); else resolve(one) }) }))
      stream.on('error', () => {})
      stream.write(Buffer.alloc(size), tell('first'))
      stream.write('x', tell('second'))
      stream.end('y', tell('end'))
      await clock.advance(100)
      end({ stream, far: came.at(-1) as Duplex, network })
      await clock.advance(100)
      if (size === MIB) t.deepEqual(told.splice(0), ['first', 'second', 'end'].map((name) => `${name} ${expected}`))
      else t.deepEqual(told.map((one) => one.replace(/ERR_STREAM_DESTROYED/, expected)), ['first done', 'second done', `end ${expected}`]) // Node may be first with an end
    }
  })
}
