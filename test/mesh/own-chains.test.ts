/** A chain of one's own ends as one, whichever of its streams ends, however, and of whatever age it is. */
import { once } from 'node:events'
import { Duplex, PassThrough, Readable } from 'node:stream'
import test, { type ExecutionContext } from 'ava'
import { MemoryInterface, MemoryNetwork, MemoryRegistry, Stage, TcpInterface, framing, rpc, type ChainItem, type StageError, type Wrapper } from '../../src/index.js'
import { kinds } from '../helpers/old-streams.js'
import { nothingUnhandled } from '../helpers/unhandled.js'
import { until } from '../helpers/until.js'

nothingUnhandled(test)

type Carrier = 'memory' | 'tcp'
const CARRIERS: readonly Carrier[] = ['memory', 'tcp']
const PLACES = ['bottom', 'middle', 'top'] as const
type Place = (typeof PLACES)[number]

interface Side { stage: Stage; linked: number; streams: Record<string, Duplex>; unlinks: (StageError | undefined)[]; errors: Error[] }
interface Two { a: Side; b: Side }
let rooms = 0
const open = new Map<ExecutionContext, Stage[]>()

/** Two stages with the same chain; what a wrapper returned last is in `streams` under its name. */
function two(t: ExecutionContext, carrier: Carrier, chain: Record<string, Wrapper>, above: readonly ChainItem[] = []): Two {
  const room = `own-chains-${process.pid}-${++rooms}`
  const network = new MemoryNetwork()
  const make = (name: string): Side => {
    const side = { streams: {}, unlinks: [], errors: [] } as unknown as Side
    const own = Object.entries(chain).map(([at, wrap]) => ({ name: at, wrap: ((inner, end) => side.streams[at] = wrap(inner, end)) as Wrapper }))
    const stage = side.stage = new Stage(name, new MemoryRegistry(room), carrier === 'tcp' ? new TcpInterface({ host: '127.0.0.1' }) : new MemoryInterface(network), { chain: [...own, ...above] })
    side.linked = 0
    stage.on('link', () => side.linked++)
    stage.on('unlink', (_, error) => side.unlinks.push(error))
    stage.on('error', (error) => side.errors.push(error))
    return side
  }
  const [a, b] = [make('a'), make('b')]
  // one teardown for all stages of a test: it would wait for one after the other
  if (!open.has(t)) {
    open.set(t, [])
    t.teardown(() => Promise.all((open.get(t) as Stage[]).map((stage) => stage.close())))
  }
  open.get(t)?.push(a.stage, b.stage)
  return { a, b }
}

const ready = ({ a, b }: Two): Promise<unknown> => Promise.all([a.stage.ready(), b.stage.ready()])

/** Three wrappers, of which one returns a stream of the given kind. */
const three = (odd: Place, kind: string): Record<string, Wrapper> => Object.fromEntries(PLACES.map((place) => [place, (inner: Duplex) => kinds[place === odd ? kind : 'Node'](inner)]))

const echoing = ({ stage }: Side): void => void stage.on('stream', (stream: Duplex) => stream.on('data', (chunk: Buffer) => stream.write(`echo ${chunk}`)))

/** A stream to b that is answered. */
async function echoed({ stage }: Side): Promise<Duplex> {
  const stream = stage.to('b')
  stream.on('error', () => {})
  const answer = new Promise<string>((resolve, reject) => { stream.once('data', (chunk: Buffer) => resolve(String(chunk))); stream.once('close', () => reject(new Error('closed'))) })
  stream.write('one')
  if (await answer !== 'echo one') throw new Error('no echo')
  return stream
}

/** The first link stands no more, and each side was told so. Another one may: it is dialled to see whether the peer lives. */
async function unlinked(t: ExecutionContext, { a, b }: Two, label: string): Promise<void> {
  const found = (): number[] => [a, b].flatMap(({ stage, linked, unlinks }) => [linked - stage.links().length, unlinks.length])
  await until(() => `${found()}` === '1,1,1,1', 10_000).catch(() => t.fail(`${label}: links and unlinks ${found()}`))
}

// ── one of the streams fails ────────────────────────────────────────────────────────────────────────────────────────

/** How one of the streams ends, and what is said of it where it did. */
const WAYS: Record<string, { end(stream: Duplex): void; says: RegExp; cause?: unknown }> = {
  'destroy(error)': { end: (stream) => stream.destroy(new Error('bad frame')), says: /bad frame/ },
  'destroy()': { end: (stream) => stream.destroy(), says: /PLACE was destroyed/ },
  'emit error': { end: (stream) => stream.emit('error', new Error('bad frame')), says: /bad frame/ },
  'emit error twice': { end: (stream) => { stream.emit('error', new Error('bad frame')); stream.emit('error', new Error('and another')) }, says: /bad frame/ },
  'emit an error that is none': { end: (stream) => stream.emit('error', 'bad frame'), says: /bad frame/ },
  'emit error with nothing': { end: (stream) => stream.emit('error'), says: /PLACE emitted 'error' without an error/ },
  'emit close': { end: (stream) => stream.emit('close'), says: /PLACE was closed/ },
}

/** Those that have no `destroy`, or one that throws, are not asked to. */
const can = (way: string, stream: Duplex): boolean => !way.startsWith('destroy') || typeof stream.destroy === 'function'

/** Every way of every kind, one after the other. */
const CASES = Object.keys(kinds).flatMap((kind) => Object.entries(WAYS).map(([way, does]) => ({ kind, way, ...does })))

for (const carrier of CARRIERS) {
  test(`P27: ${carrier}: whatever ends a stream of the chain, at either end, ends the link`, async (t) => {
    t.timeout(120_000)
    for (const { kind, way, end, says } of CASES) await Promise.all(PLACES.flatMap((place) => (['a', 'b'] as const).map(async (where) => {
      const label = `${kind}, ${way}, ${place}, ${where}`
      const both = two(t, carrier, three(place, kind))
      const [here, there] = where === 'a' ? [both.a, both.b] : [both.b, both.a]
      echoing(both.b)
      await ready(both)
      const stream = await echoed(both.a)
      if (!can(way, here.streams[place])) return
      const first = new Promise<string>((resolve) => { for (const event of ['error', 'end', 'close']) stream.once(event, () => resolve(event)) })
      end(here.streams[place])
      await unlinked(t, both, label)
      t.regex(String(here.unlinks[0]?.message), new RegExp(says.source.replace('PLACE', `the stream of the wrapper ${place}`)), label)
      if (way.includes('(error)')) t.is((here.unlinks[0]?.cause as Error).message, 'bad frame', label)
      t.is(there.unlinks[0]?.code, 'DISCONNECTED', label)
      const told = await first
      // an error event without an error destroys the stream of to() without one
      if (!(way.endsWith('nothing') && place === 'top' && where === 'a')) t.is(told, 'error', `${label}: the stream of to()`)
      await echoed(both.a)
      t.deepEqual([both.a.errors, both.b.errors], [[], []], label)
    })))
  })

  test(`${carrier}: whatever ends a stream below framing and rpc fails the calls that wait, and the next one goes over another link`, async (t) => {
    t.timeout(120_000)
    for (const { kind, way, end, says } of CASES) await Promise.all((['a', 'b'] as const).map(async (where) => {
      const label = `${kind}, ${way}, ${where}`
      const both = two(t, carrier, { own: kinds[kind] }, [framing(), rpc()])
      const { a, b } = both
      const here = both[where]
      b.stage.to('*').provide('echo', (value: unknown) => value)
      b.stage.to('*').provide('never', () => new Promise(() => {}))
      await ready(both)
      t.is(await a.stage.to('b').call('echo', 1), 1)
      if (!can(way, here.streams['own'])) return
      const pending = a.stage.to('b').call('never')
      await until(() => b.stage.stats()['serving'] === 1)
      end(here.streams['own'])
      const { code, message } = await t.throwsAsync<StageError>(pending)
      t.is(code, 'DISCONNECTED', label)
      await unlinked(t, both, label)
      if (where === 'a') t.regex(message, new RegExp(says.source.replace('PLACE', 'the stream of the wrapper own')), label)
      t.is(await a.stage.to('b').call('echo', 2), 2, label)
    }))
  })
}

test('whoever listens to the top hears of its end once, whatever age it is', async (t) => {
  await Promise.all(Object.keys(kinds).map(async (kind) => {
    const both = two(t, 'memory', three('top', kind))
    const { a, b } = both
    echoing(b)
    await ready(both)
    await echoed(a)
    const told: string[] = []
    for (const event of ['error', 'close'] as const) a.streams['top'].on(event, () => told.push(event))
    b.streams['middle'].destroy(new Error('bad frame'))
    await unlinked(t, both, kind)
    await new Promise((resolve) => setTimeout(resolve, 50))
    t.deepEqual(told, kind === 'Node without close' ? ['error'] : ['error', 'close'], kind)
  }))
})

test('the cause is that of the stream that was destroyed first, whatever it tells those below it', async (t) => {
  for (const carrier of CARRIERS) {
    const silent: Wrapper = (inner) => {
      const outer: Duplex = new Duplex({
        read: () => { inner.resume() }, write: (chunk, _encoding, done) => { inner.write(chunk, done) }, final: (done) => { inner.end(done) },
        destroy: (error, done) => { inner.destroy(); setTimeout(done, 20, error) },
      })
      inner.on('data', (chunk) => { if (!outer.push(chunk)) inner.pause() })
      inner.on('end', () => outer.push(null))
      inner.on('close', () => outer.destroy())
      return outer
    }
    const both = two(t, carrier, { bottom: silent, middle: silent, top: silent })
    echoing(both.b)
    await ready(both)
    await echoed(both.a)
    both.b.streams['top'].destroy(new Error('bad frame'))
    await unlinked(t, both, carrier)
    t.regex(String(both.b.unlinks[0]?.message), /bad frame/)
    t.is(both.a.unlinks[0]?.code, 'DISCONNECTED')
  }
})

test('calls and streams of any size go over streams of any age', async (t) => {
  t.timeout(120_000)
  for (const kind of Object.keys(kinds)) {
    const { a, b } = two(t, 'tcp', { own: kinds[kind] }, [framing(), rpc()])
    b.stage.to('*').provide('size', (bytes: Buffer) => bytes.length)
    b.stage.to('*').provide('eat', async (stream: AsyncIterable<Buffer>) => { let size = 0; for await (const chunk of stream) size += chunk.length; return size })
    t.is(await a.stage.to('b').call('size', Buffer.alloc(3_000_000)), 3_000_000, kind)
    for (let i = 0; i < 3; i++) t.is(await a.stage.to('b').call('size', Buffer.alloc(2_000_000)), 2_000_000, kind)
    t.is(await a.stage.to('b').call('eat', Readable.from(Array.from({ length: 40 }, () => Buffer.alloc(50_000)), { objectMode: false })), 2_000_000, kind)
  }
})

// ── one of the streams ends ─────────────────────────────────────────────────────────────────────────────────────────

/** Ends the reading side, as if the peer had. */
const endReading = (stream: Duplex): void => void (typeof stream.push === 'function' ? stream.push(null) : stream.emit('end'))

for (const carrier of CARRIERS) {
  test(`${carrier}: an end that the streams above pass on is one of that direction, and with the other's the link ends without an error`, async (t) => {
    for (const kind of Object.keys(kinds)) await Promise.all(PLACES.map(async (place) => {
      const label = `${kind}, ${place}`
      const both = two(t, carrier, three(place, kind))
      const { a, b } = both
      echoing(b)
      b.stage.on('stream', (stream: Duplex) => stream.on('end', () => stream.end('goodbye')))
      await ready(both)
      const stream = await echoed(a)
      const rest: string[] = []
      stream.on('data', (chunk: Buffer) => { rest.push(String(chunk)) })
      stream.on('end', () => stream.end())
      endReading(b.streams[place])
      await unlinked(t, both, label)
      t.deepEqual([a.unlinks, b.unlinks], [[undefined], [undefined]], label)
      t.deepEqual(rest, ['goodbye'], label)
    }))
  })

  test(`${carrier}: a stream that ended where those above it did not follow ends the link`, async (t) => {
    const deaf: Wrapper = (inner) => {
      const outer = new Duplex({ read: () => {}, write: (chunk, _encoding, done) => { inner.write(chunk); done() }, final: (done) => { inner.end(); done() } })
      inner.on('data', (chunk) => outer.push(chunk))
      return outer
    }
    const ends: Record<string, (stream: Duplex) => void> = { 'its reading side': endReading, 'its writing side': (stream) => void stream.end() }
    for (const kind of Object.keys(kinds)) await Promise.all(Object.entries(ends).flatMap(([side, end]) => (['a', 'b'] as const).map(async (where) => {
      const both = two(t, carrier, { middle: kinds[kind], top: deaf })
      echoing(both.b)
      await ready(both)
      await echoed(both.a)
      const label = `${kind}, ${side}, ${where}`
      const [here, there] = where === 'a' ? [both.a, both.b] : [both.b, both.a]
      end(here.streams['middle'])
      await until(() => here.unlinks.length === 1, 10_000)
      // TCP tells whoever has read the end of nothing that comes behind it, until he writes
      await until(() => { if (there.unlinks.length === 0) there.streams['top'].write('two'); return there.unlinks.length === 1 }, 10_000)
      await unlinked(t, both, label)
      t.is(here.unlinks[0]?.message.replace(/^.*gone: /, ''), 'the stream of the wrapper middle has ended, but the streams above it in the chain have not', label)
      await echoed(both.a)
    })))
  })

  test(`${carrier}: both directions ended by their users end the link without an error, and whoever reads late or slowly still gets everything`, async (t) => {
    t.timeout(240_000)
    // what is not read at once is lost with those before streams had buffers
    const buffered = Object.keys(kinds).filter((kind) => !kind.startsWith('streams1'))
    // the one fits into the buffers of the chain, so that the link is over before anything is read
    await Promise.all([20_000, 200_000].flatMap((size) => buffered.flatMap((kind) => PLACES.map(async (place) => {
      const label = `${size}, ${kind}, ${place}`
      const both = two(t, carrier, three(place, kind))
      const { a, b } = both
      b.stage.on('stream', (stream: Duplex) => { stream.resume(); stream.on('end', () => stream.end(Buffer.alloc(size))) })
      await ready(both)
      const stream = await new Promise<Duplex>((resolve, reject) => a.stage.to('b', (error, opened) => { if (error) reject(error); else resolve(opened) }))
      stream.end('question')
      if (size === 20_000) await unlinked(t, both, label)
      await new Promise((resolve) => setTimeout(resolve, 500))
      let read = 0
      stream.on('data', (chunk: Buffer) => {
        read += chunk.length
        stream.pause()
        setTimeout(() => stream.resume(), 10)
      })
      await once(stream, 'end')
      t.is(read, size, label)
      await unlinked(t, both, label)
      t.deepEqual([a.unlinks, b.unlinks], [[undefined], [undefined]], label)
    }))))
  })

  test(`${carrier}: a chain that tells its ends in its own way, over a carrier that it never ends, has ended when both directions have`, async (t) => {
    const marked: Wrapper = (inner) => {
      const outer = new Duplex({ read: () => {}, write: (chunk: Buffer, _encoding, done) => { inner.write(chunk, done) }, final: (done) => { inner.write('\0', done) } })
      inner.on('data', (chunk: Buffer) => {
        const end = chunk.indexOf(0)
        outer.push(end < 0 ? chunk : chunk.subarray(0, end))
        if (end >= 0) outer.push(null)
      })
      return outer
    }
    const both = two(t, carrier, { marked })
    const { a, b } = both
    b.stage.on('stream', (stream: Duplex) => { stream.resume(); stream.on('end', () => setTimeout(() => stream.end('goodbye'), 700)) })
    await ready(both)
    const stream = a.stage.to('b')
    let rest = ''
    stream.on('data', (chunk: Buffer) => { rest += String(chunk) })
    stream.end('question')
    await once(stream, 'end')
    await unlinked(t, both, 'marked')
    t.is(rest, 'goodbye')
    t.deepEqual([a.unlinks, b.unlinks], [[undefined], [undefined]])
    t.is((await new Promise<Duplex>((resolve, reject) => a.stage.to('b', (error, opened) => { if (error) reject(error); else resolve(opened) }))).writable, true)
  })

  test(`${carrier}: a wrapper that hands on the connection itself: what destroys it is a failure on both ends`, async (t) => {
    for (const error of [undefined, new Error('bad frame')]) {
      const both = two(t, carrier, { same: (stream) => stream })
      const { a, b } = both
      echoing(b)
      await ready(both)
      const stream = await echoed(a)
      const first = new Promise<string>((resolve) => { for (const event of ['error', 'end', 'close']) stream.once(event, () => resolve(event)) })
      b.streams['same'].destroy(error)
      await unlinked(t, both, String(error))
      t.regex(String(b.unlinks[0]?.message), error ? /bad frame/ : /without a goodbye/)
      t.is(await first, 'error')
    }
  })

  test(`P27: ${carrier}: streams that were joined with pipe() end as one with those that were destroyed`, async (t) => {
    const both = two(t, carrier, {
      middle: kinds['Node'],
      top: (inner) => {
        const outgoing = new PassThrough()
        const outer = new Duplex({ read: () => {}, write: (chunk, _encoding, done) => { outgoing.write(chunk, done) }, final: (done) => { outgoing.end(done) } })
        outgoing.pipe(inner).on('data', (chunk) => outer.push(chunk))
        return outer
      },
    })
    const { a, b } = both
    echoing(b)
    await ready(both)
    await echoed(a)
    b.streams['middle'].destroy(new Error('bad frame'))
    await unlinked(t, both, 'piped')
    t.regex(String(b.unlinks[0]?.message), /bad frame/)
    t.true([a, b].every(({ streams }) => Object.values(streams).every((stream) => stream.destroyed)))
  })
}
