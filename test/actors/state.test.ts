/** Which changes of an actor are committed, and in what form. */
import test from 'ava'
import type { Self, Stage, StageError } from '../../src/index.js'
import { actorMesh, type ActorMesh, type Node } from '../helpers/actors.js'
import { passed } from '../helpers/virtual-clock.js'

class Player {
  hp = 100
  bag: { items: string[]; gold: { n: number } } = { items: [], gold: { n: 0 } }
  seen = new Map<string, Set<number>>()
  extra?: unknown
  _private = 0
  #own = 0
  hit(n: number) { this.hp -= n; return this.hp }
  take(item: string) { this.bag.items.push(item); this.bag.gold.n++; return this.bag.items.length }
  see(who: string, n: number) { if (!this.seen.has(who)) this.seen.set(who, new Set()); this.seen.get(who)?.add(n); return this.seen.size }
  touch() { this._private++; this.#own++; return this._private + this.#own }
  set(value: unknown) { this.extra = value; return 'set' }
  async waits(ms: number, clock: ActorMesh['clock']) { await passed(clock, ms); this.hp-- }
  fail() { this.hp = 0; this.bag.items.push('stolen'); this.bag.gold = { n: 99 }; this.seen.clear(); this.extra = 'x'; throw new Error('on purpose') }
  async failLater() { this.hp = 0; this.bag.items.push('stolen'); await null; throw new Error('on purpose') }
  all() { return { hp: this.hp, bag: this.bag, seen: this.seen, extra: this.extra } }
  clear() { delete this.extra }
}

const players = (more: object = {}) => (stage: Stage): void => { stage.define({ pattern: 'players.{id}', constructor: Player, durable: true, ...more }) }

/** What the store holds, read by a stage that never had it. */
async function kept({ add, go }: ActorMesh, node: Node, address = 'players.1'): Promise<ReturnType<Player['all']>> {
  await go(node.stage.close())
  const next = await add('next', players())
  return go(next.stage.actor<Player>(address).all())
}

test('P16: what a turn has changed is committed before it is answered, and nothing else is', async (t) => {
  const { add, go, clock } = actorMesh(t, { latencyMs: 1 })
  const a = await add('a', players())
  const b = await add('b')
  for (const { stage } of [a, b]) {
    const actor = stage.actor<Player>(`players.${stage.name}`)
    const commits = (): number => a.shelf.count('commit', `players.${stage.name}`)
    await go(actor.hit(1))
    t.is(commits(), 1)
    await go(actor.hit(0))
    await go(actor.touch())
    await go(actor.all())
    await go(Promise.resolve(actor.hp))
    t.is(commits(), 1, 'what changes nothing durable commits nothing')
    a.shelf.trouble({ beforeMs: 500 }, 'commit')
    const started = clock.now()
    let answered = false
    const call = actor.hit(1).then((hp) => { answered = true; return hp })
    await clock.advance(450)
    t.false(answered, 'the answer waits for the store')
    t.is(await go(call), 98)
    t.true(clock.now() - started >= 500)
    a.shelf.trouble()
  }
})

test('changes in place count: nested fields, elements, maps and sets, new and deleted properties', async (t) => {
  const mesh = actorMesh(t)
  const { add, go } = mesh
  const a = await add('a', players())
  const actor = a.stage.actor<Player>('players.1')
  const steps: (() => Promise<unknown>)[] = [
    () => actor.take('sword'), () => actor.take('shield'), () => actor.see('bob', 1), () => actor.see('bob', 2), () => actor.set({ deep: [{ x: 1 }] }), () => actor.set(undefined), () => actor.set(Buffer.from('xyz')),
  ]
  for (const [i, step] of steps.entries()) {
    await go(step())
    t.is(a.shelf.count('commit'), i + 1, `step ${i}`)
  }
  t.deepEqual(await kept(mesh, a), { hp: 100, bag: { items: ['sword', 'shield'], gold: { n: 2 } }, seen: new Map([['bob', new Set([1, 2])]]), extra: Buffer.from('xyz') })
})

test('durable: names keeps those, private ones among them, and nothing else', async (t) => {
  const { add, go } = actorMesh(t)
  const define = players({ durable: ['hp', '_private'] })
  const a = await add('a', define)
  const actor = a.stage.actor<Player>('players.1')
  await go(actor.take('sword'))
  t.is(a.shelf.count('commit'), 0)
  await go(actor.hit(5))
  await go(actor.touch())
  t.is(a.shelf.count('commit'), 2)
  await go(a.stage.close())
  const b = await add('b', define)
  const { hp, bag } = await go(b.stage.actor<Player>('players.1').all())
  t.deepEqual([hp, bag.items], [95, []])
  t.is(await go(b.stage.actor<Player>('players.1').touch()), 3, 'the private one is kept, its own is new')
})

test('nothing of an actor is read before its claim, and what is not durable is new each time', async (t) => {
  const { add, go } = actorMesh(t)
  const define = (stage: Stage): void => { stage.define({ pattern: 'x.{id}', create: () => ({ n: 0, add() { return ++this.n } }) }) }
  const a = await add('a', define)
  t.is(await go(a.stage.actor('x.1')['add']()), 1)
  await go(a.stage.close())
  const b = await add('b', define)
  t.is(await go(b.stage.actor('x.1')['add']()), 1)
  t.deepEqual([a, b].map(({ shelf }) => shelf.count('commit')), [0, 0])
  t.deepEqual([a, b].map(({ shelf }) => [shelf.steps.find(({ actor }) => actor === 'x.1')?.step, shelf.count('look', 'x.1')]), [['claim', 0], ['claim', 0]])
})

test('P16: a turn that throws commits nothing, and its durable properties are put back', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 1 })
  const { add, go, fails } = mesh
  const a = await add('a', players())
  const actor = a.stage.actor<Player>('players.1')
  await go(actor.take('sword'))
  await go(actor.see('bob', 1))
  const before = await go(actor.all())
  const commits = a.shelf.count('commit')
  for (const method of ['fail', 'failLater'] as const) {
    await fails(actor[method](), 'REMOTE_ERROR', 'yes')
    t.deepEqual(await go(actor.all()), before, method)
  }
  t.is(a.shelf.count('commit'), commits)
  t.is(await go(actor.hit(1)), 99)
  t.deepEqual(await kept(mesh, a), { ...before, hp: 99 })
})

test('a turn that freezes its object, or puts a trap in place of a property, cannot be put back: the actor is made anew, and the stage lives', async (t) => {
  const { add, go, fails } = actorMesh(t)
  const { stage } = await add('a', (one) => one.define({
    pattern: 'x.{id}', durable: true, create: () => ({
      n: 1,
      add() { return ++this.n },
      async freeze() { this.n = 50; Object.freeze(this); await null; throw new Error('frozen') },
      fixed() { this.n = 60; Object.defineProperty(this, 'n', { value: 61, writable: false, configurable: false }); throw new Error('fixed') },
      throwing() { Object.defineProperty(this, 'n', { get: () => { throw new Error('get') }, set: () => { throw new Error('set') }, configurable: true, enumerable: true }); throw new Error('trap') },
    }),
  }))
  const actor = stage.actor('x.1')
  t.is(await go(actor['add']()), 2)
  let n = 2
  for (const method of ['freeze', 'fixed', 'throwing']) {
    await fails(actor[method](), 'REMOTE_ERROR', 'yes')
    t.is(await go(actor['add']()), ++n, method)
  }
})

test('a state that cannot be kept fails the call, says which property, and is put back', async (t) => {
  const { add, go, fails } = actorMesh(t, { latencyMs: 1 })
  const a = await add('a', players())
  const b = await add('b')
  a.stage.define({
    pattern: 'odd.{id}', durable: true, create: () => ({
      n: 0, what: undefined as unknown,
      put(kind: string) {
        this.n++
        const circle: { me?: unknown } = {}
        circle.me = circle
        this.what = { fn: [() => 1], symbol: Symbol('x'), promise: Promise.resolve(1), circle, weak: new WeakMap(), getter: { get x() { throw new Error('no') } }, stream: (async function* () { yield 1 })(), proto: JSON.parse('{"__proto__":1}') as unknown, deep: deep(70), many: new Array(300_000).fill(0), big: Buffer.alloc(4 * 1024 * 1024), text: 'é'.repeat(2.2 * 1024 * 1024) }[kind]
        return this.n
      },
      get() { return [this.n, this.what] },
    }),
  })
  for (const { stage } of [a, b]) {
    const actor = stage.actor('odd.1')
    for (const kind of ['fn', 'symbol', 'promise', 'circle', 'weak', 'getter', 'stream', 'proto', 'deep', 'many', 'big', 'text']) {
      const error = await fails(actor['put'](kind), 'BAD_ARGUMENT', 'yes')
      if (!['big', 'text'].includes(kind)) t.regex(error.message, /what/, kind)
      t.deepEqual(await go(actor['get']()), [0, undefined], kind)
    }
  }
  t.is(a.shelf.count('commit'), 0)
})

test('a state of many properties over 4 MiB together is refused, and one just below is kept', async (t) => {
  const { add, go, fails } = actorMesh(t)
  const define = (stage: Stage): void => { stage.define({
    pattern: 'x.{id}', durable: true, create: () => ({
      set(count: number, size: number) { for (let i = 0; i < count; i++) (this as Record<string, unknown>)[`p${i}`] = Buffer.alloc(size, 1); return count },
      size(): number { return Object.values(this).reduce((sum: number, one) => sum + (Buffer.isBuffer(one) ? one.length : 0), 0) },
    }),
  }) }
  const a = await add('a', define)
  const error = await fails(a.stage.actor('x.1')['set'](9, 500_000), 'BAD_ARGUMENT', 'yes')
  t.regex(error.message, /4 MiB|4194304/)
  t.is(await go(a.stage.actor('x.1')['size']()), 0)
  t.is(await go(a.stage.actor('x.1')['set'](8, 500_000)), 8)
  await go(a.stage.close())
  const b = await add('b', define)
  t.is(await go(b.stage.actor('x.1')['size']()), 4_000_000)
})

test('commit: explicit leaves it to save(), and a turn that throws is put back to where the last one left it', async (t) => {
  const { add, go, fails, clock } = actorMesh(t, { latencyMs: 1 })
  const define = (stage: Stage): void => { stage.define({
    pattern: 'x.{id}', durable: true, commit: 'explicit', create: (_, self: Self) => ({
      n: 0,
      add() { return ++this.n },
      async save() { await self.save(); return this.n },
      async addAndSave() { this.n++; await self.save(); this.n += 100; return this.n },
      fail() { this.n = 1000; throw new Error('on purpose') },
      async saveAndFail() { this.n++; await self.save(); this.n = 1000; throw new Error('on purpose') },
      get() { return this.n },
    }),
  }) }
  const a = await add('a', define)
  const actor = a.stage.actor('x.1')
  t.is(await go(actor['add']()), 1)
  t.is(await go(actor['add']()), 2)
  t.is(a.shelf.count('commit'), 0)
  await fails(actor['fail'](), 'REMOTE_ERROR', 'yes')
  t.is(await go(actor['get']()), 2, 'what turns before it did was not its to lose')
  t.is(await go(actor['save']()), 2)
  t.is(await go(actor['save']()), 2)
  t.is(a.shelf.count('commit'), 1, 'nothing to save')
  await fails(actor['saveAndFail'](), 'REMOTE_ERROR', 'yes')
  t.is(await go(actor['get']()), 3, 'what was saved within it stays')
  t.is(await go(actor['addAndSave']()), 104)
  await fails(actor['fail'](), 'REMOTE_ERROR', 'yes')
  t.is(await go(actor['get']()), 104)
  await go(a.stage.close())
  const b = await add('b', define)
  t.is(await go(b.stage.actor('x.1')['get']()), 4, 'what was not saved is lost')
  await clock.advance(10)
})

test('save() within a turn commits at once, waits for the store, and refuses where nothing is durable', async (t) => {
  const { add, go, fails, clock } = actorMesh(t)
  const { stage, shelf } = await add('a', (one) => one
    .define({ pattern: 'x.{id}', durable: true, create: (_, self: Self) => ({
      n: 0,
      async steps() { this.n++; await self.save(); this.n++; await self.save(); this.n++; return this.n },
      async together() { this.n++; const saves = [self.save(), self.save(), self.save()]; this.n++; await Promise.all(saves); return this.n },
      forgotten() { this.n++; void self.save(); this.n++; return this.n },
      async forgottenLater() { this.n++; void self.save(); await null; this.n++; return this.n },
    }) })
    .define({ pattern: 'y.{id}', create: (_, self: Self) => ({ f: () => self.save() }) }))
  const version = async (): Promise<number | undefined> => (await go(stage.explain('x.1'))).version
  t.is(await go(stage.actor('x.1')['steps']()), 3)
  t.is(await version(), 3)
  shelf.trouble({ beforeMs: 100 }, 'commit')
  t.is(await go(stage.actor('x.1')['together']()), 5)
  for (const method of ['forgotten', 'forgottenLater']) {
    const before = await go(Promise.resolve(stage.actor('x.1')['n'] as unknown as PromiseLike<number>))
    t.is(await go(stage.actor('x.1')[method]()), before + 2, method)
    t.is(await go(Promise.resolve(stage.actor('x.1')['n'] as unknown as PromiseLike<number>)), before + 2)
  }
  await clock.advance(1000)
  const error = await fails(stage.actor('y.1')['f'](), 'REMOTE_ERROR', 'yes')
  t.regex(error.message, /durable/)
})

test('migrate: from an older version, not from a newer one, and nothing is overwritten when it fails', async (t) => {
  const mesh = actorMesh(t)
  const { add, go, fails, registry } = mesh
  const define = (version: number, more: object = {}) => (stage: Stage): void => { stage.define({
    pattern: 'x.{id}', durable: true, version, create: () => version === 1 ? { n: 5, list: [1], set(n: number) { this.n = n } } : { total: 0, list: [] as number[], get() { return [this.total, this.list, Object.keys(this).sort()] }, add() { return ++this.total } }, ...more,
  } as never) }
  const raw = registry.store('default')
  const a = await add('a', define(1))
  await go(a.stage.actor('x.1')['set'](7))
  await go(a.stage.close())
  const before = await raw.look('x.1')
  const broken: [string, object, RegExp][] = [
    ['throws', { migrate: () => { throw new Error('cannot') } }, /cannot/],
    ['returns nothing', { migrate: () => undefined }, /undefined/],
    ['returns a number', { migrate: () => 5 }, /5/],
    ['is missing', {}, /version 1/],
  ]
  for (const [name, more, why] of broken) {
    const b = await add('b', define(2, more))
    for (let again = 0; again < 2; again++) {
      const error = await fails(b.stage.actor('x.1')['get'](), 'STATE_CORRUPT', 'no')
      t.regex(error.message, why, name)
    }
    t.deepEqual(b.stage.actors(), [])
    await go(b.stage.close())
    const now = await raw.look('x.1')
    t.deepEqual([now?.version, now?.data], [before?.version, before?.data], name)
  }
  const calls: unknown[] = []
  const migrate = (from: number, data: Record<string, unknown>): object => { calls.push([from, { ...data }]); return { total: data['n'], list: data['list'] } }
  const c = await add('c', define(3, { migrate }))
  t.deepEqual(await go(c.stage.actor('x.1')['get']()), [7, [1], ['add', 'get', 'list', 'total']])
  t.deepEqual(calls, [[1, { n: 7, list: [1] }]])
  t.is(await go(c.stage.actor('x.1')['add']()), 8)
  await go(c.stage.close())
  const d = await add('d', define(2, { migrate }))
  const error = await fails(d.stage.actor('x.1')['get'](), 'STATE_CORRUPT', 'no')
  t.regex(error.message, /version 3/)
  await go(d.stage.close())
  const e = await add('e', define(3, { migrate }))
  t.deepEqual(await go(e.stage.actor('x.1')['get']()), [8, [1], ['add', 'get', 'list', 'total']])
  t.is(calls.length, 1, 'what is kept by now is of the present version')
  await raw.close()
})

test('what migrate makes cannot touch what is no property of the actor', async (t) => {
  const { add, go } = actorMesh(t)
  const a = await add('a', (one) => one.define({ pattern: 'x.{id}', durable: true, create: () => ({ n: 1, set() { this.n = 2 } }) }))
  await go(a.stage.actor('x.1')['set']())
  await go(a.stage.close())
  const migrate = (): Record<string, unknown> => ({ n: 3, self: 'mine', ...JSON.parse('{"__proto__":{"polluted":1}}') as object })
  const b = await add('b', (one) => one.define({ pattern: 'x.{id}', durable: true, version: 2, migrate, create: (_, self: Self) => ({ n: 1, get() { return [this.n, (this as unknown as { self: unknown }).self === self, 'polluted' in this] } }) }))
  t.deepEqual(await go(b.stage.actor('x.1')['get']()), [3, true, false])
})

test('a state that cannot be read fails the activation as STATE_CORRUPT, and is never overwritten', async (t) => {
  const mesh = actorMesh(t)
  const { add, go, registry } = mesh
  const raw = registry.store('default')
  const a = await add('a', players())
  await go(a.stage.actor<Player>('players.1').hit(1))
  await go(a.stage.close())
  const whole = (await raw.look('players.1'))!.data!
  const blobs: [string, Buffer][] = [['empty', Buffer.alloc(0)], ['text', Buffer.from('{"hp":5}')], ['cut', whole.subarray(0, whole.length - 3)], ['more', Buffer.concat([whole, Buffer.from([1])])], ['random', Buffer.alloc(200, 0xc1)], ['another format', Buffer.from([0x94, 99, 1, 0x80, 0x90])], ['no map', Buffer.from([0x94, 1, 1, 0x80, 0x90])]]
  for (let at = 0; at < whole.length; at += 7) {
    const spoilt = Buffer.from(whole)
    spoilt[at] ^= 0x80
    blobs.push([`bit ${at}`, spoilt])
  }
  const b = await add('b', players())
  let corrupt = 0
  for (const [i, [name, data]] of blobs.entries()) {
    const address = `players.blob${i}`
    const claimed = await raw.claim(address, { stage: 'nobody', activation: `blob${i}` })
    const fence = { epoch: (claimed as { epoch: number }).epoch, activation: `blob${i}` }
    await raw.commit(address, fence, { id: `blob${i}`, version: 1, data })
    await raw.release(address, fence)
    const outcome = await go(b.stage.actor<Player>(address).hit(1).then(() => 'read', (error: StageError) => `${error.code} ${error.executed}`))
    if (name.startsWith('bit') && outcome === 'read') continue // it is a state, only another one
    t.is(outcome, 'STATE_CORRUPT no', name)
    corrupt++
    t.deepEqual((await raw.look(address))?.data, data, name)
    t.is((await raw.look(address))?.owner, undefined, 'and it is nobody\'s, so that it can be mended')
  }
  t.true(corrupt > 7)
  await raw.close()
})

test('the epoch row deleted by hand: the next commit is FENCED, and the call after it begins anew', async (t) => {
  const { add, go, fails, registry } = actorMesh(t, { latencyMs: 1 })
  const a = await add('a', players())
  const b = await add('b', players())
  const c = await add('c')
  for (let id = 0; id < 6; id++) {
    const actor = c.stage.actor<Player>(`players.${id}`)
    await go(actor.hit(10))
    const fence = (await go(c.stage.explain(`players.${id}`))).fence
    registry.forget('default', `players.${id}`)
    const error = await fails(actor.hit(10), 'FENCED', 'yes')
    t.regex(error.message, /not kept/)
    t.is(await go(actor.hit(1)), 99, 'the store knows nothing of it')
    const next = (await go(c.stage.explain(`players.${id}`))).fence
    t.true(next!.epoch > fence!.epoch && next!.activation !== fence!.activation)
  }
  t.is(new Set([...a.stage.actors(), ...b.stage.actors()].map((one) => one.address)).size, 6)
})

test('the store emptied, or put back to an older state: no call is answered as if nothing had been lost', async (t) => {
  const { add, go, fails, registry } = actorMesh(t)
  const a = await add('a', players())
  const actor = a.stage.actor<Player>('players.1')
  for (let i = 0; i < 3; i++) await go(actor.hit(1))
  registry.empty()
  await fails(actor.hit(1), 'FENCED', 'yes')
  t.is(await go(actor.hit(1)), 99)

  // an older copy of the store comes back: owner, epoch and version as they were then
  const store = registry.store('default')
  const then = (await store.look('players.1'))!
  for (let i = 0; i < 3; i++) await go(actor.hit(1))
  registry.forget('default', 'players.1')
  const claimed = await store.claim('players.1', { stage: 'somebody', activation: 'before' })
  if (claimed.owner) return t.fail('it was forgotten')
  const fence = { epoch: claimed.epoch, activation: 'before' }
  t.is(await store.commit('players.1', fence, { id: 'old', version: 1, data: then.data! }), 'ok')
  await store.release('players.1', fence)
  await fails(actor.hit(1), 'FENCED', 'yes')
  t.is(await go(actor.hit(1)), 98, 'what the store has now is what counts')
})

test('restored properties, and what the class makes of its own accord', async (t) => {
  const { add, go } = actorMesh(t)
  const a = await add('a', (one) => one.define({ pattern: 'x.{id}', durable: true, create: () => ({ old: 1, both: 1, set() { this.old = this.both = 2 } }) }))
  await go(a.stage.actor('x.1')['set']())
  await go(a.stage.close())
  const b = await add('b', (one) => one.define({ pattern: 'x.{id}', durable: true, create: () => ({ both: 1, fresh: 5, get() { return [this.both, this.fresh] } }) }))
  t.deepEqual(await go(b.stage.actor('x.1')['get']()), [2, 5], 'a property that is new in the class has its own value')
})

function deep(levels: number): unknown {
  let value: unknown = 1
  for (let i = 0; i < levels; i++) value = [value]
  return value
}
