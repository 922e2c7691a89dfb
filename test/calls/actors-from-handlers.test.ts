/** `this.actor()` of a handler: what its calls inherit. */
import { once } from 'node:events'
import test, { type ExecutionContext } from 'ava'
import { Stage, StageError, framing, rpc, type Self, type StageOptions } from '../../src/index.js'

let places = 0

/** A stage that calls, and one that serves and hosts. */
function pair(t: ExecutionContext, options: StageOptions = {}): [web: Stage, api: Stage] {
  const place = `memory:handlers-${++places}`
  const stages: [Stage, Stage] = [new Stage('web', place, undefined, options), new Stage('api', place, undefined, options)]
  t.teardown(() => Promise.all(stages.map((stage) => stage.close())))
  return stages
}

const failure = (promise: Promise<unknown>): Promise<StageError> => promise.then((value) => { throw new Error(`it was answered: ${String(value)}`) }, (error: unknown) => error as StageError)

/** Hosts actors whose only method ends with the test. */
function sleepers(t: ExecutionContext, stage: Stage): void {
  const morning = new AbortController()
  stage.define({ pattern: 'sleepers.{id}', create: () => ({ sleep: () => once(morning.signal, 'abort').then(() => {}) }) satisfies Sleeper })
  t.teardown(() => morning.abort())
}
interface Sleeper { sleep(): Promise<void> }

test('P9: the deadline: a call of an actor that a handler makes ends with the call that it serves', async (t) => {
  const [web, api] = pair(t)
  sleepers(t, api)
  let inner: Promise<StageError> | undefined
  api.to('*').provide('nap', function () {
    inner = failure(this.actor<Sleeper>('sleepers.1', { timeoutMs: 9000 }).sleep())
    return inner.then((error) => { throw error })
  })
  await web.to('api').methods()
  const started = performance.now()
  const outer = await failure(web.to('api', { timeoutMs: 400 }).call('nap'))
  t.regex(outer.code, /TIMEOUT|REMOTE_ERROR/) // both end at the same moment, and either may be told first
  t.regex((await inner)?.code ?? '', /TIMEOUT|CANCELLED/) // by its own clock, or by the word of the caller
  t.true(performance.now() - started < 3000)
})

for (const own of [false, true]) {
  test(`P9: the signal${own ? ', beside one of its own' : ''}: whoever cancels the call cancels what its handler waits for`, async (t) => {
    const [web, api] = pair(t)
    sleepers(t, api)
    let begun = (): void => {}
    const waits = new Promise<void>((resolve) => { begun = resolve })
    let inner: Promise<StageError> | undefined
    api.to('*').provide('nap', function () {
      inner = failure(this.actor<Sleeper>('sleepers.1', own ? { signal: new AbortController().signal } : {}).sleep())
      begun()
      return inner
    })
    const cancel = new AbortController()
    const outer = failure(web.to('api', { signal: cancel.signal }).call('nap'))
    await waits
    cancel.abort(new Error('enough'))
    t.is((await outer).code, 'CANCELLED')
    t.is((await inner)?.code, 'CANCELLED')
  })
}

test('its own signal cancels too', async (t) => {
  const [web, api] = pair(t)
  sleepers(t, api)
  api.to('*').provide('nap', function () {
    const cancel = new AbortController()
    const inner = failure(this.actor<Sleeper>('sleepers.1', { signal: cancel.signal }).sleep())
    cancel.abort()
    return inner.then(({ code }) => code)
  })
  t.is(await web.to('api').call('nap'), 'CANCELLED')
})

test('the depth: handlers and actors that call each other in a circle come to an end', async (t) => {
  const [web, api] = pair(t)
  let deepest = 0
  class Mirror {
    self!: Self
    look(depth: number): Promise<unknown> {
      deepest = Math.max(deepest, depth)
      return this.self.to('api').call('look', depth + 1)
    }
  }
  api.define({ pattern: 'mirrors.{id}', constructor: Mirror })
  api.to('*').provide('look', function (depth: number) { return this.actor<Mirror>(`mirrors.${depth}`).look(depth) })
  const error = await failure(web.to('api').call('look', 0))
  t.is(error.code, 'REMOTE_ERROR')
  let cause: unknown = error
  while ((cause as Error).cause instanceof Error) cause = (cause as Error).cause
  t.regex((cause as Error).message, /calls are nested more than 32 deep/)
  t.true(deepest > 10 && deepest <= 16, `${deepest} mirrors`)
})

test('a call of one level: the actor answers, a property is read', async (t) => {
  const [web, api] = pair(t)
  class Counter {
    count = 0
    add(n: number): number { return this.count += n }
  }
  api.define({ pattern: 'counters.{id}', constructor: Counter })
  api.to('*').provide('add', async function (n: number) {
    const counter = this.actor<Counter>('counters.1')
    await counter.add(n)
    return counter.count
  })
  t.is(await web.to('api').call('add', 3), 3)
  t.is(await web.to('api').call('add', 4), 7)
})

test('a chain without actors says so', async (t) => {
  const [web, api] = pair(t, { chain: [framing(), rpc()] })
  api.to('*').provide('ask', function () { return this.actor('counters.1').count })
  const { code, message } = await failure(web.to('api').call('ask'))
  t.is(code, 'REMOTE_ERROR')
  t.regex(message, /actor\(\) needs a layer/)
})

test('P17: a circle that goes through a handler is a circle: it fails at once, and names the actors', async (t) => {
  const [web, api] = pair(t)
  class Clerk {
    self!: Self
    n = 0
    ask(): Promise<unknown> { return this.self.to('api').call('back', this.self.address) }
    add(): number { return ++this.n }
  }
  api.define({ pattern: 'clerks.{id}', constructor: Clerk })
  api.define({ pattern: 'partners.{id}', constructor: Clerk, reentrant: true })
  api.to('*').provide('back', function (address: string) { return this.actor<Clerk>(address).add() })
  const error = await failure(web.actor<Clerk>('clerks.1').ask())
  t.regex(error.message, /a cycle of calls: clerks\.1 → clerks\.1/)
  t.is(await web.actor<Clerk>('partners.1').ask(), 1, 'and where calls may come back, this one does')
})
