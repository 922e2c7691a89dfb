/** Calls of actors give the same values, errors and streams whether the actor lives here or elsewhere. */
import { Readable } from 'node:stream'
import test from 'ava'
import { StageError } from '../../src/index.js'
import { actorMesh } from '../helpers/actors.js'

type Deep = { list: { n: number }[]; map: Map<string, unknown>; bytes: Buffer }

class Keeper {
  kept: unknown
  deep: Deep = { list: [{ n: 1 }], map: new Map([['k', { n: 1 }]]), bytes: Buffer.from('abc') }
  keep(value: unknown) { this.kept = value; return this.kept }
  give() { return this.deep }
  change() { this.deep.list[0].n++; this.deep.list.push({ n: 0 }); return this.deep.list.length }
  spoil(value: Deep) { value.list[0].n = 99; value.map.clear(); value.bytes[0] = 0; return null }
  look() { return JSON.stringify(this.kept) }
  raise(what: unknown) { this.kept = what; throw this.kept }
  fail(message: string) { throw Object.assign(new RangeError(message), { code: 'E_OWN', secret: 'x' }) }
  bad(what: number) { return [() => 1, Symbol('x'), new WeakMap(), { then: () => 1 }][what] }
}

const VALUES: unknown[] = [
  undefined, null, true, 0, -0, 1.5, NaN, Infinity, -Infinity, 2 ** 53, 10n ** 40n, '', 'é🙂', [], [undefined, null], {}, { a: { b: [1, { c: 2 }] } },
  Buffer.from('xyz'), new Uint8Array([1, 2]), new Date(5), new Map<unknown, unknown>([[{ k: 1 }, new Set([1, 'x'])]]), new Set([[1]]), new Error('plain'),
]

test('values are the same whether the actor is here or elsewhere', async (t) => {
  const { add, go } = actorMesh(t, { latencyMs: 1 })
  const a = await add('a', (one) => one.define({ pattern: 'keepers.{id}', constructor: Keeper }))
  const b = await add('b')
  for (const value of VALUES) {
    const here = await go(a.stage.actor<Keeper>('keepers.here').keep(value))
    const there = await go(b.stage.actor<Keeper>('keepers.there').keep(value))
    t.deepEqual(here, there)
    if (!(value instanceof Error)) t.deepEqual(here, value)
    t.deepEqual(await go(Promise.resolve(a.stage.actor<Keeper>('keepers.here').kept)), await go(Promise.resolve(b.stage.actor<Keeper>('keepers.there').kept)))
  }
  class Own { n = 1; method() { return this.n } }
  const here = await go(a.stage.actor<Keeper>('keepers.here').keep(new Own()))
  t.deepEqual(here, await go(b.stage.actor<Keeper>('keepers.here').keep(new Own())))
  t.is(Object.getPrototypeOf(here), Object.prototype, 'instances arrive as plain objects, here too')
})

test('arguments and results share no memory, here as from elsewhere', async (t) => {
  const { add, go } = actorMesh(t, { latencyMs: 1 })
  const a = await add('a', (one) => one.define({ pattern: 'keepers.{id}', constructor: Keeper }))
  const b = await add('b')
  for (const { stage } of [a, b]) {
    const actor = stage.actor<Keeper>(`keepers.${stage.name}`)
    const mine: Deep = { list: [{ n: 1 }], map: new Map([['k', 1]]), bytes: Buffer.from('abc') }
    await go(actor.look()) // from here on calls are sent at once
    const call = actor.keep(mine)
    mine.list[0].n = 5
    const got = await go(call) as Deep
    t.is(got.list[0].n, 1, 'it has what it was given')
    mine.list.push({ n: 7 })
    got.list[0].n = 6
    got.bytes[0] = 0
    got.map.set('mine', 1)
    const kept = await go(Promise.resolve(actor.kept)) as Deep
    t.deepEqual([kept.list.length, kept.bytes.toString(), kept.map.size], [1, 'abc', 1], stage.name)
    t.is(kept.list[0].n, 1)
    const given = await go(actor.give())
    t.is(await go(actor.change()), 2)
    t.deepEqual([given.list.length, given.list[0].n], [1, 1], 'a result is what it was when it was returned')
    t.is(await go(actor.spoil(mine)), null)
    t.deepEqual([mine.list[0].n, mine.map.size, mine.bytes.toString()], [5, 1, 'abc'])
    const read = await go(Promise.resolve(actor.deep))
    read.list[0].n = 50
    t.not((await go(actor.give())).list[0].n, 50, 'nor does a property that was read')
  }
})

test('share: true passes arguments and results within a stage as they are', async (t) => {
  const { add, go } = actorMesh(t, { latencyMs: 1 })
  const a = await add('a', (one) => one.define({ pattern: 'keepers.{id}', constructor: Keeper, share: true }))
  const b = await add('b')
  const mine = { n: 1 }
  t.is(await go(a.stage.actor<Keeper>('keepers.1').keep(mine)), mine)
  t.is(await go(Promise.resolve(a.stage.actor<Keeper>('keepers.1').kept)), mine)
  t.is(typeof await go(a.stage.actor<Keeper>('keepers.1').bad(1)), 'symbol')
  const fn = () => 1
  t.is(await go(a.stage.actor<Keeper>('keepers.1').keep(fn)), fn)
  t.deepEqual(await go(b.stage.actor<Keeper>('keepers.2').keep(mine)), mine)
  t.not(await go(b.stage.actor<Keeper>('keepers.2').keep(mine)), mine)
})

test('what an actor throws arrives the same here as elsewhere, and shares no memory', async (t) => {
  const { add, go, fails } = actorMesh(t, { latencyMs: 1 })
  const a = await add('a', (one) => one.define({ pattern: 'keepers.{id}', constructor: Keeper }))
  const b = await add('b')
  const seen: unknown[] = []
  for (const { stage } of [a, b]) {
    const actor = stage.actor<Keeper>(`keepers.${stage.name}`)
    const own = await fails(actor.fail('too far'), 'REMOTE_ERROR', 'yes')
    const cause = own.cause as Error & { code: string; secret?: string }
    t.false(cause instanceof RangeError, 'no class is looked up')
    seen.push([own.message.replace(/keepers\.\w/, ''), cause.name, cause.message, cause.code, cause.secret])
    const thrown = await fails(actor.raise({ list: [1] }), 'REMOTE_ERROR', 'yes')
    ;(thrown.cause as { list: number[] }).list.push(2)
    t.is(await go(actor.look()), '{"list":[1]}', 'what it threw is its own')
    for (const what of [null, undefined, 5, 'text']) t.is((await fails(actor.raise(what), 'REMOTE_ERROR', 'yes')).cause, what as never)
  }
  t.deepEqual(seen[0], seen[1])
})

test('what cannot be sent is BAD_ARGUMENT, before or after the call ran, here as elsewhere', async (t) => {
  const { add, go, fails } = actorMesh(t, { latencyMs: 1 })
  const a = await add('a', (one) => one.define({ pattern: 'keepers.{id}', constructor: Keeper }))
  const b = await add('b')
  const circle: { self?: unknown } = {}
  circle.self = circle
  for (const { stage } of [a, b]) {
    const actor = stage.actor<Keeper>('keepers.1')
    for (const value of [Symbol('x'), new WeakMap(), Promise.resolve(1), circle, Buffer.alloc(5 * 1024 * 1024), JSON.parse('{"__proto__":1}'), { get x() { throw new Error('getter') } }]) {
      await fails(actor.keep(value), 'BAD_ARGUMENT', 'no')
    }
    for (const what of [1, 2]) await fails(actor.bad(what), 'BAD_ARGUMENT', 'yes')
    t.is(await go(actor.keep(stage.name)), stage.name, 'and the next call works')
  }
})

class Talker {
  said: unknown[] = []
  async call(fn: (...args: unknown[]) => unknown, ...args: unknown[]) { return fn(...args) }
  later!: (text: string) => unknown
  keep(fn: (text: string) => unknown) { this.later = fn; return typeof fn }
  async use(text: string) { return this.later(text) }
  make() { return (n: number) => { this.said.push(n); return { n } } }
  async read(stream: AsyncIterable<unknown>) { for await (const one of stream) this.said.push(one); return this.said.length }
  async bytes(stream: Readable) { let size = 0; for await (const piece of stream as AsyncIterable<Buffer>) size += piece.length; return size }
  async *count(to: number) { for (let n = 0; n < to; n++) yield { n } }
  stream() { return Readable.from([Buffer.from('one'), Buffer.from('two')]) }
  *sync() { yield 1 }
}

test('functions, streams and async iterables go in and out, here and elsewhere', async (t) => {
  const { add, go, fails } = actorMesh(t, { latencyMs: 1 })
  const a = await add('a', (one) => one.define({ pattern: 'talkers.{id}', constructor: Talker }))
  const b = await add('b')
  for (const { stage } of [a, b]) {
    const talker = stage.actor<Talker>(`talkers.${stage.name}`)
    const shared = { n: 1 }
    let got: { n: number } | undefined
    const back = await go(talker.call((value: unknown) => { got = value as { n: number }; got.n = 2; return { value: got } }, shared)) as { value: { n: number } }
    t.deepEqual([shared, back], [{ n: 1 }, { value: { n: 2 } }], 'what goes through a function shares nothing either')
    t.not(back.value, got)
    const thrown = await fails(talker.call(() => { throw new TypeError('mine') }), 'REMOTE_ERROR', 'yes')
    t.regex(thrown.message, /mine/)
    t.is(await go(talker.keep((text: string) => `${stage.name} ${text}`)), 'function')
    t.is(await go(talker.use('hi')), `${stage.name} hi`, 'a function that was kept can be used by later turns')
    const made = await go(talker.make())
    t.deepEqual(await go(Promise.resolve(made(5))), { n: 5 })
    t.true(made(6) as unknown instanceof Promise)
    t.is(await go(talker.read((async function* () { yield 1; yield { two: 2 } })())), 4)
    t.is(await go(talker.bytes(Readable.from([Buffer.alloc(300_000), Buffer.alloc(7)]))), 300_007)
    const counted: unknown[] = []
    const iterable = await go(talker.count(3)) as unknown as AsyncIterable<unknown>
    await go((async () => { for await (const one of iterable) counted.push(one) })())
    t.deepEqual(counted, [{ n: 0 }, { n: 1 }, { n: 2 }])
    const stream = await go(talker.stream()) as unknown as AsyncIterable<Buffer>
    t.is(await go((async () => { let text = ''; for await (const piece of stream) text += piece.toString(); return text })()), 'onetwo')
    await fails(talker.sync(), 'BAD_ARGUMENT', 'yes')
  }
})

test('a method may be async, return a thenable, or nothing at all', async (t) => {
  const { add, go } = actorMesh(t)
  const { stage, shelf } = await add('a', (one) => one.define({
    pattern: 'x.{id}', create: () => ({ n: 0, a: async () => 1, b: () => ({ then: (done: (value: number) => void) => { done(2) } }), c() { this.n = 3 } }),
  }))
  const actor = stage.actor('x.1')
  t.deepEqual([await go(actor['a']()), await go(actor['b']()), await go(actor['c']())], [1, 2, undefined])
  t.is(shelf.count('commit'), 0, 'what is not durable is not kept')
})

test('hosted objects: an object of a stage under an address, until it is taken away', async (t) => {
  const { add, go, fails } = actorMesh(t, { latencyMs: 1 })
  const [a, b, c] = [await add('a'), await add('b'), await add('c', (one) => one.define({ pattern: 'players.{id}', constructor: Keeper }))]
  const object = { hits: 0, hit(n: number) { this.hits += n; return this.hits } }
  const away = await go(a.stage.host('lamps.1', object))
  t.is(await go(b.stage.actor<typeof object>('lamps.1').hit(2)), 2)
  t.is(await go(a.stage.actor<typeof object>('lamps.1').hit(3)), 5)
  t.is(object.hits, 5)
  await fails(b.stage.host('lamps.1', {}), 'NAME_TAKEN')
  await t.throwsAsync(go(a.stage.host('lamps.1', {})), { instanceOf: TypeError })
  await t.throwsAsync(go(c.stage.host('players.1', {})), { instanceOf: TypeError })
  await t.throwsAsync(go(a.stage.host('lamps.2', 5 as never)), { instanceOf: TypeError })
  await t.throwsAsync(go(a.stage.host('lamps.2', null as never)), { instanceOf: TypeError })
  t.is(await go(b.stage.actor<typeof object>('lamps.1').hit(1)), 6)
  await go(away())
  await go(away())
  await fails(b.stage.actor('lamps.1', { timeoutMs: 500 })['hit'](1), 'NO_SUCH_ACTOR', 'no')
  const other = { hit: () => 'other' }
  await go(b.stage.host('lamps.1', other))
  t.is(await go(a.stage.actor('lamps.1')['hit']()), 'other')
  t.is(await go(a.stage.host('any thing.x', { f: () => 1 }).then(() => b.stage.actor('any thing.x')['f']())), 1, 'whatever can be an address')
})

test('a hosted object is not collected, and is there again when its stage has lost its lease', async (t) => {
  const { add, go, clock, cutOff } = actorMesh(t, { latencyMs: 1 })
  const [a, b] = [await add('a'), await add('b')]
  const object = { hits: 0, hit() { return ++this.hits } }
  await go(a.stage.host('lamps.1', object))
  t.is(await go(b.stage.actor<typeof object>('lamps.1').hit()), 1)
  await clock.advance(400_000)
  t.is(await go(b.stage.actor<typeof object>('lamps.1').hit()), 2)
  const { id } = a.stage
  cutOff(a.stage, true)
  await clock.advance(20_000)
  cutOff(a.stage, false)
  await clock.advance(3000)
  t.not(a.stage.id, id)
  t.is(await go(b.stage.actor<typeof object>('lamps.1').hit()), 3)
})

test('a thrown StageError is what the actor threw, and not the word of the library', async (t) => {
  const { add, fails } = actorMesh(t, { latencyMs: 1 })
  const a = await add('a', (one) => one.define({
    pattern: 'x.{id}', create: () => ({ n: 0, f(code: 'REFUSED' | 'FENCED' | 'TIMEOUT') { throw new StageError(code, 'mine', { executed: 'no' }) } }),
  }))
  const b = await add('b')
  for (const { stage } of [a, b]) for (const code of ['REFUSED', 'FENCED', 'TIMEOUT', 'DISCONNECTED', 'NO_SUCH_METHOD']) await fails(stage.actor('x.1')['f'](code), 'REMOTE_ERROR', 'yes')
})

test('an argument that cannot be sent is named as its caller counts it, here and from elsewhere', async (t) => {
  const { add, go, fails } = actorMesh(t, { latencyMs: 1 })
  const a = await add('a', (one) => one.define({ pattern: 'keepers.{id}', constructor: Keeper }))
  const b = await add('b')
  for (const { stage } of [a, b]) {
    const actor = stage.actor('keepers.1')
    await go(actor['look']())
    t.regex((await fails(actor['keep']({ x: [1, Symbol('s')] }) as Promise<unknown>, 'BAD_ARGUMENT', 'no')).message, /^\[0\]\.x\[1\]/, stage.name)
  }
})
