/** How long a call or a stream waits for a match that is there and can be reached: `waitMs`. */
import { once } from 'node:events'
import test, { type ExecutionContext } from 'ava'
import { StageError, type Answer, type TargetOptions } from '../../src/index.js'
import { advance, virtualMesh } from '../helpers/mesh.js'

async function scene(t: ExecutionContext, { apis = 1, latencyMs = 0 } = {}) {
  const { clock, stage, network, registry } = virtualMesh(t, { latencyMs })
  const web = stage('web')
  const all = Array.from({ length: apis }, () => stage('api'))
  const addresses = all.map((one) => once(one, 'listening').then(([[address]]: string[][]) => address))
  for (const one of all) one.to('*').provide('greet', () => 'hi')
  await advance(clock, Promise.all([web, ...all].map((one) => one.ready())))
  /** The process of that stage is gone: its links break, and nobody listens there. */
  const crash = async (index: number): Promise<void> => {
    const address = await addresses[index]
    network.refuse(address)
    network.cut(address)
    await clock.advance(10)
  }
  /** How a call ends, and after how long. */
  const outcome = async (options: TargetOptions, to = 'api'): Promise<{ value?: unknown; error?: StageError; ms: number }> => {
    const from = clock.now()
    let ms = 0
    const done = web.to(to, options).call('greet').then((value) => ({ value }), (error: unknown) => ({ error: error as StageError }))
    const result = await advance(clock, done.finally(() => { ms = clock.now() - from }), 60_000, 10)
    return { ...result, ms }
  }
  return { clock, network, registry, web, all, crash, outcome, addresses }
}

test('0: the first call connects', async (t) => {
  const { outcome } = await scene(t, { latencyMs: 20 })
  t.is((await outcome({ waitMs: 0 })).value, 'hi')
})

test('0: the first call of a stage that has not seen the registry yet waits for its answer', async (t) => {
  const { clock, stage } = virtualMesh(t)
  const api = stage('api')
  api.to('*').provide('greet', () => 'hi')
  await advance(clock, api.ready())
  t.is(await advance(clock, stage('early').to('api', { waitMs: 0 }).call('greet')), 'hi')
})

test('0: nobody is there', async (t) => {
  const { outcome } = await scene(t)
  const { error, ms } = await outcome({ waitMs: 0 }, 'nobody')
  t.like(error, { code: 'NO_SUCH_PEER', executed: 'no' })
  t.regex(error!.message, /no stage named nobody .* at the moment; listed: api/)
  t.true(ms <= 100, `${ms} ms`)
})

test('0: the only replica has crashed: NO_SUCH_PEER at once with what refused, and not after the deadline', async (t) => {
  const { outcome, crash } = await scene(t)
  t.is((await outcome({})).value, 'hi')
  await crash(0)
  for (let i = 0; i < 10; i++) {
    const { error, ms } = await outcome({ waitMs: 0 })
    t.like(error, { code: 'NO_SUCH_PEER', executed: 'no' })
    t.regex(error!.message, /ECONNREFUSED/)
    t.is((error!.cause as StageError).constructor, StageError)
    t.true(ms <= 300, `${ms} ms`)
  }
})

test('0: one of two replicas has crashed: the other answers', async (t) => {
  const { outcome, crash } = await scene(t, { apis: 2 })
  await crash(1)
  for (let i = 0; i < 10; i++) t.is((await outcome({ waitMs: 0 })).value, 'hi')
})

for (const waitMs of [100, 1000]) {
  test(`${waitMs}: whoever comes within that time is called, and later it is NO_SUCH_PEER`, async (t) => {
    const { clock, web, outcome } = await scene(t)
    const { error, ms } = await outcome({ waitMs }, 'late')
    t.is(error?.code, 'NO_SUCH_PEER')
    t.regex(error!.message, new RegExp(`within ${waitMs} ms`))
    t.true(ms >= waitMs && ms <= waitMs + 50, `${ms} ms`)
    t.is(web.stats()['waiting'], 0)
    t.is(clock.now() > 0, true)
  })
}

test('whoever comes back within the time is called', async (t) => {
  const { clock, web, network, crash, outcome, addresses } = await scene(t)
  t.is((await outcome({})).value, 'hi')
  await crash(0)
  const call = web.to('api', { waitMs: 3000 }).call('greet')
  call.catch(() => {})
  await clock.advance(500)
  network.release(await addresses[0])
  t.is(await advance(clock, call), 'hi')
})

test('the deadline counts as well, and says what it always said', async (t) => {
  const { outcome, crash } = await scene(t)
  t.is((await outcome({})).value, 'hi')
  await crash(0)
  const { error, ms } = await outcome({ waitMs: 5000, timeoutMs: 200 })
  t.is(error?.code, 'TIMEOUT')
  t.true(ms <= 250, `${ms} ms`)
})

test('streams and callAll wait as long', async (t) => {
  const { clock, web, crash, outcome } = await scene(t, { apis: 2 })
  t.is((await outcome({})).value, 'hi')
  await crash(0)
  await crash(1)
  const stream = web.to('api', { waitMs: 0 })
  const failed = once(stream, 'error').catch((error: unknown) => [error])
  stream.write('x')
  t.is((await advance(clock, failed) as [StageError])[0].code, 'NO_SUCH_PEER')
  const answers: Answer[] = []
  const from = clock.now()
  await advance(clock, (async () => { for await (const one of web.to('api', { waitMs: 0 }).callAll('greet')) answers.push(one) })())
  t.deepEqual(answers.map(({ error }) => error?.code), ['NO_SUCH_PEER', 'NO_SUCH_PEER'])
  t.true(clock.now() - from <= 500)
})

for (const waitMs of [0, 300]) {
  test(`${waitMs}: a match that does not answer the dial does not keep the other from being called`, async (t) => {
    for (let silent = 0; silent < 2; silent++) {
      const { clock, stage, network } = virtualMesh(t)
      const web = stage('web')
      const all = [stage('api'), stage('api')]
      const addresses = all.map((one) => once(one, 'listening').then(([[address]]: string[][]) => address))
      all.forEach((one, i) => { one.to('*').provide('greet', () => i) })
      await advance(clock, Promise.all([web, ...all].map((one) => one.ready())))
      network.hold(await addresses[silent])
      const from = clock.now()
      t.is(await advance(clock, web.to('api', { waitMs }).call('greet'), 60_000, 10), 1 - silent)
      t.true(clock.now() - from <= 300, `${clock.now() - from} ms`)
    }
  })
}

test('callAll does not wait for a registry that is away longer than it may', async (t) => {
  const { clock, stage, registry } = virtualMesh(t)
  registry.fail(true)
  const web = stage('web')
  const from = clock.now()
  const outcome = (async () => { for await (const one of web.to('api', { waitMs: 100 }).callAll('greet')) return one; return undefined })().catch((error: unknown) => error)
  t.like(await advance(clock, outcome), { code: 'REGISTRY_UNAVAILABLE' })
  t.true(clock.now() - from <= 2100, `${clock.now() - from} ms`)
})

for (const waitMs of [-1, Number.NaN, '5', 1e9, null]) {
  test(`refused: ${String(waitMs)}`, (t) => {
    const { stage } = virtualMesh(t)
    t.throws(() => stage('a').to('b', { waitMs: waitMs as number }), { code: 'BAD_ARGUMENT', message: /waitMs is/ })
  })
}
