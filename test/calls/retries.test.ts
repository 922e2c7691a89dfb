/** Idempotent calls to peers are made again where their link broke or they were refused; all others never twice. */
import { Readable } from 'node:stream'
import test, { type ExecutionContext } from 'ava'
import { Stage, StageError, type Code, type InterceptedCall, type Interceptor, type StageOptions, type TargetOptions } from '../../src/index.js'
import { advance, virtualMesh } from '../helpers/mesh.js'
import { nothingUnhandled } from '../helpers/unhandled.js'
import type { VirtualClock } from '../helpers/virtual-clock.js'

nothingUnhandled(test)

/** What becomes of a call at the stage that it comes to: `hangs` runs its handler and does not answer, a code refuses it before that. */
type Fate = 'answers' | 'hangs' | 'throws' | Code

interface Scene {
  clock: VirtualClock
  web: Stage
  apis: Stage[]
  /** The stages to which calls came, and those whose handlers began, by their numbers. */
  came: number[]
  ran: number[]
  call(options?: TargetOptions, ...args: unknown[]): Promise<unknown>
  /** Resets the links of that stage; default: of the one whose handler began last. */
  cut(index?: number): Promise<void>
  /** Nobody can connect to that stage from now on. */
  gone(index: number): void
  /** Lets time pass until so many handlers have begun. */
  begun(count: number): Promise<void>
}

interface SceneOptions { apis?: number; announced?: boolean; web?: StageOptions }

/** A stage that calls, linked to some of one name. @param fate  by how many calls have come before, and to which of them it came */
async function scene(t: ExecutionContext, fate: (nth: number, index: number) => Fate, { apis: count = 2, announced = false, web: options = {} }: SceneOptions = {}): Promise<Scene> {
  const { clock, stage, network } = virtualMesh(t)
  const web = stage('web', options)
  const came: number[] = []
  const ran: number[] = []
  const addresses: string[] = []
  const apis = Array.from({ length: count }, (_, index) => {
    let next: Fate = 'answers'
    const guard: Interceptor = (call, go) => {
      if (call.side === 'caller') return go(call)
      next = fate(came.length, index)
      came.push(index)
      if (next === next.toUpperCase()) throw new StageError(next as Code, 'not now', { executed: 'no' })
      return go(call)
    }
    const one = stage('api', { interceptors: [guard] })
    const work = (): unknown => {
      ran.push(index)
      if (next === 'throws') throw new Error('on purpose')
      return next === 'hangs' ? new Promise(() => {}) : index
    }
    one.to('*').provide('work', { idempotent: announced }, work)
    one.on('listening', ([address]) => { addresses[index] = address })
    return one
  })
  await advance(clock, Promise.all([web, ...apis].map((one) => one.ready())))
  web.keep('api')
  await clock.advance(200)
  t.is(web.links().length, count)
  return {
    clock, web, apis, came, ran,
    call: (given = {}, ...args) => { const made = web.to('api', given).call('work', ...args); made.catch(() => {}); return made },
    cut: async (index = ran.at(-1)) => { network.cut(addresses[index!]); await clock.advance(0) },
    gone: (index) => { network.refuse(addresses[index]); network.cut(addresses[index]) },
    begun: async (want) => { for (let i = 0; ran.length < want; i++) { if (i > 200) throw new Error(`${ran.length} of ${want} began`); await clock.advance(10) } },
  }
}

const outcome = (promise: Promise<unknown>): Promise<string> => promise.then((value) => `answered ${String(value)}`, ({ code, executed }: StageError) => `${code} ${executed}`)
const hangsFirst = (nth: number): Fate => nth === 0 ? 'hangs' : 'answers'
const idempotent = { idempotent: true }

for (const [how, announced, options] of [['by option', false, idempotent], ['as its method was announced', true, {}]] as const) {
  test(`${how}: a call whose link broke is made again at another match`, async (t) => {
    const { clock, web, call, cut, begun, ran } = await scene(t, hangsFirst, { announced })
    const made = call(options)
    await begun(1)
    const [first] = ran
    await cut()
    t.is(await advance(clock, outcome(made)), `answered ${1 - first}`)
    t.deepEqual(ran, [first, 1 - first])
    t.like(web.stats(), { retries: 1, retriesRefused: 0, waiting: 0, calls: 0 })
  })

  test(`${how}: by a key too it is made again at another match, as the one of the key is left out`, async (t) => {
    const { clock, call, cut, begun, ran } = await scene(t, hangsFirst, { announced, apis: 3 })
    const made = call({ ...options, key: 'bob' })
    await begun(1)
    await cut()
    t.regex(await advance(clock, outcome(made)), /^answered/)
    t.not(ran[1], ran[0])
  })

  test(`${how}: where there is no other match it waits for the same one`, async (t) => {
    const { clock, call, cut, begun, ran } = await scene(t, hangsFirst, { announced, apis: 1 })
    const made = call(options)
    await begun(1)
    await cut()
    t.is(await advance(clock, outcome(made)), 'answered 0')
    t.deepEqual(ran, [0, 0])
  })

  test(`${how}: where the others cannot be reached it waits for the same one`, async (t) => {
    const { clock, call, cut, begun, gone, ran } = await scene(t, hangsFirst, { announced })
    const made = call(options)
    await begun(1)
    gone(1 - ran[0])
    await cut()
    t.is(await advance(clock, outcome(made)), `answered ${ran[0]}`)
    t.is(ran[1], ran[0])
  })

  for (const code of ['OVERLOADED', 'REFUSED'] as const) {
    test(`${how}: one that all have refused as ${code} is made again after a pause`, async (t) => {
      const { clock, web, call, came } = await scene(t, (nth) => nth < 4 ? code : 'answers', { announced })
      const from = clock.now()
      t.regex(await advance(clock, outcome(call(options)), 10_000, 5), /^answered/)
      t.is(came.length, 5, 'each match twice, and then one')
      t.true(came[0] !== came[1] && came[2] !== came[3])
      t.true(clock.now() - from >= 25 + 50, `after ${clock.now() - from} ms`)
      t.is(web.stats()['retries'], 2, 'to try another match is none')
    })
  }

  test(`${how}: refused until its deadline, it fails as it was refused`, async (t) => {
    const { clock, web, call, came } = await scene(t, () => 'OVERLOADED', { announced, apis: 1 })
    const from = clock.now()
    t.is(await advance(clock, outcome(call({ ...options, timeoutMs: 1000 })), 10_000, 5), 'OVERLOADED no')
    t.true(clock.now() - from <= 1100)
    t.true(came.length >= 4 && came.length <= 7, `${came.length} tries`)
    t.is(web.stats()['retries'], came.length - 1)
  })

  for (const fate of ['throws', 'FORBIDDEN', 'BAD_ARGUMENT', 'NO_SUCH_METHOD', 'CANCELLED'] as const) {
    test(`${how}: what was answered with ${fate} is not made again`, async (t) => {
      const { clock, web, call, came } = await scene(t, () => fate, { announced })
      t.is(await advance(clock, outcome(call(options))), fate === 'throws' ? 'REMOTE_ERROR yes' : `${fate} no`)
      t.is(came.length, fate === 'NO_SUCH_METHOD' ? 2 : 1)
      t.is(web.stats()['retries'], 0)
    })
  }

  test(`${how}: a TIMEOUT is not made again`, async (t) => {
    const { clock, web, call, ran } = await scene(t, () => 'hangs', { announced })
    t.is(await advance(clock, outcome(call({ ...options, timeoutMs: 300 }))), 'TIMEOUT unknown')
    t.is(ran.length, 1)
    t.is(web.stats()['retries'], 0)
  })

  test(`${how}: with a stream or an async iterable among its arguments it is never made again`, async (t) => {
    const streams = [() => Readable.from([Buffer.from('x')]), async function* () { yield await Promise.resolve(1) }, () => ({ deep: [new Map([['x', Readable.from(['x'])]])] })]
    for (const make of streams) {
      const { clock, web, call, cut, begun, ran } = await scene(t, () => 'hangs', { announced })
      const made = call(options, make())
      await begun(1)
      await cut()
      t.is(await advance(clock, outcome(made)), 'DISCONNECTED unknown')
      t.is(ran.length, 1)
      t.is(web.stats()['retries'], 0)
    }
  })

  test(`${how}: a function among its arguments can be called by the next one`, async (t) => {
    const { clock, stage, network } = virtualMesh(t)
    const [web, api] = [stage('web'), stage('api')]
    let runs = 0
    api.to('*').provide('apply', { idempotent: announced }, (fn: (n: number) => Promise<number>) => runs++ === 0 ? new Promise(() => {}) : fn(20))
    await advance(clock, Promise.all([web.ready(), api.ready()]))
    const made = web.to('api', options).call('apply', (n: number) => n + 1)
    await clock.advance(200)
    t.is(runs, 1)
    network.cut()
    t.is(await advance(clock, made), 21)
  })

  test(`${how}: callAll asks each match once`, async (t) => {
    const { clock, web, cut, begun, ran } = await scene(t, () => 'hangs', { announced })
    const answers = web.to('api', options).callAll('work')
    const all = (async () => { const codes: unknown[] = []; for await (const { error } of answers) codes.push(error?.code); return codes })()
    await begun(2)
    await cut(0)
    await cut(1)
    t.deepEqual(await advance(clock, all), ['DISCONNECTED', 'DISCONNECTED'])
    t.is(ran.length, 2)
  })
}

for (const [what, announced, options] of [['that is not idempotent', false, {}], ['whose caller says that it is not, though its method is', true, { idempotent: false }]] as const) {
  test(`P10: a call ${what} is never made twice: cut`, async (t) => {
    const { clock, web, call, cut, begun, ran } = await scene(t, hangsFirst, { announced })
    const made = call(options)
    await begun(1)
    await cut()
    t.is(await advance(clock, outcome(made)), 'DISCONNECTED unknown')
    await clock.advance(20_000)
    t.is(ran.length, 1)
    t.is(web.stats()['retries'], 0)
  })

  test(`P10: a call ${what} is never made twice: refused, it is tried once at each match`, async (t) => {
    const { clock, call, came } = await scene(t, () => 'OVERLOADED', { announced })
    t.is(await advance(clock, outcome(call(options)), 10_000, 1), 'OVERLOADED no')
    t.is(came.length, 2)
  })
}

test('a call that has lost four links is not made again: it may be what breaks them', async (t) => {
  const { clock, call, cut, begun, ran } = await scene(t, () => 'hangs', { apis: 3 })
  const made = outcome(call(idempotent))
  for (let run = 1; run <= 4; run++) {
    await begun(run)
    await cut()
  }
  t.is(await advance(clock, made), 'DISCONNECTED unknown')
  await clock.advance(20_000)
  t.is(ran.length, 4)
})

test('one that was lost and then refused may have run, and says so', async (t) => {
  const { clock, call, cut, begun, came } = await scene(t, (nth) => nth === 0 ? 'hangs' : 'OVERLOADED')
  const made = call({ ...idempotent, timeoutMs: 2000 })
  await begun(1)
  await cut()
  t.is(await advance(clock, outcome(made)), 'OVERLOADED unknown')
  t.true(came.length > 2)
})

test('the budget: ten retries for few calls, a tenth for many, and what it refuses fails as without', async (t) => {
  const { clock, web, call, came } = await scene(t, () => 'OVERLOADED', { apis: 1 })
  const failed = await advance(clock, Promise.all(Array.from({ length: 30 }, () => outcome(call({ ...idempotent, timeoutMs: 200 })))), 10_000, 5)
  t.deepEqual(new Set(failed), new Set(['OVERLOADED no']))
  t.is(came.length, 40)
  t.like(web.stats(), { retries: 10, retriesRefused: 30 })
  await clock.advance(11_000)
  came.length = 0
  await advance(clock, Promise.all(Array.from({ length: 500 }, () => outcome(call({ ...idempotent, timeoutMs: 400 })))), 10_000, 5)
  t.is(came.length, 550)
  t.is(web.stats()['retries'], 60)
})

test('the deadline counts from the beginning, and ends it during the pause', async (t) => {
  const { clock, web, call, cut, begun, ran } = await scene(t, () => 'hangs')
  const from = clock.now()
  const made = outcome(call({ ...idempotent, timeoutMs: 500 }))
  await begun(1)
  await clock.advance(300)
  await cut()
  t.is(await advance(clock, made, 5000, 10), 'TIMEOUT unknown')
  t.is(ran.length, 2)
  t.true(clock.now() - from >= 500 && clock.now() - from <= 600, `after ${clock.now() - from} ms`)
  t.is(web.stats()['waiting'], 0)
})

for (const [how, end, expected] of [
  ['its signal', (controller: AbortController) => { controller.abort() }, 'CANCELLED unknown'],
  ['close()', (_: AbortController, web: Stage) => { void web.close() }, 'CLOSED unknown'],
] as const) {
  test(`${how} ends it during the pause, and it is not made again`, async (t) => {
    const { clock, web, call, cut, begun, ran } = await scene(t, () => 'hangs')
    const controller = new AbortController()
    const made = outcome(call({ ...idempotent, signal: controller.signal }))
    await begun(1)
    await cut()
    t.is(web.stats()['retries'], 1)
    const timers = clock.pending
    end(controller, web)
    if (how === 'its signal') t.is(clock.pending, timers - 1, 'nothing waits for the end of the pause')
    t.is(await advance(clock, made, 2000, 5), expected)
    await clock.advance(20_000)
    t.is(ran.length, 1)
  })
}

test('interceptors of the caller see one call, and those of each callee the one that comes to it', async (t) => {
  const seen: string[] = []
  const note: Interceptor = async (call: InterceptedCall, next) => { seen.push('call'); const value = await next(call); seen.push('end'); return value }
  const { clock, web, call, cut, begun, came } = await scene(t, hangsFirst, { web: { interceptors: [note] } })
  const made = call({ ...idempotent, headers: { tenant: 'a' } })
  await begun(1)
  await cut()
  t.regex(await advance(clock, outcome(made)), /^answered/)
  t.deepEqual(seen, ['call', 'end'])
  t.is(came.length, 2)
  t.is(web.stats()['retries'], 1)
})

test('this.to() with the option keeps the deadline and the headers of its call, each time', async (t) => {
  const { clock, stage, network } = virtualMesh(t)
  const [web, api, db] = [stage('web'), stage('api'), stage('db')]
  const seen: { tenant?: string; left: number }[] = []
  db.to('*').provide('query', function () {
    seen.push({ tenant: this.headers['tenant'], left: this.deadline - clock.wall() })
    return seen.length === 1 ? new Promise(() => {}) : 'rows'
  })
  let address = ''
  db.on('listening', (all) => { address = all[0] })
  api.to('*').provide('ask', function () { return this.to('db', { idempotent: true }).call('query') })
  await advance(clock, Promise.all([web, api, db].map((one) => one.ready())))
  const made = web.to('api', { timeoutMs: 2000, headers: { tenant: 'a' } }).call('ask')
  await clock.advance(500)
  t.is(seen.length, 1)
  network.cut(address)
  t.is(await advance(clock, made), 'rows')
  t.deepEqual(seen.map(({ tenant }) => tenant), ['a', 'a'])
  t.true(seen[1].left <= 1500 && seen[1].left > 0, `${seen[1].left} ms are left`)
})

test('what is announced changes with provide(), for peers that are linked already', async (t) => {
  const { clock, web, call, cut, begun, ran, apis } = await scene(t, () => 'hangs', { apis: 1 })
  const events: string[] = []
  for (const event of ['methodAdded', 'methodRemoved'] as const) web.on(event, (name) => events.push(`${event} ${name}`))
  const counts: number[] = []
  for (const given of [false, true, true, false]) {
    apis[0].to('*').provide('work', { idempotent: given }, () => { ran.push(0); return new Promise(() => {}) })
    await clock.advance(100)
    ran.length = 0
    const made = outcome(call({ timeoutMs: 3000 }))
    await begun(1)
    await cut()
    await advance(clock, made)
    counts.push(ran.length)
  }
  t.deepEqual(counts, [1, 2, 2, 1])
  apis[0].to('*').unprovide('work')
  await clock.advance(2000)
  t.deepEqual(events, ['methodRemoved work'])
})

test('P10: what one peer says of a method counts for what it was sent itself: it cannot have another one run it twice', async (t) => {
  const { clock, web, call, cut, begun, ran, apis } = await scene(t, () => 'hangs')
  apis[0].to('*').provide('work', idempotent, () => { ran.push(0); return new Promise(() => {}) })
  await clock.advance(200)
  for (let n = 0; n < 6; n++) {
    ran.length = 0
    const made = outcome(call({ timeoutMs: 3000 }))
    await begun(1)
    const [first] = ran
    await cut()
    if (first === 0) await begun(2)
    if (ran.length > 1) await cut()
    if (ran.at(-1) === 0) { await advance(clock, made); continue }
    t.is(await advance(clock, made), 'DISCONNECTED unknown')
    t.is(ran.filter((one) => one === 1).length, 1)
    await clock.advance(1000)
  }
  t.true(web.stats()['retries'] > 0)
})

test('the option is a boolean, here and in provide()', async (t) => {
  const { web } = await scene(t, () => 'answers', { apis: 1 })
  for (const wrong of [1, 'yes', null, {}] as unknown as boolean[]) {
    t.is(t.throws(() => web.to('api', { idempotent: wrong }), { instanceOf: StageError }).code, 'BAD_ARGUMENT')
    t.throws(() => { web.to('*').provide('x', { idempotent: wrong }, () => 1) }, { instanceOf: TypeError, message: /idempotent of x/ })
  }
})
