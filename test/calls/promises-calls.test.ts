/** Promises about calls: each title begins with its number. */
import { getEventListeners } from 'node:events'
import test from 'ava'
import { MemoryInterface, MemoryNetwork, Stage, StageError, type Code, type Registry, type StageOptions } from '../../src/index.js'
import type { Entry, View } from '../../src/types.js'
import { advance, seeded, virtualMesh } from '../helpers/mesh.js'
import { VirtualClock, settle } from '../helpers/virtual-clock.js'

test('P9: every call settles at the latest at its deadline + 100 ms, wherever it waits', async (t) => {
  const { clock, stage, network } = virtualMesh(t)
  const [a, b] = [stage('a'), stage('b')] as const
  b.to('*').provide('never', () => new Promise(() => {}))
  await advance(clock, Promise.all([a.ready(), b.ready()]))
  await clock.advance(100)
  const cases: [string, Code, number][] = [['nobody', 'NO_SUCH_PEER', 300], ['b', 'TIMEOUT', 450], ['b', 'TIMEOUT', 1000], ['b', 'TIMEOUT', 10_000]]
  for (const [to, code, timeoutMs] of cases) {
    const started = clock.now()
    const error = await t.throwsAsync(advance(clock, a.to(to, { timeoutMs }).call('never'), 20_000, 10), { instanceOf: StageError })
    t.is(error.code, code)
    const took = clock.now() - started
    t.true(took >= timeoutMs && took <= timeoutMs + 100, `${code} after ${took} ms of ${timeoutMs}`)
  }
  network.hold()
  const held = await t.throwsAsync(advance(clock, stage('c').to('b', { timeoutMs: 200 }).call('never'), 20_000), { instanceOf: StageError })
  t.is(held.phase, 'connecting')
  network.release()
})

test('P9: the default deadline is 10 s, and an option of the stage changes it', async (t) => {
  const { clock, stage } = virtualMesh(t)
  const b = stage('b')
  b.to('*').provide('never', () => new Promise(() => {}))
  const took = async (one: ReturnType<typeof stage>): Promise<number> => {
    await advance(clock, one.ready())
    const started = clock.now()
    await t.throwsAsync(advance(clock, one.to('b').call('never')))
    return clock.now() - started
  }
  t.true(Math.abs(await took(stage('a')) - 10_000) <= 100)
  t.true(Math.abs(await took(stage('a', { timeoutMs: 700 })) - 700) <= 100)
})

test('P9: deadline and cancellation travel to the callee, and on through this.to()', async (t) => {
  const { clock, stage } = virtualMesh(t)
  const [web, api, db] = [stage('web'), stage('api'), stage('db')] as const
  const aborted: string[] = []
  db.to('*').provide('query', function () {
    this.signal.addEventListener('abort', () => aborted.push(`db ${(this.signal.reason as StageError).code}`))
    return new Promise(() => {})
  })
  api.to('*').provide('ask', async function () {
    this.signal.addEventListener('abort', () => aborted.push('api'))
    return this.to('db').call('query').catch((error: StageError) => { aborted.push(`call ${error.code}`); throw error })
  })
  await advance(clock, Promise.all([web.ready(), api.ready(), db.ready()]))
  const controller = new AbortController()
  const call = web.to('api', { signal: controller.signal }).call('ask')
  await clock.advance(100)
  controller.abort(new Error('changed my mind'))
  const error = await t.throwsAsync(advance(clock, call), { instanceOf: StageError })
  t.is(error.code, 'CANCELLED')
  t.is((error.cause as Error).message, 'changed my mind')
  await clock.advance(100)
  t.deepEqual(aborted.sort(), ['api', 'call CANCELLED', 'db CANCELLED'])
  aborted.length = 0
  await t.throwsAsync(advance(clock, web.to('api', { timeoutMs: 300 }).call('ask')))
  await clock.advance(200)
  t.true(aborted.includes('db CANCELLED'), 'the deadline of the first call ended the second')
})

test('P9: a plain stage call inside a handler starts anew', async (t) => {
  const { clock, stage } = virtualMesh(t)
  const [web, api, db] = [stage('web'), stage('api'), stage('db')] as const
  let finished = false
  db.to('*').provide('query', () => new Promise((resolve) => clock.setTimeout(() => resolve(1), 1000)))
  api.to('*').provide('ask', async () => { await api.to('db').call('query'); finished = true })
  await advance(clock, Promise.all([web.ready(), api.ready(), db.ready()]))
  await t.throwsAsync(advance(clock, web.to('api', { timeoutMs: 300 }).call('ask')))
  await clock.advance(2000)
  t.true(finished)
})

test('P10: a call runs its handler at most once, through cut links and replicas', async (t) => {
  let unknown = 0
  for (let seed = 1; seed <= 30; seed++) {
    const { clock, stage, network } = virtualMesh(t, { seed, latencyMs: 3 })
    const ran = new Map<number, number>()
    for (const name of ['g', 'g', 'g']) stage(name).to('*').provide('once', (n: number) => { ran.set(n, (ran.get(n) ?? 0) + 1); return n })
    const web = stage('web')
    await advance(clock, web.ready())
    await clock.advance(100)
    const results: Promise<void>[] = []
    const chance = seeded(`cuts ${seed}`)
    for (let n = 0; n < 100; n++) {
      results.push(web.to('g', { timeoutMs: 2000 }).call('once', n).then(() => { t.is(ran.get(n), 1) }, (error: StageError) => {
        unknown++
        if (error.executed === 'no') t.is(ran.get(n), undefined, `seed ${seed}: 'no' is never wrong`)
      }))
      if (chance.float() < 0.05) network.cut()
      await clock.advance(1 + Math.floor(chance.float() * 3))
    }
    await advance(clock, Promise.all(results))
    for (const [n, times] of ran) t.is(times, 1, `seed ${seed}: call ${n}`)
  }
  t.true(unknown > 20, `${unknown} calls were hit by a cut`)
})

test('P11: calls of one caller to one target start in the order sent, those that waited for the link among them', async (t) => {
  const { clock, stage } = virtualMesh(t, { latencyMs: 4 })
  const [a, b] = [stage('a'), stage('b')] as const
  const order: number[] = []
  b.to('*').provide('f', async (n: number) => { order.push(n); await null })
  const calls = [1, 2, 3].map((n) => a.to('b').call('f', n))
  a.on('link', () => calls.push(a.to('b').call('f', 4), a.to('b').call('f', 5)))
  await advance(clock, a.ready())
  await clock.advance(200)
  await advance(clock, Promise.all(calls))
  calls.push(a.to('b').call('f', 6), a.to('b').call('f', 7))
  await advance(clock, Promise.all(calls))
  t.deepEqual(order, [1, 2, 3, 4, 5, 6, 7])
})

test('a signal that fired before, during and after a call', async (t) => {
  const { clock, stage } = virtualMesh(t)
  const [a, b] = [stage('a'), stage('b')] as const
  let ran = 0
  b.to('*').provide('f', () => ++ran)
  await advance(clock, Promise.all([a.ready(), b.ready()]))
  const before = await t.throwsAsync(advance(clock, a.to('b', { signal: AbortSignal.abort() }).call('f')), { instanceOf: StageError })
  t.is(before.code, 'CANCELLED')
  t.is(before.executed, 'no')
  await clock.advance(100)
  t.is(ran, 0)
  const controller = new AbortController()
  t.is(await advance(clock, a.to('b', { signal: controller.signal }).call('f')), 1)
  controller.abort()
  await settle()
  t.is(getEventListeners(controller.signal, 'abort').length, 0)
})

test('many calls with one signal leave no listener', async (t) => {
  const { clock, stage } = virtualMesh(t)
  const [a, b] = [stage('a'), stage('b')] as const
  b.to('*').provide('f', () => 1)
  const { signal } = new AbortController()
  await advance(clock, Promise.all(Array.from({ length: 5000 }, () => a.to('b', { signal }).call('f'))))
  t.is(getEventListeners(signal, 'abort').length, 0)
})

test('P23: close settles within 15 s, whatever hangs, and leaves no timer', async (t) => {
  const { clock, stage, registry, network } = virtualMesh(t)
  const [a, b] = [stage('a'), stage('b')] as const
  b.to('*').provide('never', () => new Promise(() => {}))
  await advance(clock, Promise.all([a.ready(), b.ready()]))
  const call = a.to('b', { timeoutMs: 60_000 }).call('never').catch((error: StageError) => error.code)
  const stream = a.to('b')
  stream.on('error', () => {})
  stream.write('x')
  await clock.advance(11_000) // just after a ping, so that it is not the ping which ends the link
  registry.fail(true)
  network.hold()
  const started = clock.now()
  await advance(clock, Promise.all([a.close(), b.close()]), 16_000)
  t.true(clock.now() - started <= 15_000, `${clock.now() - started} ms`)
  t.true(['DISCONNECTED', 'CLOSED'].includes(await call as string))
  registry.fail(false)
  network.release()
  await registry.close()
  await clock.advance(100_000)
  t.is(clock.pending, 0)
})

test('P23: a handler that never answers does not hold up close', async (t) => {
  const { clock, stage } = virtualMesh(t)
  const [a, b] = [stage('a'), stage('b')] as const
  b.to('*').provide('never', () => new Promise(() => {}))
  await advance(clock, Promise.all([a.ready(), b.ready()]))
  const call = a.to('b', { timeoutMs: 60_000 }).call('never').catch((error: StageError) => error.code)
  await clock.advance(100)
  const started = clock.now()
  await advance(clock, b.close(), 30_000)
  t.true(clock.now() - started <= 15_000, `${clock.now() - started} ms`)
  t.is(await call, 'DISCONNECTED')
})

test('close lets what was begun end, and refuses nothing that was accepted', async (t) => {
  const { clock, stage } = virtualMesh(t, { latencyMs: 5 })
  const [a, b] = [stage('a'), stage('b')] as const
  b.to('*').provide('slow', () => new Promise((resolve) => clock.setTimeout(() => resolve('done'), 2000)))
  await advance(clock, Promise.all([a.ready(), b.ready()]))
  const call = a.to('b').call('slow')
  await clock.advance(100)
  const closing = b.close()
  t.is(await advance(clock, call), 'done')
  await advance(clock, closing)
  t.deepEqual(a.peers(), [])
})

test('what is being served while its stage closes may call others, itself, and functions that it was passed', async (t) => {
  const { clock, stage } = virtualMesh(t)
  const [web, api, db] = [stage('web'), stage('api'), stage('db')] as const
  db.to('*').provide('query', () => 'rows')
  api.to('*').provide('inner', () => 'inner')
  api.to('*').provide('slow', async function (cb: (text: string) => Promise<string>) {
    await new Promise<void>((resolve) => clock.setTimeout(resolve, 500))
    return [await this.to('db').call('query'), await this.to('api').call('inner'), await cb('back')]
  })
  await advance(clock, Promise.all([web.ready(), api.ready(), db.ready()]))
  const call = web.to('api').call('slow', (text: string) => `called ${text}`)
  const own = api.to('api').call('slow', (text: string) => `own ${text}`)
  await clock.advance(100)
  const closing = api.close()
  t.is((await t.throwsAsync(advance(clock, api.to('db').call('query')), { instanceOf: StageError })).code, 'CLOSED', 'nothing new')
  const late = await t.throwsAsync(advance(clock, web.to('api', { timeoutMs: 50 }).call('inner')), { instanceOf: StageError })
  t.is(late.code, 'REFUSED', 'nor for others')
  t.is(late.executed, 'no')
  t.deepEqual(await advance(clock, call), ['rows', 'inner', 'called back'])
  t.deepEqual(await advance(clock, own), ['rows', 'inner', 'own back'])
  await advance(clock, closing)
})

test('what is refused by a stage that closes goes to another replica', async (t) => {
  const { clock, stage } = virtualMesh(t)
  const [web, one, two] = [stage('web'), stage('g'), stage('g')] as const
  for (const each of [one, two]) {
    each.to('*').provide('who', () => each.id)
    each.to('*').provide('slow', () => new Promise((resolve) => clock.setTimeout(() => resolve(1), 2000)))
  }
  await advance(clock, Promise.all([web.ready(), one.ready(), two.ready()]))
  const slow = [web.to('g').call('slow'), web.to('g').call('slow')]
  await clock.advance(100)
  const closing = one.close()
  for (let i = 0; i < 10; i++) t.is(await advance(clock, web.to('g').call('who')), two.id)
  await advance(clock, Promise.all([...slow, closing]))
})

test('P23: a registry, an interface or a layer that hangs or fails on closing holds up nothing', async (t) => {
  const clock = new VirtualClock()
  const interfaces = [Object.assign(new MemoryInterface(new MemoryNetwork({ clock }), { clock }), { close: () => Promise.reject(new Error('cannot')) })]
  let released = false
  const entries: Entry[] = []
  const hanging: Registry = {
    address: 'own:',
    publish: (entry) => { entries.push(entry); return Promise.resolve({ renew: () => Promise.resolve('ok'), close: () => new Promise<void>(() => {}) }) },
    watch: () => (async function* (): AsyncGenerator<View> { yield { generation: '1', entries: [...entries], lapsed: [] }; await new Promise(() => {}) })(),
    close: () => { released = true; return new Promise<void>(() => {}) },
  }
  const c = new Stage('c', hanging, interfaces, { clock } as StageOptions)
  const errors: string[] = []
  c.on('error', (error) => errors.push(error.message))
  await advance(clock, c.ready())
  const started = clock.now()
  await advance(clock, c.close(), 20_000)
  t.true(clock.now() - started <= 15_000)
  t.true(released)
  t.true(errors.includes('cannot'), errors.join())
})

test('P11: calls, casts and callAll keep their order while a link is made and others join', async (t) => {
  const { clock, stage } = virtualMesh(t, { latencyMs: 25 })
  const [a, b] = [stage('a'), stage('b')] as const
  const order: number[] = []
  b.to('*').provide('f', (n: number) => { order.push(n) })
  await advance(clock, Promise.all([a.ready(), b.ready()]))
  await clock.advance(100)
  const calls: Promise<unknown>[] = [a.to('b').call('f', 1)]
  a.to('b').cast('f', 2)
  calls.push(a.to('b').callAll('f', 3).next(), a.to('b').call('f', 4))
  stage('unrelated')
  await advance(clock, Promise.all(calls))
  t.deepEqual(order, [1, 2, 3, 4])
})
