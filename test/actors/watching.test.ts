/** What observe() yields: the present value, then each committed change. */
import { getEventListeners } from 'node:events'
import test from 'ava'
import type { Self, Stage, StageError } from '../../src/index.js'
import { actorMesh, away, type ActorMesh } from '../helpers/actors.js'
import { nothingUnhandled } from '../helpers/unhandled.js'
import { passed } from '../helpers/virtual-clock.js'

nothingUnhandled(test)

export interface Shown { version: number; reset?: true; [name: string]: unknown }

class Player {
  hp = 100
  armor = 1
  bag = { items: [] as string[], deep: { n: 0 } }
  extra?: unknown
  _secret = 1
  hit(n: number) { this.hp -= n; return this.hp }
  both(n: number) { this.hp = n; this.armor = n }
  take(item: string) { this.bag.items.push(item); this.bag.deep.n++ }
  set(value: unknown) { this.extra = value }
  clear() { delete this.extra }
  fail() { this.hp = 0; throw new Error('on purpose') }
  async slowly(clock: () => Promise<void>) { this.hp--; await clock(); this.armor-- }
}

const players = (more: object = {}) => (stage: Stage): void => { stage.define({ pattern: 'players.{id}', constructor: Player, durable: true, ...more }) }

/** Reads a loop for as long as nothing else is said, and keeps what it got. */
function reading(loop: AsyncIterableIterator<unknown>): { got: Shown[]; ended: Promise<unknown> } {
  const got: Shown[] = []
  const ended = (async () => { for await (const one of loop) got.push(one as Shown) })().then(() => 'done', (error: StageError) => error.code ?? error)
  return { got, ended }
}

const pass = (mesh: ActorMesh): Promise<void> => mesh.clock.advance(50)

test('P21: first the present value, then each committed change once, in order, here and from elsewhere', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 2 })
  const a = await mesh.add('a', players())
  const b = await mesh.add('b')
  for (const { stage } of [a, b]) {
    const address = `players.${stage.name}`
    await mesh.go(stage.actor<Player>(address).hit(5))
    const every = reading(stage.observe<Player>(address, ['hp', 'armor'], { mode: 'every' }))
    const latest = reading(stage.observe<Player>(address, ['hp']))
    await pass(mesh)
    t.deepEqual(every.got, [{ hp: 95, armor: 1, version: 1 }])
    t.deepEqual(latest.got, [{ hp: 95, version: 1 }])
    await mesh.go(Promise.all(Array.from({ length: 30 }, () => stage.actor<Player>(address).hit(1))))
    await pass(mesh)
    t.deepEqual(every.got.slice(1), Array.from({ length: 30 }, (_, i) => ({ hp: 94 - i, armor: 1, version: i + 2 })))
    t.deepEqual(latest.got.at(-1), { hp: 65, version: 31 })
    const hps = latest.got.map((one) => one['hp'] as number)
    t.deepEqual(hps, [...hps].sort((x, y) => y - x))
  }
})

test('P21: latest merges what could not be delivered, and the newest value always arrives', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 2 })
  const a = await mesh.add('a', players())
  const b = await mesh.add('b')
  for (const { stage } of [a, b]) {
    const actor = stage.actor<Player>(`players.${stage.name}`)
    const loop = stage.observe<Player>(`players.${stage.name}`, ['hp', 'armor'])
    t.deepEqual((await mesh.go(loop.next())).value, { hp: 100, armor: 1, version: 0 })
    for (let i = 0; i < 50; i++) await mesh.go<unknown>(i % 2 ? actor.hit(1) : actor.both(50 + i))
    await pass(mesh)
    const got: Shown[] = []
    for (;;) {
      const next = loop.next()
      await pass(mesh)
      const one = await Promise.race([next, Promise.resolve(undefined)])
      if (!one) break
      got.push(one.value as Shown)
    }
    t.true(got.length < 20, `${got.length} for 50 changes`)
    t.deepEqual(got.at(-1), { hp: 97, armor: 98, version: 50 })
    t.true(got.every((one) => !one.reset))
    await loop.return!()
  }
})

test('P21: an update is whole and consistent: what one turn left, not half of it', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 2 })
  const a = await mesh.add('a', players())
  const b = await mesh.add('b')
  await mesh.go(a.stage.actor<Player>('players.1').both(50))
  const loops = [a, b].flatMap(({ stage }) => [reading(stage.observe<Player>('players.1', ['hp', 'armor'], { mode: 'every' })), reading(stage.observe<Player>('players.1', ['hp', 'armor']))])
  await pass(mesh)
  const calls: Promise<unknown>[] = []
  for (let i = 0; i < 20; i++) calls.push(b.stage.actor<Player>('players.1').both(i), a.stage.actor<Player>('players.1').slowly(() => passed(mesh.clock, 5)))
  await mesh.go(Promise.all(calls))
  await pass(mesh)
  for (const { got } of loops) for (const { hp, armor, version } of got) t.is(hp, armor, `version ${version}`)
  for (const { got } of [loops[0], loops[2]]) t.is(got.length, 41)
})

test('changes in place count, and what did not change is not told', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 1 })
  const a = await mesh.add('a', players())
  const actor = a.stage.actor<Player>('players.1')
  const bag = reading(a.stage.observe<Player>('players.1', ['bag'], { mode: 'every' }))
  const extra = reading(a.stage.observe<Player>('players.1', ['bag', 'hp'], { mode: 'every' }))
  await pass(mesh)
  await mesh.go(actor.take('sword'))
  await mesh.go(actor.hit(1))
  await mesh.go(actor.hit(0))
  await mesh.go(actor.take('shield'))
  await pass(mesh)
  t.deepEqual(bag.got.map((one) => one['bag']), [{ items: [], deep: { n: 0 } }, { items: ['sword'], deep: { n: 1 } }, { items: ['sword', 'shield'], deep: { n: 2 } }])
  t.is(extra.got.length, 4)
  ;(bag.got[2]['bag'] as { items: string[] }).items.push('mine')
  t.deepEqual((extra.got[3]['bag'] as { items: string[] }).items, ['sword', 'shield'], 'no two loops share what they get')
  t.deepEqual((await mesh.go(Promise.resolve(actor.bag))).items, ['sword', 'shield'])
})

test('a property that comes and goes is undefined where it is not', async (t) => {
  const mesh = actorMesh(t)
  const a = await mesh.add('a', players())
  const actor = a.stage.actor<Player>('players.1')
  await mesh.go(actor.set(1))
  const { got } = reading(a.stage.observe<Player>('players.1', ['extra'], { mode: 'every' }))
  await pass(mesh)
  for (const step of [() => actor.clear(), () => actor.set({ x: 1 }), () => actor.set(undefined), () => actor.set(null)]) await mesh.go(step())
  await pass(mesh)
  t.deepEqual(got.map((one) => one['extra']), [1, undefined, { x: 1 }, undefined, null])
})

test('what a turn that throws, or a commit that fails, had changed is never shown', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 1 })
  const a = await mesh.add('a', players())
  const b = await mesh.add('b')
  const loops = [a, b].map(({ stage }) => reading(stage.observe<Player>('players.1', ['hp'], { mode: 'every' })))
  await pass(mesh)
  await mesh.fails(b.stage.actor<Player>('players.1').fail(), 'REMOTE_ERROR')
  a.shelf.trouble({ beforeMs: 1000 }, 'commit')
  const slow = b.stage.actor<Player>('players.1').hit(10)
  await mesh.clock.advance(900)
  for (const { got } of loops) t.is(got.length, 1, 'nothing is shown before it is committed')
  await mesh.go(slow)
  a.shelf.trouble({ fail: away() }, 'commit')
  await mesh.fails(b.stage.actor<Player>('players.1').hit(50), 'STORE_UNAVAILABLE')
  a.shelf.trouble()
  await mesh.go(b.stage.actor<Player>('players.1').hit(1))
  await mesh.clock.advance(3000)
  for (const { got } of loops) t.deepEqual(got.map((one) => one['hp']), [100, 90, 89])
})

test('commit: explicit: watchers see what was saved', async (t) => {
  const mesh = actorMesh(t)
  const a = await mesh.add('a', (stage) => stage.define({ pattern: 'x.{id}', durable: ['n'], commit: 'explicit', create: (_, self: Self) => ({ n: 0, volatile: 0, add() { this.volatile++; return ++this.n }, save: () => self.save() }) }))
  await mesh.go(a.stage.actor('x.1')['add']())
  const kept = reading(a.stage.observe('x.1', ['n'], { mode: 'every' }))
  const all = reading(a.stage.observe('x.1', ['volatile'], { mode: 'every' }))
  await pass(mesh)
  for (const method of ['add', 'add', 'save', 'add', 'save']) await mesh.go(a.stage.actor('x.1')[method]())
  await pass(mesh)
  t.deepEqual(kept.got.map(({ n, version }) => [n, version]), [[0, 0], [3, 1], [4, 2]])
  t.deepEqual(all.got.map((one) => one['volatile']), [1, 2, 3, 4])
})

test('properties that are not kept can be watched too, and are new with each activation', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 1 })
  const a = await mesh.add('a', (stage) => stage.define({ pattern: 'x.{id}', create: (_, self: Self) => ({ n: 0, list: [0], add() { this.list.push(++this.n) }, fail() { this.n = 77; throw new Error('on purpose') }, leave() { self.deactivate() } }) }))
  const b = await mesh.add('b')
  const loops = [a, b].map(({ stage }) => reading(stage.observe('x.1', ['n', 'list'], { mode: 'every' })))
  await pass(mesh)
  await mesh.go(b.stage.actor('x.1')['add']())
  await mesh.go(a.stage.actor('x.1')['add']())
  await mesh.fails(a.stage.actor('x.1')['fail'](), 'REMOTE_ERROR')
  await pass(mesh)
  for (const { got } of loops) t.deepEqual(got, [{ n: 0, list: [0], version: 0 }, { n: 1, list: [0, 1], version: 0 }, { n: 2, list: [0, 1, 2], version: 0 }, { n: 77, list: [0, 1, 2], version: 0 }], 'nothing puts back what is not kept')
  await mesh.go(a.stage.actor('x.1')['leave']())
  await mesh.clock.advance(3000)
  await mesh.go(b.stage.actor('x.1')['add']())
  await pass(mesh)
  for (const { got } of loops) {
    t.deepEqual(got.slice(4).map(({ n, reset }) => [n, reset]), [[0, true], [1, undefined]])
  }
})

test('an unknown or private property, and reserved names', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 1 })
  const a = await mesh.add('a', players())
  const b = await mesh.add('b')
  for (const { stage } of [a, b]) {
    for (const name of ['missing', 'hit', 'self2']) {
      const error = await mesh.fails(stage.observe('players.1', ['hp', name]).next(), 'NO_SUCH_PROPERTY', 'no')
      t.true(error.message.includes(name))
    }
    for (const name of ['_secret', '__proto__', 'constructor', 'self', 'then', 'toString', 'activate']) {
      t.is(t.throws<StageError>(() => stage.observe('players.1', [name]), undefined, name)?.code, 'NO_SUCH_PROPERTY', name)
    }
    for (const name of ['version', 'reset']) t.is(t.throws<StageError>(() => stage.observe('players.1', [name]))?.code, 'BAD_ARGUMENT', name)
    await mesh.fails(stage.observe('players.1', Array.from({ length: 101 }, (_, i) => `p${i}`)).next(), 'BAD_ARGUMENT')
    await mesh.fails(stage.observe('nobody.1', ['hp'], { timeoutMs: 500 }).next(), 'NO_SUCH_ACTOR', 'no')
  }
  await mesh.clock.advance(3000)
  t.is(a.stage.stats()['observers'], 0)
  t.is(a.stage.actors()[0].watchers, 0)
})

test('the first value comes within the deadline or not at all, and later ones need none', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 1 })
  const b = await mesh.add('b', undefined, { timeoutMs: 700 })
  const started = mesh.clock.now()
  const never = b.stage.observe<Player>('players.1', ['hp']).next()
  await mesh.fails(never, 'NO_SUCH_ACTOR')
  t.true(mesh.clock.now() - started <= 850)
  const waits = b.stage.observe<Player>('players.1', ['hp'], { timeoutMs: 20_000 })
  await mesh.clock.advance(5000)
  await mesh.add('a', players())
  t.deepEqual((await mesh.go(waits.next())).value, { hp: 100, version: 0 })
  const later = waits.next()
  await mesh.clock.advance(60_000)
  await mesh.go(b.stage.actor<Player>('players.1').hit(1))
  t.deepEqual((await mesh.go(later)).value, { hp: 99, version: 1 })
})

test('a first value that does not come in time says where the time went', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 1 })
  const a = await mesh.add('a', (stage) => { stage.define({ pattern: 'busy.{id}', create: () => ({ n: 1, work: () => new Promise(() => {}) }) }) })
  const b = await mesh.add('b')
  for (const { stage } of [a, b]) {
    void stage.actor(`busy.${stage.name}`, { timeoutMs: 60_000 })['work']().catch(() => {})
    await pass(mesh)
    const started = mesh.clock.now()
    const error = await mesh.fails(stage.observe(`busy.${stage.name}`, ['n'], { timeoutMs: 700 }).next(), 'TIMEOUT')
    t.is(error.phase, 'queued')
    t.regex(error.message, /behind work\(\) of busy/)
    t.true(mesh.clock.now() - started <= 800, `${mesh.clock.now() - started} ms`)
  }
})

test('a loop that is left before its first value takes back what it asked for', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 1 })
  const a = await mesh.add('a', (stage) => { stage.define({ pattern: 'busy.{id}', create: () => ({ n: 1, work: () => new Promise(() => {}) }) }) })
  const b = await mesh.add('b')
  void a.stage.actor('busy.1', { timeoutMs: 60_000 })['work']().catch(() => {})
  const loops = [b.stage.observe('busy.1', ['n'], { timeoutMs: 50_000 }), b.stage.observe('nobody.1', ['n'], { timeoutMs: 50_000 })]
  await pass(mesh)
  t.is((await mesh.go(a.stage.explain('busy.1'))).queue, 1)
  t.is(b.stage.stats()['actorCalls'], 2)
  for (const one of loops) await one.return!()
  await pass(mesh)
  t.is((await mesh.go(a.stage.explain('busy.1'))).queue, 0)
  t.deepEqual([b.stage.stats()['actorCalls'], b.stage.stats()['calls'], b.stage.stats()['observers']], [0, 0, 0])
})

test('P22: after leaving the loop nothing more is delivered, and nothing of it is left', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 1 })
  const a = await mesh.add('a', players())
  const b = await mesh.add('b')
  for (const { stage } of [a, b]) {
    const seen: unknown[] = []
    const loop = stage.observe<Player>('players.1', ['hp'], { mode: 'every' })
    const left = (async () => { for await (const one of loop) { seen.push(one); if (seen.length === 2) break } })()
    await pass(mesh)
    await mesh.go(stage.actor<Player>('players.1').hit(1))
    await mesh.go(left)
    for (let i = 0; i < 5; i++) await mesh.go(stage.actor<Player>('players.1').hit(1))
    await pass(mesh)
    t.is(seen.length, 2)
    t.deepEqual(await mesh.go(loop.next()), { done: true, value: undefined })
    t.is(stage.stats()['observers'], 0)
    t.is(a.stage.actors()[0].watchers, 0)
    const controller = new AbortController()
    const aborted = stage.observe<Player>('players.1', ['hp'], { mode: 'every', signal: controller.signal })
    t.truthy((await mesh.go(aborted.next())).value)
    await mesh.go(stage.actor<Player>('players.1').hit(1))
    await pass(mesh)
    controller.abort(new Error('enough'))
    const error = await mesh.fails(aborted.next(), 'CANCELLED')
    t.is((error.cause as Error).message, 'enough')
    t.deepEqual(await mesh.go(aborted.next()), { done: true, value: undefined })
    t.is(getEventListeners(controller.signal, 'abort').length, 0)
    const waiting = new AbortController()
    const one = stage.observe<Player>('players.1', ['hp'], { signal: waiting.signal })
    await mesh.go(one.next())
    const next = one.next()
    waiting.abort()
    await mesh.fails(next, 'CANCELLED')
    await mesh.fails(stage.observe<Player>('players.1', ['hp'], { signal: AbortSignal.abort() }).next(), 'CANCELLED')
    await pass(mesh)
    t.is(stage.stats()['observers'], 0)
    t.is(a.stage.actors()[0].watchers, 0)
  }
})

test('watching activates an actor and keeps it from idle collection, until nobody watches', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 1 })
  const a = await mesh.add('a', players({ idleMs: 2000 }))
  const b = await mesh.add('b')
  const here = a.stage.observe<Player>('players.1', ['hp'])
  const there = b.stage.observe<Player>('players.2', ['hp'])
  await mesh.go(Promise.all([here.next(), there.next()]))
  t.is(a.stage.actors().length, 2)
  await mesh.clock.advance(30_000)
  t.deepEqual(a.stage.actors().map((one) => one.watchers), [1, 1])
  await mesh.go(Promise.all([here.return!(), there.return!()]))
  await mesh.clock.advance(5000)
  t.deepEqual(a.stage.actors(), [])
})

test('a watcher that crashes, or whose link is cut for good, keeps nothing active', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 1 })
  const a = await mesh.add('a', players({ idleMs: 2000 }))
  const b = await mesh.add('b')
  const c = await mesh.add('c')
  const loops = [b.stage.observe<Player>('players.1', ['hp']), c.stage.observe<Player>('players.2', ['hp'])]
  await mesh.go(Promise.all(loops.map((one) => one.next())))
  mesh.crash(b)
  mesh.silence(c)
  await mesh.clock.advance(40_000)
  t.deepEqual(a.stage.actors(), [])
  for (const loop of loops) await loop.return!()
})

test('many loops over the same properties share one watch, and who comes later gets the present value at once', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 5 })
  const a = await mesh.add('a', players())
  const b = await mesh.add('b')
  const first = reading(b.stage.observe<Player>('players.1', ['hp', 'armor'], { mode: 'every' }))
  await pass(mesh)
  await mesh.go(b.stage.actor<Player>('players.1').hit(1))
  await pass(mesh)
  const second = b.stage.observe<Player>('players.1', ['armor', 'hp'], { mode: 'every' })
  const { value } = await second.next() // without any time
  t.deepEqual(value, { hp: 99, armor: 1, version: 1 })
  const third = reading(b.stage.observe<Player>(b.stage.actor<Player>('players.1'), ['hp', 'armor'], { mode: 'every' }))
  t.is(a.stage.actors()[0].watchers, 1)
  await mesh.go(b.stage.actor<Player>('players.1').hit(1))
  await pass(mesh)
  t.deepEqual((await mesh.go(second.next())).value, { hp: 98, armor: 1, version: 2 })
  t.deepEqual([first.got.map((one) => one['hp']), third.got.map((one) => one['hp'])], [[100, 99, 98], [99, 98]])
  await second.return!()
  await mesh.go(b.stage.actor<Player>('players.1').hit(1))
  await pass(mesh)
  t.is(first.got.length, 4, 'one that leaves ends nothing for the others')
})

test('a loop that is read by several next() at once gets each update once', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 1 })
  const a = await mesh.add('a', players())
  const loop = a.stage.observe<Player>('players.1', ['hp'], { mode: 'every' })
  const nexts = [loop.next(), loop.next(), loop.next()]
  await pass(mesh)
  await mesh.go(a.stage.actor<Player>('players.1').hit(1))
  await mesh.go(a.stage.actor<Player>('players.1').hit(1))
  t.deepEqual((await mesh.go(Promise.all(nexts))).map(({ value }) => (value as Shown)['hp']), [100, 99, 98])
})

test('a watched property that cannot be sent ends the loop and says why', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 1 })
  const a = await mesh.add('a', (stage) => stage.define({ pattern: 'x.{id}', create: () => ({ n: 0, odd: 1 as unknown, set() { this.odd = { f: () => 1 } }, add() { return ++this.n } }) }))
  const b = await mesh.add('b')
  for (const { stage } of [a, b]) {
    const address = `x.${stage.name}`
    const loop = reading(stage.observe(address, ['odd']))
    const other = reading(stage.observe(address, ['n'], { mode: 'every' }))
    await pass(mesh)
    await mesh.go(stage.actor(address)['set']())
    t.is(await mesh.go(loop.ended), 'BAD_ARGUMENT')
    t.is(await mesh.go(stage.actor(address)['add']()), 1)
    await mesh.clock.advance(3000)
    t.is(other.got.at(-1)?.['n'], 1, 'what others watch goes on')
  }
})

test('closing the watching stage ends its loops as CLOSED', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 1 })
  await mesh.add('a', players())
  const b = await mesh.add('b')
  const loops = ['latest', 'every'].map((mode) => reading(b.stage.observe<Player>('players.1', ['hp'], { mode: mode as 'every' })))
  await pass(mesh)
  await mesh.go(b.stage.close())
  t.deepEqual(await Promise.all(loops.map((one) => one.ended)), ['CLOSED', 'CLOSED'])
  t.throws(() => b.stage.observe<Player>('players.1', ['hp']), { code: 'CLOSED' })
})
