/** What explain() tells of an actor, and what is said of its store. */
import test from 'ava'
import { StageError, type Self, type Stage } from '../../src/index.js'
import { actorMesh } from '../helpers/actors.js'
import { nothingUnhandled } from '../helpers/unhandled.js'
import { passed } from '../helpers/virtual-clock.js'

nothingUnhandled(test)

test('explain says who has an actor, what it does, who waits, and what it did last, wherever it is asked', async (t) => {
  const { add, go, fails, clock, crash } = actorMesh(t, { latencyMs: 2 })
  const define = (stage: Stage): void => {
    stage.define({
      pattern: 'acts.{id}', durable: true, create: () => ({
        n: 0,
        async slow(ms: number) { await passed(clock, ms); return ++this.n },
        fail() { throw new Error('on purpose') },
      }),
    })
  }
  const a = await add('a', define)
  const b = await add('b')
  const actor = b.stage.actor('acts.1')
  for (let i = 0; i < 4; i++) await go(actor['slow'](10))
  await fails(actor['fail']() as Promise<unknown>, 'REMOTE_ERROR', 'yes')
  await go(actor['slow'](20))
  const loop = b.stage.observe('acts.1', ['n'])
  await go(loop.next())
  const calls = [1000, 5, 5].map((ms) => actor['slow'](ms) as Promise<unknown>)
  await clock.advance(100)
  const near = await go(a.stage.explain('acts.1'))
  const far = await go(b.stage.explain(actor))
  for (const told of [near, far]) {
    t.like(told, { address: 'acts.1', pattern: 'acts.{id}', owner: { id: a.stage.id, name: 'a' }, queue: 2, watchers: 1, version: 5 })
    t.is(told.fence!.epoch > 0 && typeof told.fence!.activation, 'string')
    t.is(told.turn!.length, 1)
    t.is(told.turn![0].method, 'slow')
    t.true(told.turn![0].ms >= 90 && told.turn![0].ms <= 300, `${told.turn![0].ms} ms`)
    t.true(told.turn![0].waitedMs >= 0 && told.turn![0].waitedMs <= 5, `${told.turn![0].waitedMs} ms: nothing was before it`)
    t.deepEqual(told.last!.map(({ method, error }) => [method, error]), [['slow', undefined], ['slow', undefined], ['fail', 'REMOTE_ERROR'], ['slow', undefined], ['@watch', undefined]])
    t.true(told.leaseMs! > 0 && told.leaseMs! <= 15_000, `${told.leaseMs} ms`)
  }
  await go(Promise.all(calls))
  await go(loop.return!())
  crash(a)
  await clock.advance(30_000)
  t.deepEqual(await go(b.stage.explain('acts.1')), { address: 'acts.1', owner: { id: a.stage.id, name: 'a stage that is gone' }, version: 8 } as never)
  t.deepEqual(await go(b.stage.explain('acts.2')), { address: 'acts.2', owner: undefined } as never)
})

test('explain says how long the mailbox held what runs and what ran before, and TIMEOUT says it too', async (t) => {
  const { add, go, fails, clock } = actorMesh(t, { latencyMs: 2 })
  const a = await add('a', (stage) => stage.define({
    pattern: 'acts.{id}', readonly: ['look'], create: (_, self) => ({
      leave() { self.deactivate() },
      lend: (to: string) => self.actor(to)['use'](() => 'lent') as unknown,
      use: (lent: () => unknown) => lent(),
      deactivate: () => passed(clock, 400),
      async slow(ms: number) { await passed(clock, ms) },
      async look(ms: number) { await passed(clock, ms) },
    }),
  }))
  const b = await add('b')
  const near = (found: number, ms: number): void => { t.true(Math.abs(found - ms) <= 20, `${found} and not ${ms} ms`) }
  for (const [i, caller] of [a, b].entries()) {
    const address = `acts.${i}`
    const actor = (timeoutMs = 10_000): Record<string, (ms: number) => Promise<unknown>> => caller.stage.actor(address, { timeoutMs })
    await go(actor()['slow'](1))
    const first = actor()['slow'](300)
    const late = fails(actor(500)['slow'](5000), 'TIMEOUT', 'unknown')
    const last = [actor()['look'](100), actor()['look'](700)]
    await clock.advance(400)
    const told = await go(b.stage.explain(address))
    t.is(told.turn!.length, 1)
    near(told.turn![0].ms, 100)
    near(told.turn![0].waitedMs, 300)
    const { message } = await late
    const [held, runs] = (/^slow of acts\.\d did not end in time: it was queued for (\d+) ms, and has been running for (\d+) ms/.exec(message) ?? [message, 'none', 'none']).slice(1).map(Number)
    near(held, 300)
    near(runs, 200)
    await first
    await clock.advance(5000)
    const both = (await go(b.stage.explain(address))).turn!
    t.deepEqual(both.map(({ method }) => method), ['look'], 'the other one has ended by now')
    await go(Promise.all(last))
    const before = (await go(b.stage.explain(address))).last!
    t.deepEqual(before.slice(-4).map(({ method }) => method), ['slow', 'slow', 'look', 'look'])
    for (const [at, waited] of [0, 300, 5300, 5300].entries()) near(before.at(at - 4)!.waitedMs, waited)
    t.deepEqual(Object.keys(before[0]), ['method', 'ms', 'waitedMs'])
  }
  // what comes back to a turn that runs begins at once
  await go(b.stage.actor('acts.0')['lend']('acts.1'))
  const inner = (await go(b.stage.explain('acts.0'))).last!.find(({ method }) => method === '@function')!
  near(inner.waitedMs, 0)
  await go(a.stage.actor('acts.0')['leave']())
  await clock.advance(100)
  const [hook] = (await go(b.stage.explain('acts.0'))).turn!
  t.is(hook.method, 'deactivate')
  near(hook.ms, 100)
})

test('what a store may lose is said with the first durable type, once, as soon as its server answers', async (t) => {
  const { stage, clock, registry } = actorMesh(t)
  const warning = `a store of this test (${process.pid}) may lose everything`
  let asked = 0
  const losing = {
    address: 'losing:', close: () => Promise.resolve(),
    publish: () => Promise.reject(new Error('a store only')), watch: () => { throw new Error('a store only') },
    store: (namespace: string) => {
      const store = registry.store(namespace)
      store.warning = () => ++asked === 1 ? Promise.reject(new StageError('STORE_UNAVAILABLE', 'not yet')) : Promise.resolve(warning)
      return store
    },
  }
  const [a, b] = ['a', 'b'].map((name) => stage(name, { store: losing }))
  const told: string[] = []
  const warned = ({ name, message }: Error): void => { if (message === warning) told.push(name) }
  process.on('warning', warned)
  t.teardown(() => { process.off('warning', warned) })
  a.define({ pattern: 'volatile.{id}', create: () => ({}) })
  await clock.advance(10)
  t.is(asked, 0)
  for (const one of [a, b]) for (const pattern of ['kept.{id}', 'too.{id}']) one.define({ pattern, durable: true, create: () => ({}) })
  await clock.advance(6000)
  await new Promise(setImmediate)
  t.deepEqual(told, ['StagemeshWarning'])
  t.is(asked, 3, 'once for each stage, and once again where it did not answer')
})

test('idle actors ask nothing of the store: the lease of their stage is the only heartbeat', async (t) => {
  const { add, go, clock } = actorMesh(t)
  const { stage, shelf } = await add('a', (one) => { one.define({ pattern: 'x.{id}', durable: true, create: (_: unknown, self: Self) => ({ n: 0, add() { return self.address && ++this.n } }) }) })
  await go(Promise.all(Array.from({ length: 1000 }, (_, i) => stage.actor(`x.${i}`)['add']())))
  await clock.advance(60_000) // those that were used since are looked at once
  const asked = (): number[] => (['claim', 'commit', 'release', 'look'] as const).map((step) => shelf.count(step))
  const before = asked()
  await clock.advance(120_000)
  t.deepEqual(asked(), before)
  t.is(stage.actors().length, 1000)
})
