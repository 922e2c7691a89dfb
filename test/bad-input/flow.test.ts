/** Peers that keep to the form and not to the measure: too much, too slowly, in the wrong moment, or never. */
import test from 'ava'
import { DATA, OPEN, MIB, PART, RELEASE, CALL, RESULT, call, frames, scene, served } from '../helpers/mallory.js'
import { Raw, u32 } from '../helpers/raw-peer.js'
import { nothingUnhandled } from '../helpers/unhandled.js'
import { until } from '../helpers/until.js'
import { VirtualClock } from '../helpers/virtual-clock.js'

nothingUnhandled(test)

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
  const { api, web, raw, ends } = await scene(t)
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
  const [, ...cut] = ends.map((error) => error?.message ?? 'goodbye')
  const between = cut.filter((message) => !/in the middle of a frame/.test(message))
  t.is(cut.length, two.length - 1)
  t.is(between.length, 1, between.join()) // right behind the first of the two
  t.regex(between[0], /without a goodbye/)
  t.true(await served(web))
  t.like(api.stats(), { streams: 0, serving: 0, heldBytes: 0 })
})

const filled = (raw: Raw, streams: number, each: number): void => {
  for (let i = 0; i < streams; i++) raw.message(OPEN, 2 * i + 1)
  for (let i = 0; i < streams; i++) for (let sent = 0; sent < each; sent += 32_768) raw.message(DATA, 2 * i + 1, Buffer.alloc(Math.min(32_768, each - sent)))
}

test('P12: data beyond the credit of the link, within that of each stream', async (t) => {
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
