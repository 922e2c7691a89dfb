/** Streams and iterables inside calls, as arguments and as results. */
import { once } from 'node:events'
import { Duplex, PassThrough, Readable, Writable } from 'node:stream'
import { ReadableStream } from 'node:stream/web'
import { isDeepStrictEqual } from 'node:util'
import duplexify from 'duplexify'
import test, { type ExecutionContext } from 'ava'
import through2 from 'through2'
import { StageError } from '../../src/index.js'
import { realMesh } from '../helpers/mesh.js'
import { nothingUnhandled } from '../helpers/unhandled.js'
import { until } from '../helpers/until.js'
import { all, pair, ways } from '../helpers/ways.js'

nothingUnhandled(test)

async function* count(to: number): AsyncGenerator<number> {
  for (let i = 0; i < to; i++) yield i
}
/** Reads to the end, and ends the other direction where there is one: a loop of later Nodes leaves it open. */
const text = async (stream: AsyncIterable<Buffer> & { end?(): void }): Promise<string> => {
  const got = Buffer.concat(await all(stream)).toString()
  stream.end?.()
  return got
}
const bytes = (...parts: string[]): Readable => Readable.from(parts.map((part) => Buffer.from(part)), { objectMode: false })

/** What can be read, and what of it arrives. */
const sources: [title: string, make: () => object, whole: unknown, bytes?: boolean][] = [
  ['a generator', () => count(1000), Array.from({ length: 1000 }, (_, i) => i)],
  ['an empty generator', () => count(0), []],
  ['an iterable that can be read again', () => ({ [Symbol.asyncIterator]: () => count(3) }), [0, 1, 2]],
  ['an object-mode Readable', () => Readable.from([{ n: 1 }, 'two', [3]]), [{ n: 1 }, 'two', [3]]],
  ['a WHATWG stream', () => new ReadableStream({ start(to) { to.enqueue('a'); to.enqueue({ b: 1 }); to.close() } }), ['a', { b: 1 }]],
  ['a generator of values of 4 MiB', async function* () { for (let i = 0; i < 2; i++) yield Buffer.alloc(4 * 1024 * 1024 - 16, i) }, [0, 1].map((i) => Buffer.alloc(4 * 1024 * 1024 - 16, i))],
  ['a Readable of bytes', () => bytes('one ', 'two'), 'one two', true],
  ['a Readable of 2 MiB', () => bytes(...Array<string>(32).fill('x'.repeat(65_536))), 'x'.repeat(2 << 20), true],
  ['an empty Readable', () => bytes(), '', true],
  ['a PassThrough', () => new PassThrough().end('through'), 'through', true],
  ['a through2', () => { const one = through2(); one.end('two'); return one }, 'two', true],
  ['a duplexify', () => duplexify(new Writable(), bytes('duplex')), 'duplex', true],
]

for (const [title, make] of ways) {
  for (const [what, source, whole, raw] of sources) {
    const read = (stream: AsyncIterable<Buffer>): Promise<unknown> => raw ? text(stream) : all(stream)
    test(`${title}: ${what} arrives whole, as an argument and as a result`, async (t) => {
      const [from, to] = await make(t)
      to.to('*').provide('read', (stream: AsyncIterable<Buffer>) => read(stream).then((got) => { t.true(isDeepStrictEqual(got, whole)) }))
      to.to('*').provide('make', source)
      await from.to(to.name).call('read', source())
      t.true(isDeepStrictEqual(await read(await from.to(to.name).call('make')), whole))
      await until(() => from.stats()['streams'] === 0 && to.stats()['streams'] === 0)
    })
  }

  test(`${title}: a Writable takes what the other end writes, as an argument and as a result`, async (t) => {
    const [from, to] = await make(t)
    const got: string[] = []
    const sink = (): Writable => new Writable({ write(chunk: Buffer, _, done) { got.push(String(chunk)); done() } })
    to.to('*').provide('fill', async (out: Writable) => { out.end('argument'); await once(out, 'finish') })
    to.to('*').provide('sink', sink)
    await from.to(to.name).call('fill', sink())
    const out = await from.to(to.name).call<Writable>('sink')
    out.end('result')
    await until(() => got.length === 2)
    t.deepEqual(got, ['argument', 'result'])
    await until(() => from.stats()['streams'] === 0 && to.stats()['streams'] === 0)
  })

  test(`${title}: a Writable or Duplex that is ended without a write ends at its owner, as an argument and as a result`, async (t) => {
    const [from, to] = await make(t)
    const ended: string[] = []
    const sinks = {
      writable: (): Writable => new Writable({ write(_, __, done) { done() }, final(done) { ended.push('writable'); done() } }),
      duplex: (): Writable => new Duplex({ read() {}, write(_, __, done) { done() }, final(done) { ended.push('duplex'); this.push(null); done() } }),
    }
    const read = async (out: Writable): Promise<void> => { if (out instanceof Duplex) out.resume(); out.end(); await once(out, 'finish') }
    const unread = async (out: Writable): Promise<void> => { out.end(); await once(out, 'finish'); out.destroy() }
    for (const [kind, sink] of Object.entries(sinks)) {
      for (const [how, end] of Object.entries({ read, unread })) {
        to.to('*').provide(`${how}.${kind}`, end)
        to.to('*').provide(kind, sink)
        await from.to(to.name).call(`${how}.${kind}`, sink())
        await end(await from.to(to.name).call<Writable>(kind))
      }
    }
    await until(() => ended.length === 8)
    t.is(ended.filter((kind) => kind === 'duplex').length, 4)
  })

  test(`${title}: a Duplex goes both ways`, async (t) => {
    const [from, to] = await make(t)
    const upper = (): Duplex => through2(function (this: Duplex, chunk: Buffer, _: string, done: () => void) { this.push(String(chunk).toUpperCase()); done() }) as Duplex
    const ask = async (stream: Duplex): Promise<string> => { stream.end('hello'); return text(stream) }
    to.to('*').provide('ask', ask)
    to.to('*').provide('upper', upper)
    t.is(await from.to(to.name).call('ask', upper()), 'HELLO')
    t.is(await ask(await from.to(to.name).call('upper')), 'HELLO')
  })

  test(`${title}: in objects, arrays and Maps, and several at once`, async (t) => {
    const [from, to] = await make(t)
    to.to('*').provide('sums', async ({ list, map }: { list: AsyncIterable<number>[]; map: Map<string, AsyncIterable<number>> }) => {
      const each = await Promise.all([...list, map.get('it')!].map(all))
      return { sums: each.map((one) => one.reduce((a, b) => a + b, 0)), again: count(3) }
    })
    const { sums, again } = await from.to(to.name).call('sums', { list: [count(10), count(20)], map: new Map([['it', count(30)]]) })
    t.deepEqual(sums, [45, 190, 435])
    t.deepEqual(await all(again), [0, 1, 2])
  })

  test(`${title}: one that fails tells what it has, and then why`, async (t) => {
    const [from, to] = await make(t)
    const broken = async function* (): AsyncGenerator<number> { yield 1; throw new TypeError('no more') }
    const failed = (): Readable => new Readable({ read() { this.push('1'); this.destroy(new TypeError('no more')) } })
    const read = async (stream: AsyncIterable<unknown>): Promise<unknown[]> => {
      const got: unknown[] = []
      try {
        for await (const one of stream) got.push(one)
        return ['whole']
      } catch (error) {
        return [(error as StageError).code, ((error as StageError).cause as Error).message]
      }
    }
    to.to('*').provide('read', read)
    to.to('*').provide('broken', broken)
    to.to('*').provide('failed', failed)
    const expected = ['REMOTE_ERROR', 'no more']
    t.deepEqual(await from.to(to.name).call('read', broken()), expected)
    t.deepEqual(await from.to(to.name).call('read', failed()), expected)
    t.deepEqual(await read(await from.to(to.name).call('broken')), expected)
    t.deepEqual(await read(await from.to(to.name).call('failed')), expected)
  })

  test(`${title}: leaving a result in the middle runs the source's finally`, async (t) => {
    const [from, to] = await make(t)
    let ended = 0
    to.to('*').provide('endless', async function* () { try { for (let i = 0; ; i++) yield i } finally { ended++ } })
    for await (const i of await from.to(to.name).call<AsyncIterable<number>>('endless')) if (i === 5) break
    await until(() => ended === 1)
    const source = new Readable({ read() { setImmediate(() => this.push(Buffer.alloc(1000))) } })
    to.to('*').provide('bytes', () => source)
    const stream = await from.to(to.name).call<Readable>('bytes')
    await once(stream, 'data')
    stream.destroy()
    await until(() => source.destroyed)
    t.pass()
  })
}

// ── misuse ──────────────────────────────────────────────────────────────────────────────────────────────────────

const failure = async (promise: Promise<unknown>): Promise<StageError> => {
  try {
    await promise
  } catch (error) {
    return error as StageError
  }
  throw new Error('expected an error')
}

/** Whatever this iterable does, its reader is told and neither process is disturbed. */
const hostile: [title: string, make: () => object, tells: RegExp][] = [
  ['whose asyncIterator throws', () => ({ [Symbol.asyncIterator]() { throw new Error('no entry') } }), /no entry/],
  ['whose asyncIterator is nothing', () => ({ [Symbol.asyncIterator]: () => undefined }), /failed/],
  ['whose next throws', () => ({ [Symbol.asyncIterator]: () => ({ next() { throw new Error('no next') } }) }), /no next/],
  ['whose next throws, and return as well', () => ({ [Symbol.asyncIterator]: () => ({ next() { throw new Error('no next') }, return() { throw new Error('no return') } }) }), /no next/],
  ['whose next rejects with nothing', () => ({ [Symbol.asyncIterator]: () => ({ next: () => Promise.reject() }) }), /failed/],  
  ['whose next is no promise and no result', () => ({ [Symbol.asyncIterator]: () => ({ next: () => undefined }) }), /failed/],
  ['of a value that cannot be sent', async function* () { yield Symbol('x') }, /symbol/i],
  ['of a stream', async function* () { yield bytes('inner') }, /stream/],
  ['of a function', async function* () { yield { deep: () => 'called' } }, /^(read failed: )?\.deep is a function.*as an argument/],
  ['of five megabytes', async function* () { yield Buffer.alloc(5_000_000) }, /in parts/],
  ['which throws what cannot be sent', async function* () { throw { of: Symbol('x') } }, /failed/],
]

for (const [title, make, tells] of hostile) {
  test(`an iterable ${title}`, async (t) => {
    const [from, to] = await pair(t)
    to.to('*').provide('make', make)
    to.to('*').provide('read', (values: AsyncIterable<unknown>) => all(values))
    const error = await failure(all(await from.to(to.name).call('make')))
    t.true(error instanceof StageError)
    t.regex(error.message, tells)
    t.regex((await failure(from.to(to.name).call('read', make()))).message, tells)
    t.is(await from.to(to.name).call('hello'), 'far')
    await until(() => from.stats()['streams'] === 0 && to.stats()['streams'] === 0)
    t.deepEqual([from, to].map((one) => one.stats()['functions']), [0, 0])
  })
}

const leaving: [title: string, end: () => unknown][] = [
  ['throws', () => { throw new Error('no return') }],
  ['returns no promise', () => ({ done: true })],
  ['returns nothing', () => undefined],
  ['rejects', () => Promise.reject(new Error('no return'))],
  ['never settles', () => new Promise(() => {})],
]

for (const [title, end] of leaving) {
  test(`an iterable whose return ${title}, left in the middle`, async (t) => {
    const [from, to] = await pair(t)
    let left = 0
    to.to('*').provide('make', () => ({ [Symbol.asyncIterator]: () => ({ next: async () => ({ value: 1, done: false }), return() { left++; return end() } }) }))
    for await (const one of await from.to(to.name).call<AsyncIterable<number>>('make')) if (one) break
    await until(() => left === 1)
    t.is(await from.to(to.name).call('hello'), 'far')
    await until(() => to.stats()['streams'] === 0)
  })
}

/** An argument that is over before it is read. */
const dead: [title: string, make: () => Readable, code: string | undefined][] = [
  ['destroyed', () => bytes('x').destroy(), 'error'],
  ['destroyed with an error', () => { const one = bytes('x').on('error', () => {}); return one.destroy(new Error('gone')) }, 'error'],
  ['destroyed between sending and reading', () => { const one = bytes('x'); setImmediate(() => one.destroy(new Error('gone'))); return one }, 'error'],
  ['in object mode and destroyed', () => Readable.from([1]).destroy(), 'error'],
]

for (const [title, make] of dead) {
  test(`an argument stream that was ${title} ends with an error where it is read`, async (t: ExecutionContext) => {
    const [from, to] = await pair(t)
    to.to('*').provide('read', async (stream: Readable) => {
      await new Promise((resolve) => setTimeout(resolve, 30))
      return all(stream)
    })
    const error = await failure(from.to(to.name).call('read', make()))
    t.is(error.code, 'REMOTE_ERROR')
    await until(() => from.stats()['streams'] === 0 && to.stats()['streams'] === 0)
  })
}

test('a stream in a cast is BAD_ARGUMENT', async (t) => {
  const [from, to] = await pair(t)
  t.throws(() => { from.to(to.name).cast('hello', bytes('x')) }, { instanceOf: StageError, code: 'BAD_ARGUMENT' })
  t.throws(() => { from.to(to.name).cast('hello', [count(1)]) }, { instanceOf: StageError, code: 'BAD_ARGUMENT' })
})

/** Throws whatever it is asked for, but for what is named. */
const touchy = (...but: PropertyKey[]): object => new Proxy({ x: 1 }, { get(_, key) { if (but.includes(key)) return undefined; throw new Error(`no ${String(key)} here`) } })

for (const standing of [true, false]) {
  test(`an argument that throws when it is looked at is BAD_ARGUMENT, and nobody else is disturbed: ${standing ? 'over a standing link' : 'of a call that waits for its link'}`, async (t) => {
    const { stage } = realMesh(t)
    const [from, to] = [stage('near'), stage('far')]
    const ends: unknown[] = []
    for (const one of [from, to]) one.on('unlink', (_, error) => { ends.push(error) })
    to.to('*').provide('hello', () => 'far')
    if (standing) await from.to('far').call('hello')
    const beside = from.to('far').call('hello')
    const error = await failure(from.to('far').call('hello', touchy()))
    t.true(error instanceof StageError)
    t.is(error.code, 'BAD_ARGUMENT')
    t.is(await beside, 'far')
    t.deepEqual(ends, [])
    t.like(from.stats(), { calls: 0, links: 1 })
  })
}

for (const [title, make, code] of [
  ['when it is looked at', () => touchy(), 'REMOTE_ERROR'],
  ['when it is sent', () => touchy('then'), 'BAD_ARGUMENT'],
] as const) {
  for (const [kind, handler] of [['plain', make], ['async', async () => { await null; return make() }]] as const) {
    test(`a result that throws ${title} is an error of its call, and nobody else is disturbed: ${kind}`, async (t) => {
      const [from, to] = await pair(t)
      const ends: unknown[] = []
      for (const one of [from, to]) one.on('unlink', (_, error) => { ends.push(error) })
      to.to('*').provide('make', handler)
      t.is((await failure(from.to('far').call('make'))).code, code)
      t.is(await from.to('far').call('hello'), 'far')
      t.deepEqual(ends, [])
      await until(() => to.stats()['serving'] === 0)
    })
  }
}

/** Of a class, as what is plain is none. */
const like = (over: object): object => Object.create({ on() { return this }, once() { return this }, listeners: () => [], read: () => null, pipe() { return this }, ...over }) as object

for (const [title, listeners] of [
  ['has no listeners', undefined],
  ['throws when asked for its listeners', () => { throw new Error('no listeners') }],
  ['has listeners that are none', () => undefined],
] as const) {
  test(`a stream-like object that ${title} is BAD_ARGUMENT and takes no slot`, async (t) => {
    const [from, to] = await pair(t)
    to.to('*').provide('make', () => [like({ listeners })])
    for (let i = 0; i < 3; i++) {
      t.is((await failure(from.to('far').call('hello', like({ listeners })))).code, 'BAD_ARGUMENT')
      t.is((await failure(from.to('far').call('make'))).code, 'BAD_ARGUMENT')
    }
    t.deepEqual([from, to].map((one) => one.stats()['streams']), [0, 0])
  })
}

test('a stream-like object that throws when it is read is an error of its reader, and the link stands', async (t) => {
  const [from, to] = await pair(t)
  const ends: unknown[] = []
  from.on('unlink', (_, error) => { ends.push(error) })
  to.to('*').provide('read', (values: AsyncIterable<Buffer>) => all(values))
  const error = await failure(from.to('far').call('read', like({ pipe() { throw new Error('no pipe') } })))
  t.is(error.code, 'REMOTE_ERROR')
  t.regex(error.message, /no pipe/)
  t.deepEqual(ends, [])
  await until(() => from.stats()['streams'] === 0 && to.stats()['streams'] === 0)
})
