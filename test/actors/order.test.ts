/** Calls of one caller run in the order in which they were made, also while the actor moves. */
import test from 'ava'
import { StageError, type Self, type Stage } from '../../src/index.js'
import type { Service } from '../../wrappers/rpc/types.js'
import { actorMesh, forging, type ActorMesh, type Node } from '../helpers/actors.js'
import { seeded } from '../helpers/mesh.js'
import { passed } from '../helpers/virtual-clock.js'

/** What reached the actors of one test, wherever they were at the time. */
interface Log { got: [string, number][] }

const logger = (log: Log, clock: ActorMesh['clock'], ms = 0) => (stage: Stage): void => {
  stage.define({
    pattern: 'logs.{id}', durable: true, create: () => ({
      count: 0,
      async put(by: string, n: number) {
        log.got.push([by, n])
        if (ms > 0) await passed(clock, ms)
        return ++this.count
      },
    }),
  })
}

const perCaller = (log: Log): Record<string, number[]> => {
  const found: Record<string, number[]> = {}
  for (const [by, n] of log.got) (found[by] ??= []).push(n)
  return found
}

const isUp = (numbers: readonly number[]): boolean => numbers.every((n, i) => i === 0 || n > numbers[i - 1])

test('P11: calls of one caller run in the order in which they were made, those that waited for the actor to be found among them', async (t) => {
  const { add, go, clock } = actorMesh(t, { latencyMs: 5 })
  const log: Log = { got: [] }
  await add('host', logger(log, clock))
  await add('host', logger(log, clock))
  const caller = await add('caller')
  for (let id = 0; id < 5; id++) {
    const actor = caller.stage.actor(`logs.${id}`)
    log.got = []
    const calls: Promise<unknown>[] = []
    for (let n = 0; n < 60; n++) {
      calls.push(actor['put']('caller', n))
      if (n % 3 === 0) await clock.advance(1)
    }
    await go(Promise.all(calls))
    t.deepEqual(log.got.map(([, n]) => n), Array.from({ length: 60 }, (_, n) => n))
  }
})

test('a caller among the hosts keeps its order too, and each of many callers its own', async (t) => {
  const { add, go, clock } = actorMesh(t, { latencyMs: 3 })
  const log: Log = { got: [] }
  const nodes: Node[] = []
  for (const name of ['h1', 'h2', 'h3']) nodes.push(await add(name, logger(log, clock)))
  for (const name of ['c1', 'c2', 'c3']) nodes.push(await add(name))
  const calls: Promise<unknown>[] = []
  const made: Record<string, number> = {}
  const chance = seeded('many callers')
  for (let i = 0; i < 300; i++) {
    const { stage } = nodes[Math.floor(chance.float() * nodes.length)]
    const n = made[stage.name] = (made[stage.name] ?? 0) + 1
    calls.push(stage.actor('logs.1')['put'](stage.name, n))
    if (chance.float() < 0.2) await clock.advance(1)
  }
  await go(Promise.all(calls))
  const got = perCaller(log)
  t.is(log.got.length, 300)
  for (const { stage } of nodes) t.deepEqual(got[stage.name], Array.from({ length: made[stage.name] }, (_, n) => n + 1), stage.name)
})

test('P11: order holds while the actor moves, and every call runs once', async (t) => {
  for (let seed = 1; seed <= 6; seed++) {
    const { add, go, clock } = actorMesh(t, { latencyMs: 4, seed })
    const log: Log = { got: [] }
    const hosts = [await add('h', logger(log, clock, 3)), await add('h', logger(log, clock, 3)), await add('h', logger(log, clock, 3))]
    const callers = [await add('c1'), await add('c2'), await add('c3', (one) => one.define({ pattern: 'others.{id}', create: () => ({}) }))]
    const calls: Promise<unknown>[] = []
    let closing: Promise<void> | undefined
    for (let n = 0; n < 120; n++) {
      for (const { stage } of callers) calls.push(stage.actor('logs.1', { timeoutMs: 30_000 })['put'](stage.id, n))
      await clock.advance(2)
      if (n === 40) {
        const owner = hosts.find(({ stage }) => stage.actors().length > 0)
        t.truthy(owner)
        closing = owner!.stage.close()
      }
    }
    await go(Promise.all(calls))
    await go(closing!)
    t.is(log.got.length, 360, `seed ${seed}`)
    for (const [caller, numbers] of Object.entries(perCaller(log))) t.deepEqual(numbers, Array.from({ length: 120 }, (_, n) => n), `seed ${seed}: ${caller}`)
  }
})

test('order holds over cut links: what runs is in order, and a call that says it did not run has not', async (t) => {
  let some = 0
  for (let seed = 1; seed <= 10; seed++) {
    const { add, go, clock, network } = actorMesh(t, { latencyMs: 4, seed })
    const log: Log = { got: [] }
    await add('h', logger(log, clock, 1))
    await add('h', logger(log, clock, 1))
    const { stage } = await add('c')
    const chance = seeded(`cut links ${seed}`)
    const calls: Promise<void>[] = []
    const ran = (n: number): number => log.got.filter(([, one]) => one === n).length
    /** Those that say that they did not run: not even later. */
    const refused = new Map<number, string>()
    for (let n = 0; n < 100; n++) {
      calls.push(stage.actor('logs.1', { timeoutMs: n % 5 === 0 ? 20 : 10_000 })['put']('c', n).then(() => { t.is(ran(n), 1) }, (error: StageError) => {
        if (error.executed === 'no') refused.set(n, error.message)
        else t.true(ran(n) <= 1)
      }))
      if (chance.float() < 0.06) network.cut()
      await clock.advance(1 + Math.floor(chance.float() * 4))
    }
    await go(Promise.all(calls))
    for (const [n, message] of refused) t.is(ran(n), 0, `seed ${seed}, call ${n}: ${message}`)
    some += refused.size
    t.true(isUp(log.got.map(([, n]) => n)), `seed ${seed}: ${log.got.map(([, n]) => n).join()}`)
  }
  t.true(some > 0, 'some said so')
})

test('a caller whose guess is wrong is sent on, and its later calls wait behind', async (t) => {
  const { add, go, clock } = actorMesh(t, { latencyMs: 4 })
  const log: Log = { got: [] }
  const hosts = [await add('h', logger(log, clock))]
  t.is(await go(hosts[0].stage.actor('logs.1')['put']('first', 0)), 1)
  for (let i = 0; i < 6; i++) hosts.push(await add('h', logger(log, clock)))
  const caller = await add('c')
  const calls = Array.from({ length: 20 }, (_, n) => caller.stage.actor('logs.1')['put']('c', n))
  t.deepEqual(await go(Promise.all(calls)), Array.from({ length: 20 }, (_, n) => n + 2))
  for (const { stage } of hosts.slice(1)) t.deepEqual(stage.actors(), [], 'it stays where it is')
  t.is(hosts[0].stage.actors().length, 1)
})

test('an actor that is never where it is said to be is given up after three redirects', async (t) => {
  const { add, fails, clock } = actorMesh(t, { latencyMs: 2 })
  const calls: string[] = []
  const liar = await add('liar', undefined, { chain: forging({
    types: ['logs.{id}'],
    services: {
      '@locate': (_, __, answer) => answer(null, liar.stage.id),
      '@call': (_, [, method], answer) => { calls.push(String(method)); answer(new StageError('REFUSED', 'not here', { executed: 'no', cause: { moved: liar.stage.id } })) },
    },
  }) })
  const { stage } = await add('c')
  const started = clock.now()
  await Promise.all([1, 2].map((n) => fails(stage.actor('logs.1')[`put${n}`](), 'REFUSED', 'no')))
  t.true(clock.now() - started < 1000)
  t.deepEqual([calls.filter((one) => one === 'put1').length, calls.filter((one) => one === 'put2').length], [4, 4])
})

test('stages that each name the other as the owner are not asked without end', async (t) => {
  const { add, fails, clock } = actorMesh(t, { latencyMs: 2 })
  let asked = 0
  const ids: string[] = []
  const lie = (other: number) => ({ types: ['logs.{id}'], services: { '@locate': ((_, __, answer) => { asked++; answer(null, ids[other]) }) as Service } })
  for (const n of [0, 1, 2]) ids.push((await add(`liar${n}`, undefined, { chain: forging(lie((n + 1) % 3)) })).stage.id)
  const { stage } = await add('c')
  const started = clock.now()
  const error = await fails(stage.actor('logs.1', { timeoutMs: 5000 })['put'](), 'TIMEOUT', 'no')
  t.is(error.phase, 'connecting')
  t.true(clock.now() - started <= 5100)
  t.true(asked >= 3 && asked < 60, `${asked} questions`)
})

test('NO_SUCH_ACTOR comes at the deadline, and says what there is', async (t) => {
  const { add, fails, clock } = actorMesh(t)
  const log: Log = { got: [] }
  const lone = await add('lone')
  let started = clock.now()
  const nobody = await fails(lone.stage.actor('logs.1', { timeoutMs: 700 })['put'](), 'NO_SUCH_ACTOR', 'no')
  t.true(clock.now() - started >= 700 && clock.now() - started <= 800)
  t.regex(nobody.message, /define/)
  await add('host', logger(log, clock))
  started = clock.now()
  const other = await fails(lone.stage.actor('players.1')['put'](), 'NO_SUCH_ACTOR', 'no')
  t.true(clock.now() - started >= 10_000 && clock.now() - started <= 10_100)
  t.regex(other.message, /logs\.\{id\}/)
  await fails(lone.stage.actor('players.1', { timeoutMs: 300 })['hp'] as unknown as Promise<unknown>, 'NO_SUCH_ACTOR', 'no')
})

test('a call that waits for a host of its type runs as soon as there is one', async (t) => {
  const { add, go, clock } = actorMesh(t, { latencyMs: 1 })
  const log: Log = { got: [] }
  const { stage } = await add('c')
  const calls = [1, 2, 3].map((n) => stage.actor('logs.1')['put']('c', n))
  await clock.advance(3000)
  await add('host', logger(log, clock))
  t.deepEqual(await go(Promise.all(calls), 1000), [1, 2, 3])
})

test('placement: local keeps an actor with the first caller that hosts its type', async (t) => {
  const { add, go } = actorMesh(t, { latencyMs: 1 })
  const define = (stage: Stage): void => { stage.define({ pattern: 'near.{id}', placement: 'local', create: () => ({ where: () => stage.name }) }) }
  const [a, b, c] = [await add('a', define), await add('b', define), await add('c')]
  for (let id = 0; id < 8; id++) {
    const [first, second] = id % 2 ? [a, b] : [b, a]
    t.is(await go(first.stage.actor(`near.${id}`)['where']()), first.stage.name)
    t.is(await go(second.stage.actor(`near.${id}`)['where']()), first.stage.name)
    t.is(await go(c.stage.actor(`near.${id}`)['where']()), first.stage.name)
  }
  t.true(['a', 'b'].includes(await go(c.stage.actor('near.x')['where']()) as string))
})

test('actors spread over the stages that host them, and every caller finds the same one', async (t) => {
  const { add, go } = actorMesh(t, { latencyMs: 1 })
  const define = (stage: Stage): void => { stage.define({ pattern: 'far.{id}', create: (_, self: Self) => ({ where: () => `${stage.id} ${self.fence.epoch}` }) }) }
  const hosts = [await add('a', define), await add('a', define), await add('a', define)]
  const c = await add('c')
  const ids = Array.from({ length: 60 }, (_, id) => `far.${id}`)
  const first = await go(Promise.all(ids.map((id) => c.stage.actor(id)['where']()))) as string[]
  for (const { stage } of hosts) {
    t.deepEqual(await go(Promise.all(ids.map((id) => stage.actor(id)['where']()))), first)
    t.true(stage.actors().length >= 8, `${stage.actors().length}`)
  }
})

test('200 first calls at once from many stages make one activation of each actor', async (t) => {
  const { add, go } = actorMesh(t, { latencyMs: 3 })
  let made = 0
  const define = (stage: Stage): void => { stage.define({ pattern: 'ones.{id}', durable: true, create: () => { made++; return { n: 0, add() { return ++this.n } } } }) }
  const nodes = [await add('a', define), await add('b', define), await add('c', define), await add('d'), await add('e')]
  const calls = Array.from({ length: 200 }, (_, i) => nodes[i % nodes.length].stage.actor('ones.1')['add']() as Promise<number>)
  const answers = await go(Promise.all(calls))
  t.deepEqual(answers.sort((x, y) => x - y), Array.from({ length: 200 }, (_, i) => i + 1))
  t.is(made, 1)
})

test('order holds where an actor is dropped between calls that wait for it and such as are on their way', async (t) => {
  const { add, go, clock } = actorMesh(t, { latencyMs: 10 })
  const got: number[] = []
  const a = await add('a', (stage) => stage.define({ pattern: 'logs.{id}', durable: true, create: () => ({ n: 0, put(n: number) { got.push(n); return ++this.n } }) }))
  const b = await add('b')
  for (let lead = 2; lead <= 40; lead += 2) {
    await go(b.stage.actor('logs.1')['put'](0))
    got.length = 0
    a.shelf.trouble({ beforeMs: 100, fail: new StageError('AUTH_FAILED', 'not you') }, 'commit')
    const calls = [b.stage.actor('logs.1')['put'](1) as Promise<unknown>]
    await clock.advance(50)
    a.shelf.trouble()
    calls.push(b.stage.actor('logs.1')['put'](2) as Promise<unknown>)
    await clock.advance(70 - lead)
    for (const n of [3, 4]) calls.push(b.stage.actor('logs.1')['put'](n) as Promise<unknown>)
    const outcomes = await go(Promise.all(calls.map((one) => one.then(() => 'ok', (error: StageError) => error.code))))
    t.deepEqual(outcomes, ['AUTH_FAILED', 'ok', 'ok', 'ok'])
    t.deepEqual(got, [1, 2, 3, 4], `sent ${lead} ms before`)
  }
})
