/** How streams inside calls end: unread, left, cancelled, cut off, refused, passed twice; and how far ahead they get. */
import { createReadStream } from 'node:fs'
import { PassThrough, Readable, Writable } from 'node:stream'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import test from 'ava'
import { StageError } from '../../src/index.js'
import { advance, virtualMesh } from '../helpers/mesh.js'
import { nothingUnhandled } from '../helpers/unhandled.js'
import { until } from '../helpers/until.js'
import { settle } from '../helpers/virtual-clock.js'
import { all, pair } from '../helpers/ways.js'

nothingUnhandled(test)

/** An endless source that says how far it came and whether it was ended. */
function endless(size = 0) {
  const one = { made: 0, ended: false, source: undefined as unknown as AsyncGenerator<unknown> }
  one.source = (async function* () {
    try {
      for (;;) { one.made++; yield size > 0 ? Buffer.alloc(size) : one.made; await settle(1) }
    } finally { one.ended = true }
  })()
  return one
}
const code = (promise: Promise<unknown>): Promise<string> => promise.then(() => 'none', (error: StageError) => error.code)

async function virtual(t: Parameters<typeof virtualMesh>[0], names = ['a', 'b']) {
  const mesh = virtualMesh(t)
  const stages = names.map((name) => mesh.stage(name))
  for (const one of stages) one.to('*').provide('hello', () => one.id)
  await advance(mesh.clock, Promise.all(stages.map((one) => one.ready())))
  await advance(mesh.clock, stages[0].to(names[1]).call('hello'))
  return { ...mesh, stages }
}

test('a stream that nobody begins to read ends after 60 s, as an argument and as a result, and so does its source', async (t) => {
  const { clock, stages: [a, b] } = await virtual(t)
  const sources = Array.from({ length: 2 }, () => new Readable({ read() {} }))
  const values = Array.from({ length: 2 }, () => new Readable({ objectMode: true, read() {} }))
  const kept: unknown[] = []
  b.to('*').provide('ignore', (...given: unknown[]) => { kept.push(...given) })
  b.to('*').provide('make', () => [sources[1], values[1]])
  await advance(clock, a.to('b').call('ignore', sources[0], { deep: values[0] }))
  kept.push(await advance(clock, a.to('b').call('make')))
  const ends = (): boolean[] => [...sources, ...values].map((one) => one.destroyed)
  await clock.advance(59_000)
  t.deepEqual(ends(), [false, false, false, false])
  t.is(a.stats()['streams'], 4)
  await clock.advance(1200)
  t.deepEqual(ends(), [true, true, true, true])
  for (const one of [a, b]) t.is(one.stats()['streams'], 0)
  const late = await code(advance(clock, all(kept[0] as AsyncIterable<unknown>)))
  t.not(late, 'none', 'a reader that comes later finds an error, not an end')
})

test('a result that is read at its pace does not end after 60 s', async (t) => {
  const { clock, stages: [a, b] } = await virtual(t)
  b.to('*').provide('slowly', async function* () { for (let i = 0; i < 5; i++) { await new Promise<void>((resolve) => clock.setTimeout(resolve, 50_000)); yield i } })
  t.deepEqual(await advance(clock, all(await advance(clock, a.to('b').call<AsyncIterable<number>>('slowly'))), 400_000, 1000), [0, 1, 2, 3, 4])
})

test('a result that nobody holds any more ends its source when it is collected', async (t) => {
  setFlagsFromString('--expose-gc')
  const gc = runInNewContext('gc') as () => void
  const [a, b] = await pair(t)
  const source = new Readable({ objectMode: true, read() {} })
  const begun = endless()
  b.to('*').provide('unread', () => source)
  b.to('*').provide('begun', () => begun.source)
  await (async () => {
    await a.to('far').call('unread')
    await (await a.to('far').call<AsyncIterator<number>>('begun')).next()
  })()
  await until(() => { gc(); return source.destroyed && begun.ended }, 10_000)
  await until(() => a.stats()['streams'] === 0 && b.stats()['streams'] === 0)
  t.pass()
})

const bytes = (): Readable => Readable.from([Buffer.alloc(50_000), Buffer.alloc(50_000)], { objectMode: false })
const broken = (objectMode: boolean): Readable => new Readable({ objectMode, read() { this.push(objectMode ? 1 : 'x'); this.destroy(new Error('broke on purpose')) } })
const drain = (stream: Readable): Promise<unknown> => new Promise((resolve) => { stream.on('data', () => {}).on('error', () => {}).once('close', resolve) })
const fill = (stream: Writable): Promise<unknown> => new Promise((resolve) => { stream.on('error', () => {}).once('close', resolve).end(stream.writableObjectMode ? 1 : 'x') })
const sink = (objectMode: boolean, error?: Error): Writable => new Writable({ objectMode, write: (_chunk, _encoding, done) => { done(error) } })
const over: readonly [title: string, make: () => Readable | Writable, use: (stream: never) => Promise<unknown>][] = [
  ['bytes', bytes, drain],
  ['objects', () => Readable.from([1, 2]), drain],
  ['bytes that break', () => broken(false), drain],
  ['objects that break', () => broken(true), drain],
  ['a file that is missing', () => createReadStream('/no/such/file'), drain],
  ['a Writable of bytes', () => sink(false), fill],
  ['a Writable of objects', () => sink(true), fill],
  ['a Writable that breaks', () => sink(false, new Error('broke on purpose')), fill],
  ['a Duplex of objects', () => new PassThrough({ objectMode: true }), (stream: Writable & Readable) => Promise.all([drain(stream), fill(stream)])],
]
for (const [title, make, use] of over) {
  test(`what a stream arrived as is collected once it is over: ${title}`, async (t) => {
    setFlagsFromString('--expose-gc')
    const gc = runInNewContext('gc') as () => void
    const [a, b] = await pair(t)
    const faces: WeakRef<object>[] = []
    const used = async (stream: object): Promise<void> => {
      faces.push(new WeakRef(stream))
      await use(stream as never)
    }
    b.to('*').provide('take', used)
    b.to('*').provide('give', make)
    await (async () => {
      for (let i = 0; i < 5; i++) {
        await a.to('far').call('take', make()).catch(() => {}) // one that fails before it is sent rejects
        await used(await a.to('far').call<object>('give'))
      }
    })()
    t.true(faces.length >= 5)
    await until(() => { gc(); return faces.every((one) => one.deref() === undefined) }, 10_000)
  })
}

test('a stream that somebody listens to is told of its end, though nobody holds it', async (t) => {
  setFlagsFromString('--expose-gc')
  const gc = runInNewContext('gc') as () => void
  const [a, b] = await pair(t)
  let heard = 0
  b.to('*').provide('listen', (...streams: Writable[]) => { for (const one of streams) one.on('close', () => { heard++ }).write('x') })
  const sinks = [new Writable({ write: (_chunk, _encoding, done) => { done() } }), new Writable({ objectMode: true, write: (_chunk, _encoding, done) => { done() } })]
  await a.to('far').call('listen', ...sinks)
  for (let i = 0; i < 20; i++) {
    gc()
    await settle()
  }
  t.deepEqual(sinks.map((one) => one.destroyed), [false, false])
  for (const one of sinks) one.destroy()
  await until(() => heard === 2)
})

test('a link that is cut: all streams of calls over it fail at both ends, and all sources end, read or not', async (t) => {
  const { clock, network, stages: [a, b] } = await virtual(t)
  const [argument, result] = [endless(), endless()]
  const unread = { argument: new Readable({ read() {} }), result: new Readable({ read() {} }), deep: new Readable({ objectMode: true, read() {} }) }
  const [up, down] = [new PassThrough(), new PassThrough()]
  let reading!: Promise<string>
  b.to('*').provide('go', (values: AsyncIterable<number>) => { reading = code(all(values)); return new Promise(() => {}) })
  b.to('*').provide('make', (...kept: unknown[]) => [result.source, unread.result, { deep: unread.deep }, down, kept.length])
  const call = code(a.to('b').call('go', argument.source))
  const [values, , , bytes] = await advance(clock, a.to('b').call('make', unread.argument, up))
  const own = code(all(values as AsyncIterable<number>))
  const ownBytes = code(all(bytes as AsyncIterable<Buffer>))
  await clock.advance(100)
  t.true(argument.made > 1 && result.made > 1)
  network.cut()
  await clock.advance(100)
  t.deepEqual(await Promise.all([call, reading, own, ownBytes]), Array<string>(4).fill('DISCONNECTED'))
  t.true(argument.ended && result.ended)
  t.deepEqual([unread.argument, unread.result, unread.deep, up, down].map((one) => one.destroyed), Array<boolean>(5).fill(true))
})

test('a call that is cancelled ends the streams in its arguments, and its signal those in its result', async (t) => {
  const { clock, stages: [a, b] } = await virtual(t)
  const [argument, result] = [endless(), endless()]
  let reading!: Promise<string>
  b.to('*').provide('go', ([values]: AsyncIterable<number>[]) => { reading = code(all(values)); return new Promise(() => {}) })
  b.to('*').provide('make', () => result.source)
  const controller = new AbortController()
  const call = code(a.to('b', { signal: controller.signal }).call('go', [argument.source]))
  const own = code(all(await advance(clock, a.to('b', { signal: controller.signal }).call<AsyncIterable<number>>('make'))))
  await clock.advance(100)
  t.true(argument.made > 1 && result.made > 1)
  controller.abort()
  await clock.advance(100)
  t.deepEqual(await Promise.all([call, reading, own]), ['CANCELLED', 'CANCELLED', 'CANCELLED'])
  t.true(argument.ended && result.ended)
  for (const one of [a, b]) t.is(one.stats()['streams'], 0)
})

test('a refused call goes to another replica with its streams untouched and whole', async (t) => {
  const { clock, stages: [web, one, two] } = await virtual(t, ['web', 'g', 'g'])
  two.to('*').provide('read', async (values: AsyncIterable<number>, { deep }: { deep: AsyncIterable<Buffer> }) => [await all(values), Buffer.concat(await all(deep)).toString()])
  await clock.advance(100)
  for (let i = 0; i < 6; i++) {
    const values = (async function* () { yield 1; yield 2 })()
    t.deepEqual(await advance(clock, web.to('g').call('read', values, { deep: new PassThrough().end('whole') })), [[1, 2], 'whole'])
  }
  const nobody = { top: new PassThrough().end('x'), deep: new PassThrough().end('x') }
  t.is(await code(advance(clock, web.to('g').call('missing', nobody.top, [nobody.deep]))), 'NO_SUCH_METHOD')
  await clock.advance(10)
  t.deepEqual([nobody.top.destroyed, nobody.deep.destroyed], [true, true], 'where nobody takes it, it ends')
  t.deepEqual([web, one, two].map((each) => each.stats()['streams']), [0, 0, 0])
})

test('one stream in two calls: the first to read has it whole, the other is told BAD_ARGUMENT', async (t) => {
  const { clock, stages: [a, b] } = await virtual(t)
  b.to('*').provide('read', async (stream: AsyncIterable<unknown>) => { try { return (await all(stream)).length } catch (error) { throw new Error((error as StageError).code) } })
  for (const stream of [Readable.from([1, 2, 3]), (async function* () { yield 1; await settle(2); yield 2; yield 3 })(), new PassThrough().end('xyz')]) {
    const calls = [a.to('b').call<number>('read', stream), a.to('b').call('read', stream).then(() => 'read', (error: StageError) => (error.cause as Error).message)]
    const [first, second] = await advance(clock, Promise.all(calls))
    t.true(Number(first) > 0)
    t.is(second, 'BAD_ARGUMENT')
  }
})

test('callAll: one of those who were asked reads a stream, and one that does not spoils nothing', async (t) => {
  const { clock, stages: [web, one, two] } = await virtual(t, ['web', 'g', 'g'])
  const stream = new Readable({ read() {} })
  let got: Promise<Buffer[]> | undefined
  one.to('*').provide('take', (given: AsyncIterable<Buffer>) => { got = all(given); return 'reads' })
  two.to('*').provide('take', () => 'ignores it')
  await clock.advance(100)
  const answers = await advance(clock, all(web.to('g').callAll('take', stream)))
  t.deepEqual(answers.map(({ value }) => value as string).sort(), ['ignores it', 'reads'])
  await clock.advance(70_000)
  t.false(stream.destroyed)
  stream.push('whole')
  stream.push(null)
  t.is(Buffer.concat(await advance(clock, got!)).toString(), 'whole')
})

for (const [title, size, most] of [['small values', 0, 256 + 64], ['values of 1 KiB', 1024, 400], ['values of 16 KiB', 16 * 1024, 30]] as const) {
  test(`P13: a source gets only so far ahead of who reads it: ${title}`, async (t) => {
    const { clock, stages: [a, b] } = await virtual(t)
    const [argument, result] = [endless(size), endless(size)]
    let release = (): void => {}
    b.to('*').provide('one', async (values: AsyncIterable<unknown>) => { for await (const value of values) { await new Promise<void>((resolve) => { release = resolve }); return value === undefined } })
    b.to('*').provide('make', () => result.source)
    const call = a.to('b', { timeoutMs: 60_000 }).call('one', argument.source)
    const values = (await advance(clock, a.to('b').call<AsyncIterable<unknown>>('make')))[Symbol.asyncIterator]()
    await values.next()
    for (let i = 0; i < 40; i++) await clock.advance(50)
    for (let before = -1; before !== argument.made + result.made;) { before = argument.made + result.made; await settle(50) }
    for (const { made } of [argument, result]) t.true(made > 8 && made <= most, `${made}`)
    const before = result.made
    for (let i = 0; i < 300; i++) await values.next()
    t.true(result.made > before, 'it goes on')
    release()
    await advance(clock, call)
    await values.return?.()
  })
}

/** Streams wherever a value can have them, and whether they were ended. */
function everywhere(): { value: object; ends(): Record<string, boolean> } {
  const made = Object.fromEntries(['inside', 'list', 'map', 'set', 'instance', 'cause', 'beside'].map((where) => [where, new Readable({ read() {} })]))
  const values = { left: false, next: () => new Promise(() => {}), return() { this.left = true; return Promise.resolve({ done: true }) }, [Symbol.asyncIterator]() { return this } }
  const value = { inside: made['inside'], deep: [[made['list'], values], new Map<unknown, unknown>([['it', { file: made['map'] }]]), new Set([made['set']]), new (class Own { file = made['instance'] })(), new Error('failed', { cause: made['cause'] })] }
  return {
    value: [value, made['beside']],
    ends: () => ({ ...Object.fromEntries(Object.entries(made).map(([where, { destroyed }]) => [where, destroyed])), values: values.left }),
  }
}
const ENDED = { inside: true, list: true, map: true, set: true, instance: true, cause: true, beside: true, values: true }

test('a call that is never sent ends the streams in its arguments, however deep', async (t) => {
  const { clock, stages: [a] } = await virtual(t)
  const [nobody, unsendable, aborted, misnamed] = [everywhere(), everywhere(), everywhere(), everywhere()]
  t.is(await code(advance(clock, a.to('nobody', { timeoutMs: 100 }).call('go', nobody.value))), 'NO_SUCH_PEER')
  t.deepEqual(nobody.ends(), ENDED)
  t.is(await code(a.to('b').call('hello', unsendable.value, Symbol('x'))), 'BAD_ARGUMENT')
  t.deepEqual(unsendable.ends(), ENDED)
  t.is(await code(a.to('b', { signal: AbortSignal.abort() }).call('hello', aborted.value)), 'CANCELLED')
  t.deepEqual(aborted.ends(), ENDED)
  t.is(await code(a.to('b').call('then', misnamed.value)), 'NO_SUCH_METHOD')
  t.deepEqual(misnamed.ends(), ENDED)
})

test('a result that cannot be sent, or that nobody waits for, ends the streams in it, however deep', async (t) => {
  const { clock, stages: [a, b] } = await virtual(t)
  const [unsendable, late] = [everywhere(), everywhere()]
  let answer!: () => void
  b.to('*').provide('make', () => [unsendable.value, Symbol('x')])
  b.to('*').provide('late', () => new Promise((resolve) => { answer = () => { resolve({ of: late.value }) } }))
  t.is(await code(a.to('b').call('make')), 'BAD_ARGUMENT')
  t.deepEqual(unsendable.ends(), ENDED)
  const controller = new AbortController()
  const call = code(a.to('b', { signal: controller.signal }).call('late'))
  await clock.advance(10)
  controller.abort()
  await clock.advance(10)
  answer()
  await clock.advance(10)
  t.is(await call, 'CANCELLED')
  t.deepEqual(late.ends(), ENDED)
})

test('looking for streams to end runs no getter, takes no exception further, and comes to an end', async (t) => {
  const { clock, stages: [a] } = await virtual(t)
  let read = 0
  const trap = (): never => { throw new Error('trapped') }
  const { value, ends } = everywhere()
  const hostile = [{ get file() { read++; return new Readable() } }, new Proxy({}, { getPrototypeOf: trap, ownKeys: trap, getOwnPropertyDescriptor: trap, get: trap }), new Proxy([1], { get: trap })]
  t.is(await code(advance(clock, a.to('nobody', { timeoutMs: 100 }).call('go', hostile, ...hostile, value))), 'NO_SUCH_PEER')
  t.deepEqual(ends(), ENDED)
  t.is(read, 0)
  const circle: Record<string, unknown> = {}
  for (let i = 0; i < 10; i++) circle[i] = circle
  const wrapped: unknown[] = []
  for (let i = 0; i < 100_000; i++) wrapped[0] = [wrapped[0]]
  const stream = new Readable({ read() {} })
  const endless = [circle, wrapped, new Array(4_000_000), new Proxy([], { get: (_, key) => key === 'length' ? 1e15 : undefined }), stream]
  t.is(await code(advance(clock, a.to('nobody', { timeoutMs: 100 }).call('go', ...endless))), 'NO_SUCH_PEER')
  t.true(stream.destroyed, 'the outermost come first')
})

test('a call of a passed function that is not sent ends the streams in its arguments', async (t) => {
  const { clock, network, stages: [a, b] } = await virtual(t)
  let fn!: (...args: unknown[]) => Promise<unknown>
  b.to('*').provide('take', (given: typeof fn) => { fn = given })
  await advance(clock, a.to('b').call('take', () => 'called'))
  const [unsendable, late] = [everywhere(), everywhere()]
  t.is(await code(fn(unsendable.value, Symbol('x'))), 'BAD_ARGUMENT')
  t.deepEqual(unsendable.ends(), ENDED)
  network.cut()
  await clock.advance(100)
  t.is(await code(fn(late.value)), 'DISCONNECTED')
  t.deepEqual(late.ends(), ENDED)
})

for (const way of ['an argument', 'a result'] as const) {
  test(`a Readable of objects that has nothing to give ends when its reader leaves: ${way}`, async (t) => {
    const { clock, stages: [a, b] } = await virtual(t)
    const source = new Readable({ objectMode: true, read() {} })
    source.push({ n: 1 })
    const first = async (values: AsyncIterable<unknown>): Promise<unknown> => { for await (const value of values) return value }
    b.to('*').provide('take', first)
    b.to('*').provide('give', () => source)
    const got = way === 'an argument' ? a.to('b').call('take', source) : a.to('b').call<Readable>('give').then(first)
    t.deepEqual(await advance(clock, got), { n: 1 })
    await clock.advance(100)
    t.true(source.destroyed)
    t.deepEqual([a.stats()['streams'], b.stats()['streams']], [0, 0])
  })
}

test('a file that is not there is what its reader is told of, whether it failed before or after the call', async (t) => {
  const { clock, stages: [a, b] } = await virtual(t)
  b.to('*').provide('take', async (stream: Readable) => { for await (const _ of stream) void _ })
  const early = createReadStream('/nonexistent/photo.jpg').on('error', () => {})
  await until(() => early.destroyed)
  for (const stream of [createReadStream('/nonexistent/photo.jpg'), early]) {
    const error = await t.throwsAsync(advance(clock, a.to('b').call('take', stream)), { instanceOf: StageError })
    t.is(error.code, 'REMOTE_ERROR')
    t.regex(error.message, /ENOENT.*photo\.jpg/)
  }
})

test('streams in what a handler throws end where they go to nobody', async (t) => {
  const { clock, stages: [a, b] } = await virtual(t)
  const [late, unsendable] = [new Readable({ read() {} }), new Readable({ read() {} })]
  let fail!: () => void
  b.to('*').provide('late', () => new Promise((_, reject) => { fail = () => { reject(Object.assign(new Error('late'), { cause: late })) } }))
  b.to('*').provide('odd', () => { throw { status: 500, body: unsendable, symbol: Symbol('x') } })
  const controller = new AbortController()
  const call = code(a.to('b', { signal: controller.signal }).call('late'))
  await clock.advance(10)
  controller.abort()
  await clock.advance(10)
  fail()
  t.is(await call, 'CANCELLED')
  t.is(await code(advance(clock, a.to('b').call('odd'))), 'REMOTE_ERROR')
  await clock.advance(10)
  t.deepEqual([late.destroyed, unsendable.destroyed], [true, true])
})
