/** activate(), deactivate() and constructors, also those that fail or never settle. */
import test from 'ava'
import { StageError, type Self, type Stage } from '../../src/index.js'
import { actorMesh, away } from '../helpers/actors.js'
import { nothingUnhandled } from '../helpers/unhandled.js'
import { passed } from '../helpers/virtual-clock.js'

nothingUnhandled(test)

test('activate() runs before the first call, async or not, and what it changes is kept before that is answered', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 1 })
  const notes: string[] = []
  const define = (stage: Stage): void => { stage.define({ pattern: 'x.{id}', durable: true, create: () => ({
    starts: 0, ready: false,
    async activate() { notes.push('activate'); await passed(mesh.clock, 300); this.starts++; this.ready = true },
    get() { notes.push('get'); return [this.starts, this.ready] },
  }) }) }
  const a = await mesh.add('a', define)
  const b = await mesh.add('b')
  t.deepEqual(await mesh.go(Promise.all([a, b, a].map(({ stage }) => stage.actor('x.1')['get']()))), Array(3).fill([1, true]))
  t.deepEqual(notes, ['activate', 'get', 'get', 'get'])
  t.is(a.shelf.count('commit'), 1)
  mesh.crash(a)
  const c = await mesh.add('c', define)
  t.deepEqual(await mesh.go(c.stage.actor('x.1')['get']()), [2, true])
})

test('a constructor or activate() that throws: those that wait are told, nothing is left, and the next call tries again', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 1 })
  let failing = true
  let tries = 0
  class Thrower {
    constructor() { tries++; if (failing) throw new RangeError('cannot be made') }
    get() { return 'made' }
  }
  const thrown: Record<string, () => unknown> = {
    plain: () => { throw new Error('cannot wake') }, string: () => { throw 'text' }, nothing: () => { throw undefined }, rejects: () => Promise.reject(new Error('cannot wake')),
    refused: () => { throw new StageError('REFUSED', 'not mine', { executed: 'no' }) }, moved: () => { throw new StageError('REFUSED', 'moved', { executed: 'no', cause: { moved: 'nowhere' } }) }, fenced: () => { throw new StageError('FENCED', 'not mine') }, corrupt: () => { throw new StageError('STATE_CORRUPT', 'not mine') },
  }
  const a = await mesh.add('a', (stage) => stage
    .define({ pattern: 'thrower.{id}', constructor: Thrower, durable: true })
    .define({ pattern: 'hook.{how}', create: ({ how }) => ({ activate() { tries++; return failing ? thrown[how]() : undefined }, get: () => 'made' }) }))
  const b = await mesh.add('b')
  for (const address of ['thrower.1', ...Object.keys(thrown).map((how) => `hook.${how}`)]) {
    failing = true
    for (const { stage } of [a, b]) {
      tries = 0
      const started = mesh.clock.now()
      const error = await mesh.fails(stage.actor(address)['get'](), 'REMOTE_ERROR', 'no')
      t.true(error.message.includes(address), error.message)
      t.true(tries >= 1 && tries <= 2, `${address}: ${tries}`) // where to find it, and the call
      t.true(mesh.clock.now() - started < 500)
      t.deepEqual(a.stage.actors(), [])
      t.is((await mesh.go(stage.explain(address))).owner, undefined, 'the claim was given up')
    }
    const calls = Array.from({ length: 5 }, () => b.stage.actor(address)['get']().then(() => 'ok', (error: StageError) => error.code))
    t.deepEqual(new Set(await mesh.go(Promise.all(calls))), new Set(['REMOTE_ERROR']))
    failing = false
    t.is(await mesh.go(b.stage.actor(address)['get']()), 'made')
    await mesh.go(a.stage.actor(address)['get']())
    const activation = a.stage.actors().find((one) => one.address === address)
    t.truthy(activation)
    mesh.registry.forget('default', address)
    await mesh.clock.advance(310_000)
  }
})

test('activate() that never settles: TIMEOUT, and the next call tries again', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 1 })
  let hang = true
  const a = await mesh.add('a', (stage) => stage.define({ pattern: 'x.{id}', create: () => ({ activate: () => hang ? new Promise<void>(() => {}) : undefined, get: () => 'made' }) }))
  const b = await mesh.add('b')
  for (const { stage } of [a, b]) {
    hang = true
    const address = `x.${stage.name}`
    const started = mesh.clock.now()
    const first = stage.actor(address, { timeoutMs: 30_000 })['get']()
    const second = stage.actor(address, { timeoutMs: 30_000 })['get']().then(() => '', (error: StageError) => `${error.code} ${error.executed}`)
    const error = await mesh.fails(first, 'TIMEOUT', 'no')
    t.regex(error.message, /activate\(\)/)
    t.is(await mesh.go(second), 'TIMEOUT no')
    t.true(mesh.clock.now() - started <= 10_500)
    t.deepEqual(a.stage.actors().map((one) => one.address).filter((one) => one === address), [])
    hang = false
    t.is(await mesh.go(stage.actor(address)['get']()), 'made')
  }
})

test('activate() may call other actors; a circle through it is a DEADLOCK and no wait', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 1 })
  const define = (stage: Stage): void => { stage.define({ pattern: 'x.{id}', create: ({ id }, self: Self) => ({
    got: undefined as unknown,
    async activate() {
      if (id === 'outer') this.got = await self.actor('x.inner')['get']()
      if (id === 'own') this.got = await self.actor(self.address)['get']().catch((error: StageError) => error.code)
      if (id === 'ping') this.got = await self.actor('x.pong')['back']('x.ping').catch((error: StageError) => error.message)
      if (id === 'a') this.got = await self.actor('x.b')['get']()
      if (id === 'b') this.got = await self.actor('x.a')['get']()
    },
    async back(address: string) { return self.actor(address)['get']() as Promise<unknown> },
    get() { return this.got ?? 'inner' },
  }) }) }
  const [a, b] = [await mesh.add('a', define), await mesh.add('b', define)]
  const c = await mesh.add('c')
  const started = mesh.clock.now()
  t.is(await mesh.go(c.stage.actor('x.outer')['get']()), 'inner')
  t.is(await mesh.go(c.stage.actor('x.own')['get']()), 'DEADLOCK')
  t.regex(await mesh.go(c.stage.actor('x.ping')['get']()) as string, /x\.ping → x\.pong → x\.ping/)
  t.true(mesh.clock.now() - started < 2000, `${mesh.clock.now() - started} ms`)
  const circle = await mesh.fails(c.stage.actor('x.a', { timeoutMs: 30_000 })['get'](), 'REMOTE_ERROR', 'no')
  t.true(mesh.clock.now() - started < 3000, circle.message)
  t.true(a.stage.actors().length + b.stage.actors().length > 0)
})

test('activate() that makes the next one active without end stops at 32', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 1 })
  let made = 0
  const define = (stage: Stage): void => { stage.define({ pattern: 'x.{n}', create: ({ n }, self: Self) => { made++; return { activate: () => self.actor(`x.${Number(n) + 1}`)['get']() as Promise<void>, get: () => 1 } } }) }
  const a = await mesh.add('a', define)
  await mesh.add('b', define)
  const error = await mesh.fails(a.stage.actor('x.0')['get'](), 'REMOTE_ERROR', 'no')
  t.regex(error.message, /32/)
  t.true(made <= 40, `${made}`)
})

test('deactivate(reason) is told why, and what it changes is kept where the claim still holds', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 1 })
  const notes: string[] = []
  const define = (stage: Stage): void => { stage.define({ pattern: 'x.{id}', durable: true, idleMs: 3000, create: (_, self: Self) => ({
    left: 0,
    async deactivate(reason: string) { notes.push(reason); await passed(mesh.clock, 50); this.left++ },
    get() { return this.left },
    set() { this.left += 10 },
    leave() { self.deactivate() },
  }) }) }
  const a = await mesh.add('a', define)
  const b = await mesh.add('b')
  await mesh.go(b.stage.actor('x.1')['get']())
  await mesh.clock.advance(5000)
  t.is(await mesh.go(b.stage.actor('x.1')['get']()), 1)
  await mesh.go(b.stage.actor('x.1')['leave']())
  t.is(await mesh.go(b.stage.actor('x.1')['get']()), 2)
  mesh.registry.forget('default', 'x.1')
  await mesh.fails(b.stage.actor('x.1')['set'](), 'FENCED')
  await mesh.clock.advance(100)
  t.is(await mesh.go(b.stage.actor('x.1')['get']()), 0)
  a.shelf.trouble({ fail: away() }, 'commit')
  await mesh.fails(b.stage.actor('x.1')['set'](), 'STORE_UNAVAILABLE')
  a.shelf.trouble()
  t.is(await mesh.go(b.stage.actor('x.1')['get']()), 0, 'after it has lost its claim nothing of it counts')
  await mesh.go(a.stage.close())
  t.deepEqual(notes, ['idle', 'asked', 'fenced', 'store', 'closing'])
  const c = await mesh.add('c', define)
  t.is(await mesh.go(c.stage.actor('x.1')['get']()), 1)
})

test('deactivate() is called once, also where the commit behind it is refused', async (t) => {
  const mesh = actorMesh(t)
  const notes: string[] = []
  const a = await mesh.add('a', (stage) => stage.define({ pattern: 'x.{id}', durable: true, create: (_, self: Self) => ({ n: 0, deactivate(reason: string) { notes.push(reason); this.n++ }, leave() { self.deactivate() } }) }))
  await mesh.go(a.stage.actor('x.1')['leave']())
  await mesh.clock.advance(100)
  a.shelf.trouble({ beforeMs: 50 }, 'commit') // that of deactivate(): meanwhile its row is taken away
  await mesh.go(a.stage.actor('x.1')['leave']())
  await mesh.clock.advance(20)
  mesh.registry.forget('default', 'x.1')
  await mesh.clock.advance(100)
  t.deepEqual(notes, ['asked', 'asked'])
  t.is(await mesh.registry.store('default').look('x.1'), undefined, 'the commit was refused')
  t.regex(a.errors.join(), /deactivate\(\)/)
})

test('deactivate() that throws, rejects, or never settles is reported, and holds up nothing for long', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 1 })
  const how: Record<string, () => unknown> = { throws: () => { throw new Error('no goodbye') }, rejects: () => Promise.reject(new Error('no goodbye')), hangs: () => new Promise(() => {}) }
  const define = (stage: Stage): void => { stage.define({ pattern: 'x.{id}', durable: true, create: ({ id }, self: Self) => ({ n: 0, deactivate: () => how[id]?.(), add() { return ++this.n }, leave() { self.deactivate() } }) }) }
  const a = await mesh.add('a', define)
  const b = await mesh.add('b')
  for (const id of Object.keys(how)) {
    t.is(await mesh.go(b.stage.actor(`x.${id}`)['add']()), 1)
    await mesh.go(b.stage.actor(`x.${id}`)['leave']())
    const started = mesh.clock.now()
    t.is(await mesh.go(b.stage.actor(`x.${id}`)['add']()), 2, id)
    t.true(mesh.clock.now() - started <= 5500)
    t.true([...a.errors, ...a.failures].some((one) => one.includes('deactivate()') && one.includes(`x.${id}`)), id)
  }
  const started = mesh.clock.now()
  await mesh.go(a.stage.close(), 20_000)
  t.true(mesh.clock.now() - started <= 15_000)
  const c = await mesh.add('c', define)
  for (const id of Object.keys(how)) t.is(await mesh.go(c.stage.actor(`x.${id}`)['add']()), 3)
})

test('deactivate() may call others, and not itself', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 1 })
  const got: unknown[] = []
  const a = await mesh.add('a', (stage) => stage.define({ pattern: 'x.{id}', create: ({ id }, self: Self) => ({
    async deactivate() { if (id === '1') got.push(await self.actor('x.2')['get'](), await self.actor('x.1')['get']().catch((error: StageError) => error.code)) },
    get: () => `got ${id}`, leave() { self.deactivate() },
  }) }))
  await mesh.go(a.stage.actor('x.1')['leave']())
  await mesh.clock.advance(500)
  t.deepEqual(got, ['got 2', 'DEADLOCK'])
  t.is(await mesh.go(a.stage.actor('x.1')['get']()), 'got 1')
})

test('an actor that puts itself away in activate() does not go round in circles', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 1 })
  let made = 0
  const a = await mesh.add('a', (stage) => stage.define({ pattern: 'x.{id}', create: (_, self: Self) => ({ activate() { made++; self.deactivate() }, get: () => 1 }) }))
  const calls = [1, 2, 3].map(() => a.stage.actor('x.1', { timeoutMs: 2000 })['get']().then(() => 'ok', (error: StageError) => error.code))
  t.deepEqual(await mesh.go(Promise.all(calls)), ['ok', 'ok', 'ok'])
  t.true(made <= 3, `${made} activations`)
})

test('a stage that closes while an actor is being made: it is made once, says goodbye once, and its calls go elsewhere', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 1 })
  const notes: string[] = []
  const define = (stage: Stage): void => { stage.define({ pattern: 'x.{id}', durable: true, create: () => ({ n: 0, async activate() { notes.push(`${stage.name} activate`); await passed(mesh.clock, 1000) }, async deactivate() { notes.push(`${stage.name} deactivate`); await passed(mesh.clock, 100) }, add() { return ++this.n } }) }) }
  const a = await mesh.add('a', define)
  const c = await mesh.add('c')
  const controller = new AbortController()
  const calls = [c.stage.actor('x.1')['add'](), c.stage.actor('x.1')['add']()]
  const cancelled = c.stage.actor('x.1', { signal: controller.signal })['add']().catch((error: StageError) => error.code)
  await mesh.clock.advance(300)
  const b = await mesh.add('b', define)
  const closing = a.stage.close()
  await mesh.clock.advance(50)
  controller.abort()
  t.deepEqual(await mesh.go(Promise.all(calls)), [1, 2])
  t.is(await mesh.go(cancelled), 'CANCELLED')
  await mesh.go(closing)
  t.deepEqual(notes, ['a activate', 'a deactivate', 'b activate'])
  t.is(b.stage.actors().length, 1)
})

test('a handler that never settles, and one that recurses: the stage lives, and others go on', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 1 })
  const a = await mesh.add('a', (stage) => stage.define({ pattern: 'x.{id}', durable: true, create: () => ({
    n: 0, hang: () => new Promise(() => {}), recurse(): number { return this.recurse() + 1 }, add() { return ++this.n },
  }) }))
  const b = await mesh.add('b')
  for (const { stage } of [a, b]) {
    await mesh.fails(stage.actor('x.1')['recurse'](), 'REMOTE_ERROR', 'yes')
    t.is(typeof await mesh.go(stage.actor('x.1')['add']()), 'number')
    await mesh.fails(stage.actor(`x.hung${stage.name}`, { timeoutMs: 300 })['hang'](), 'TIMEOUT', 'unknown')
    const queued = await mesh.fails(stage.actor(`x.hung${stage.name}`, { timeoutMs: 300 })['add'](), 'TIMEOUT', 'no')
    t.regex(queued.message, /hang\(\)/)
    t.is(typeof await mesh.go(stage.actor('x.2')['add']()), 'number')
  }
  const started = mesh.clock.now()
  await mesh.go(a.stage.close(), 20_000)
  t.true(mesh.clock.now() - started <= 15_000)
})

test('P15: whatever activate() saves without waiting for it is kept, one commit after the other', async (t) => {
  const { add, go } = actorMesh(t, { latencyMs: 1 })
  const { stage, shelf } = await add('a', (one) => one.define({
    pattern: 'x.{id}', durable: true, create: (_, self: Self) => ({
      a: 0,
      activate() { this.a = 1; void self.save(); this.a = 2; void self.save(); this.a = 3 },
      get() { return this.a },
    }),
  }))
  shelf.trouble({ afterMs: 5 }, 'commit')
  t.is(await go(stage.actor('x.1')['get']()), 3)
  const versions = shelf.steps.flatMap(({ commit }) => commit ? [commit.version] : [])
  t.deepEqual(versions, [...new Set(versions)])
})
