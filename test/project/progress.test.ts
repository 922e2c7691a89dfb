/** A call with streams among its arguments has its time from when something of them last moved. */
import { PassThrough, Readable, Writable } from 'node:stream'
import test, { type ExecutionContext } from 'ava'
import { StageError, type CallContext, type Stage } from '../../src/index.js'
import { actorMesh } from '../helpers/actors.js'
import { advance } from '../helpers/mesh.js'
import type { VirtualClock } from '../helpers/virtual-clock.js'
import { nothingUnhandled } from '../helpers/unhandled.js'
import { all } from '../helpers/ways.js'

nothingUnhandled(test)

const wait = (clock: VirtualClock, ms: number): Promise<void> => new Promise((resolve) => { clock.setTimeout(resolve, ms) })

/** What takes its time: `count` pieces, `ms` apart. */
const slowly: [title: string, make: (clock: VirtualClock, count: number, ms: number) => object][] = [
  ['a Readable of bytes', (clock, count, ms) => {
    const source = new PassThrough()
    void (async () => { for (let i = 0; i < count; i++) { await wait(clock, ms); source.write('x') } source.end() })()
    return source
  }],
  ['a Readable of objects', (clock, count, ms) => Readable.from((async function* () { for (let i = 0; i < count; i++) { await wait(clock, ms); yield { i } } })())],
  ['an async iterable', (clock, count, ms) => (async function* () { for (let i = 0; i < count; i++) { await wait(clock, ms); yield i } })()],
]

async function two(t: ExecutionContext): Promise<{ clock: VirtualClock; a: Stage; b: Stage }> {
  const { add, clock } = actorMesh(t)
  const [{ stage: a }, { stage: b }] = [await add('a'), await add('b')]
  for (const one of [a, b]) one.define({ pattern: `at-${one.name}.{id}`, create: () => ({ read: async (stream: AsyncIterable<unknown>) => (await all(stream)).length }) })
  b.to('*').provide('read', async function (this: CallContext, stream: AsyncIterable<unknown>) {
    const before = this.deadline
    const read = (await all(stream)).length
    if (this.signal.aborted) throw new Error('the signal fired')
    return this.deadline >= before ? read : 'a deadline that came nearer'
  })
  b.to('*').provide('relay', async function (this: CallContext, stream: AsyncIterable<unknown>) { return this.to('b').call<number>('read', stream) })
  await clock.advance(100)
  await advance(clock, a.to('b').methods())
  return { clock, a, b }
}

/** To whom it goes. */
const calls: [title: string, call: (a: Stage, timeoutMs: number, stream: object) => Promise<number>][] = [
  ['a peer', (a, timeoutMs, stream) => a.to('b', { timeoutMs }).call('read', stream)],
  ['a peer that passes it on', (a, timeoutMs, stream) => a.to('b', { timeoutMs }).call('relay', stream)],
  ['an actor elsewhere', (a, timeoutMs, stream) => a.actor<{ read(stream: object): number }>('at-b.1', { timeoutMs }).read(stream)],
  ['an actor here', (a, timeoutMs, stream) => a.actor<{ read(stream: object): number }>('at-a.1', { timeoutMs }).read(stream)],
]

for (const [what, make] of slowly) {
  for (const [whom, call] of calls) {
    test(`P9: ${what} to ${whom} may take as long as it likes while it moves`, async (t) => {
      const { clock, a } = await two(t)
      t.is(await advance(clock, call(a, 1000, make(clock, 8, 700)), 20_000), 8)
    })
  }
}

for (const [whom, call] of calls) {
  test(`P9: a stream to ${whom} that stands still ends its call timeoutMs after it last moved`, async (t) => {
    const { clock, a } = await two(t)
    const begun = clock.now()
    const failed = call(a, 1000, standing(clock)).then(() => 'answered', (error: StageError) => error.code)
    t.is(await advance(clock, failed, 20_000, 10), 'TIMEOUT')
    const took = clock.now() - begun
    t.true(took >= 1700 && took <= 1860, `${took} ms`)
  })
}

/** Gives one piece after 700 ms, and no more. */
const standing = (clock: VirtualClock): AsyncIterable<number> => (async function* () {
  await wait(clock, 700)
  yield 1
  await new Promise(() => {})
})()

test('a Writable that is written to at the other end counts as well', async (t) => {
  const { clock, a, b } = await two(t)
  b.to('*').provide('fill', async (out: Writable) => { for (let i = 0; i < 5; i++) { await wait(clock, 700); out.write('x') } out.end(); return 'filled' })
  const out = new Writable({ write(_, __, done) { done() } })
  t.is(await advance(clock, a.to('b', { timeoutMs: 1000 }).call('fill', out), 20_000), 'filled')
})

test('P9: a stream that nobody begins to read gives its call no more time', async (t) => {
  const { clock, a, b } = await two(t)
  b.to('*').provide('ignore', () => new Promise(() => {}))
  const begun = clock.now()
  await t.throwsAsync(advance(clock, a.to('b', { timeoutMs: 1000 }).call('ignore', Readable.from([1])), 20_000, 10), { instanceOf: StageError, code: 'TIMEOUT' })
  t.true(clock.now() - begun <= 1110, `${clock.now() - begun} ms`)
})
