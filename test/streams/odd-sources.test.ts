/** Streams and iterables that fail in ways of their own: the call or the stream is told of it, and never the process. */
import { EventEmitter, once } from 'node:events'
import { Duplex, Readable, Transform, Writable } from 'node:stream'
import test from 'ava'
import { StageError } from '../../src/index.js'
import { nothingUnhandled } from '../helpers/unhandled.js'
import { until } from '../helpers/until.js'
import { pair, ways } from '../helpers/ways.js'

nothingUnhandled(test)

const broke = (): never => { throw new Error('it broke') }
const takes = (_chunk: unknown, _encoding: string, done: () => void): void => { done() }

/** What throws where others call back or emit. */
const sinks: Record<string, () => Writable> = {
  'write': () => new Writable({ write: broke }),
  'write, the second time': () => { let count = 0; return new Writable({ write(_chunk, _encoding, done) { if (count++ > 0) broke(); done() } }) },
  'writev': () => new Writable({ writev: broke }),
  'a write() of its own': () => Object.assign(new Writable({ write: takes }), { write: broke }),
  'transform': () => new Transform({ transform: broke }),
  'the write of a Duplex': () => new Duplex({ read() {}, write: broke }),
  'flush': () => new Transform({ transform: takes, flush: broke }),
  'the write of objects': () => new Writable({ objectMode: true, write: broke }),
}

/** Writes until it is told. */
async function fill(sink: Writable): Promise<Error> {
  const failed = once(sink, 'error') as Promise<[Error]>
  sink.write('one')
  await new Promise((resolve) => { setImmediate(resolve) })
  sink.write('two')
  sink.end()
  return (await failed)[0]
}

for (const [what, make] of Object.entries(sinks)) {
  test(`P13: a stream whose ${what} throws fails, as an argument and as a result, and the process goes on`, async (t) => {
    const [from, to] = await pair(t)
    const made: Writable[] = []
    const sink = (): Writable => { const one = make(); made.push(one); return one }
    to.to('*').provide('fill', async (one: Writable) => { throw await fill(one) })
    to.to('*').provide('sink', sink)
    const error = await t.throwsAsync<StageError>(from.to(to.name).call('fill', sink()))
    t.regex(error?.message ?? '', /it broke/)
    t.regex((await fill(await from.to(to.name).call<Writable>('sink'))).message, /it broke/)
    await until(() => made.every((one) => one.destroyed) && from.stats()['streams'] === 0 && to.stats()['streams'] === 0)
    t.is(made.length, 2)
  })
}

test('P13: a stream whose end throws is destroyed, and the process goes on', async (t) => {
  const [from, to] = await pair(t)
  to.to('*').provide('fill', (one: Writable) => { one.end('one') })
  for (const objectMode of [false, true]) {
    const sink = Object.assign(new Writable({ objectMode, write: takes }), { end: broke })
    await from.to(to.name).call('fill', sink)
    await until(() => sink.destroyed)
    t.is(sink.errored?.message, 'it broke')
  }
})

test('P13: a sink that is slow takes all that was written, and is not written more than it takes', async (t) => {
  const [from, to] = await pair(t)
  let got = 0
  let most = 0
  const sink = new Writable({ highWaterMark: 10, write(chunk: Buffer, _encoding, done) { got += chunk.length; most = Math.max(most, this.writableLength); setImmediate(done) } })
  to.to('*').provide('fill', async (out: Writable) => {
    for (let i = 0; i < 200; i++) if (!out.write(Buffer.alloc(1000))) await once(out, 'drain')
    out.end()
    await once(out, 'finish')
  })
  await from.to(to.name).call('fill', sink)
  await until(() => sink.writableFinished)
  t.is(got, 200_000)
  t.true(most <= 66_048, `${most} bytes waited in it`)
})

const [, tcp] = ways[2]

/** Nothing of it can be looked at. */
const hostile = (): unknown => new Proxy(new Error('hidden'), { get: broke, getPrototypeOf: broke, ownKeys: broke, getOwnPropertyDescriptor: broke })

test('P24: an iterable that throws what cannot be looked at fails at its reader', async (t) => {
  const [from, to] = await tcp(t)
  async function* items() { yield 1; throw hostile() }
  const read = async (given: AsyncIterable<number>): Promise<number[]> => {
    const got: number[] = []
    try {
      for await (const one of given) got.push(one)
    } catch (error) {
      t.is((error as StageError).code, 'REMOTE_ERROR')
      return got
    }
    return t.fail('it ended without an error') as never
  }
  to.to('*').provide('read', read)
  to.to('*').provide('items', items)
  t.deepEqual(await from.to(to.name).call('read', items()), [1])
  t.deepEqual(await read(await from.to(to.name).call('items')), [1])
  to.define({ pattern: 'things.{id}', create: () => ({ items }) })
  for (const stage of [from, to]) t.deepEqual(await read(await stage.actor<{ items(): AsyncIterable<number> }>('things.1').items()), [1])
})

test('P9: a stream that says that it has failed, and is not destroyed by that, fails at whoever reads it later', async (t) => {
  const [from, to] = await tcp(t)
  const failing = (): Readable => { const one = new Readable({ autoDestroy: false, read() {} }); one.push('x'); setImmediate(() => one.emit('error', new Error('it broke'))); return one }
  const given: Readable[] = []
  const hand = (): Readable => { const one = failing(); given.push(one); return one }
  const later = (one: Readable): Promise<unknown[]> => new Promise((resolve) => { setTimeout(() => resolve(one.toArray()), 50) })
  to.to('*').provide('read', later)
  to.to('*').provide('give', hand)
  to.define({ pattern: 'things.{id}', create: () => ({ give: hand, read: later }) })
  const ends: Record<string, () => Promise<unknown>> = {
    'an argument': () => from.to(to.name).call('read', hand()),
    'a result': async () => later(await from.to(to.name).call<Readable>('give')),
    'a result of an actor elsewhere': async () => later(await from.actor<{ give(): Readable }>('things.1').give()),
    'an argument of an actor of the same stage': () => to.actor<{ read(one: Readable): unknown }>('things.1').read(hand()),
  }
  for (const [how, call] of Object.entries(ends)) t.regex((await t.throwsAsync(call(), undefined, how))?.message ?? '', /it broke/, how)
  t.true(given.every((one) => one instanceof EventEmitter && one.destroyed))
})
