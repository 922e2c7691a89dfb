/** Objects, peers and stores that do what nobody would on purpose. */
import { Readable } from 'node:stream'
import test from 'ava'
import type { Self, Stage, StageError } from '../../src/index.js'
import { actorMesh, forge, forging, type ActorMesh } from '../helpers/actors.js'
import { nothingUnhandled } from '../helpers/unhandled.js'
import { passed } from '../helpers/virtual-clock.js'

nothingUnhandled(test)

const THROWN: Record<string, () => unknown> = {
  'an Error whose message is a Symbol': () => Object.assign(new Error('x'), { message: Symbol('x') }),
  'an Error whose message throws': () => Object.defineProperty(new Error('x'), 'message', { get() { throw new Error('no') } }),
  'a Proxy that tells nothing': () => new Proxy({}, { getPrototypeOf() { throw new Error('no') }, get() { throw new Error('no') } }),
  'null': () => null,
}

for (const [what, make] of Object.entries(THROWN)) {
  test(`an actor throws ${what}: the call fails, and the next one is served`, async (t) => {
    const mesh = actorMesh(t, { latencyMs: 1 })
    const { add, fails, go, clock } = mesh
    const boom = (): never => { throw make() }
    const a = await add('a', (stage) => {
      stage.define({ pattern: 'x.{id}', readonly: ['peek'], create: (_, self: Self) => ({ now: boom, async later() { await null; boom() }, peek: boom, ok: () => 1, tick() { self.after(1, boom) }, deactivate: boom }) })
      stage.define({ pattern: 'made.{id}', create: boom })
      stage.define({ pattern: 'woken.{id}', create: () => ({ f() {}, activate: boom }) })
    })
    const b = await add('b')
    for (const { stage } of [a, b]) {
      const actor = stage.actor(`x.${stage.name}`)
      for (const method of ['now', 'later', 'peek']) await fails(actor[method]() as Promise<unknown>, 'REMOTE_ERROR', 'yes')
      t.is(await go(actor['ok']()), 1)
      await go(actor['tick']())
      await clock.advance(100)
      for (const pattern of ['made', 'woken']) await fails(stage.actor(`${pattern}.${stage.name}`)['f']() as Promise<unknown>, 'REMOTE_ERROR', 'no')
    }
    t.is(a.failures.filter((one) => one.includes('a timer')).length, 2)
    await go(a.stage.close())
  })
}

test('a private property that is kept can be watched by nobody', async (t) => {
  const { add, fails } = actorMesh(t, { latencyMs: 1 })
  const a = await add('a', (stage) => stage.define({ pattern: 'v.{id}', durable: ['open', '_secret'], create: () => ({ open: 1, _secret: 'hunter2' }) }))
  const b = await add('b', undefined, { chain: forging() })
  await fails(forge(b.stage, a.stage.id, '@call', ['v.1', '@watch', [['_secret'], 'every', undefined]]), 'NO_SUCH_PROPERTY')
})

test('migrate() that returns no plain object fails the activation, and what is kept stays', async (t) => {
  const { add, go, fails } = actorMesh(t)
  const prepare = (version: number, migrate?: (from: number, data: Record<string, unknown>) => never) => (stage: Stage): void => {
    stage.define({ pattern: 'v.{id}', durable: true, version, ...(migrate ? { migrate } : {}), create: () => ({ n: 0, inc() { return ++this.n } }) })
  }
  const one = await add('a', prepare(1))
  t.is(await go(one.stage.actor('v.1')['inc']()), 1)
  await go(one.stage.close())
  for (const migrate of [(_: number, data: unknown) => Promise.resolve(data) as never, () => [] as never, () => null as never]) {
    const next = await add('a', prepare(2, migrate))
    await fails(next.stage.actor('v.1')['inc']() as Promise<unknown>, 'STATE_CORRUPT', 'no')
    await go(next.stage.close())
  }
  const last = await add('a', prepare(2, (_, data) => data as never))
  t.is(await go(last.stage.actor('v.1')['inc']()), 2)
})

test('P17: whoever was not called by a turn does not come back to it, though it knows the activation', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 1 })
  const { add, go } = mesh
  const a = await add('a', (stage) => stage.define({ pattern: 'v.{id}', durable: true, reentrant: true, create: () => ({
    n: 0, add(by: number) { return this.n += by }, async slow() { const { n } = this; await passed(mesh.clock, 500); return this.n = n + 1 },
  }) }))
  const b = await add('b', undefined, { chain: forging() })
  const slow = a.stage.actor('v.1')['slow']()
  await mesh.clock.advance(100)
  const known = await go(forge(b.stage, a.stage.id, '@explain', ['v.1'])) as { fence: { activation: string } }
  const forged = forge(b.stage, a.stage.id, '@call', ['v.1', 'add', [100]], [`v.1#${known.fence.activation}.1`])
  t.is(await go(slow), 1)
  t.is(await go(forged), 101, 'it waited like any other call')
})

test('a deactivate() that throws when it is looked for: the actor is given up all the same', async (t) => {
  const { add, go, fails } = actorMesh(t)
  const a = await add('a', (stage) => {
    stage.define({ pattern: 'x.{id}', durable: true, create: () => ({ n: 0, inc() { return ++this.n }, get deactivate(): never { throw new Error('on purpose') } }) })
  })
  t.is(await go(a.stage.actor('x.1')['inc']()), 1)
  a.shelf.trouble({ fail: new Error('disk') }, 'commit')
  await fails(a.stage.actor('x.1')['inc']() as Promise<unknown>, 'STORE_UNAVAILABLE')
  a.shelf.trouble()
  t.is(await go(a.stage.actor('x.1')['inc']()), 2)
})

/** A stage that hosts `v.{id}`, and tells each watch what it likes; what is not a list of batches comes in place of the stream. */
async function liar(mesh: ActorMesh, told: (number: number) => unknown, afterMs = 0): Promise<{ asked: string[] }> {
  let id = ''
  const asked: string[] = []
  const batches: unknown[] = []
  let more = (): void => {}
  async function* changes(): AsyncGenerator {
    for (;;) {
      while (batches.length > 0) yield batches.shift()
      await new Promise<void>((resolve) => { more = resolve })
    }
  }
  const node = await mesh.add('liar', undefined, { chain: forging({ types: ['v.{id}'], services: {
    '@locate': (_, __, answer) => answer(null, id),
    '@changes': (_, __, answer) => { asked.push('@changes'); const other = told(0); answer(null, Array.isArray(other) ? changes() : other) },
    '@call': (_, args, answer) => { asked.push('@call'); batches.push(...[told((args[2] as [unknown, unknown, unknown, number])[3])].flat()); more(); if (afterMs > 0) mesh.clock.setTimeout(() => answer(null), afterMs); else answer(null) },
    '@unwatch': (_, __, answer) => { asked.push('@unwatch'); answer(null) },
  } }) })
  id = node.stage.id
  return { asked }
}

const WHOLE = [1, 'a', true]
const ONE = Buffer.from([1])
const TOLD: Record<string, (number: number) => unknown> = {
  'no stream': () => 5,
  'a stream of bytes': () => Readable.from([ONE], { objectMode: false }),
  'a list of streams in place of one': () => ({ a: Readable.from([ONE], { objectMode: false }) }),
  'a batch that is nothing': () => [null],
  'a batch that is a text': () => ['x'],
  'a batch without notices': () => [[[ONE]]],
  'notices that are none': (n) => [[[ONE], n]],
  'a notice that is none': () => [[[ONE], [5]]],
  'bytes that are no value': (n) => [[[Buffer.from([0xc1])], [[n, 0, 0, [0, 0], WHOLE]]]],
  'no pairs': (n) => [[[ONE], [[n, 0, 0, 5, WHOLE]]]],
  'half a pair': (n) => [[[ONE], [[n, 0, 0, [0], WHOLE]]]],
  'other names': (n) => [[[ONE], [[n, 0, 0, [1, 0], WHOLE]]]],
  'the name of a field': (n) => [[[ONE], [[n, 0, 0, ['length', 0], WHOLE]]]],
  'too many names': (n) => [[[ONE], [[n, 0, 0, [0, 0, 0, 0], WHOLE]]]],
  'not all names': (n) => [[[ONE], [[n, 0, 0, [], WHOLE]]]],
  'no bytes': (n) => [[[5], [[n, 0, 0, [0, 0], WHOLE]]]],
  'bytes that did not come': (n) => [[[ONE], [[n, 0, 0, [0, 1], WHOLE]]]],
  'no numbers': (n) => [[[ONE], [[n, {}, null, [0, 0], WHOLE]]]],
  'no activation': (n) => [[[ONE], [[n, 0, 0, [0, 0], [1, 2, true]]]]],
  'half an activation': (n) => [[[ONE], [[n, 0, 0, [0, 0], 'x']]]],
  'an end for a reason that is none': (n) => [[[], [[n, 'ON_PURPOSE', {}]]]],
  'a piece that is none': () => [[[], [], 'x', true]],
  'a piece that is too large': () => [[[], [], Buffer.alloc(100_000), true]],
  'pieces of no value': () => [[[], [], Buffer.from([0xc1]), true]],
  'pieces of another value': () => [[[], [], ONE, true]],
  'pieces without an end': () => Array.from({ length: 100 }, () => [[], [], Buffer.alloc(65_536), false]),
}
for (const [what, told] of Object.entries(TOLD)) {
  test(`watching an owner that tells ${what} ends with a typed error`, async (t) => {
    const mesh = actorMesh(t, { latencyMs: 1 })
    await liar(mesh, told)
    const a = await mesh.add('a')
    const loop = a.stage.observe('v.1', ['hp'], { timeoutMs: 2000 })
    await mesh.fails(loop.next(), 'PROTOCOL_ERROR')
    t.is((await mesh.go(loop.next())).done, true)
    await mesh.clock.advance(3000)
    t.like(a.stage.stats(), { observers: 0, streams: 0, calls: 0, actorCalls: 0 })
  })
}

test('what an owner tells of one watch that cannot be ends no other', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 1 })
  let bad = 0
  await liar(mesh, (n) => n === 0 ? [] : n === 1 ? [[[ONE], [[n, 0, n, [0, 0], WHOLE]]]] : [[[ONE], [[bad = n, 0, 0, 5]]]])
  const a = await mesh.add('a')
  const good = a.stage.observe('v.1', ['hp'])
  t.is((await mesh.go(good.next())).value?.version, 1)
  await mesh.fails(a.stage.observe('v.2', ['hp'], { timeoutMs: 300 }).next(), 'PROTOCOL_ERROR')
  t.true(bad >= 2)
  t.is(a.stage.stats()['streams'], 1, 'the stream of both stands')
  await mesh.go(good.return!())
})

test('what a watch is told counts, though the answer that it stands comes later', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 1 })
  const { clock } = mesh
  await liar(mesh, (n) => n === 0 ? [] : [[[ONE], [[n, 0, 1, [0, 0], WHOLE]]], [[Buffer.from([2])], [[n, 1, 2, [0, 0]]]]], 500)
  const a = await mesh.add('a')
  const loop = a.stage.observe('v.1', ['hp'], { mode: 'every' })
  const started = clock.now()
  for (const hp of [1, 2]) t.deepEqual((await mesh.go(loop.next())).value, { hp, version: hp })
  t.true(clock.now() - started < 500)
  await clock.advance(1000)
  t.is(a.stage.stats()['actorCalls'], 0)
  await mesh.go(loop.return!())
})

test('an owner that tells of watches that are over, or were never asked for, tells nobody', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 1 })
  const { asked } = await liar(mesh, (n) => n === 0 ? [] : [[[ONE], [[n, 0, 1, [0, 0], WHOLE], ...[0, -1, n + 100, 1e15, 'x', null, [n], { n }].map((other) => [other, 0, 7, [0, 0], WHOLE])]]])
  const a = await mesh.add('a')
  const loops = [1, 2, 3].map((i) => a.stage.observe(`v.${i}`, ['hp']))
  for (const loop of loops) t.is((await mesh.go(loop.next())).value?.version, 1)
  for (const loop of loops) await mesh.go(loop.return!())
  await mesh.clock.advance(100)
  t.deepEqual([a.stage.stats()['streams'], asked.filter((one) => one === '@changes').length], [0, 1])
})

test('an owner that tells more and more names makes nothing grow', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 1 })
  await liar(mesh, (n) => n === 0 ? [] : [
    [[ONE], [[n, 0, 0, [0, 0], WHOLE]]],
    ...Array.from({ length: 50 }, (_, i) => [[ONE], [[n, i + 1, i + 1, [i + 1, 0]]]]),
  ])
  const a = await mesh.add('a')
  const got: object[] = []
  const loop = a.stage.observe('v.1', ['hp'], { mode: 'every' })
  void (async () => { for await (const one of loop) got.push(one) })().catch(() => {})
  await mesh.clock.advance(5000)
  await mesh.go(loop.return!())
  t.true(got.length >= 1 && got.every((one) => Object.keys(one).every((name) => ['hp', 'version', 'reset'].includes(name))))
})

test('the name of a method that is not there is not remembered when it is long', async (t) => {
  const { add, fails, go } = actorMesh(t, { latencyMs: 1 })
  const a = await add('a', (stage) => stage.define({ pattern: 'v.{id}', create: () => ({ f: () => 1 }) }))
  const b = await add('b', undefined, { chain: forging() })
  t.is(await go(a.stage.actor('v.1')['f']()), 1)
  await fails(forge(b.stage, a.stage.id, '@call', ['v.1', 'z'.repeat(3_000_000), []]), 'NO_SUCH_METHOD', 'no')
  t.is(a.stage.actor('v.1')['z'.repeat(300)] as unknown, undefined)
  t.true(JSON.stringify(await go(a.stage.explain('v.1'))).length < 1000)
})

test('the arguments of a reminder are those that it was given', async (t) => {
  const mesh = actorMesh(t)
  const { add, go, fails, clock } = mesh
  const seen: unknown[][] = []
  const { stage } = await add('a', (one) => one.define({ pattern: 'x.{id}', durable: true, create: (_, self: Self) => {
    const list: unknown[] = ['orig']
    return {
      n: 0,
      bump() { return ++this.n },
      set() { self.remind('r', 'ring', { afterMs: 5000, args: [list] }) },
      spoil() { list.push('bad', () => {}); throw new Error('on purpose') },
      ring(got: unknown[]) { seen.push([...got]); got.push('mine'); if (seen.length === 1) throw new Error('once') },
    }
  } }))
  await go(stage.actor('x.1')['set']())
  await fails(stage.actor('x.1')['spoil']() as Promise<unknown>, 'REMOTE_ERROR')
  t.is(await go(stage.actor('x.1')['bump']()), 1)
  await clock.advance(20_000)
  t.deepEqual(seen, [['orig'], ['orig']])
})

test('a store of one\'s own that throws at once, or answers with something else, ends no process', async (t) => {
  const { add, go, clock, stage: make } = actorMesh(t)
  const { shelf } = await add('a')
  const inner = shelf.store('default')
  let due = (): unknown => []
  const broken = { ...inner, due: () => due() as never, release: (): never => { throw new Error('at once') }, look: (): never => { throw new Error('at once') } }
  const own = Object.assign(Object.create(shelf) as typeof shelf, { store: () => broken })
  const stage = make('own', { store: own })
  stage.define({ pattern: 'x.{id}', durable: true, create: (_, self: Self) => ({ n: 0, inc() { return ++this.n }, leave() { self.deactivate() } }) })
  const actor = stage.actor('x.1', { timeoutMs: 20_000 })
  let n = 0
  for (const one of [() => { throw new Error('at once') }, () => Promise.resolve(null), () => Promise.resolve([5, {}])]) {
    due = one
    t.is(await go(actor['inc']()), ++n)
    await clock.advance(12_000)
    await go(actor['leave']())
    await clock.advance(100)
    t.deepEqual(stage.actors(), [])
  }
  const host = await add('host')
  void host.stage.host('things.1', { get: () => 1 })
  await clock.advance(1000)
  const error = await go((stage.actor('things.1', { timeoutMs: 2000 })['get']() as Promise<unknown>).then(() => undefined, (thrown: StageError) => thrown))
  t.is(error?.executed, 'no', 'who has an object cannot be looked up')
})

test('maxActors bounds what there is, also while those that are put away take their time', async (t) => {
  const { add, clock } = actorMesh(t)
  let [there, most] = [0, 0]
  const { stage } = await add('a', (one) => one.define({ pattern: 'x.{id}', maxActors: 2, create: () => {
    most = Math.max(most, ++there)
    return { ok: () => 1, async deactivate() { await passed(clock, 1000); there-- } }
  } }))
  const codes = new Map<unknown, number>()
  for (let i = 0; i < 40; i++) {
    void (stage.actor(`x.${i}`, { timeoutMs: 8000 })['ok']() as Promise<unknown>).catch((error: StageError) => error.code).then((one) => codes.set(one, (codes.get(one) ?? 0) + 1))
    await clock.advance(100)
  }
  await clock.advance(20_000)
  t.is(most, 2)
  t.deepEqual([...codes.keys()].sort(), [1, 'OVERLOADED'])
  t.true(codes.get(1)! >= 4)
})

test('host(): one object has one address, and what took it away before takes nothing of the next one', async (t) => {
  const { add, go, fails } = actorMesh(t)
  const { stage } = await add('a')
  const one = { f: () => 1 }
  const off = await go(stage.host('lobby', one))
  await t.throwsAsync(stage.host('other', one), { instanceOf: TypeError, message: /lobby/ })
  await t.throwsAsync(stage.host('fixed', Object.freeze({ self: 1 })), { instanceOf: TypeError })
  await t.throwsAsync(stage.host('fixed', Object.defineProperty({}, 'self', { value: 1 })), { instanceOf: TypeError, message: /self/ })
  await go(off())
  await fails(stage.actor('lobby', { timeoutMs: 500 })['f']() as Promise<unknown>, 'NO_SUCH_ACTOR')
  await go(stage.host('lobby', { f: () => 2 }))
  await go(off())
  t.is(await go(stage.actor('lobby')['f']()), 2)
  await go(stage.host('other', one))
  t.is(await go(stage.actor('other')['f']()), 1)
})

test('a full mailbox keeps out no timer of the actor itself', async (t) => {
  const mesh = actorMesh(t)
  const { add, clock } = mesh
  let rang = 0
  const { stage } = await add('a', (one) => one.define({ pattern: 'x.{id}', mailbox: 1, create: (_, self: Self) => ({ async work(ms: number) { self.after(100, () => { rang++ }); await passed(mesh.clock, ms) } }) }))
  const calls = [1, 2].map(() => stage.actor('x.1')['work'](500) as Promise<unknown>)
  await clock.advance(3000)
  await Promise.all(calls)
  t.is(rang, 2)
})

test('P16: that a property was taken away is kept too', async (t) => {
  for (const durable of [true, ['hp', 'more']]) {
    const { add, go, clock } = actorMesh(t)
    const prepare = (stage: Stage): void => { stage.define({ pattern: 'x.{id}', durable: durable as true, create: (_, self: Self) => ({
      hp: 100 as number | undefined, more: 1,
      set() { this.hp = 7 }, drop() { delete this.hp }, leave() { self.deactivate() }, look() { return Object.keys(this).filter((name) => name === 'hp').map(() => this.hp) },
      async dropAndFail() { delete (this as { more?: number }).more; await null; throw new Error('on purpose') }, count() { return this.more },
    }) }) }
    const a = await add('a', prepare)
    const actor = a.stage.actor('x.1')
    await go(actor['set']())
    await go(actor['drop']())
    await go((actor['dropAndFail']() as Promise<unknown>).catch(() => {}))
    t.is(await go(actor['count']()), 1, 'a turn that throws takes nothing away')
    await go(actor['leave']())
    await clock.advance(100)
    t.deepEqual(await go(actor['look']()), [], JSON.stringify(durable))
    const seen = a.stage.observe('x.1', ['more'])
    t.deepEqual((await go(seen.next())).value, { more: 1, version: 2 })
    await go(actor['set']())
    await go(actor['leave']())
    await clock.advance(100)
    t.deepEqual(await go(actor['look']()), [7])
  }
})

test('P16: that a property was taken away is kept too where another came in its place', async (t) => {
  for (const durable of [true, ['a', 'b', 'c']]) {
    const { add, go, clock } = actorMesh(t)
    const { stage } = await add('a', (one) => one.define({ pattern: 'x.{id}', durable: durable as true, create: (_, self: Self) => ({
      a: 1, b: 2 as number | undefined, ...(durable === true ? {} : { c: undefined }),
      rename() { Object.assign(this, { c: this.b }); delete this.b }, drop() { delete this.b }, add() { Object.assign(this, { c: 5 }) },
      leave() { self.deactivate() }, look() { return { ...this } },
    }) }))
    const leave = async (address: string): Promise<unknown> => {
      await go(stage.actor(address)['leave']())
      await clock.advance(100)
      const { a, b, c } = await go(stage.actor(address)['look']()) as { a?: number; b?: number; c?: number }
      return JSON.parse(JSON.stringify({ a, b, c })) as unknown
    }
    await go(stage.actor('x.1')['rename']())
    t.deepEqual(await leave('x.1'), { a: 1, c: 2 }, 'in one turn')
    await go(stage.actor('x.2')['drop']())
    await go(stage.actor('x.2')['add']())
    t.deepEqual(await leave('x.2'), { a: 1, c: 5 }, 'in the next one')
  }
})

test('P9: a burst to an actor that nobody has called yet: whoever finds no place is told so, and the others are served in order', async (t) => {
  const { add, go } = actorMesh(t)
  const { stage } = await add('a', (one) => one.define({ pattern: 'x.{id}', create: () => ({ seen: [] as number[], async add(i: number) { this.seen.push(i); await null }, all() { return this.seen } }) }))
  const outcomes = await go(Promise.allSettled(Array.from({ length: 9000 }, (_, i) => stage.actor('x.1')['add'](i))))
  const served = outcomes.flatMap((one, i) => one.status === 'fulfilled' ? [i] : [])
  t.deepEqual([...new Set(outcomes.map((one) => one.status === 'fulfilled' ? 'served' : (one.reason as StageError).code))], ['served', 'OVERLOADED'])
  t.deepEqual(await go(stage.actor('x.1')['all']()), served)
  t.is(stage.stats()['actorCalls'], 0)
})
