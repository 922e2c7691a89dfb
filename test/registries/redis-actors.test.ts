/** Actors while their Redis is gone: a real one, that is killed and comes back. */
import { Stage, type StageError } from '../../src/index.js'
import { onRedis } from '../helpers/redis.js'
import { until } from '../helpers/until.js'

class Counter {
  n = 0
  add(): number { return ++this.n }
}

const outcome = (promise: Promise<unknown>): Promise<unknown> => promise.then((value) => value, ({ code, executed }: StageError) => `${code} ${executed}`)

onRedis('a Redis that is gone: what needs it fails typed, the stages live, and what was acknowledged is there when it is back', async (t, server) => {
  t.timeout(120_000)
  const [web, api] = ['web', 'api'].map((name) => new Stage(name, server.url))
  t.teardown(() => Promise.all([web.close(), api.close()]))
  const woken: number[] = []
  api.define({ pattern: 'counters.{id}', constructor: Counter, durable: true })
  api.define({ pattern: 'alarms.{id}', durable: true, create: (_, self) => ({ set: (afterMs: number) => self.remind('x', 'ring', { afterMs }), ring: () => { woken.push(Date.now()) }, leave: () => self.deactivate() }) })
  api.to('*').provide('greet', () => 'hi')
  const counter = (id: string, timeoutMs = 3000) => web.actor<Counter>(`counters.${id}`, { timeoutMs })
  t.is(await counter('1', 10_000).add(), 1)
  t.is(await counter('2').add(), 1)
  await web.actor('alarms.1')['set'](4000)
  await web.actor('alarms.1')['leave']()
  await until(() => !api.actors().some(({ address }) => address === 'alarms.1'))

  await server.kill()
  const since = performance.now()
  const seen = await Promise.all([counter('1').add(), counter('new').add(), web.explain('counters.1'), counter('1', 500).n, web.to('api').call('greet')].map((one) => outcome(Promise.resolve(one))))
  t.regex(String(seen[0]), /^(STORE_UNAVAILABLE|TIMEOUT) unknown$/, 'what it changed may be kept')
  t.regex(String(seen[1]), /^(STORE_UNAVAILABLE|TIMEOUT) no$/, 'it could not be claimed')
  t.regex(String(seen[2]), /^STORE_UNAVAILABLE/)
  t.is(seen[4], 'hi', 'calls need no store')
  t.true(performance.now() - since < 6000, `${performance.now() - since} ms`)
  t.is(await outcome(api.actor<Counter>('counters.2', { timeoutMs: 300 }).add()), 'STORE_UNAVAILABLE unknown')
  t.false(api.actors().some(({ address }) => address === 'counters.2'), 'memory is not believed any more')
  await new Promise((resolve) => { setTimeout(resolve, 4000) }) // the reminder is due by then

  await server.restart({ keepData: true })
  await until(async () => typeof await outcome(counter('1').add()) === 'number', 20_000)
  const after = await counter('1').n
  t.true(after >= 2 && after <= 20, `${after}: nothing acknowledged is lost`)
  t.is(await outcome(counter('2').add()), 2, 'what was refused was not done')
  t.is(await outcome(counter('new').add()), 1)
  await until(() => woken.length > 0, 20_000)
})
