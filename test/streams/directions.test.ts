/** Streams in calls: what they arrive as, and each of their directions by itself. */
import { spawn, type ChildProcess } from 'node:child_process'
import { createReadStream } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer, connect } from 'node:net'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Duplex, PassThrough, Readable, Stream, Transform, Writable, duplexPair, pipeline, type TransformCallback } from 'node:stream'
import { buffer, text } from 'node:stream/consumers'
import { ReadableStream, TransformStream, WritableStream } from 'node:stream/web'
import { createGzip, gunzipSync } from 'node:zlib'
import test from 'ava'
import { StageError, type Stage } from '../../src/index.js'
import { systemRandom } from '../../src/random.js'
import { realMesh } from '../helpers/mesh.js'
import { compiled } from '../helpers/own-process.js'
import { nothingUnhandled } from '../helpers/unhandled.js'
import { until } from '../helpers/until.js'
import { all, pair } from '../helpers/ways.js'
import { Told } from '../suites/stream.js'
import type { Assertions } from '../suites/test.js'

nothingUnhandled(test)

type Shape = 'Readable' | 'Writable' | 'Duplex'
const upper = (): Transform => new Transform({ transform(chunk: Buffer, _, done: TransformCallback) { done(null, String(chunk).toUpperCase()) } })
/** Its types know of no Duplex with one side. */
const sided = (options: object): Duplex => new Duplex(options)
const sink = (options: object = {}): Writable => new Writable({ ...options, write(_, __, done) { done() } })

/** Gives a stream over in both directions: as an argument, and as a result. */
async function over<T extends object, R>(t: Assertions, make: () => T, use: (stream: T) => R | Promise<R>): Promise<R[]> {
  const [from, to] = await pair(t)
  to.to('*').provide('use', use)
  to.to('*').provide('make', make)
  return [await from.to(to.name).call<R>('use', make()), await use(await from.to(to.name).call<T>('make'))]
}

// ── what arrives ────────────────────────────────────────────────────────────────────────────────────────────────

const shapes: [title: string, make: () => object, shape: Shape, objects?: { read?: boolean; written?: boolean }][] = [
  ['a Readable of bytes', () => new Readable({ read() {} }), 'Readable'],
  ['a Readable of objects', () => Readable.from([]), 'Readable', { read: true }],
  ['a Writable of bytes', () => sink(), 'Writable'],
  ['a Writable of objects', () => sink({ objectMode: true }), 'Writable', { written: true }],
  ['a Duplex of bytes', () => new PassThrough(), 'Duplex'],
  ['a Duplex of objects', () => new PassThrough({ objectMode: true }), 'Duplex', { read: true, written: true }],
  ['a parser', () => new PassThrough({ readableObjectMode: true }), 'Duplex', { read: true }],
  ['a formatter', () => new PassThrough({ writableObjectMode: true }), 'Duplex', { written: true }],
  ['a Duplex that was ended', () => new PassThrough().end('x'), 'Readable'],
  ['a Duplex whose end was read', () => { const [a, b] = duplexPair(); b.end(); a.resume(); return a }, 'Duplex'], // its end is still to come
  ['a Duplex that is not readable', () => sided({ readable: false, write: (_: unknown, __: unknown, done: () => void) => done() }), 'Writable'],
  ['a Duplex that is not writable', () => sided({ writable: false, read() {} }), 'Readable'],
  ['process.stdout', () => process.stdout, 'Writable'],
  ['process.stdin', () => process.stdin, 'Readable'],
  ['a WritableStream', () => new WritableStream(), 'Writable', { written: true }],
  ['a TransformStream', () => new TransformStream(), 'Duplex', { read: true, written: true }],
]

for (const [title, make, shape, objects = {}] of shapes) {
  test(`${title} arrives as a ${shape}`, async (t) => {
    const look = (stream: Duplex): unknown => {
      const is = Object.entries({ Duplex, Readable, Writable }).find(([, Kind]) => stream instanceof Kind)?.[0]
      return { is, readable: stream.readable ?? false, writable: stream.writable ?? false, read: stream.readableObjectMode ?? false, written: stream.writableObjectMode ?? false }
    }
    const expected = { is: shape, readable: shape !== 'Writable', writable: shape !== 'Readable', read: objects.read ?? false, written: objects.written ?? false }
    t.deepEqual(await over(t, make as () => Duplex, look), [expected, expected])
  })
}

const refused: [title: string, make: () => unknown, tells: RegExp][] = [
  ['a stream of the old style', () => Object.assign(new Stream(), { readable: true, writable: true, write() {}, end() {} }), /old-style.*wrap/],
  ['a synchronous generator', () => (function* () { yield 1 })(), /Generator.*array.*async generator/],
  ['an iterator of a Map', () => new Map().values(), /Map Iterator.*array/],
  ['a Response', () => new Response('x'), /Response.*its body/],
  ['a Request', () => new Request('http://127.0.0.1'), /Request.*its body/],
  ['a Blob', () => new Blob(['x']), /Blob.*stream\(\)/],
  ['a FormData', () => new FormData(), /FormData.*entries/],
]

for (const [title, make, tells] of refused) {
  test(`${title} cannot be passed, and the error says what to pass`, async (t) => {
    const [from, to] = await pair(t)
    to.to('*').provide('make', make)
    for (const call of [() => from.to(to.name).call('hello', make()), () => from.to(to.name).call('make')]) {
      const error = await t.throwsAsync<StageError>(call, { instanceOf: StageError, code: 'BAD_ARGUMENT' })
      t.regex(error?.message ?? '', tells)
    }
  })
}

test("streams of the web: a Response's body, a Blob's stream, a WritableStream and a TransformStream carry what goes through them", async (t) => {
  for (const make of [() => new Response('hello').body as object, () => new Blob(['hello']).stream()]) {
    t.deepEqual(await over(t, make, (stream) => text(stream as AsyncIterable<Uint8Array> as never)), ['hello', 'hello'])
  }
  const written: unknown[] = []
  const writable = (): WritableStream => new WritableStream({ write(one) { written.push(one) }, close() { written.push('closed') } })
  await over(t, writable as () => object, async (stream) => { (stream as Writable).write({ n: 1 }); (stream as Writable).end('x'); await once(stream as Writable, 'finish') })
  await until(() => written.length === 6)
  t.deepEqual(written, [{ n: 1 }, 'x', 'closed', { n: 1 }, 'x', 'closed'])
  const doubling = (): TransformStream => new TransformStream({ transform(n: number, to) { to.enqueue(2 * n) } })
  t.deepEqual(await over(t, doubling as () => object, async (stream) => { for (const n of [1, 2]) (stream as Duplex).write(n); (stream as Duplex).end(3); return all(stream as Duplex) }), [[2, 4, 6], [2, 4, 6]])
})

// ── each direction by itself ────────────────────────────────────────────────────────────────────────────────────

const data = systemRandom.bytes(1 << 20)
/** Something of which one direction is fed by its owner, and what is read of it. */
const fed: [title: string, make: (file: string) => Readable, whole: (got: Buffer) => Buffer][] = [
  ['a file', (file) => createReadStream(file), (got) => got],
  ['a file piped into gzip', (file) => createReadStream(file).pipe(createGzip()), gunzipSync],
  ['a pipeline into gzip', (file) => pipeline(createReadStream(file), createGzip(), () => {}), gunzipSync],
  ['a file piped into a PassThrough', (file) => createReadStream(file).pipe(new PassThrough()), (got) => got],
  ['a composed stream', (file) => createReadStream(file).compose(createGzip()) as Readable, gunzipSync],
  ['a PassThrough that is written to later', () => { const through = new PassThrough(); setTimeout(() => through.end(data), 50); return through }, (got) => got],
]

for (const [title, make, whole] of fed) {
  test(`fed by its owner: ${title} arrives whole, and nothing is left of it`, async (t) => {
    const folder = await mkdtemp(join(tmpdir(), 'directions-'))
    t.teardown(() => rm(folder, { recursive: true, force: true }))
    const file = join(folder, 'data')
    await writeFile(file, data)
    const [from, to] = await pair(t)
    to.to('*').provide('make', () => make(file))
    to.to('*').provide('read', async (stream: Readable) => whole(await buffer(stream)).equals(data))
    t.true(await from.to(to.name).call('read', make(file)))
    const got: Buffer[] = []
    const result = await from.to(to.name).call<Readable>('make')
    result.on('data', (chunk: Buffer) => got.push(chunk)) // nobody ends or destroys it
    await once(result, 'end')
    t.true(whole(Buffer.concat(got)).equals(data))
    await until(() => from.stats()['streams'] === 0 && to.stats()['streams'] === 0)
  })
}

test('P27: a Duplex whose reading side is over keeps the other one, and is open until that is ended', async (t) => {
  const outer: Duplex[] = []
  const make = (): Duplex => {
    const [inner, other] = duplexPair()
    other.end('greeting')
    outer.push(other)
    return inner
  }
  const used = await over(t, make, async (stream: Duplex) => {
    const told = new Told(stream)
    stream.resume()
    await once(stream, 'end')
    const { writable } = stream
    stream.write('later ')
    stream.end('on')
    await told.closed
    return [writable, told.events.at(-1), told.error?.message]
  })
  t.deepEqual(used, [[true, 'close', undefined], [true, 'close', undefined]])
  t.deepEqual(await Promise.all(outer.map((other) => text(other))), ['later on', 'later on'])
})

test('P27: a Duplex whose writing side is over keeps the other one', async (t) => {
  const make = (): Duplex => {
    const [inner, other] = duplexPair()
    let got = ''
    other.on('data', (chunk: Buffer) => { got += String(chunk) }).on('end', () => { other.end(`got ${got}`) })
    return inner
  }
  t.deepEqual(await over(t, make, async (stream: Duplex) => { stream.end('it'); await once(stream, 'finish'); return text(stream) }), ['got it', 'got it'])
})

test('where its owner ends a Duplex itself, the other end is not written to any more: it ends if nothing is lost, and fails otherwise', async (t) => {
  for (const writes of [false, true]) {
    const streams: PassThrough[] = []
    const used = await over(t, () => { const one = new PassThrough(); streams.push(one); return one }, async (stream: Duplex) => {
      const told = new Told(stream)
      stream.once('data', () => { if (writes) stream.write(Buffer.alloc(100_000)) })
      streams.at(-1)?.write('x')
      await once(stream, 'data')
      streams.at(-1)?.end()
      stream.resume()
      await told.closed
      return writes ? told.error !== undefined || told.events.includes('finish') : `${told.error?.message} ${told.events.includes('end')} ${told.events.at(-1)}`
    })
    t.deepEqual(used, writes ? [true, true] : ['undefined true close', 'undefined true close'])
  }
})

test('a socket is a Duplex in a call, and what it had received is not lost when its peer is gone before anybody reads', async (t) => {
  const server = createServer((socket) => { socket.end('from the socket') }).listen(0, '127.0.0.1')
  t.teardown(() => { server.close() })
  await once(server, 'listening')
  const [from, to] = await pair(t)
  to.to('*').provide('late', async (stream: Duplex) => { await closed; return text(stream) })
  const socket = connect((server.address() as { port: number }).port, '127.0.0.1')
  const closed = once(socket, 'end')
  await once(socket, 'connect')
  t.is(await from.to(to.name).call('late', socket), 'from the socket')
})

// ── processes ───────────────────────────────────────────────────────────────────────────────────────────────────

const child = (t: Assertions, script: string): ChildProcess => {
  const one = spawn(process.execPath, ['-e', script], { stdio: ['pipe', 'pipe', 'inherit'] })
  t.teardown(() => { one.kill() })
  return one
}

for (const linked of [true, false]) {
  test(`the output of a child that is gone by the time somebody reads it is whole: ${linked ? 'over a standing link' : 'of a call that waits for its peer'}`, async (t) => {
    const { stage } = realMesh(t)
    const from = stage('from')
    const one = child(t, "process.stdout.write('x'.repeat(100000))")
    const exited = once(one, 'exit')
    const read = async (stream: Readable): Promise<number> => { await exited; await new Promise((resolve) => setImmediate(resolve)); return (await buffer(stream)).length }
    const join = async (): Promise<void> => { const to = stage('to'); to.to('*').provide('read', read); await to.ready() }
    if (linked) await join()
    const call = from.to('to').call<number>('read', one.stdout)
    await exited
    if (!linked) await join()
    t.is(await call, 100_000)
  })
}

test("a child's input takes what is written at the other end, to the last byte", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'directions-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  const [from, to] = await pair(t)
  to.to('*').provide('fill', async (input: Writable) => { for (let i = 0; i < 20; i++) if (!input.write(data)) await once(input, 'drain'); input.end('end'); await once(input, 'finish') })
  const file = join(folder, 'out')
  const one = child(t, `process.stdin.pipe(require('fs').createWriteStream(${JSON.stringify(file)}))`)
  const exited = once(one, 'exit')
  await from.to(to.name).call('fill', one.stdin)
  await exited
  const got = await readFile(file)
  t.is(got.length, 20 * data.length + 3)
  t.is(got.subarray(-3).toString(), 'end')
})

test('process.stdout is written to by the other end, and is still open when that has ended it', async (t) => {
  const script = `
    const { Stage } = await import(${JSON.stringify(compiled('src/index.js'))})
    const [near, far] = ['near', 'far'].map((name) => new Stage(name, 'memory:out'))
    far.to('*').provide('print', (out) => new Promise((resolve) => out.end('from afar\\n', resolve)))
    await near.to('far').call('print', process.stdout)
    await Promise.all([near.close(), far.close()])
    console.log('and from near')`
  const one = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => { one.kill() })
  t.is(await text(one.stdout), 'from afar\nand from near\n')
})

// ── objects ─────────────────────────────────────────────────────────────────────────────────────────────────────

const doubled = (): Duplex => new Transform({ objectMode: true, transform({ n }: { n: number }, _, done: TransformCallback) { done(null, { n: 2 * n }) } })

test('P27: objects go both ways through a Duplex, one by one, while each direction ends by itself', async (t) => {
  t.deepEqual(await over(t, doubled, async (stream: Duplex) => {
    const got = all(stream as AsyncIterable<{ n: number }>)
    for (let n = 0; n < 1000; n++) if (!stream.write({ n })) await once(stream, 'drain')
    stream.end()
    return (await got).reduce((sum, { n }) => sum + n, 0)
  }), [999_000, 999_000])
})

test('a Writable of objects gets each of them, and then its end', async (t) => {
  const got: unknown[][] = []
  const make = (): Writable => {
    const mine: unknown[] = []
    got.push(mine)
    return new Writable({ objectMode: true, write(one, _, done) { mine.push(one); done() }, final(done) { mine.push('end'); done() } })
  }
  const values = [{ a: 1 }, 'text', [1, 2], new Map([[1, 2]]), Buffer.from('x'), 0, false]
  await over(t, make, async (stream: Writable) => { for (const one of values) stream.write(one); stream.end(); await once(stream, 'finish') })
  await until(() => got.every((mine) => mine.length === values.length + 1))
  for (const mine of got) t.deepEqual(mine, [...values, 'end'])
})

test('P13: the window of a stream of objects is counted in items', async (t) => {
  const [from, to] = await pair(t)
  let taken = 0
  let open = (): void => {}
  const gate = new Promise<void>((resolve) => { open = resolve })
  const slow = new Writable({ objectMode: true, highWaterMark: 1, write(_, __, done) { taken++; void gate.then(() => done()) } })
  to.to('*').provide('fill', async (stream: Writable) => {
    let written = 0
    const fill = async (): Promise<void> => { while (written < 10_000) if (!stream.write(written++)) await once(stream, 'drain') }
    const filled = fill()
    for (let before = -1; before !== written;) { before = written; await new Promise((resolve) => setTimeout(resolve, 100)) }
    const held = written
    open()
    await filled
    stream.end()
    await once(stream, 'finish')
    return held
  })
  const held = await from.to(to.name).call<number>('fill', slow)
  t.true(held > 200 && held < 256 + 64, `${held} ahead`)
  await until(() => taken === 10_000)
})

for (const objectMode of [false, true]) {
  test(`a Writable that its owner ends itself ends at the other end too, and end() there comes back: ${objectMode ? 'objects' : 'bytes'}`, async (t) => {
    const sinks: Writable[] = []
    t.deepEqual(await over(t, () => { const one = sink({ objectMode }); sinks.push(one); return one }, async (stream: Writable) => {
      await new Promise((resolve) => stream.write('x', resolve))
      const finished = once(stream, 'finish')
      sinks.at(-1)?.end()
      await finished
      return new Promise((resolve) => { stream.end(() => { resolve('ended') }) })
    }), ['ended', 'ended'])
  })
}

test('a source whose reader has gone is destroyed, also where it went with a goodbye', async (t) => {
  const [from, to] = await pair(t)
  const quiet = new PassThrough()
  to.to('*').provide('leave', async (stream: Duplex) => { stream.end(); await once(stream, 'finish'); stream.destroy() })
  await from.to(to.name).call('leave', quiet)
  await until(() => quiet.destroyed)
  t.pass()
})

test('streams of the web in a call that fails are ended', async (t) => {
  const [from] = await pair(t)
  let ended = ''
  const writable = new WritableStream({ abort() { ended += 'w' } })
  const readable = new ReadableStream({ cancel() { ended += 'r' } })
  await t.throwsAsync(from.to('nobody', { timeoutMs: 50 }).call('take', writable, readable))
  await until(() => ended.length === 2)
  t.is([...ended].sort().join(''), 'rw')
})

test('what cannot be sent in a stream of objects fails the write, and both ends of the stream', async (t) => {
  const [from, to] = await pair(t)
  const own = doubled().on('error', () => {})
  to.to('*').provide('fill', (stream: Duplex) => new Promise((resolve) => { stream.on('error', (error: StageError) => { resolve(error.code) }); stream.write({ fn: () => {} }) }))
  t.is(await from.to(to.name).call('fill', own), 'BAD_ARGUMENT')
  await until(() => own.destroyed)
  await until(() => from.stats()['streams'] === 0 && to.stats()['streams'] === 0)
})

const failing: [title: string, make: () => AsyncIterable<unknown>, code: string, message: RegExp][] = [
  ['an iterable that throws', () => (async function* () { yield 1; yield 2; throw new Error('on purpose') })(), 'REMOTE_ERROR', /on purpose/],
  ['a Readable of objects that fails', () => Readable.from((async function* () { yield 1; yield 2; throw new Error('on purpose') })()), 'REMOTE_ERROR', /on purpose/],
  ['an iterable that yields a function', () => (async function* () { yield 1; yield 2; yield () => {} })(), 'BAD_ARGUMENT', /is a function/],
  ['a Readable of objects that yields a stream', () => Readable.from((async function* () { yield 1; yield 2; yield new PassThrough() })()), 'BAD_ARGUMENT', /is a stream/],
]

for (const [title, make, code, message] of failing) {
  test(`P13: what came before a failure arrives before it: ${title}`, async (t) => {
    const read = async (stream: AsyncIterable<unknown>): Promise<unknown[]> => {
      const got: unknown[] = []
      try {
        for await (const one of stream) got.push(one)
      } catch (error) {
        got.push((error as StageError).code, message.test((error as StageError).message))
      }
      return got
    }
    t.deepEqual(await over(t, make, read), Array(2).fill([1, 2, code, true]))
  })
}

// ── ends ────────────────────────────────────────────────────────────────────────────────────────────────────────

const broken: [title: string, make: () => Duplex, use: (stream: Duplex) => unknown][] = [
  ['an error of the source', () => { const one = new PassThrough(); setTimeout(() => one.destroy(new Error('on purpose')), 30); return one }, (stream) => stream.resume()],
  ['an error of a source of objects', () => { const one = new PassThrough({ objectMode: true }); setTimeout(() => one.destroy(new Error('on purpose')), 30); return one }, (stream) => stream.resume()],
  ['an error of a sink', () => new Writable({ write(_, __, done) { done(new Error('on purpose')) } }) as Duplex, (stream) => stream.write('x')],
  ['an error of a sink of objects', () => new Writable({ objectMode: true, write(_, __, done) { done(new Error('on purpose')) } }) as Duplex, (stream) => stream.write({})],
]

for (const [title, make, use] of broken) {
  test(`${title} is one at the other end, and close comes last`, async (t) => {
    const fails = async (stream: Duplex): Promise<unknown> => {
      const told = new Told(stream)
      use(stream)
      await told.closed
      return [(told.error as StageError | undefined)?.code, /on purpose/.test(String(told.error?.message)), told.events.at(-1)]
    }
    t.deepEqual(await over(t, () => make().on('error', () => {}), fails), Array(2).fill(['REMOTE_ERROR', true, 'close']))
  })
}

test('one who destroys what arrived destroys what it came from, in all shapes', async (t) => {
  const [from, to]: readonly [Stage, Stage] = await pair(t)
  to.to('*').provide('drop', async (streams: Duplex[]) => {
    for (const one of streams) {
      if (one instanceof Readable) one.read(0)
      else (one as Writable).write('x')
      await new Promise((resolve) => setImmediate(resolve))
      one.destroy()
    }
  })
  const made = [new Readable({ read() {} }), new Readable({ objectMode: true, read() {} }), sink(), sink({ objectMode: true }), new PassThrough(), new PassThrough({ objectMode: true }), upper()]
  for (const one of made) one.on('error', () => {})
  await from.to(to.name).call('drop', made)
  await until(() => made.every((one) => one.destroyed))
  await until(() => from.stats()['streams'] === 0 && to.stats()['streams'] === 0)
  t.pass()
})
