/** Peers that keep to the form and not to the measure: too much, too slowly, in the wrong moment, or never. */
import test from 'ava'
import type { Clock, Peer, Stage, StageError } from '../../src/index.js'
import { Raw, tcpMesh, u32 } from '../helpers/raw-peer.js'
import { nothingUnhandled } from '../helpers/unhandled.js'
import { until } from '../helpers/until.js'
import { VirtualClock } from '../helpers/virtual-clock.js'

nothingUnhandled(test)

const CALL = 1, RESULT = 4, ERROR = 5, CANCEL = 6, RELEASE = 7, METHODS = 8, GOAWAY = 9
const OPEN = 10, DATA = 11, END = 12, RESET = 13, PART = 15, START = 17
const MIB = 1024 * 1024

/** A stage, a raw peer that dialled it, a second stage that wants to be served meanwhile, and how mallory's links ended. */
async function scene<C extends Clock>(t: Parameters<typeof tcpMesh>[0], clock?: C) {
  const mesh = tcpMesh(t, clock)
  const api = await mesh.stage('api')
  const web = await mesh.stage('web')
  api.to('*').provide('greet', () => 'hi')
  const ends: (StageError | undefined)[] = []
  api.on('unlink', (peer: Peer, error) => { if (peer.name === 'mallory') ends.push(error) })
  const raw = await Raw.join(t, api.address)
  await until(() => raw.got(METHODS).length === 1)
  mesh.list({ id: raw.id, addresses: [] })
  await until(() => api.lookup('mallory').length === 1)
  return { mesh, api, web, raw, ends }
}

const served = async (web: Stage): Promise<boolean> => await web.to('api').call('greet') === 'hi'
/** msgpack: a list of one Buffer. */
const bin = (size: number): Buffer => Buffer.concat([Buffer.from([0x91, 0xc6]), u32(size), Buffer.alloc(size)])

test('a release between the parts of an answer, of the same number', async (t) => {
  const { api, raw, ends } = await scene(t)
  const call = api.to('mallory').call('f')
  await until(() => raw.got(CALL).length === 1)
  const [{ id }] = raw.got(CALL)
  raw.message(PART, id, [0xc4, 4])
  raw.message(RELEASE, id, u32(1))
  raw.message(PART, id, [1, 2])
  raw.message(RESULT, id, [3, 4])
  t.deepEqual(await call, Buffer.from([1, 2, 3, 4]))
  t.deepEqual(ends, [])
})

test('data on the stream of the link between the parts of a cast', async (t) => {
  const { api, raw, ends } = await scene(t)
  const got: unknown[] = []
  api.to('*').provide('note', (text: string) => { got.push(text) })
  raw.message(PART, 0, [0, 4])
  raw.message(DATA, 0, [1, 2, 3])
  raw.message(3, 0, Buffer.from('note'), [0x91, 0xa2], Buffer.from('ok'))
  await until(() => got.length === 1)
  t.deepEqual(got, ['ok'])
  t.deepEqual(ends, [])
})

test('an answer in parts that nobody waits for any more leaves nothing of its streams', async (t) => {
  const { api, raw, ends } = await scene(t)
  const controller = new AbortController()
  const call = api.to('mallory', { signal: controller.signal }).call('f').catch(() => {})
  await until(() => raw.got(CALL).length === 1)
  const [{ id }] = raw.got(CALL)
  raw.message(PART, id, [0xd7, 8])
  controller.abort()
  await call
  raw.message(RESULT, id, [1, 0, 0, 0])
  raw.call(3, 'greet')
  await until(() => raw.got(RESULT, 3).length === 1 || raw.closed)
  t.true(ends.length === 0 || ends[0]?.code === 'PROTOCOL_ERROR')
})

/** Frames of many messages in one piece. */
const frames = (payloads: Buffer[]): Buffer => Buffer.concat(payloads.flatMap((one) => [Buffer.from([0, one.length >> 16, (one.length >> 8) & 255, one.length & 255]), one]))
const call = (id: number, method: string): Buffer => Buffer.concat([Buffer.from([CALL]), u32(id), u32(5000), Buffer.from([0, method.length]), Buffer.from(method), Buffer.from([0x90])])

for (const [title, message] of [
  ['calls of what is not there', (id: number) => call(id, 'missing')],
  ['calls with large answers', (id: number) => call(id, 'large')],
  ['streams that nobody listens for', (id: number) => Buffer.concat([Buffer.from([OPEN]), u32(id)])],
] as const) {
  test(`a peer that asks and reads nothing is not answered without end: ${title}`, async (t) => {
    const { api, web, raw, ends } = await scene(t)
    api.to('*').provide('large', () => Buffer.alloc(MIB))
    raw.socket.pause()
    let most = 0
    const look = (): boolean => { most = Math.max(most, Number(api.stats()['heldBytes'])); return ends.length > 0 }
    for (let batch = 0; batch < 80 && !look(); batch++) {
      const bytes = frames(Array.from({ length: 5000 }, (_, i) => message(2 * (batch * 5000 + i) + 1)))
      if (!raw.socket.write(bytes)) await until(() => look() || raw.socket.writableLength === 0, 60_000)
    }
    await until(look, 60_000)
    t.true(most < 33 * MIB, `${most} bytes held`)
    t.is(ends[0]?.code, 'SLOW_PEER')
    t.true(await served(web))
  })
}

test('a peer that reads nothing and answers pings all the same is cut off after 30 s, with no more held than 16 MiB and a message', async (t) => {
  const { mesh, api, web, raw, ends } = await scene(t, new VirtualClock())
  raw.socket.pause()
  const codes = new Set<string>()
  for (let i = 0; i < 12; i++) void api.to('mallory', { timeoutMs: 60_000 }).call('f', Buffer.alloc(3 * MIB)).catch(({ code, executed }: StageError) => codes.add(`${code} ${executed}`))
  const held = Number(api.stats()['heldBytes'])
  t.true(held > 16 * MIB && held < 20 * MIB, `${held}`)
  await until(() => codes.has('OVERLOADED no'))
  const begun = mesh.clock.now()
  while (ends.length === 0 && mesh.clock.now() - begun < 60_000) {
    raw.frame(Buffer.alloc(0), 2)
    await mesh.clock.advance(500)
  }
  t.is(ends[0]?.code, 'SLOW_PEER')
  const took = mesh.clock.now() - begun
  t.true(took >= 30_000 && took <= 31_000, `${took}`)
  await until(() => codes.has('SLOW_PEER unknown'))
  t.is(api.stats()['heldBytes'], 0)
  t.true(await served(web))
})

for (const [title, end, code] of [['one byte a second', 10_000, 'PROTOCOL_ERROR'], ['its first byte and no more', 10_000, 'PROTOCOL_ERROR']] as const) {
  test(`a frame is finished within 10 s or the link ends: ${title}`, async (t) => {
    const { mesh, web, raw, ends } = await scene(t, new VirtualClock())
    await mesh.clock.advance(100)
    const frame = frames([call(1, 'greet')])
    const begun = mesh.clock.now()
    raw.socket.write(frame.subarray(0, 1))
    for (let i = 1; ends.length === 0 && i < 60; i++) {
      await new Promise((resolve) => setTimeout(resolve, 5)) // the byte goes over a real socket
      await mesh.clock.advance(1000)
      if (title === 'one byte a second' && i < frame.length) raw.socket.write(frame.subarray(i, i + 1))
    }
    t.is(ends[0]?.code, code)
    const took = mesh.clock.now() - begun
    t.true(took >= end && took <= end + 1000, `${took}`)
    t.true(await served(web))
  })
}

test('frames that are split at every place, and such as are cut off there', async (t) => {
  const { mesh, api, web, raw, ends } = await scene(t)
  const two = frames([call(1, 'greet'), call(3, 'greet')])
  for (let at = 1; at < two.length; at++) {
    const ids = [4 * at + 1, 4 * at + 3]
    const bytes = frames(ids.map((id) => call(id, 'greet')))
    raw.socket.write(bytes.subarray(0, at))
    await new Promise((resolve) => setImmediate(resolve))
    raw.socket.write(bytes.subarray(at))
    await until(() => ids.every((id) => raw.got(RESULT, id).length === 1))
  }
  t.is(ends.length, 0)
  raw.socket.end()
  await until(() => ends.length === 1)
  for (let at = 1; at < two.length; at++) {
    const one = await Raw.join(t, api.address, { id: `mallory-${1000 + at}` })
    one.socket.end(two.subarray(0, at))
    await until(() => one.closed)
  }
  await until(() => api.links().every(({ peer }) => peer.name !== 'mallory'))
  t.true(await served(web))
  t.like(api.stats(), { streams: 0, serving: 0, heldBytes: 0 })
  t.truthy(mesh)
})

test('ten thousand streams that are opened and given up leave nothing', async (t) => {
  const { api, web, raw, ends } = await scene(t)
  api.on('stream', (stream) => { stream.resume() })
  raw.socket.write(frames(Array.from({ length: 10_000 }, (_, i) => [Buffer.concat([Buffer.from([OPEN]), u32(2 * i + 1)]), Buffer.concat([Buffer.from([RESET]), u32(2 * i + 1), Buffer.from([0x80])])]).flat()))
  raw.call(30_001, 'greet')
  await until(() => raw.got(RESULT, 30_001).length === 1)
  t.deepEqual(ends, [])
  t.is(api.stats()['streams'], 0)
  t.true(await served(web))
})

test('ten thousand calls that are cancelled keep their slots while their handlers run, and those of nobody else', async (t) => {
  const { api, web, raw, ends } = await scene(t)
  let begun = 0
  const release: (() => void)[] = []
  api.to('*').provide('never', () => { begun++; return new Promise<void>((resolve) => release.push(resolve)) })
  const cancel = (id: number): Buffer => Buffer.concat([Buffer.from([CANCEL]), u32(id)])
  const ask = (id: number): Buffer => { const one = call(id, 'never'); one.writeUInt32BE(3_600_000, 5); return one }
  for (let i = 0; i < 10_000; i += 100) {
    raw.socket.write(frames(Array.from({ length: 100 }, (_, n) => [ask(2 * (i + n) + 1), cancel(2 * (i + n) + 1)]).flat()))
    await until(() => api.stats()['serving'] === i + 100)
  }
  const before = begun
  raw.socket.write(frames([ask(30_001), ask(30_003), cancel(30_003)]))
  await until(() => raw.got(ERROR, 30_001).length === 1)
  t.regex(raw.got(ERROR, 30_001)[0].body.toString('latin1'), /OVERLOADED[^]*no/)
  t.is(begun, before)
  t.true(await served(web))
  release.splice(0, 10).forEach((one) => { one() })
  await until(() => Number(api.stats()['serving']) <= 9990)
  raw.call(30_005, 'greet')
  await until(() => raw.got(RESULT, 30_005).length === 1)
  t.deepEqual(ends, [])
})

const filled = (raw: Raw, streams: number, each: number): void => {
  for (let i = 0; i < streams; i++) raw.message(OPEN, 2 * i + 1)
  for (let i = 0; i < streams; i++) for (let sent = 0; sent < each; sent += 32_768) raw.message(DATA, 2 * i + 1, Buffer.alloc(Math.min(32_768, each - sent)))
}

test('data beyond the credit of the link, within that of each stream', async (t) => {
  const { api, raw, ends } = await scene(t)
  api.on('stream', (stream) => { stream.on('data', () => {}).pause() })
  filled(raw, 16, 256 * 1024)
  for (let i = 16; i < 20; i++) raw.message(OPEN, 2 * i + 1)
  for (let i = 16; i < 20; i++) raw.message(DATA, 2 * i + 1, Buffer.alloc(4096)) // what each may have in any case
  await until(() => api.stats()['unreadBytes'] === 4 * MIB + 4 * 4096)
  t.is(ends.length, 0)
  for (let i = 0; i < 3; i++) raw.message(DATA, 41 - 2 * (i + 1), Buffer.alloc(40_000))
  await until(() => ends.length === 1)
  t.is(ends[0]?.code, 'PROTOCOL_ERROR')
})

for (const [title, body] of [
  ['four megabytes of empty maps', Buffer.concat([Buffer.from([0x91, 0xdd]), u32(4_000_000), Buffer.alloc(4_000_000, 0x80)])],
  ['lists in lists, 200 000 deep', Buffer.concat([Buffer.alloc(200_000, 0x91), Buffer.from([0x90])])],
] as const) {
  test(`arguments in parts: ${title}`, async (t) => {
    const { web, raw, ends } = await scene(t)
    const message = Buffer.concat([call(1, 'greet').subarray(0, -1), body])
    const before = process.memoryUsage().heapUsed
    for (let at = 5; at < message.length; at += 60_000) raw.message(at + 60_000 < message.length ? PART : CALL, 1, message.subarray(at, at + 60_000))
    await until(() => ends.length === 1, 10_000)
    t.is(ends[0]?.code, 'PROTOCOL_ERROR')
    t.true(process.memoryUsage().heapUsed - before < 150 * MIB)
    t.true(await served(web))
  })
}
export { END, START, GOAWAY, bin }
