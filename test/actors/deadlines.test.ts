/** Deadlines and cancellation of calls of actors. */
import { getEventListeners } from 'node:events'
import test from 'ava'
import type { Self, Stage, StageError } from '../../src/index.js'
import { actorMesh, type ActorMesh } from '../helpers/actors.js'
import { passed } from '../helpers/virtual-clock.js'

const slow = (clock: ActorMesh['clock'], ran: string[]) => (stage: Stage): void => {
  stage.define({
    pattern: 'slow.{id}', create: () => ({
      async work(ms: number, name = 'work') {
        ran.push(name)
        await passed(clock, ms)
        return name
      },
      quick(name: string) { ran.push(name); return name },
    }),
  })
}

test('P9: a call of an actor settles at the latest at its deadline + 100 ms, and says where the time went', async (t) => {
  const { add, fails, go, clock, network } = actorMesh(t, { latencyMs: 2 })
  const ran: string[] = []
  const a = await add('a', slow(clock, ran))
  const b = await add('b')
  for (const { stage } of [a, b]) {
    await go(stage.actor('slow.1')['quick']('first'))
    for (const timeoutMs of [50, 300, 1234]) {
      const started = clock.now()
      const running = await fails(stage.actor('slow.1', { timeoutMs })['work'](3000), 'TIMEOUT', 'unknown')
      t.is(running.phase, 'running')
      t.regex(running.message, /work/)
      t.true(clock.now() - started >= timeoutMs && clock.now() - started <= timeoutMs + 100, `${clock.now() - started} of ${timeoutMs}`)
      const queued = await fails(stage.actor('slow.1', { timeoutMs })['quick']('late'), 'TIMEOUT', 'no')
      t.is(queued.phase, 'queued')
      t.regex(queued.message, /behind work\(\) of slow\.1, which has been running for \d+ ms/)
      await clock.advance(4000)
    }
    const late = stage.actor('slow.1', { timeoutMs: 100 })['quick']('late')
    await go(late)
    t.is(ran.at(-1), 'late')
    ran.pop()
    t.false(ran.includes('late'), 'what timed out in the queue was never begun')
  }
  network.hold(a.address)
  const c = await add('c')
  const started = clock.now()
  const connecting = await fails(c.stage.actor('slow.2', { timeoutMs: 900 })['quick']('never'), 'TIMEOUT', 'no')
  t.is(connecting.phase, 'connecting')
  t.true(clock.now() - started <= 1000)
  network.release()
  await clock.advance(5000)
  t.false(ran.includes('never'))
})

test('a call whose actor is still being made says so', async (t) => {
  const { add, fails } = actorMesh(t, { latencyMs: 2 })
  const a = await add('a', (stage) => stage.define({ pattern: 'x.{id}', create: () => ({ f: () => 1, activate: () => new Promise(() => {}) }) }))
  const b = await add('b')
  for (const { stage } of [a, b]) {
    const error = await fails(stage.actor('x.1', { timeoutMs: 400 })['f'](), 'TIMEOUT', 'no')
    t.is(error.phase, 'queued')
    t.regex(error.message, /activated/)
  }
})

test('a cancelled call: in the queue it never runs, and while it runs its actor is told', async (t) => {
  const { add, go, fails, clock } = actorMesh(t, { latencyMs: 2 })
  const ran: string[] = []
  const a = await add('a', slow(clock, ran))
  const b = await add('b')
  for (const { stage } of [a, b]) {
    ran.length = 0
    const before = await fails(stage.actor('slow.1', { signal: AbortSignal.abort(new Error('too early')) })['quick']('before'), 'CANCELLED', 'no')
    t.is((before.cause as Error).message, 'too early')
    const finding = new AbortController()
    const unsent = stage.actor(`slow.${stage.name}`, { signal: finding.signal })['quick']('finding')
    finding.abort()
    await fails(unsent, 'CANCELLED', 'no')
    const first = stage.actor('slow.1')['work'](1000, 'first')
    await clock.advance(20)
    const one = new AbortController()
    const queued = stage.actor('slow.1', { signal: one.signal })['quick']('queued')
    const behind = stage.actor('slow.1')['quick']('behind')
    await clock.advance(20)
    one.abort(new Error('enough'))
    const error = await fails(queued, 'CANCELLED')
    t.is((error.cause as Error).message, 'enough')
    if (stage === a.stage) t.is(error.executed, 'no')
    t.is(await go(behind), 'behind')
    t.is(await go(first), 'first')
    const two = new AbortController()
    const running = stage.actor('slow.1', { signal: two.signal })['work'](1000, 'running')
    await clock.advance(20)
    two.abort()
    await fails(running, 'CANCELLED', 'unknown')
    t.deepEqual(ran, ['first', 'behind', 'running'])
    t.is(await go(stage.actor('slow.1')['quick']('after')), 'after')
    for (const controller of [one, two, finding]) t.is(getEventListeners(controller.signal, 'abort').length, 0)
  }
})

const relay = (clock: ActorMesh['clock'], notes: string[]) => (stage: Stage): void => {
  stage.define({
    pattern: 'relay.{id}', create: (_, self: Self) => ({
      async pass(to: string) { return self.actor(to)['work']() as Promise<unknown> },
      async own(to: string, timeoutMs: number) { return self.actor(to, { timeoutMs })['work']() as Promise<unknown> },
      async rpc(name: string) { return self.to(name).call('work') as Promise<unknown> },
      async plain(to: string) { return stage.actor(to)['work']() as Promise<unknown> },
    }),
  })
  stage.define({
    pattern: 'end.{id}', create: () => ({
      async work() { notes.push('begun'); await passed(clock, 3000); notes.push('ended') },
    }),
  })
}

test('P9: the deadline travels on through self.actor() and self.to(), and a plain stage call starts anew', async (t) => {
  const { add, go, fails, clock } = actorMesh(t, { latencyMs: 2 })
  const notes: string[] = []
  const a = await add('a', relay(clock, notes))
  const b = await add('b')
  const served: { deadline: number; signal: AbortSignal }[] = []
  b.stage.to('*').provide('work', function () { served.push(this); return new Promise(() => {}) })
  for (const { stage } of [a, b]) {
    for (const method of ['pass', 'rpc', 'own']) {
      const started = clock.now()
      const error = await fails(stage.actor('relay.1', { timeoutMs: 500 })[method](method === 'rpc' ? 'b' : 'end.1', 60_000), 'TIMEOUT')
      t.is(error.phase, 'running')
      t.true(clock.now() - started <= 600)
      await clock.advance(100)
      t.is(await go(stage.actor('end.1', { timeoutMs: 20_000 })['work']().then(() => 'free')), 'free')
      await clock.advance(100)
      const [relaying] = a.stage.actors().filter((one) => one.address === 'relay.1')
      t.deepEqual(relaying.turns, [], `${method}: what it waited for has ended with it`)
    }
    t.is(served.length, 1)
    t.true(served[0].signal.aborted)
    served.length = 0
    const started = clock.now()
    await fails(stage.actor('relay.1')['own']('end.2', 200), 'REMOTE_ERROR')
    t.true(clock.now() - started <= 300, 'a shorter deadline of its own counts')
    await clock.advance(4000)
    notes.length = 0
    await fails(stage.actor('relay.1', { timeoutMs: 500 })['plain']('end.3'), 'TIMEOUT')
    await clock.advance(4000)
    t.deepEqual(notes, ['begun', 'ended'])
  }
})

test('P9: cancelling travels on: what was queued further down the chain never runs', async (t) => {
  const { add, fails, clock } = actorMesh(t, { latencyMs: 2 })
  const notes: string[] = []
  const a = await add('a', relay(clock, notes))
  const b = await add('b')
  const served: AbortSignal[] = []
  b.stage.to('*').provide('work', function () { served.push(this.signal); return new Promise(() => {}) })
  for (const { stage } of [a, b]) {
    notes.length = served.length = 0
    const stuck = stage.actor('end.1')['work']()
    await clock.advance(20)
    const controller = new AbortController()
    const call = stage.actor('relay.1', { signal: controller.signal })['pass']('end.1')
    await clock.advance(20)
    controller.abort()
    await fails(call, 'CANCELLED')
    await fails(stage.actor('relay.1', { timeoutMs: 5000 })['own']('nobody.1', 20), 'REMOTE_ERROR', 'yes')
    await clock.advance(8000)
    await stuck
    t.deepEqual(notes, ['begun', 'ended'])
    const other = new AbortController()
    const rpc = stage.actor('relay.1', { signal: other.signal })['rpc']('b')
    await clock.advance(50)
    other.abort()
    await fails(rpc, 'CANCELLED')
    await clock.advance(20)
    t.deepEqual(served.map((one) => one.aborted), [true])
  }
})

test('a chain of more than 32 calls is refused, through actors and through rpc', async (t) => {
  const { add, fails, go, clock } = actorMesh(t, { latencyMs: 1 })
  let deepest = 0
  const define = (stage: Stage): void => {
    stage.define({ pattern: 'chain.{n}', create: ({ n }, self: Self) => ({
      async down(): Promise<unknown> { deepest = Math.max(deepest, Number(n)); return self.actor(`chain.${Number(n) + 1}`)['down']() as Promise<unknown> },
      async over(): Promise<unknown> { deepest = Math.max(deepest, Number(n)); return self.to('*').call('step', Number(n) + 1) as Promise<unknown> },
      async to(last: number): Promise<unknown> { return Number(n) >= last ? n : self.actor(`chain.${Number(n) + 1}`)['to'](last) as Promise<unknown> },
    }) })
    stage.to('*').provide('step', async (n: number) => stage.actor(`chain.${n}`)['over']() as Promise<unknown>)
  }
  const [a, b] = [await add('a', define), await add('b', define)]
  for (const { stage } of [a, b]) {
    deepest = 0
    const error = await fails(stage.actor('chain.0', { timeoutMs: 30_000 })['down'](), 'REMOTE_ERROR', 'yes')
    t.regex(error.message, /calls are nested more than 32 deep/)
    t.is(deepest, 32)
    t.is(await go(stage.actor('chain.0')['to'](32)), '32')
  }
  await clock.advance(100)
})

test('options of a call: default deadline of the stage, and deadlines of many calls each', async (t) => {
  const { add, fails, clock } = actorMesh(t, { latencyMs: 2 })
  const ran: string[] = []
  await add('a', slow(clock, ran))
  const b = await add('b', undefined, { timeoutMs: 700 })
  const started = clock.now()
  await fails(b.stage.actor('slow.1')['work'](5000), 'TIMEOUT', 'unknown')
  t.true(clock.now() - started >= 700 && clock.now() - started <= 800)
  const ends = new Map<number, number>()
  const from = clock.now()
  const calls = Array.from({ length: 100 }, (_, i) => (b.stage.actor('slow.1', { timeoutMs: 100 + 10 * i })['quick'](String(i)) as Promise<unknown>).then(() => {}, (error: StageError) => { ends.set(i, clock.now() - from); t.is(error.code, 'TIMEOUT') }))
  await clock.advance(1500)
  await Promise.all(calls)
  t.is(ends.size, 100)
  for (const [i, at] of ends) t.true(at >= 100 + 10 * i && at <= 200 + 10 * i, `${i}: ${at}`)
})
