/** What becomes of actors, their calls and their claims when stages close. */
import test from 'ava'
import type { Self, Stage, StageError } from '../../src/index.js'
import { actorMesh } from '../helpers/actors.js'
import { nothingUnhandled } from '../helpers/unhandled.js'
import { passed } from '../helpers/virtual-clock.js'

nothingUnhandled(test)

test('P23: after all stages have closed nothing is left: no timer, no counter, no claim', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 2 })
  const define = (stage: Stage): void => {
    stage.define({ pattern: 'x.{id}', durable: true, idleMs: 5000, readonly: ['peek'], reentrant: true, create: (_, self: Self) => ({
      n: 0,
      add() { return ++this.n },
      peek() { return this.n },
      async slow(ms: number) { await passed(mesh.clock, ms) },
      hang: () => new Promise(() => {}),
      timers() { self.every(100, () => this.n++); self.after(1e6, () => {}); self.remind('x', 'add', { afterMs: 3000, everyMs: 1000 }) },
      fails() { throw new Error('on purpose') },
      async other(address: string) { return self.actor(address)['add']() as Promise<number> },
    }) })
  }
  const nodes = [await mesh.add('a', define), await mesh.add('b', define), await mesh.add('c')]
  const codes: Promise<unknown>[] = []
  const settle = (promise: Promise<unknown>): void => void codes.push(promise.then(() => 'ok', (error: StageError) => error.code))
  for (const { stage } of nodes) {
    for (let i = 0; i < 10; i++) {
      settle(stage.actor(`x.${i}`)['add']())
      settle(stage.actor(`x.${i}`)['peek']())
      settle(stage.actor(`x.${i}`)['other'](`x.${(i + 1) % 10}`))
      settle(stage.actor(`x.t${i}`)['timers']())
      settle(stage.actor(`x.${i}`)['fails']())
    }
    settle(stage.actor('x.hang', { timeoutMs: 60_000 })['hang']())
    settle(stage.actor('x.hang', { timeoutMs: 60_000 })['add']())
    settle(stage.actor('nobody.1', { timeoutMs: 60_000 })['add']())
    settle(stage.actor('x.slow', { timeoutMs: 60_000 })['slow'](2000))
    for (const mode of ['every', 'latest'] as const) {
      const loop = stage.observe('x.t1', ['n'], { mode })
      settle((async () => { for await (const one of loop) void one })())
      void stage.observe('x.t2', ['n'], { mode })
    }
    settle(stage.observe('nobody.1', ['n'], { timeoutMs: 60_000 }).next())
  }
  settle(mesh.go(nodes[0].stage.host('lamp.1', { on: true })))
  await mesh.clock.advance(7000)
  const started = mesh.clock.now()
  await mesh.go(Promise.all(nodes.map(({ stage }) => stage.close())), 20_000)
  t.true(mesh.clock.now() - started <= 15_000, `${mesh.clock.now() - started} ms`)
  const ended = await mesh.go(Promise.all(codes))
  t.is(ended.length, codes.length, 'every call has settled')
  for (const { stage } of nodes) {
    t.deepEqual(Object.entries(stage.stats()).filter(([, count]) => count !== 0), [], stage.name)
    t.deepEqual(stage.actors(), [])
  }
  const raw = mesh.registry.store('default')
  for (let i = 0; i < 10; i++) t.is((await raw.look(`x.${i}`))?.owner, undefined, 'its claim was given up')
  await raw.close()
  await mesh.registry.close()
  await mesh.clock.advance(200_000)
  t.is(mesh.clock.pending, 0)
})

test('P23: a store and peers that are silent hold up no close', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 1 })
  const define = (stage: Stage): void => { stage.define({ pattern: 'x.{id}', durable: true, create: () => ({ n: 0, add() { return ++this.n }, deactivate() { this.n++ } }) }) }
  const [a, b] = [await mesh.add('a', define), await mesh.add('b', define)]
  for (let i = 0; i < 10; i++) await mesh.go(b.stage.actor(`x.${i}`)['add']())
  const calls = [a, b].map(({ stage }) => (stage.actor('x.1', { timeoutMs: 60_000 })['add']() as Promise<unknown>).then(() => 'ok', (error: StageError) => error.code))
  for (const { shelf } of [a, b]) shelf.trouble({ hang: 'before' })
  mesh.network.hold()
  const started = mesh.clock.now()
  await mesh.go(Promise.all([a.stage.close(), b.stage.close()]), 20_000)
  t.true(mesh.clock.now() - started <= 15_000, `${mesh.clock.now() - started} ms`)
  await mesh.go(Promise.all(calls))
  mesh.network.release()
  await mesh.registry.close()
  await mesh.clock.advance(200_000)
  t.is(mesh.clock.pending, 0)
})

test('what is used of a stage that was closed says so', async (t) => {
  const mesh = actorMesh(t)
  const a = await mesh.add('a', (stage) => stage.define({ pattern: 'x.{id}', create: () => ({ f: () => 1 }) }))
  const actor = a.stage.actor('x.1')
  t.is(await mesh.go(actor['f']()), 1)
  await mesh.go(a.stage.close())
  await mesh.fails(actor['f'](), 'CLOSED', 'no')
  await mesh.fails(a.stage.actor('x.1')['f'](), 'CLOSED', 'no')
  await mesh.fails(a.stage.host('y.1', {}), 'CLOSED')
  await mesh.fails(a.stage.explain('x.1'), 'CLOSED')
  t.throws(() => a.stage.observe('x.1', ['n']), { code: 'CLOSED' })
  t.deepEqual(a.stage.actors(), [])
})

test('a turn that outlives its stage is told that all is closed, whatever it uses', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 1 })
  const told: string[] = []
  const a = await mesh.add('a', (stage) => stage.define({ pattern: 'x.{id}', durable: true, create: (_, self: Self) => ({
    n: 0, f: () => 1,
    async outlive() {
      await passed(mesh.clock, 30_000)
      const use: (() => unknown)[] = [() => self.actor('x.2')['f'](), () => stage.actor('x.2')['f'](), () => self.to('b').call('f'), () => self.save(), () => self.after(5, () => {}), () => self.remind('x', 'f', { afterMs: 5 })]
      for (const one of use) {
        try {
          told.push(String(await one()))
        } catch (error) {
          told.push((error as StageError).code)
        }
      }
    },
  }) }))
  await mesh.add('b')
  const call = (a.stage.actor('x.1', { timeoutMs: 60_000 })['outlive']() as Promise<unknown>).then(() => 'ok', (error: StageError) => error.code)
  await mesh.clock.advance(100)
  await mesh.go(a.stage.close(), 20_000)
  t.is(await call, 'CLOSED')
  await mesh.clock.advance(40_000)
  t.deepEqual(told, ['CLOSED', 'CLOSED', 'CLOSED', 'FENCED', 'CLOSED', 'CLOSED'])
})

test('counters of what is held come back to what they were while the stage goes on', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 1 })
  const a = await mesh.add('a', (stage) => stage.define({ pattern: 'x.{id}', idleMs: 1000, create: () => ({ n: 0, f() { return ++this.n }, async slow() { await passed(mesh.clock, 200) } }) }))
  const b = await mesh.add('b')
  await mesh.go(b.stage.actor('x.0')['f']())
  const calls: Promise<unknown>[] = []
  for (let i = 0; i < 200; i++) {
    calls.push(b.stage.actor(`x.${i % 20}`, { timeoutMs: 1 + i })['slow']().catch(() => {}), a.stage.actor(`x.${i % 20}`, { timeoutMs: 1 + i })['f']().catch(() => {}))
    const loop = b.stage.observe(`x.${i % 20}`, ['n'])
    calls.push(loop.next().then(() => loop.return!()))
  }
  await mesh.go(Promise.all(calls))
  await mesh.clock.advance(70_000)
  for (const { stage } of [a, b]) {
    const { actors, turns, actorCalls, observers, calls: pending, serving, streams } = stage.stats()
    t.deepEqual([actors, turns, actorCalls, observers, pending, serving, streams].map((one) => one ?? 0), [0, 0, 0, 0, 0, 0, 0], stage.name)
  }
})
