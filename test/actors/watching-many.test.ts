/** Many watches over one link: by one stream, each as if it had one of its own, and within bounds. */
import test from 'ava'
import { StageError, actors, framing, rpc, tap, type Stage } from '../../src/index.js'
import { json } from '../../wrappers/json.js'
import { actorMesh, forge, forging, type Node } from '../helpers/actors.js'
import { nothingUnhandled } from '../helpers/unhandled.js'

nothingUnhandled(test)

type Update = Record<string, unknown> & { version: number; reset?: true }

const PROPERTIES = 100
/** `p0` to `p99`, and what changes them. */
class Board {
  constructor() { for (let i = 0; i < PROPERTIES; i++) this.set(`p${i}`, i) }
  set(name: string, value: unknown) { Object.assign(this, { [name]: value }) }
  spoil(name: string) { this.set(name, Symbol('cannot be sent')) }
  count(name: string) { this.set(name, Number((this as Record<string, unknown>)[name]) + 1) }
}
const all = Array.from({ length: PROPERTIES }, (_, i) => `p${i}`)

const boards = (more: object = {}) => (stage: Stage): void => { stage.define({ pattern: 'boards.{id}', constructor: Board, ...more }) }

function reading(loop: AsyncIterableIterator<unknown>): { got: Update[]; ended: Promise<unknown> } {
  const got: Update[] = []
  const ended = (async () => { for await (const one of loop) got.push(one as Update) })().then(() => 'done', (error: StageError) => error)
  return { got, ended }
}

const watchers = (stage: Stage): number => stage.actors().reduce((sum, one) => sum + one.watchers, 0)

test('a change that several watches of one link are told of costs its bytes once', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 1 })
  let bytes = 0
  const counting = (count: (bytes: number) => void) => ({ chain: [tap((chunk, direction) => { if (direction === 'in') count(chunk.length) }), framing(), rpc(), actors()] })
  const a = await mesh.add('a', boards(), counting(() => {}))
  const b = await mesh.add('b', undefined, counting((more) => { bytes += more }))
  const loops = all.slice(1).flatMap((other) => (['every', 'latest'] as const).map((mode) => reading(b.stage.observe('boards.1', ['p0', other], { mode }))))
  await mesh.clock.advance(100)
  t.is(watchers(a.stage), 198)
  const before = bytes
  for (let i = 0; i < 10; i++) {
    await mesh.go(a.stage.actor<Board>('boards.1').set('p0', String(i).padEnd(10_000)))
    await mesh.clock.advance(20)
  }
  t.true(bytes - before > 100_000 && bytes - before < 150_000, `${bytes - before} bytes`)
  for (const { got } of loops) t.deepEqual(got.map(({ p0 }) => Number(p0)), [0, ...Array(10).keys()])
})

test('one actor that changes much and is large holds up no quiet one of the same link', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 10 })
  const a = await mesh.add('a', boards())
  const b = await mesh.add('b')
  const large = Array.from({ length: 5 }, (_, i) => reading(b.stage.observe(`boards.large-${i}`, ['p0', 'p1'], { mode: i % 2 ? 'every' : 'latest' })))
  const busy = reading(b.stage.observe('boards.busy', ['p0'], { mode: 'every' }))
  const quiet = reading(b.stage.observe('boards.quiet', ['p0'], { mode: 'every' }))
  await mesh.clock.advance(200)
  t.is(quiet.got.length, 1)
  const text = 'x'.repeat(1_900_000)
  for (let i = 0; i < 5; i++) await Promise.all(['p0', 'p1'].map((name) => a.stage.actor<Board>(`boards.large-${i}`).set(name, text + i)))
  for (let i = 0; i < 1000; i++) void a.stage.actor<Board>('boards.busy').set('p0', i)
  await mesh.clock.advance(50)
  for (let i = 0; i < 5; i++) {
    await a.stage.actor<Board>('boards.quiet').set('p0', `now ${i}`)
    const started = mesh.clock.now()
    while (quiet.got.at(-1)!['p0'] !== `now ${i}`) await mesh.clock.advance(5)
    t.true(mesh.clock.now() - started <= 100, `${mesh.clock.now() - started} ms`)
  }
  t.true(large.some(({ got }) => got.at(-1)!['p1'] === 1), 'some of what is large is still on its way')
  await mesh.clock.advance(5000)
  for (const [i, { got }] of large.entries()) t.is(got.at(-1)!['p1'], text + i)
  t.deepEqual(busy.got.map(({ p0 }) => p0), [...Array(1000).keys()])
})

test('what is large comes whole and in order, and what follows upon it comes behind it', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 5 })
  const a = await mesh.add('a', boards())
  const b = await mesh.add('b')
  const { got } = reading(b.stage.observe('boards.1', ['p0', 'p1'], { mode: 'every' }))
  const other = reading(b.stage.observe('boards.1', ['p1'], { mode: 'every' }))
  await mesh.clock.advance(100)
  const texts = [3_000_000, 10, 300_000, 262_000, 70_000].map((size, i) => String(i).padEnd(size))
  for (const [i, text] of texts.entries()) {
    await mesh.go(a.stage.actor<Board>('boards.1').set('p0', text))
    await mesh.go(a.stage.actor<Board>('boards.1').set('p1', `behind ${i}`))
    if (i > 0) await mesh.clock.advance(200)
  }
  await mesh.clock.advance(2000)
  for (const [i, one] of got.entries()) if (i > 0 && !one.reset) t.is(got[i - 1]['p1'] !== one['p1'], got[i - 1]['p0'] === one['p0'], 'one of them at a time')
  t.deepEqual([...new Set(got.map(({ p0 }) => p0))], [0, ...texts])
  t.deepEqual(other.got.map(({ p1 }) => p1), [1, ...texts.map((_, i) => `behind ${i}`)])
})

test('the same over a codec that is not msgpack', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 1 })
  const chain = () => ({ chain: [framing(), rpc({ codec: json() }), actors()] })
  const a = await mesh.add('a', boards(), chain())
  const b = await mesh.add('b', undefined, chain())
  const loops = [['p0'], ['p0', 'p1'], ['p1']].map((names) => reading(b.stage.observe('boards.1', names, { mode: 'every' })))
  await mesh.clock.advance(100)
  const values = [undefined, Buffer.from('bytes'), 'x'.repeat(250_000), 'x'.repeat(3_900_000), new Map([[1, 2n]])]
  for (const value of values) {
    await mesh.go(a.stage.actor<Board>('boards.1').set('p0', value))
    await mesh.clock.advance(500)
  }
  for (const { got } of loops.slice(0, 2)) t.deepEqual(got.map(({ p0 }) => p0), [0, ...values])
  t.is(loops[2].got.length, 1)
  t.is(b.stage.stats()['streams'], 1)
})

test('a watch of more than can be sent ends with an error, and ends no other', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 1 })
  const a = await mesh.add('a', boards())
  const b = await mesh.add('b')
  const large = reading(b.stage.observe('boards.1', all.slice(0, 3)))
  const small = reading(b.stage.observe('boards.1', ['p3']))
  await mesh.clock.advance(100)
  for (const name of ['p0', 'p1', 'p2']) await mesh.go(a.stage.actor<Board>('boards.1').set(name, 'x'.repeat(2_000_000)))
  await mesh.go(a.stage.actor<Board>('boards.1').set('p3', 'new'))
  await mesh.clock.advance(5000)
  const wide = b.stage.observe('boards.1', all.slice(0, 4))
  const error = await mesh.fails(wide.next(), 'BAD_ARGUMENT')
  t.regex(error.message, /^watching p0, p1, p2, p3 of boards\.1 failed: /)
  t.is(small.got.at(-1)!['p3'], 'new')
  t.is((await large.ended as StageError).code, 'BAD_ARGUMENT')
})

test('a link that takes nothing for a while: latest is merged, every is whole or marked, and little waits for it', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 1 })
  const a = await mesh.add('a', boards())
  const b = await mesh.add('b')
  const observe = (id: string, mode: 'every' | 'latest') => reading(b.stage.observe(`boards.${id}`, ['p0'], { mode }))
  const few = { every: observe('few', 'every'), latest: observe('few', 'latest') }
  const many = { every: observe('many', 'every'), latest: observe('many', 'latest') }
  await mesh.clock.advance(100)
  mesh.network.hold(a.address)
  mesh.network.hold(b.address)
  for (let i = 0; i < 500; i++) await a.stage.actor<Board>('boards.few').count('p0')
  for (let i = 0; i < 5000; i++) await a.stage.actor<Board>('boards.many').count('p0')
  t.true(a.stage.stats()['heldBytes'] < 64 * 1024, `${a.stage.stats()['heldBytes']} bytes wait`)
  mesh.network.release(a.address)
  mesh.network.release(b.address)
  await mesh.clock.advance(2000)
  t.deepEqual(few.every.got.map(({ p0, reset }) => [p0, reset ?? false]), Array.from({ length: 501 }, (_, i) => [i, false]))
  t.is(many.every.got.filter(({ reset }) => reset).length, 1)
  for (const { latest, newest } of [{ latest: few.latest, newest: 500 }, { latest: many.latest, newest: 5000 }]) {
    t.is(latest.got.at(-1)!['p0'], newest)
    t.true(latest.got.length < 300 && latest.got.every(({ reset }) => !reset), `${latest.got.length} updates`)
  }
})

// ── bounds ────────────────────────────────────────────────────────────────────────────────────────────────────────────

test('above the limit of a link a watch fails at once, says what to do, and finds room when others have ended', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 1 })
  await mesh.add('a', boards())
  const b = await mesh.add('b')
  const loops: AsyncIterableIterator<unknown>[] = []
  // each of them has 91 to 99 properties, and counts as ten
  for (let i = 0; i < 10_000; i++) loops.push(b.stage.observe(`boards.${Math.floor(i / 9)}`, all.slice(0, 91 + i % 9)))
  await mesh.go(Promise.all(loops.map((loop) => loop.next())), 120_000)
  const started = mesh.clock.now()
  const error = await mesh.fails(b.stage.observe('boards.1', ['p99']).next(), 'OVERLOADED', 'no')
  t.true(mesh.clock.now() - started < 1000)
  t.is(error.message, 'watching p99 of boards.1 failed: 100000 watches are open to a: no more until some have ended (a watch counts once for every ten properties, rounded up)')
  await loops.pop()!.return!()
  t.truthy((await mesh.go(b.stage.observe('boards.1', ['p99']).next())).value)
})

const WATCH = (address: string, names: readonly unknown[], number: unknown, mode = 'every'): readonly unknown[] => [address, '@watch', [names, mode, undefined, number]]
type Changes = AsyncIterableIterator<[values: Buffer[], notices: unknown[][]]>

test('a peer of ill will: watches without a stream, with numbers that are none or twice, and ends of what there is not', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 1 })
  const { go, fails } = mesh
  const a = await mesh.add('a', boards())
  const b = await mesh.add('b', undefined, { chain: forging() })
  const ask = (service: string, ...args: unknown[]): Promise<unknown> => forge(b.stage, a.stage.id, service, args)
  const names = ['p0']
  await fails(ask('@call', ...WATCH('boards.1', names, 1)), 'CANCELLED', 'no')
  const changes = await go(ask('@changes')) as Changes
  for (const number of [undefined, null, '1', 1.5, NaN, 2 ** 60, [], {}, Infinity]) await fails(ask('@call', ...WATCH('boards.1', names, number)), 'BAD_ARGUMENT')
  t.is(watchers(a.stage), 0)
  t.is(await go(ask('@call', ...WATCH('boards.1', names, 1))), undefined)
  await fails(ask('@call', ...WATCH('boards.1', names, 1)), 'BAD_ARGUMENT')
  await fails(ask('@call', ...WATCH('boards.2', names, 1)), 'BAD_ARGUMENT')
  t.is(watchers(a.stage), 1)
  t.deepEqual(((await go(changes.next())).value as [unknown, unknown[][]])[1].map(([number]) => number), [1])
  for (const numbers of [undefined, 5, 'x', {}]) await fails(ask('@unwatch', numbers), 'BAD_ARGUMENT')
  await go(ask('@unwatch', [2, -1, 'x', null, {}, [1]]))
  t.is(watchers(a.stage), 1)
  for (let i = 0; i < 20; i++) {
    await go(Promise.all(Array.from({ length: 100 }, (_, n) => ask('@call', ...WATCH(`boards.${n}`, names, n + 2)))))
    await go(ask('@unwatch', Array.from({ length: 100 }, (_, n) => n + 2)))
  }
  t.is(watchers(a.stage), 1)
  const second = await go(ask('@changes')) as Changes
  t.is(watchers(a.stage), 0, 'one stream at a time')
  while (!(await go(changes.next())).done);
  await go(ask('@call', ...WATCH('boards.1', names, 1)))
  await go(second.return!())
  await mesh.clock.advance(100)
  t.is(watchers(a.stage), 0)
  t.is(a.stage.stats()['streams'], 0)
})

test('a peer that watches and reads nothing makes nobody hold more than the limit, and ends that it did not hear count', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 1 })
  const { go, fails, clock } = mesh
  const a = await mesh.add('a', boards({ idleMs: 1000 }))
  const b = await mesh.add('b', undefined, { chain: forging() })
  const ask = (service: string, ...args: unknown[]): Promise<unknown> => forge(b.stage, a.stage.id, service, args)
  const changes = await go(ask('@changes')) as Changes
  let number = 0
  // of a hundred properties each, so that they count as ten
  for (let i = 0; i < 10; i++) await go(Promise.all(Array.from({ length: 1000 }, () => ask('@call', ...WATCH(`boards.${i}`, all, ++number)))), 120_000)
  t.is(watchers(a.stage), 10_000)
  const full = await fails(ask('@call', ...WATCH('boards.1', ['p0'], ++number)), 'OVERLOADED', 'no')
  t.regex(full.message, /100000 watches are open from b/)
  for (const name of all) await go(a.stage.actor<Board>('boards.1').set(name, 'x'.repeat(1000)))
  t.true(a.stage.stats()['heldBytes'] < 1024 * 1024)
  // what it watches becomes what cannot be told
  for (let i = 0; i < 10; i++) await go(a.stage.actor<Board>(`boards.${i}`).spoil('p0'))
  t.is(watchers(a.stage), 0)
  await fails(ask('@call', ...WATCH('boards.x', ['p1'], ++number)), 'OVERLOADED', 'no')
  let ends = 0
  while (ends < 10_000) for (const [, code] of (await go(changes.next())).value![1]) if (code === 'BAD_ARGUMENT') ends++
  t.is(await go(ask('@call', ...WATCH('boards.x', ['p1'], ++number))), undefined)
  await go(changes.return!())
  await clock.advance(100)
  t.is(watchers(a.stage), 0)
})

test('watches that wait for an owner that is silent, or gone, hold up none of another', async (t) => {
  for (const gone of [false, true]) {
    const mesh = actorMesh(t, { latencyMs: 1 })
    const a = await mesh.add('a', boards())
    const b = await mesh.add('b')
    const c = await mesh.add('c', (stage) => { stage.define({ pattern: 'others.{id}', constructor: Board }) })
    await mesh.go(b.stage.observe('others.0', ['p0']).next())
    await mesh.go(b.stage.observe('boards.0', ['p0']).next())
    if (gone) mesh.crash(a)
    else mesh.network.hold(a.address)
    const loops = Array.from({ length: 12_000 }, (_, i) => b.stage.observe(`boards.${i % 20}`, [`p${i % 100}`, `p${Math.floor(i / 200)}`], { timeoutMs: 60_000 }))
    await mesh.clock.advance(20)
    const started = mesh.clock.now()
    const other = b.stage.observe('others.1', ['p1'])
    t.is(((await mesh.go(other.next())).value as Update)['p1'], 1)
    t.true(mesh.clock.now() - started <= 2000, `${mesh.clock.now() - started} ms`)
    t.is(await mesh.go(b.stage.actor<Board>('others.1').count('p1') as Promise<unknown>), undefined)
    for (const loop of [...loops, other]) void loop.return!()
    t.truthy(c)
  }
})

test('an owner that closes says so on the stream, and ends it: it waits for no peer that keeps watching', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 1 })
  const { go } = mesh
  const a = await mesh.add('a', boards())
  const b = await mesh.add('b', undefined, { chain: forging() })
  const changes = await go(forge(b.stage, a.stage.id, '@changes', [])) as Changes
  await go(forge(b.stage, a.stage.id, '@call', WATCH('boards.1', ['p0'], 1)))
  t.is((await go(changes.next())).value![1].length, 1)
  const closing = a.stage.close()
  const started = mesh.clock.now()
  t.like((await go(changes.next())).value![1], [[1, 'CANCELLED']])
  t.true((await go(changes.next())).done)
  await go(closing)
  t.true(mesh.clock.now() - started < 3000, `${mesh.clock.now() - started} ms`)
})

// ── their beginning and end ───────────────────────────────────────────────────────────────────────────────────────────

test('the stream of a link is there while something is watched over it, and keeps no idle link', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 1 })
  const a = await mesh.add('a', boards())
  const b = await mesh.add('b', undefined, { idleLinkMs: 2000 })
  for (let round = 0; round < 15; round++) {
    const loops = ['p0', 'p1'].map((name) => b.stage.observe('boards.1', [name]))
    for (const loop of loops) t.truthy((await mesh.go(loop.next())).value)
    t.deepEqual([a, b].map(({ stage }) => stage.stats()['streams']), [1, 1])
    await mesh.go(loops[0].return!())
    await mesh.clock.advance(round === 0 ? 10_000 : 10)
    t.deepEqual([watchers(a.stage), b.stage.stats()['links']], [1, 1])
    await mesh.go(a.stage.actor<Board>('boards.1').count('p1'))
    t.is(((await mesh.go(loops[1].next())).value as Update)['p1'], round + 2)
    await mesh.go(loops[1].return!())
    await mesh.clock.advance(10)
    t.deepEqual([a, b].map(({ stage }) => stage.stats()['streams']), [0, 0])
    t.is(watchers(a.stage), 0)
  }
  await mesh.clock.advance(10_000)
  t.deepEqual([a, b].map(({ stage }) => stage.stats()['links']), [0, 0])
})

test('loops that begin and end in the same moment leave nothing, however far their watches had come', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 3 })
  const a = await mesh.add('a', boards())
  const b = await mesh.add('b')
  const stays = reading(b.stage.observe('boards.0', ['p0'], { mode: 'every' }))
  await mesh.clock.advance(100)
  for (let ms = 0; ms < 20; ms++) {
    const loops = Array.from({ length: 20 }, (_, i) => b.stage.observe(`boards.${i % 5}`, [`p${1 + i}`]))
    await mesh.clock.advance(ms)
    for (const loop of loops) void loop.return!()
    if (ms % 3 === 0) await mesh.clock.advance(1)
  }
  await mesh.clock.advance(100)
  t.is(watchers(a.stage), 1)
  t.like(b.stage.stats(), { observers: 1, calls: 0, actorCalls: 0, streams: 1 })
  await mesh.go(a.stage.actor<Board>('boards.0').count('p0'))
  await mesh.clock.advance(100)
  t.deepEqual(stays.got.map(({ p0 }) => p0), [0, 1])
})

test('an owner that could not be told of the end of a watch is told again', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 1 })
  let id = ''
  const told: unknown[] = []
  const a = await mesh.add('a', undefined, { chain: forging({ types: ['v.{id}'], services: {
    '@locate': (_, __, answer) => answer(null, id),
    '@changes': (_, __, answer) => answer(null, (async function* () { yield [[], []]; await new Promise(() => {}) })()),
    '@call': (_, __, answer) => answer(null),
    '@unwatch': (_, [numbers], answer) => { told.push(numbers); answer(told.length < 3 ? new StageError('OVERLOADED', 'on purpose') : null) },
  } }) })
  id = a.stage.id
  const b = await mesh.add('b')
  const loops = Array.from({ length: 5 }, (_, i) => b.stage.observe(`v.${i}`, ['hp'], { timeoutMs: 60_000 }))
  await mesh.clock.advance(100)
  for (const loop of loops.slice(1, 3)) void loop.return!()
  await mesh.clock.advance(500)
  void loops[3].return!()
  await mesh.clock.advance(10_000)
  t.deepEqual(told, [[2, 3], [2, 3, 4], [2, 3, 4]])
  await mesh.go(loops[0].return!())
  await mesh.go(loops[4].return!())
})

test('where all streams of a link are taken a watch waits for one, and says so', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 1 })
  const a = await mesh.add('a', boards())
  const b = await mesh.add('b')
  a.stage.on('stream', (stream) => { stream.resume() })
  const streams = Array.from({ length: 1000 }, () => b.stage.to('a'))
  for (const stream of streams) { stream.on('error', () => {}); stream.write('x') }
  await mesh.clock.advance(500)
  t.is(a.stage.stats()['streams'], 1000)
  const error = await mesh.fails(b.stage.observe('boards.1', ['p0'], { timeoutMs: 1000 }).next(), 'OVERLOADED')
  t.is(error.message, 'watching p0 of boards.1 failed: the result of watching cannot be sent: 1000 streams are open to b: no more until some have ended')
  const waits = b.stage.observe('boards.1', ['p0'], { timeoutMs: 10_000 })
  await mesh.clock.advance(1000)
  streams[0].destroy()
  t.truthy((await mesh.go(waits.next())).value)
  for (const stream of streams) stream.destroy()
  await mesh.go(waits.return!())
  await mesh.clock.advance(100)
  t.is(watchers(a.stage), 0)
})

test('thousands of watches go on when their link is cut, and when their owner moves off', async (t) => {
  const COUNT = 3000
  const mesh = actorMesh(t, { latencyMs: 1 })
  const a = await mesh.add('a', boards({ durable: ['p0'] }))
  const b = await mesh.add('b')
  const loops = Array.from({ length: COUNT }, (_, i) => reading(b.stage.observe(`boards.${i % 30}`, ['p0', `p${1 + Math.floor(i / 30) % 99}`], { mode: i < COUNT / 2 ? 'every' : 'latest' })))
  await mesh.clock.advance(1000)
  t.is(watchers(a.stage), COUNT)
  const count = async ({ stage }: Node): Promise<void> => { await mesh.go(Promise.all(Array.from({ length: 30 }, (_, i) => stage.actor<Board>(`boards.${i}`).count('p0')))) }
  const are = (version: number, resets: number): void => {
    for (const { got } of loops) {
      if (got.at(-1)!['p0'] !== version || got.filter(({ reset }) => reset).length > resets) return t.fail(`${JSON.stringify(got)} at ${version}`)
    }
    t.pass()
  }
  await count(b)
  mesh.network.cut()
  await count(a)
  await mesh.clock.advance(5000)
  are(2, 0)
  const c = await mesh.add('c', boards({ durable: ['p0'] }))
  await mesh.go(a.stage.close())
  await mesh.clock.advance(5000)
  await count(b)
  await mesh.clock.advance(500)
  t.is(watchers(c.stage), COUNT)
  are(3, 1)
  const started = mesh.clock.now()
  await mesh.go(b.stage.close())
  t.true(mesh.clock.now() - started < 1000)
  t.deepEqual((await Promise.all(loops.map((one) => one.ended))).filter((one) => (one as StageError).code !== 'CLOSED'), [])
  await mesh.clock.advance(100)
  t.is(watchers(c.stage), 0)
})
