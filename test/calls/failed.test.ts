/** User code that throws is visible at the stage that ran it, with its stack: as the event `failed`, else as a process warning. */
import test, { type ExecutionContext } from 'ava'
import { StageError, type Interceptor, type Self, type Stage } from '../../src/index.js'
import type { FailedCall } from '../../src/types.js'
import { actorMesh } from '../helpers/actors.js'
import { advance, virtualMesh } from '../helpers/mesh.js'
import { nothingUnhandled } from '../helpers/unhandled.js'
import { settle } from '../helpers/virtual-clock.js'
import { warningsWith } from '../helpers/warnings.js'

nothingUnhandled(test)

interface Told { what: string; message: string; peer: string | undefined; stack: boolean }

function heard(stage: Stage): Told[] {
  const all: Told[] = []
  stage.on('failed', (error: Error, { what, peer }: FailedCall) => {
    all.push({ what, message: error.message, peer: peer?.name, stack: error.stack?.includes('failed.test') === true })
  })
  return all
}

const bug = (): never => { throw new TypeError('a bug') }
async function* broken(): AsyncGenerator<number> { yield 1; await null; bug() }

async function peers(t: ExecutionContext) {
  const { clock, stage } = virtualMesh(t)
  const [api, web] = [stage('api'), stage('web')]
  const told = heard(api)
  return { clock, api, web, told, go: <T>(promise: Promise<T>) => { promise.catch(() => {}); return advance(clock, promise) } }
}

const WAYS: [title: string, provide: (api: Stage) => void, call: (web: Stage) => unknown, what: string | RegExp][] = [
  ['a method', (api) => { api.to('*').provide('greet', bug) }, (web) => web.to('api').call('greet'), 'greet'],
  ['a method that waits', (api) => { api.to('*').provide('greet', async () => { await null; bug() }) }, (web) => web.to('api').call('greet'), 'greet'],
  ['a method that throws nothing', (api) => { api.to('*').provide('greet', () => Promise.reject()) }, (web) => web.to('api').call('greet'), 'greet'],  
  ['a cast', (api) => { api.to('*').provide('greet', bug) }, (web) => web.to('api').cast('greet'), 'greet'],
  ['an object that is served', (api) => { api.to('*').serve({ greet: bug }) }, (web) => web.to('api').call('greet'), 'greet'],
  ['a rule', (api) => { api.to('*').provide('greet', { authorize: bug }, () => 1) }, (web) => web.to('api').call('greet'), 'authorize of call greet'],
  ['a generator', (api) => { api.to('*').provide('list', broken) }, async (web) => { const all: number[] = []; for await (const one of await web.to('api').call<AsyncIterable<number>>('list')) all.push(one) }, /iterable/],
  ['a function that was handed out', (api) => { api.to('*').provide('make', () => bug) }, async (web) => { await (await web.to('api').call<() => unknown>('make'))() }, /^function \d+$/],
]

for (const [title, provide, call, what] of WAYS) {
  test(`${title} that throws is the event failed of its stage`, async (t) => {
    const { api, web, told, go } = await peers(t)
    provide(api)
    await go(Promise.all([api.ready(), web.ready()]))
    const done = call(web)
    if (done) {
      const error = await go((done as Promise<unknown>).then(() => undefined, (thrown: unknown) => thrown as StageError))
      t.true(error instanceof Error, 'the caller gets an error')
    }
    await go(web.to('api').methods())
    await settle()
    t.is(told.length, 1)
    const [one] = told
    if (typeof what === 'string') t.is(one.what, what)
    else t.regex(one.what, what)
    t.like(one, title === 'a method that throws nothing' ? { peer: 'web' } : { message: 'a bug', peer: 'web', stack: true })
  })
}

const ACTORS: [title: string, create: (self: Self) => object, call: (web: Stage) => Promise<unknown>, what: string, peer?: string][] = [
  ['a method of an actor', () => ({ hit: bug }), (web) => web.actor('x.1').hit(), 'hit of x.1', 'web'],
  ['the factory of an actor', bug, (web) => web.actor('x.1').hit(), 'the activation of x.1'],
  ['activate()', () => ({ activate: bug, hit() {} }), (web) => web.actor('x.1').hit(), 'the activation of x.1'],
  ['deactivate()', (self) => ({ deactivate: bug, hit() { self.deactivate() } }), (web) => web.actor('x.1').hit(), 'deactivate() of x.1'],
  ['a timer', (self) => ({ hit() { self.after(10, bug) } }), (web) => web.actor('x.1').hit(), 'a timer of x.1'],
  ['a reminder', (self) => ({ hit() { self.remind('soon', 'rings', { afterMs: 10 }) }, rings: bug }), (web) => web.actor('x.1').hit(), 'the reminder soon of x.1'],
]

for (const [title, create, call, what, peer] of ACTORS) {
  test(`${title} that throws is the event failed of its stage`, async (t) => {
    const { add, go, clock } = actorMesh(t)
    const [host, web] = [await add('host'), await add('web')]
    const told = heard(host.stage)
    host.stage.define({ pattern: 'x.{id}', create: (_, self) => create(self) })
    await go(call(web.stage).catch(() => {}))
    await clock.advance(500)
    t.true(told.length >= 1)
    for (const one of told) t.deepEqual(one, { what, message: 'a bug', peer, stack: true }) // one for each attempt to make the actor
    t.deepEqual(host.errors, [], 'it is no error of the stage')
  })
}

test('the event names the method, the actor and the caller', async (t) => {
  const { add, go, clock } = actorMesh(t)
  const [host, web] = [await add('host'), await add('web')]
  const calls: FailedCall[] = []
  host.stage.on('failed', (_, call) => { calls.push(call) })
  host.stage.define({ pattern: 'x.{id}', create: (_, self) => ({ hit: bug, tick() { self.after(1, bug) } }) })
  host.stage.to('*').provide('greet', bug)
  await go(web.stage.actor('x.1').hit().catch(() => {}))
  await go(web.stage.actor('x.1').tick())
  await clock.advance(50)
  await go(web.stage.to('host').call('greet').catch(() => {}))
  await settle()
  const { id } = web.stage
  t.deepEqual(calls.map(({ what, method, actor, peer }) => [what, method, actor, peer?.id]), [
    ['hit of x.1', 'hit', 'x.1', id], ['a timer of x.1', undefined, 'x.1', undefined], ['greet', 'greet', undefined, id],
  ])
})

for (const [title, interceptor] of [['before it', () => { throw new TypeError('a bug') }], ['behind it', async (call, next) => { await next(call); throw new TypeError('a bug') }]] as [string, Interceptor][]) {
  test(`an interceptor that throws ${title} is told once, around methods and actors`, async (t) => {
    const { add, go } = actorMesh(t)
    const host = await add('host', undefined, { interceptors: [(call, next) => call.side === 'callee' ? interceptor(call, next) : next(call)] })
    const web = await add('web')
    host.stage.define({ pattern: 'x.{id}', create: () => ({ hit: () => 1 }) })
    host.stage.to('*').provide('greet', () => 1)
    await go(web.stage.to('host').call('greet').catch(() => {}))
    await go(web.stage.actor('x.1').hit().catch(() => {}))
    await settle()
    t.deepEqual(host.failures, ['greet: a bug', 'hit of x.1: a bug'])
  })
}

test('what is no bug of the called code is not told', async (t) => {
  const { api, web, told, go, clock } = await peers(t)
  const away = new AbortController()
  api.to('*').provide('passes', () => { throw new StageError('REFUSED', 'as the caller gets it') })
  api.to('*').provide('asks', function () { return this.to('nobody', { timeoutMs: 100 }).call('x') })
  api.to('*').provide('waits', function () { return new Promise((_, reject) => { this.signal.onabort = () => reject(Object.assign(new Error('gone'), { name: 'AbortError' })) }) })
  await go(Promise.all([api.ready(), web.ready()]))
  for (const name of ['passes', 'asks', 'missing']) await go(web.to('api').call(name).catch(() => {}))
  const waits = web.to('api', { signal: away.signal }).call('waits').catch(() => {})
  await clock.advance(100)
  away.abort()
  await go(waits)
  await clock.advance(100)
  t.deepEqual(told, [])
})

test('one error that several calls end with is told for each of them', async (t) => {
  const { api, web, told, go } = await peers(t)
  const gone = Promise.reject(new Error('the database is gone'))
  gone.catch(() => {})
  for (const name of ['one', 'two']) api.to('*').provide(name, () => gone)
  await go(Promise.all([api.ready(), web.ready()]))
  for (const name of ['one', 'two', 'one']) await go(web.to('api').call(name).catch(() => {}))
  t.deepEqual(told.map(({ what }) => what), ['one', 'two', 'one'])
})

test('a generator that is told to stop by its signal has not failed', async (t) => {
  const { api, web, told, go, clock } = await peers(t)
  api.to('*').provide('ticks', async function* () {
    yield 1
    await new Promise((_, reject) => { this.signal.addEventListener('abort', () => reject(Object.assign(new Error('stopped'), { name: 'AbortError' }))) })
  })
  await go(Promise.all([api.ready(), web.ready()]))
  await go((async () => { for await (const one of await web.to('api').call<AsyncIterable<number>>('ticks')) if (one === 1) break })())
  await clock.advance(500)
  t.deepEqual(told, [])
})

test.serial('hostile errors: cut before they are printed, read once, and never the end of the process', async (t) => {
  const { clock, stage } = virtualMesh(t)
  const [api, web] = [stage('api-with-foes'), stage('web')]
  const warnings = warningsWith(t, 'api-with-foes')
  let reads = 0
  const foes: (() => never)[] = [
    () => { throw new Error('\u001b'.repeat(4_000_000)) },
    () => { throw Object.defineProperty(new Error('x'), 'message', { get: () => { if (reads++ > 1) throw new Error('read again'); return 'ok' } }) },
    () => { throw Object.defineProperty(new Error('x'), 'stack', { get: () => { throw new Error('never') } }) },
    () => { throw Object.assign(new Error('z'), { name: Symbol('x'), cause: new Proxy({}, { get: () => { throw new Error('never') } }) }) },
  ]
  api.to('*').provide('greet', (n: number) => foes[n]())
  await advance(clock, Promise.all([api.ready(), web.ready()]))
  for (let i = 0; i < foes.length; i++) {
    const began = performance.now()
    await advance(clock, web.to('api-with-foes').call('greet', i).catch(() => {}))
    await settle()
    t.true(performance.now() - began < 2000, `${i}`)
  }
  t.is(warnings.length, foes.length)
  for (const { detail = '' } of warnings) t.true(detail.length < 20_000, `${detail.length}`)
})

test('an error that nobody else gets is told even if it is a StageError', async (t) => {
  const { api, web, told, go, clock } = await peers(t)
  api.to('*').provide('note', () => { throw new StageError('REFUSED', 'to nobody') })
  await go(Promise.all([api.ready(), web.ready()]))
  web.to('api').cast('note')
  await clock.advance(100)
  t.like(told, [{ what: 'note', message: 'to nobody' }])
})

test.serial('the warning has the message on one line, also where its lines look like those of a stack', async (t) => {
  const { clock, stage } = virtualMesh(t)
  const [api, web] = [stage('api-with-lines'), stage('web')]
  const warnings = warningsWith(t, 'api-with-lines')
  const cause = new Error('below\n    at neither')
  api.to('*').provide('greet', () => { throw new Error('a bug\n    at nowhere\u202e', { cause }) })
  await advance(clock, Promise.all([api.ready(), web.ready()]))
  await advance(clock, web.to('api-with-lines').call('greet').catch(() => {}))
  await settle()
  const [first, ...frames] = (warnings[0].detail ?? '').split('\n')
  t.is(first, 'Error: a bug\\n    at nowhere\\u202e')
  for (const frame of frames) t.regex(frame, /^ +(at .*(:\d+|\))|cause: Error: below\\n {4}at neither$)/)
})

test.serial('without a listener it is a process warning with the stack: once a minute for each method and message, and not without end', async (t) => {
  const { clock, stage } = virtualMesh(t)
  const [api, web] = [stage('api-that-warns'), stage('web')]
  const warnings = warningsWith(t, 'api-that-warns')
  api.to('*').provide('greet', (text: string) => { throw new Error(`a bug ${text}`) })
  await advance(clock, Promise.all([api.ready(), web.ready()]))
  const call = async (text: string): Promise<void> => {
    await advance(clock, web.to('api-that-warns').call('greet', text).catch(() => {}))
    await settle()
  }
  for (let i = 0; i < 5; i++) await call('here')
  t.is(warnings.length, 1)
  const [{ name, code, message, detail }] = warnings
  t.deepEqual([name, code], ['StagemeshWarning', 'STAGEMESH_FAILED'])
  t.regex(message, /^greet, called by web \(.*\), failed on the stage api-that-warns$/)
  t.regex(detail ?? '', /^Error: a bug here\n\s+at .*failed\.test/)
  await clock.advance(61_000)
  await call('here')
  t.is(warnings.length, 2)
  t.regex(warnings[1].message, /and 4 more since the last report/)
  for (let i = 0; i < 50; i++) await call(`number ${i}`)
  t.true(warnings.length <= 2 + 21, `${warnings.length} warnings`)
  t.regex(warnings.at(-1)!.message, /more than 20 different failures .*listen to its event `failed`/)
})
