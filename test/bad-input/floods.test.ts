/** Peers that send much: one after the other, as each of them keeps this process busy. */
import type { Duplex } from 'node:stream'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import test from 'ava'
import { VirtualClock } from '../helpers/virtual-clock.js'
import { u32 } from '../helpers/raw-peer.js'
import { CALL, CANCEL, DATA, END, ERROR, MIB, OPEN, PART, READ, RESET, RESULT, call, frames, scene, served } from '../helpers/mallory.js'
import type { StageError } from '../../src/index.js'
import { nothingUnhandled } from '../helpers/unhandled.js'
import { until } from '../helpers/until.js'

nothingUnhandled(test)

setFlagsFromString('--expose-gc')
const gc = runInNewContext('gc') as () => void
const memory = (): number => { gc(); const { heapUsed, external } = process.memoryUsage(); return heapUsed + external }

for (const [title, message] of [
  ['calls of what is not there', (id: number) => call(id, 'missing')],
  ['calls with large answers', (id: number) => call(id, 'large')],
  ['streams that nobody listens for', (id: number) => Buffer.concat([Buffer.from([OPEN]), u32(id)])],
] as const) {
  test.serial(`P24: a peer that asks and reads nothing is not answered without end: ${title}`, async (t) => {
    t.timeout(400_000) // of each error that ends a stream Node reads the stack, which takes long where sources are mapped
    const { api, web, raw, ends } = await scene(t)
    api.to('*').provide('large', () => Buffer.alloc(MIB))
    raw.socket.pause()
    let most = 0
    const look = (): boolean => { most = Math.max(most, Number(api.stats()['heldBytes'])); return ends.length > 0 }
    for (let batch = 0; batch < 80 && !look(); batch++) {
      const bytes = frames(Array.from({ length: 5000 }, (_, i) => message(2 * (batch * 5000 + i) + 1)))
      if (!raw.socket.write(bytes)) await until(() => look() || raw.socket.writableLength === 0, 300_000)
    }
    await until(look, 300_000)
    t.true(most < 33 * MIB, `${most} bytes held`)
    t.is(ends[0]?.code, 'SLOW_PEER')
    t.true(await served(web))
  })
}

test.serial('P12: a peer that reads nothing and answers pings all the same is cut off after 30 s, with no more held than 16 MiB and a message', async (t) => {
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
    await new Promise((resolve) => setTimeout(resolve, 5)) // it goes over a real socket
    await mesh.clock.advance(500)
  }
  t.is(ends[0]?.code, 'SLOW_PEER')
  const took = mesh.clock.now() - begun
  t.true(took >= 30_000 && took <= 31_000, `${took}`)
  await until(() => codes.has('SLOW_PEER unknown'))
  t.is(api.stats()['heldBytes'], 0)
  t.true(await served(web))
})

test.serial('of a large answer 256 KiB come before its reader says that it has read them, and small ones pass it', async (t) => {
  const { api, web, raw, ends } = await scene(t)
  api.to('*').provide('large', () => Buffer.alloc(2 * MIB))
  raw.reads = false
  raw.call(1, 'large')
  const came = (): number => raw.got(PART, 1).reduce((sum, { body }) => sum + body.length, 0)
  await until(() => came() >= 256 * 1024)
  for (let id = 3; id < 13; id += 2) {
    raw.call(id, 'greet')
    await until(() => raw.got(RESULT, id).length === 1)
  }
  t.true(came() < (256 + 65) * 1024, `${came()} bytes came`)
  raw.reads = true
  raw.message(READ, 0, u32(came()))
  await until(() => raw.got(RESULT, 1).length === 1)
  t.true(came() + raw.got(RESULT, 1)[0].body.length > 2 * MIB)
  t.deepEqual(ends, [])
  t.true(await served(web))
})

test.serial('ten thousand streams that are opened and given up leave nothing', async (t) => {
  const { api, web, raw, ends } = await scene(t)
  api.on('stream', (stream) => { stream.resume() })
  raw.socket.write(frames(Array.from({ length: 10_000 }, (_, i) => [Buffer.concat([Buffer.from([OPEN]), u32(2 * i + 1)]), Buffer.concat([Buffer.from([RESET]), u32(2 * i + 1), Buffer.from([0x80])])]).flat()))
  raw.call(30_001, 'greet')
  await until(() => raw.got(RESULT, 30_001).length === 1)
  t.deepEqual(ends, [])
  t.is(api.stats()['streams'], 0)
  t.true(await served(web))
})

test.serial('ten thousand calls that are cancelled keep their slots while their handlers run, and those of nobody else', async (t) => {
  const { api, web, raw, ends } = await scene(t)
  let begun = 0
  const release: (() => void)[] = []
  api.to('*').provide('never', () => { begun++; return new Promise<void>((resolve) => release.push(resolve)) })
  const cancel = (id: number): Buffer => Buffer.concat([Buffer.from([CANCEL]), u32(id)])
  const ask = (id: number): Buffer => { const one = call(id, 'never'); one.writeUInt32BE(3_600_000, 5); return one }
  for (let i = 0; i < 10_000; i += 100) {
    raw.socket.write(frames(Array.from({ length: 100 }, (_, n) => ask(2 * (i + n) + 1))))
    await until(() => begun === i + 100) // one that was cancelled before would not be begun at all
    raw.socket.write(frames(Array.from({ length: 100 }, (_, n) => cancel(2 * (i + n) + 1))))
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


for (const [title, body] of [
  ['four megabytes of empty maps', Buffer.concat([Buffer.from([0x91, 0xdd]), u32(4_000_000), Buffer.alloc(4_000_000, 0x80)])],
  ['lists in lists, 200 000 deep', Buffer.concat([Buffer.alloc(200_000, 0x91), Buffer.from([0x90])])],
] as const) {
  test.serial(`arguments in parts: ${title}`, async (t) => {
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

for (const [title, streams, each, atOnce] of [['all of one stream', 1, 256 * 1024, 64], ['a little of many streams', 128, 4 * 1024, 1]] as const) {
  test.serial(`single bytes that nobody reads cost little more than their credit, and come whole and in order once somebody does: ${title}`, async (t) => {
    const { api, web, raw, ends } = await scene(t)
    const got: Duplex[] = []
    api.on('stream', (stream) => { got.push(stream) })
    const ids = Array.from({ length: streams }, (_, i) => 2 * i + 1)
    for (const id of ids) raw.message(OPEN, id)
    await until(() => got.length === streams)
    const before = memory()
    for (let sent = 0; sent < each; sent += atOnce) {
      raw.socket.write(frames(ids.flatMap((id) => Array.from({ length: atOnce }, (_, i) => Buffer.concat([Buffer.from([DATA]), u32(id), Buffer.from([(sent + i) % 251])])))))
      await new Promise((resolve) => setImmediate(resolve)) // so that the stage turns to other things in between
    }
    await until(() => api.stats()['unreadBytes'] === streams * each, 20_000)
    const cost = memory() - before
    t.true(cost < 4 * streams * each + MIB, `${cost} bytes for ${streams * each}`)
    for (const id of ids) raw.message(END, id)
    for (const stream of got) {
      const bytes = Buffer.concat(await stream.toArray() as Buffer[])
      t.is(bytes.length, each)
      t.true(bytes.every((byte, i) => byte === i % 251))
    }
    t.deepEqual(ends, [])
    t.true(await served(web))
  })
}
