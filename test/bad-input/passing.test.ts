/** Peers that break the rules of streams inside of values. */
import { Readable } from 'node:stream'
import test from 'ava'
import type { StageError } from '../../src/index.js'
import { Writer } from '../../src/writer.js'
import { msgpack } from '../../wrappers/codec.js'
import { CALL, DATA, END, ENDED, ERROR, MIB, OPEN, PART, RESET, RESULT, START, scene, served } from '../helpers/mallory.js'
import { u32, type Raw } from '../helpers/raw-peer.js'
import { nothingUnhandled } from '../helpers/unhandled.js'
import { until } from '../helpers/until.js'
import { all } from '../helpers/ways.js'

nothingUnhandled(test)

const REF = 2, CREDIT = 14, TOOK = 19
/** As msgpack: the stream of that id; kind 3 are values, 1 bytes. */
const stream = (id: number, kind = 3): Buffer => Buffer.concat([Buffer.from([0xc7, 5, 8, kind]), u32(id)])
const calls = (raw: Raw, id: number, ...values: (Buffer | number[])[]): void => raw.call(id, 'read', Buffer.concat([Buffer.from([0x90 + values.length]), ...values.map((one) => Buffer.from(one))]))
const item = (kind: number, length: number, body: number[]): Buffer => Buffer.concat([Buffer.from([kind]), u32(length), Buffer.from(body)])

const breaches: [title: string, attack: (raw: Raw) => void][] = [
  ['a stream under the id of its own call', (raw) => calls(raw, 3, stream(3))],
  ['a stream under an id that was used', (raw) => { raw.call(5, 'greet'); calls(raw, 7, stream(5)) }],
  ['a stream under an id of the other end', (raw) => calls(raw, 3, stream(4))],
  ['a stream under the id 0', (raw) => calls(raw, 3, stream(0))],
  ['one stream twice', (raw) => calls(raw, 3, stream(5), stream(5))],
  ['streams whose ids go back', (raw) => calls(raw, 3, stream(7), stream(5))],
  ['a call under the id of a stream', (raw) => { calls(raw, 3, stream(5)); raw.call(5, 'greet') }],
  ['a stream of an unknown kind', (raw) => calls(raw, 3, stream(5, 7))],
  ['a stream of the kind 0', (raw) => calls(raw, 3, stream(5, 0))],
  ['data before anybody reads', (raw) => { raw.call(1, 'ignore', Buffer.concat([Buffer.from([0x91]), stream(3)])); raw.message(DATA, 3, [1]) }],
  ['a stream in a cast', (raw) => { raw.message(3, 0, [0, 4], Buffer.from('read'), [0x91], stream(0)) }],
]

for (const [title, attack] of breaches) {
  test(`a peer loses its link: ${title}`, async (t) => {
    const { api, web, raw, ends } = await scene(t)
    api.to('*').provide('read', (...streams: AsyncIterable<unknown>[]) => Promise.all(streams.map(all)))
    api.to('*').provide('ignore', () => {})
    attack(raw)
    await until(() => ends.length === 1)
    t.is(ends[0]?.code, 'PROTOCOL_ERROR')
    t.like(api.stats(), { streams: 0, serving: 0 })
    t.true(await served(web))
  })
}

const spoilt: [title: string, says: (raw: Raw, id: number) => void][] = [
  ['a value whose length is 4 GiB', (raw, id) => raw.message(DATA, id, item(0, 0xffffffff, []))],
  ['a value whose length is one above the limit', (raw, id) => raw.message(DATA, id, item(0, 4 * MIB + 513, []))],
  ['a value that is shorter than it says', (raw, id) => { raw.message(DATA, id, item(0, 9, [0xc0])); raw.message(END, id) }],
  ['a value that is longer than it says', (raw, id) => raw.message(DATA, id, item(0, 1, [0xcd, 1, 2]))],
  ['an end in the head of a value', (raw, id) => { raw.message(DATA, id, [0, 0, 0]); raw.message(END, id) }],
  ['an empty value', (raw, id) => raw.message(DATA, id, item(0, 0, []))],
  ['what is no msgpack', (raw, id) => raw.message(DATA, id, item(0, 1, [0xc1]))],
  ['a function in a value', (raw, id) => raw.message(DATA, id, item(0, 6, [0xd6, 1, 0, 0, 0, 7]))],
  ['a stream in a value', (raw, id) => raw.message(DATA, id, item(0, 8, [...stream(99)]))],
  ['a failure that is a number', (raw, id) => raw.message(DATA, id, item(1, 1, [5]))],
  ['a failure that is empty', (raw, id) => raw.message(DATA, id, item(1, 0, []))],
  ['a value of an unknown kind', (raw, id) => raw.message(DATA, id, item(9, 1, [0xc0]))],
]

for (const [title, say] of spoilt) {
  test(`a stream of values ends with PROTOCOL_ERROR where it is read, and the link stands: ${title}`, async (t) => {
    const { api, raw, ends } = await scene(t)
    const reading = api.to('mallory').call<AsyncIterable<unknown>>('f').then(all).then(() => 'whole', (error: StageError) => error.code)
    await until(() => raw.got(CALL).length === 1)
    raw.message(RESULT, raw.got(CALL)[0].id, stream(1))
    await until(() => raw.got(START, 1).length === 1)
    say(raw, 1)
    t.is(await reading, 'PROTOCOL_ERROR')
    raw.call(11, 'greet')
    await until(() => raw.got(RESULT, 11).length === 1)
    t.deepEqual(ends, [])
    t.is(api.stats()['streams'], 0)
  })
}

test('starts, ends and bytes where none belong do no harm', async (t) => {
  const { api, raw, ends } = await scene(t)
  api.on('stream', (one) => { one.resume() })
  let made = 0
  api.to('*').provide('make', async function* () { for (;;) { made++; yield made } })
  raw.message(OPEN, 1)
  for (const id of [1, 1, 0]) raw.message(START, id)
  raw.message(ENDED, 1)
  raw.call(3, 'make')
  await until(() => raw.got(RESULT, 3).length === 1)
  const id = raw.got(RESULT, 3)[0].body.readUInt32BE(4)
  raw.message(DATA, id, Buffer.alloc(1000)) // where nothing is written
  for (let i = 0; i < 3; i++) raw.message(START, id)
  await until(() => raw.got(DATA, id).length > 0)
  raw.call(5, 'greet')
  await until(() => raw.got(RESULT, 5).length === 1)
  await until(() => { const before = made; return new Promise((resolve) => setTimeout(() => { resolve(made === before) }, 20)) })
  t.true(made < 300, `${made}: no more than the window in items`)
  t.deepEqual(ends, [])
})

test('a peer that says it took more items than were sent loses its link', async (t) => {
  const { api, raw, ends } = await scene(t)
  api.to('*').provide('make', async function* () { yield 1; await new Promise(() => {}) })
  raw.call(3, 'make')
  await until(() => raw.got(RESULT, 3).length === 1)
  const id = raw.got(RESULT, 3)[0].body.readUInt32BE(4)
  raw.message(START, id)
  await until(() => raw.got(DATA, id).length > 0)
  raw.message(TOOK, id, u32(2))
  await until(() => ends.length === 1)
  t.is(ends[0]?.code, 'PROTOCOL_ERROR')
})

test('an answer in parts that nobody waits for any more is read all the same, so that its streams end', async (t) => {
  const { api, raw, ends } = await scene(t)
  const controller = new AbortController()
  const asked = api.to('mallory', { signal: controller.signal }).call('f').catch(() => {})
  await until(() => raw.got(CALL).length === 1)
  const [{ id }] = raw.got(CALL)
  const value = stream(1)
  raw.message(PART, id, value.subarray(0, 3))
  await new Promise((resolve) => setImmediate(resolve))
  controller.abort()
  await asked
  raw.message(RESULT, id, value.subarray(3))
  await until(() => ends.length === 1 || raw.got(RESET).length === 1)
  t.is(raw.got(RESET)[0]?.id, 1)
})

test('streams above a thousand, in arguments, are reset once each', async (t) => {
  const { api, raw, ends } = await scene(t)
  const kept: unknown[] = []
  api.to('*').provide('keep', (given: unknown[]) => { kept.push(...given) })
  const ids = Array.from({ length: 1000 }, (_, i) => 2 * i + 3)
  raw.call(1, 'keep', Buffer.concat([Buffer.from([0x91, 0xdc, ids.length >> 8, ids.length & 255]), ...ids.map((id) => stream(id))]))
  await until(() => raw.got(RESULT, 1).length === 1)
  const more = [2005, 2007, 2009]
  raw.call(2003, 'keep', Buffer.concat([Buffer.from([0x91, 0x93]), ...more.map((id) => stream(id))]))
  await until(() => raw.got(RESULT, 2003).length === 1)
  t.is(kept.length, 1003)
  t.deepEqual(raw.got(RESET).map(({ id }) => id), more)
  for (const { body } of raw.got(RESET)) t.regex(body.toString('latin1'), /OVERLOADED[^]*no/)
  t.is(api.stats()['streams'], 1000)
  t.deepEqual(ends, [])
})

test('what was put aside of a stream of values counts as unread, also behind its end', async (t) => {
  const { api, raw, ends } = await scene(t)
  let values!: AsyncIterableIterator<Buffer>
  api.to('*').provide('read', async (given: typeof values) => { values = given; await values.next() })
  const value = (size: number): Buffer => Buffer.concat([Buffer.from([0]), u32(size + 5), Buffer.from([0xc6]), u32(size), Buffer.alloc(size)])
  calls(raw, 1, stream(3))
  await until(() => raw.got(START, 3).length === 1)
  raw.message(DATA, 3, value(10), value(30_000))
  raw.message(END, 3)
  await until(() => raw.got(RESULT, 1).length === 1)
  raw.call(5, 'greet')
  await until(() => raw.got(RESULT, 5).length === 1)
  t.true(Number(api.stats()['unreadBytes']) > 30_000, `${api.stats()['unreadBytes']}`)
  t.deepEqual([raw.got(ENDED, 3).length, raw.got(RESET).length], [0, 0])
  t.is((await values.next()).value?.length, 30_000)
  t.true((await values.next()).done)
  await until(() => raw.got(ENDED, 3).length === 1)
  raw.message(ENDED, 3)
  await until(() => api.stats()['streams'] === 0)
  t.is(api.stats()['unreadBytes'], 0)
  t.deepEqual(ends, [])
})

test('one call with more streams than may be open ends the link, before it costs anything', async (t) => {
  const { api, web, raw, ends } = await scene(t)
  let ran = 0
  api.to('*').provide('keep', () => { ran++ })
  const ids = Array.from({ length: 1001 }, (_, i) => 2 * i + 3)
  raw.call(1, 'keep', Buffer.concat([Buffer.from([0x91, 0xdc, ids.length >> 8, ids.length & 255]), ...ids.map((id) => stream(id))]))
  await until(() => ends.length === 1)
  t.is(ends[0]?.code, 'PROTOCOL_ERROR')
  t.deepEqual([ran, raw.got(RESET).length, api.stats()['streams']], [0, 0, 0])
  t.is(await web.to('api').call('greet'), 'hi')
})

for (const code of ['NO_SUCH_METHOD', 'REFUSED', 'OVERLOADED']) {
  test(`a call of a function that is answered ${code} is not tried elsewhere, and its streams end`, async (t) => {
    const { api, raw } = await scene(t)
    let fn!: (...args: unknown[]) => Promise<unknown>
    api.to('*').provide('take', (given: typeof fn) => { fn = given })
    raw.call(1, 'take', Buffer.from([0x91, 0xd6, 1, 0, 0, 0, 7]))
    await until(() => raw.got(RESULT, 1).length === 1)
    const streams = Array.from({ length: 3 }, () => new Readable({ read() {} }))
    const called = fn(streams[0], { deep: streams[1] }, new Map([[1, streams[2]]])).then(() => 'none', (error: StageError) => error.code)
    await until(() => raw.got(REF).length === 1)
    const answer = new Writer()
    msgpack().encode({ code, message: 'no', executed: 'no' }, answer, { give: () => 0, take: () => 0 })
    raw.message(ERROR, raw.got(REF)[0].id, answer.bytes.subarray(0, answer.at))
    t.is(await called, code)
    await until(() => streams.every((one) => one.destroyed))
    t.is(api.stats()['streams'], 0)
  })
}

/** Sends of one value on each stream what their credit allows, until no more of it comes. @returns bytes sent on each */
async function pushed(raw: Raw, ids: number[], size: number, sent = ids.map(() => 0)): Promise<number[]> {
  for (let quiet = 0; quiet < 10; quiet++) {
    const given = new Map<number, number>()
    for (const { id, body } of raw.got(CREDIT)) given.set(id, (given.get(id) ?? 0) + body.readUInt32BE())
    const out = ids.map((id, i) => sent[i] - (given.get(id) ?? 0))
    let together = out.reduce((a, b) => a + b)
    for (const [i, id] of ids.entries()) {
      const piece = Math.min(size - sent[i], 32_768, 256 * 1024 - out[i], Math.max(4 * MIB - together, 4096 - out[i]))
      if (piece <= 0) continue
      raw.message(DATA, id, sent[i] === 0 ? item(0, size, []) : [], Buffer.alloc(piece - (sent[i] === 0 ? 5 : 0)))
      sent[i] += piece
      together += piece
      quiet = 0
    }
    const probe = raw.probes += 2 // answered behind all of that
    raw.call(probe, 'greet')
    await until(() => raw.got(RESULT, probe).length === 1)
  }
  return sent
}

for (const [title, size, streams] of [['of 4 MiB', 4 * MIB, 12], ['of 250 KiB', 250 * 1024, 120]] as const) {
  test(`values ${title} that never end on many streams take no more than 20 MiB of a link, and nothing of another`, async (t) => {
    const { api, web, raw, ends } = await scene(t)
    let read = 0
    api.to('*').provide('read', (values: AsyncIterable<unknown>) => { void all(values).catch(() => {}).finally(() => { read++ }) })
    const ids = Array.from({ length: streams }, (_, i) => 4 * i + 3)
    for (const id of ids) raw.call(id - 2, 'read', Buffer.concat([Buffer.from([0x91]), stream(id)]))
    await until(() => raw.got(START).length === streams)
    const sent = await pushed(raw, ids, size)
    const sum = sent.reduce((a, b) => a + b)
    const unread = Number(api.stats()['unreadBytes'])
    for (const held of [sum, unread]) t.true(held <= 21 * MIB && held > 16 * MIB, `${sum} sent, ${unread} unread`)
    t.true(await served(web))
    t.deepEqual(ends, [])
    const rest = ids.filter((_, i) => sent[i] < size)
    for (const id of ids.filter((one) => !rest.includes(one))) raw.message(RESET, id, Buffer.from([0x80]))
    await until(() => read === streams - rest.length)
    const more = await pushed(raw, rest, size, sent.filter((one) => one < size))
    t.true(more.filter((one) => one === size).length >= Math.min(4, rest.length), 'what was given up made room')
    raw.socket.destroy()
    await until(() => read === streams)
    t.like(api.stats(), { streams: 0, unreadBytes: 0 })
  })
}
