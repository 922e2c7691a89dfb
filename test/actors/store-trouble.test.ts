/** A store that is away, slow or unsure of what it did. */
import test from 'ava'
import { StageError, type Stage } from '../../src/index.js'
import { actorMesh, away, type Trouble } from '../helpers/actors.js'
import { nothingUnhandled } from '../helpers/unhandled.js'

nothingUnhandled(test)

class Counter {
  n = 0
  add() { return ++this.n }
  get() { return this.n }
}

const counters = (more: object = {}) => (stage: Stage): void => { stage.define({ pattern: 'counters.{id}', constructor: Counter, durable: true, ...more }) }

test('a store that cannot be reached: the call fails typed, what it changed is dropped, and the next one works when it is back', async (t) => {
  const { add, go, fails, clock } = actorMesh(t, { latencyMs: 1 })
  const a = await add('a', counters())
  const b = await add('b')
  for (const [i, { stage }] of [a, b, a, b].entries()) {
    const actor = stage.actor<Counter>(`counters.${i}`)
    t.is(await go(actor.add()), 1)
    a.shelf.trouble({ fail: away() })
    const started = clock.now()
    const error = await fails(actor.add(), 'STORE_UNAVAILABLE', 'unknown')
    t.regex(error.message, /counters/)
    t.true(clock.now() - started <= 5200, `${clock.now() - started} ms`)
    t.false(a.stage.actors().some((one) => one.address === `counters.${i}`), 'what is in memory may not be what is kept')
    const nobody = await fails(stage.actor<Counter>(`counters.${i}`, { timeoutMs: 900 }).get(), 'STORE_UNAVAILABLE', 'no')
    t.regex(nobody.message, /away/)
    a.shelf.trouble()
    t.is(await go(actor.get()), 1)
    t.is(await go(actor.add()), 2)
  }
  t.is(await go(b.stage.actor<Counter>('counters.x').add()), 1, 'the stage lives')
})

test('a store that is away for a moment delays the call, and no more', async (t) => {
  const { add, go, clock } = actorMesh(t)
  const { stage, shelf } = await add('a', counters())
  await go(stage.actor<Counter>('counters.1').add())
  shelf.trouble({ fail: away() }, 'commit')
  const call = stage.actor<Counter>('counters.1').add()
  await clock.advance(1000)
  shelf.trouble()
  t.is(await go(call), 2)
  const made = stage.actor<Counter>('counters.2').add()
  shelf.trouble({ fail: away() })
  const waiting = stage.actor<Counter>('counters.3').add()
  await clock.advance(2000)
  shelf.trouble()
  t.deepEqual(await go(Promise.all([made, waiting])), [1, 1])
})

test('the same commit twice is recognised: an answer that was lost is asked for again, and the change counts once', async (t) => {
  const { add, go } = actorMesh(t)
  const { stage, shelf } = await add('a', counters())
  await go(stage.actor<Counter>('counters.1').add())
  for (let i = 2; i < 12; i++) {
    let lost = 3
    shelf.trouble(() => lost-- > 0 ? { lose: away() } : undefined, 'commit')
    t.is(await go(stage.actor<Counter>('counters.1').add()), i)
    const ids = shelf.steps.filter((one) => one.step === 'commit').slice(-4).map((one) => one.commit?.id)
    t.is(new Set(ids).size, 1, 'one id for all tries')
    t.is((await go(stage.explain('counters.1'))).version, i)
  }
})

test('a commit whose outcome stays unknown is never answered as done, and what the store has afterwards is what counts', async (t) => {
  const { add, go, fails, clock } = actorMesh(t, { latencyMs: 1 })
  const a = await add('a', counters())
  const b = await add('b')
  const cases: [Trouble, number][] = [[{ hang: 'after' }, 1], [{ hang: 'before' }, 0], [{ lose: away() }, 1], [{ fail: away() }, 0], [{ fail: new Error('own') }, 0], [{ fail: undefined, lose: new Error('own') }, 1]]
  let n = 1
  await go(b.stage.actor<Counter>('counters.1').add())
  for (const [trouble, landed] of cases) {
    a.shelf.trouble(trouble, 'commit')
    const started = clock.now()
    await fails(b.stage.actor<Counter>('counters.1').add(), 'STORE_UNAVAILABLE', 'unknown')
    t.true(clock.now() - started <= 6000)
    a.shelf.trouble()
    n += landed
    t.is(await go(b.stage.actor<Counter>('counters.1').get()), n, JSON.stringify(trouble))
    t.is(await go(b.stage.actor<Counter>('counters.1').add()), ++n)
  }
})

test('a commit that arrives when its actor was already made anew changes nothing', async (t) => {
  const { add, go, fails, clock } = actorMesh(t)
  const { stage, shelf } = await add('a', counters())
  await go(stage.actor<Counter>('counters.1').add())
  shelf.trouble({ beforeMs: 8000 }, 'commit')
  await fails(stage.actor<Counter>('counters.1').add(), 'STORE_UNAVAILABLE', 'unknown')
  shelf.trouble()
  t.is(await go(stage.actor<Counter>('counters.1').get()), 1, 'made anew before it has arrived')
  await clock.advance(5000)
  t.is(await go(stage.actor<Counter>('counters.1').add()), 2)
  t.is((await go(stage.explain('counters.1'))).version, 2)
})

test('what a store refuses for good is told at once: read-only, full, wrong', async (t) => {
  const { add, go, fails, clock } = actorMesh(t, { latencyMs: 1 })
  const a = await add('a', counters())
  const b = await add('b')
  for (const [i, code] of (['AUTH_FAILED', 'BAD_ARGUMENT', 'CLOSED'] as const).entries()) {
    await go(b.stage.actor<Counter>(`counters.${i}`).add())
    a.shelf.trouble({ fail: new StageError(code, 'OOM, or read-only') }, 'commit')
    const started = clock.now()
    await fails(b.stage.actor<Counter>(`counters.${i}`).add(), code, 'unknown')
    t.true(clock.now() - started < 500)
    a.shelf.trouble()
    t.is(await go(b.stage.actor<Counter>(`counters.${i}`).add()), 2)
  }
  a.shelf.trouble({ fail: new StageError('AUTH_FAILED', 'wrong password') }, 'claim')
  const started = clock.now()
  await fails(b.stage.actor<Counter>('counters.new').add(), 'AUTH_FAILED', 'no')
  t.true(clock.now() - started < 1000)
})

test('a store that rejects with what is no error is away', async (t) => {
  const { add, go, fails } = actorMesh(t)
  const { stage, shelf } = await add('a', counters())
  for (const thrown of ['text', 5, {}, null]) {
    t.true(await go(stage.actor<Counter>('counters.1').add()) > 0)
    shelf.trouble({ fail: thrown as unknown as Error }, 'commit')
    await fails(stage.actor<Counter>('counters.1').add(), 'STORE_UNAVAILABLE', 'unknown')
    shelf.trouble({ fail: thrown as unknown as Error }, 'claim')
    await fails(stage.actor<Counter>('counters.1', { timeoutMs: 500 }).add(), 'STORE_UNAVAILABLE', 'no')
    shelf.trouble()
  }
})

test('a store that never answers a claim: calls end with their deadlines, and the actor is not lost when it answers again', async (t) => {
  const { add, go, fails, clock } = actorMesh(t, { latencyMs: 1 })
  const a = await add('a', counters())
  const b = await add('b')
  for (const hang of ['before', 'after'] as const) {
    for (const { stage } of [a, b]) {
      const actor = (timeoutMs: number) => stage.actor<Counter>(`counters.${stage.name}${hang}`, { timeoutMs })
      a.shelf.trouble({ hang }, 'claim')
      const started = clock.now()
      const error = await fails(actor(2000).add(), 'TIMEOUT', 'no')
      t.true(['connecting', 'queued'].includes(error.phase ?? ''), error.phase)
      t.true(clock.now() - started <= 2100)
      a.shelf.trouble()
      t.is(await go(actor(15_000).add()), 1, `${stage.name} ${hang}`)
    }
  }
})

test('a store that never answers a release: the actor is there again for the next call, and the stage closes', async (t) => {
  const { add, go, clock } = actorMesh(t, { latencyMs: 1 })
  const a = await add('a', counters({ idleMs: 1000 }))
  const b = await add('b', counters())
  const c = await add('c')
  for (let i = 0; i < 6; i++) await go(c.stage.actor<Counter>(`counters.${i}`).add())
  for (const { shelf } of [a, b]) shelf.trouble({ hang: 'before' }, 'release')
  await clock.advance(5000)
  t.deepEqual(await go(Promise.all([0, 1, 2, 3, 4, 5].map((i) => c.stage.actor<Counter>(`counters.${i}`).add()))), Array(6).fill(2))
  const started = clock.now()
  await go(a.stage.close(), 20_000)
  t.true(clock.now() - started <= 15_000)
  t.deepEqual(await go(Promise.all([0, 1, 2, 3, 4, 5].map((i) => c.stage.actor<Counter>(`counters.${i}`).add()))), Array(6).fill(3))
})

test('a slow store makes calls slow, one by one, and loses nothing', async (t) => {
  const { add, go, clock } = actorMesh(t, { latencyMs: 1 })
  const a = await add('a', counters())
  const b = await add('b')
  a.shelf.trouble({ beforeMs: 300, afterMs: 400 })
  const started = clock.now()
  t.deepEqual(await go(Promise.all(Array.from({ length: 8 }, () => b.stage.actor<Counter>('counters.1').add()))), [1, 2, 3, 4, 5, 6, 7, 8])
  t.true(clock.now() - started >= 8 * 700)
})

test('calls that wait while the store is away are not lost with the activation: they are begun by the next one, once', async (t) => {
  const { add, go, clock } = actorMesh(t, { latencyMs: 1 })
  const a = await add('a', counters())
  const b = await add('b')
  await go(b.stage.actor<Counter>('counters.1').add())
  a.shelf.trouble({ fail: away() }, 'commit')
  const calls = Array.from({ length: 6 }, (_, i) => [a, b][i % 2].stage.actor<Counter>('counters.1', { timeoutMs: 30_000 }).add().then((n) => n as number | string, (error: StageError) => `${error.code} ${error.executed}`))
  await clock.advance(5500)
  a.shelf.trouble()
  const answers = await go(Promise.all(calls))
  const failed = answers.filter((one) => typeof one === 'string')
  t.deepEqual(new Set(failed), new Set(['STORE_UNAVAILABLE unknown']))
  t.true(failed.length >= 1 && failed.length <= 2, answers.join())
  t.deepEqual(answers.filter((one) => typeof one === 'number').sort(), Array.from({ length: 6 - failed.length }, (_, i) => i + 2))
})

test('the registry\'s own store away as a whole: actors stop with typed errors, and go on', async (t) => {
  const { add, go, registry, clock } = actorMesh(t, { latencyMs: 1 })
  const a = await add('a', counters())
  const b = await add('b', counters())
  const c = await add('c')
  await go(c.stage.actor<Counter>('counters.1').add())
  registry.fail()
  const codes = new Set<string>()
  for (let i = 0; i < 10; i++) {
    await go(c.stage.actor<Counter>('counters.1', { timeoutMs: 2000 }).add().then(() => codes.add('ok'), (error: StageError) => codes.add(error.code)))
    await clock.advance(1000)
  }
  t.true(!codes.has('ok') && [...codes].every((code) => ['STORE_UNAVAILABLE', 'REGISTRY_UNAVAILABLE', 'TIMEOUT'].includes(code)), [...codes].join())
  registry.fail(false)
  await clock.advance(6000)
  t.is(await go(c.stage.actor<Counter>('counters.1').get()), 1)
  t.is(a.stage.actors().length + b.stage.actors().length, 1)
})

test('a store that never says who has an object keeps no later call from it', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 1 })
  const a = await mesh.add('a', (stage) => { void stage.host('things.1', { get: () => 1 }) })
  const b = await mesh.add('b')
  b.shelf.trouble({ hang: 'before' }, 'look')
  await mesh.fails(b.stage.actor('things.1', { timeoutMs: 1000 })['get']() as Promise<unknown>, 'NO_SUCH_ACTOR', 'no')
  b.shelf.trouble()
  await mesh.clock.advance(6000)
  t.is(await mesh.go(b.stage.actor('things.1', { timeoutMs: 1000 })['get']()), 1)
  t.deepEqual(a.errors, [])
})
