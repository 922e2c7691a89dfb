/** A stage that leaves its registry for another while it runs, and comes back. */
import test, { type ExecutionContext } from 'ava'
import { MemoryRegistry, Stage, StageError, TcpInterface, serveRegistry, type StageOptions } from '../../src/index.js'
import { until } from '../helpers/until.js'

let count = 0

function made(t: ExecutionContext, name: string, registry: string, options: StageOptions = {}): Stage {
  t.timeout(60_000)
  const stage = new Stage(name, { registry, interfaces: new TcpInterface(), ttlMs: 2000, ...options })
  t.teardown(() => stage.close())
  stage.to('*').provide('id', () => stage.id)
  return stage
}

async function served(t: ExecutionContext): Promise<string> {
  const server = await serveRegistry(new MemoryRegistry(`joined-${++count}`))
  t.teardown(() => server.close())
  return server.url.slice('mesh://'.length)
}

test('two stages of two registries find each other at a third, and are alone again when they leave it', async (t) => {
  const host = await served(t)
  const [a, b] = [made(t, 'a', `memory:join-a-${count}`), made(t, 'b', `memory:join-b-${count}`)]
  await Promise.all([a.ready(), b.ready()])
  const ids = [a.id, b.id]
  const own = a.registry.address
  await Promise.all([a.join(host), b.join(host)])
  await until(() => a.peers().length === 1 && b.peers().length === 1)
  t.is(a.registry.address, `mesh://${host}`)
  t.is(await a.to('b').call('id'), ids[1])
  await b.leave()
  await until(() => a.peers().length === 0)
  await a.leave()
  t.is(a.registry.address, own)
  t.deepEqual([a.id, b.id], ids)
  await until(() => b.peers().length === 0)
})

test('P5: stages that move together keep their ids and their links, and no call fails', async (t) => {
  const host = await served(t)
  const registry = `memory:join-together-${count}`
  const stages = ['a', 'b', 'c'].map((name) => made(t, name, registry))
  await Promise.all(stages.map((one) => one.ready()))
  const [a, b, c] = stages
  const ids = stages.map((one) => one.id)
  let going = true
  let calls = 0
  let unlinks = 0
  for (const one of stages) one.on('unlink', () => unlinks++)
  const load = Promise.all(stages.map(async (one, i) => {
    while (going) {
      t.is(await one.to('abc'[(i + 1) % 3]).call('id'), ids[(i + 1) % 3])
      calls++
      await new Promise((resolve) => setTimeout(resolve, 2))
    }
  }))
  for (const move of [(one: Stage) => one.join(host), (one: Stage) => one.leave()]) {
    for (const one of stages) await move(one)
    await until(() => stages.every((one) => one.peers().length === 2))
    await new Promise((resolve) => setTimeout(resolve, 4500)) // longer than a TTL and the grace
    t.true(stages.every((one) => one.peers().length === 2))
  }
  going = false
  await load
  t.deepEqual([a, b, c].map((one) => one.id), ids)
  t.is(unlinks, 0)
  t.true(calls > 500, `${calls} calls`)
})

test('actors are in the store of the registry that is used', async (t) => {
  const host = await served(t)
  const [a, b] = [made(t, 'a', `memory:join-actors-a-${count}`), made(t, 'b', `memory:join-actors-b-${count}`)]
  for (const one of [a, b]) {
    one.define({ pattern: 'counters.{id}', create: () => ({ count: 0, add() { return ++this.count } }), durable: ['count'] } as never)
  }
  type Counter = { add(): number }
  t.is(await a.actor<Counter>('counters.x').add(), 1)
  await Promise.all([a.join(host), b.join(host)])
  await until(() => a.peers().length === 1 && b.peers().length === 1)
  const added = [await b.actor<Counter>('counters.y').add(), await a.actor<Counter>('counters.y').add()]
  t.deepEqual(added, [1, 2])
})

test('join() takes the URL of a server too', async (t) => {
  const server = await serveRegistry(new MemoryRegistry(`join-url-${process.pid}`))
  const stage = new Stage('api', { registry: 'none:', interfaces: new TcpInterface() })
  t.teardown(async () => void await Promise.all([stage.close(), server.close()]))
  await stage.join(server.url)
  t.is(stage.registry.address, server.url)
})

test('a stage that cannot be listed there stays where it was', async (t) => {
  const host = await served(t)
  const registry = `memory:join-back-${count}`
  const [a, b] = [made(t, 'a', registry), made(t, 'b', registry)]
  await Promise.all([a.ready(), b.ready()])
  await until(() => a.peers().length === 1)
  t.is((await t.throwsAsync(a.join('127.0.0.1:1'), { instanceOf: StageError }) as StageError).code, 'REGISTRY_UNAVAILABLE')
  t.is((await t.throwsAsync(a.join('nohost'), { instanceOf: StageError }) as StageError).code, 'BAD_ARGUMENT')
  const other = made(t, 'a', `mesh://${host}`, { unique: true })
  await other.ready()
  t.is((await t.throwsAsync(a.join(host), { instanceOf: StageError }) as StageError).code, 'NAME_TAKEN')
  t.is(a.registry.address, registry)
  await new Promise((resolve) => setTimeout(resolve, 3000))
  t.deepEqual(b.peers().map(({ name }) => name), ['a'])
  t.is(await b.to('a').call('id'), a.id)
  await a.close()
  await t.throwsAsync(a.join(host), { message: /closed/ })
})

test('to join twice, or where it is listed already, leaves the stage listed', async (t) => {
  const host = await served(t)
  const [a, b] = [made(t, 'a', `memory:join-twice-${count}`), made(t, 'b', `mesh://${host}`)]
  await Promise.all([a.ready(), b.ready()])
  const { id } = a
  let parts = 0
  b.on('part', () => parts++)
  await Promise.all([a.join(host), a.join(host)])
  await b.join(host)
  await until(() => b.peers().length === 1)
  await new Promise((resolve) => setTimeout(resolve, 3000))
  t.deepEqual(b.peers().map((peer) => peer.id), [id])
  t.is(parts, 0)
  t.is(a.id, id)
  t.is(await b.to('a').call('id'), id)
})

test('changes of the registry follow each other, also those that fail', async (t) => {
  const host = await served(t)
  const a = made(t, 'a', `memory:join-queue-${count}`)
  await a.ready()
  const own = a.registry.address
  const all = await Promise.allSettled([a.join('127.0.0.1:1'), a.join(host), a.leave(), a.join('127.0.0.1:1'), a.join(host)])
  t.deepEqual(all.map(({ status }) => status), ['rejected', 'fulfilled', 'fulfilled', 'rejected', 'fulfilled'])
  t.is(a.registry.address, `mesh://${host}`)
  await a.leave()
  t.is(a.registry.address, own)
})

test('a port that is taken fails the start of a served registry, which then is closed', async (t) => {
  const server = await serveRegistry(new MemoryRegistry('join-taken'))
  const port = Number(server.url.split(':').at(-1))
  await t.throwsAsync(serveRegistry(new MemoryRegistry('join-taken-too'), { port }), { message: /taken/ })
  await server.close()
  const again = await serveRegistry(new MemoryRegistry('join-taken-three'))
  await again.close()
})
