/** Idempotent calls of actors are made again where their link broke or they were refused; all others never twice. */
import { Readable } from 'node:stream'
import test, { type ExecutionContext } from 'ava'
import { StageError, type ActorCallOptions, type Interceptor, type Self, type Stage, type StageOptions } from '../../src/index.js'
import { Repeatables } from '../../wrappers/actors/calling/repeatable.js'
import { actorMesh, forging, type ActorMesh, type Node } from '../helpers/actors.js'
import { nothingUnhandled } from '../helpers/unhandled.js'
import { passed } from '../helpers/virtual-clock.js'

nothingUnhandled(test)

interface Scene extends ActorMesh {
  hosts: Node[]
  caller: Node
  /** Turns of `set` that began, by the stage they ran on. */
  ran: string[]
  set(from: Node, options?: ActorCallOptions, ...args: unknown[]): Promise<unknown>
  /** The stage that has the actor, and how many of its turns have begun. */
  begun(count: number): Promise<Node>
}

interface SceneOptions { announced?: boolean; type?: object; host?: StageOptions; caller?: StageOptions }

/** Two stages that host one type and a caller. The turn of `set` takes 300 ms. */
async function scene(t: ExecutionContext, { announced = false, type = {}, host = {}, caller: options = {} }: SceneOptions = {}): Promise<Scene> {
  const mesh = actorMesh(t, { latencyMs: 2 })
  const ran: string[] = []
  const define = (stage: Stage): void => {
    stage.define({
      pattern: 'jobs.{id}', durable: ['n'], methods: { set: { idempotent: announced } }, ...type,
      create: (_, self: Self) => ({
        n: 0,
        headers: [] as unknown[],
        async set(n: number) { ran.push(stage.name); this.headers.push(self.headers['tenant']); await passed(mesh.clock, 300); this.n = n; return n },
        fail() { ran.push(stage.name); throw new Error('on purpose') },
      }),
    })
  }
  const hosts = [await mesh.add('h0', define, host), await mesh.add('h1', define, host)]
  const caller = await mesh.add('caller', undefined, options)
  await mesh.go(reading(caller))
  return {
    ...mesh, hosts, caller, ran,
    set: (from, given = {}, ...args) => { const made = from.stage.actor('jobs.1', given)['set'](7, ...args) as Promise<unknown>; made.catch(() => {}); return made },
    begun: async (count) => {
      for (let i = 0; ran.length < count; i++) { if (i > 500) throw new Error(`${ran.length} of ${count} began`); await mesh.clock.advance(10) }
      return hosts.find(({ stage }) => stage.name === ran.at(-1))!
    },
  }
}

const outcome = (promise: Promise<unknown>): Promise<string> => promise.then((value) => `answered ${String(value)}`, ({ code, executed }: StageError) => `${code} ${executed}`)
const idempotent = { idempotent: true }
const reading = async ({ stage }: Node, name = 'n', options: ActorCallOptions = {}, address = 'jobs.1'): Promise<unknown> => await stage.actor(address, options)[name]

test('P10: reading a property changes nothing, so a read is made again although nobody said so; not with idempotent: false', async (t) => {
  const { go, set, caller, begun, network, clock } = await scene(t)
  const turn = outcome(set(caller))
  const owner = await begun(1)
  const [read, once] = [reading(caller), outcome(reading(caller, 'n', { idempotent: false }))]
  read.catch(() => {})
  await clock.advance(20)
  network.cut(owner.address)
  t.true([0, 7].includes(await go(read) as number))
  t.is(await go(once), 'DISCONNECTED unknown')
  t.is(await go(turn), 'DISCONNECTED unknown')
  t.is(caller.stage.stats()['actorRetries'], 1)
})

for (const [how, announced, options] of [['by option', false, idempotent], ['as its owner says', true, {}]] as const) {
  test(`${how}: a call whose owner crashes in the middle of it is made again at the next owner`, async (t) => {
    const { go, set, caller, crash, begun, ran } = await scene(t, { announced })
    const made = outcome(set(caller, options))
    crash(await begun(1))
    t.is(await go(made), 'answered 7')
    t.is(ran.length, 2)
    t.not(ran[0], ran[1])
    t.is(await go(reading(caller)), 7)
    t.like(caller.stage.stats(), { actorRetries: 1, actorRetriesRefused: 0, actorCalls: 0 })
  })

  test(`${how}: one whose link is cut is made again at the same owner, after the turn that was lost`, async (t) => {
    const { go, set, caller, begun, network, ran } = await scene(t, { announced })
    const made = outcome(set(caller, options))
    network.cut((await begun(1)).address)
    t.is(await go(made), 'answered 7')
    t.deepEqual(ran, [ran[0], ran[0]])
  })

  test(`${how}: one that a host makes of an actor elsewhere is made again at itself, once it has taken that over`, async (t) => {
    const { go, set, hosts, caller, crash, begun, ran } = await scene(t, { announced })
    const first = outcome(set(caller, idempotent))
    const owner = await begun(1)
    const other = hosts.find((one) => one !== owner)!
    await go(first)
    const made = outcome(set(other, options))
    crash(await begun(2))
    t.is(await go(made), 'answered 7')
    t.is(ran[2], other.stage.name)
  })

  for (const where of ['afar', 'the stage itself']) {
    test(`${how}: from ${where}, one that a full mailbox refuses is made again`, async (t) => {
      const { go, set, caller, begun, ran, clock } = await scene(t, { announced, type: { mailbox: 1 } })
      const first = set(caller)
      const owner = await begun(1)
      const from = where === 'afar' ? caller : owner
      const second = set(from)
      await clock.advance(20)
      const third = outcome(set(from, options))
      t.is(await go(third, 5000, 5), 'answered 7')
      await go(Promise.all([first, second]))
      t.is(ran.length, 3, 'none ran twice')
      const { actorRetries } = from.stage.stats()
      t.true(actorRetries >= 1, `${actorRetries} retries`)
    })
  }

  test(`${how}: with a stream or an async iterable among its arguments it is never made again`, async (t) => {
    for (const make of [() => Readable.from([Buffer.from('x')]), async function* () { yield await Promise.resolve(1) }]) {
      const { go, set, caller, crash, begun, ran } = await scene(t, { announced })
      const made = outcome(set(caller, options, { deep: [make()] }))
      crash(await begun(1))
      t.is(await go(made), 'DISCONNECTED unknown')
      t.is(ran.length, 1)
      t.is(caller.stage.stats()['actorRetries'], 0)
    }
  })

  test(`${how}: the same within a stage, where it was refused`, async (t) => {
    const { set, caller, begun, clock, go } = await scene(t, { announced, type: { mailbox: 1 } })
    const first = set(caller)
    const owner = await begun(1)
    const second = set(owner)
    await clock.advance(20)
    t.is(await go(outcome(set(owner, options, [Readable.from(['x'])]))), 'OVERLOADED no')
    t.is(owner.stage.stats()['actorRetries'], 0)
    await go(Promise.all([first, second]))
  })

  test(`${how}: it ends with its deadline, as it failed`, async (t) => {
    const refuse: Interceptor = (call, next) => { if (call.side === 'callee' && call.kind === 'call') throw new StageError('OVERLOADED', 'not now', { executed: 'no' }); return next(call) }
    const { go, set, caller, clock } = await scene(t, { announced, host: { interceptors: [refuse] } })
    const from = clock.now()
    t.is(await go(outcome(set(caller, { ...options, timeoutMs: 1000 })), 5000, 5), 'OVERLOADED no')
    t.true(clock.now() - from <= 1100)
    t.true(caller.stage.stats()['actorRetries'] >= 3)
  })

  test(`${how}: what was answered with an error is not made again`, async (t) => {
    const { go, caller, ran } = await scene(t, { announced, type: { methods: { fail: idempotent } } })
    t.is(await go(outcome(caller.stage.actor('jobs.1', options)['fail']() as Promise<unknown>)), 'REMOTE_ERROR yes')
    t.is(ran.length, 1)
    t.is(caller.stage.stats()['actorRetries'], 0)
  })
}

for (const [what, announced, options] of [['that is not idempotent', false, {}], ['whose caller says that it is not, though its owner does', true, { idempotent: false }]] as const) {
  test(`P10: a call of an actor ${what} is never made twice`, async (t) => {
    const { go, set, caller, crash, begun, ran, clock } = await scene(t, { announced })
    const made = outcome(set(caller, options))
    crash(await begun(1))
    t.is(await go(made), 'DISCONNECTED unknown')
    await clock.advance(30_000)
    t.is(ran.length, 1)
    t.is(caller.stage.stats()['actorRetries'], 0)
  })
}

test('the budget: ten retries for few calls, and what it refuses fails as without', async (t) => {
  const refuse: Interceptor = (call, next) => { if (call.side === 'callee' && call.kind === 'call') throw new StageError('OVERLOADED', 'not now', { executed: 'no' }); return next(call) }
  const { go, set, caller } = await scene(t, { host: { interceptors: [refuse] } })
  const failed = await go(Promise.all(Array.from({ length: 30 }, () => outcome(set(caller, { ...idempotent, timeoutMs: 200 })))), 5000, 5)
  t.deepEqual(new Set(failed), new Set(['OVERLOADED no']))
  t.like(caller.stage.stats(), { actorRetries: 10, actorRetriesRefused: 30 })
})

for (const [how, end, expected] of [
  ['its signal', (controller: AbortController) => { controller.abort() }, 'CANCELLED unknown'],
  ['close()', (_: AbortController, { stage }: Node) => { void stage.close() }, 'CLOSED unknown'],
] as const) {
  test(`${how} ends it during the pause, and it is not made again`, async (t) => {
    const { go, set, caller, begun, network, ran, clock } = await scene(t)
    const controller = new AbortController()
    const made = outcome(set(caller, { ...idempotent, signal: controller.signal }))
    const { address } = await begun(1)
    network.hold((from, to) => from !== address && to !== address) // so that closing takes a while
    network.cut(address)
    await clock.advance(0)
    t.is(caller.stage.stats()['actorRetries'], 1)
    end(controller, caller)
    network.release()
    t.is(await go(made), expected)
    await clock.advance(20_000)
    t.is(ran.length, 1)
    t.is(caller.stage.stats()['actorCalls'] ?? 0, 0)
  })
}

test('one that loses its link while its stage closes is not made again', async (t) => {
  const { go, set, caller, begun, network, ran, clock } = await scene(t)
  const made = outcome(set(caller, idempotent))
  const { address } = await begun(1)
  const closing = caller.stage.close()
  await clock.advance(20)
  network.cut(address)
  await clock.advance(0)
  t.is(caller.stage.stats()['actorRetries'], 0)
  t.is(await go(made), 'DISCONNECTED unknown')
  await go(closing)
  t.is(ran.length, 1)
})

test('interceptors of the caller see one call; headers come each time', async (t) => {
  let calls = 0
  const { go, set, caller, begun, network, ran } = await scene(t, { type: { durable: false }, caller: { interceptors: [(call, next) => { if (call.kind === 'call') calls++; return next(call) }] } })
  const made = outcome(set(caller, { ...idempotent, headers: { tenant: 'a' } }))
  network.cut((await begun(1)).address)
  t.is(await go(made), 'answered 7')
  t.is(calls, 1)
  t.is(ran.length, 2)
  t.deepEqual(await go(reading(caller, 'headers')), ['a', 'a'])
})

test('a property is read again at the next owner, unless idempotent is false', async (t) => {
  for (const [options, expected] of [[idempotent, 'answered 0'], [{}, 'answered 0'], [{ idempotent: false }, 'DISCONNECTED unknown']] as const) {
    const { go, set, caller, begun, crash, clock } = await scene(t)
    set(caller, { timeoutMs: 1000 }).catch(() => {})
    const owner = await begun(1)
    const read = outcome(reading(caller, 'n', options))
    await clock.advance(20) // it waits in the mailbox
    crash(owner)
    t.is(await go(read), expected)
  }
})

test('a hosted object says of its methods what host() was given', async (t) => {
  for (const [given, ran] of [[true, 2], [false, 1]] as const) {
    const mesh = actorMesh(t, { latencyMs: 2 })
    const [home, caller] = [await mesh.add('home'), await mesh.add('caller')]
    let runs = 0
    const object = { set: async () => { runs++; await passed(mesh.clock, 200); return 'set' } }
    await mesh.go(home.stage.host('board', object, { methods: { set: { idempotent: given } } }))
    const made = outcome(caller.stage.actor('board')['set']() as Promise<unknown>)
    await mesh.clock.advance(100)
    t.is(runs, 1)
    mesh.network.cut(home.address)
    t.is(await mesh.go(made), given ? 'answered set' : 'DISCONNECTED unknown')
    t.is(runs, ran)
  }
})

test('methods of define() and host(): names of public methods, and options that there are', async (t) => {
  const mesh = actorMesh(t)
  const { stage } = await mesh.add('a')
  const wrong: [methods: unknown, message: RegExp][] = [
    [5, /has methods: 5/], [{ set: 5 }, /the options of set in methods of the actor type .* are 5/], [{ _set: idempotent }, /"_set" in methods, which is not a public method/], [{ then: idempotent }, /"then"/],
    [{ set: { idempotent: 'yes' } }, /idempotent of set is "yes"/], [{ set: { idempotnet: true } }, /"idempotnet" is not an option/], [{ set: null }, /the options of set in .* are null/],
  ]
  for (const [methods, message] of wrong) {
    t.throws(() => { stage.define({ pattern: 'x.{id}', create: () => ({}), methods: methods as Record<string, never> }) }, { instanceOf: TypeError, message })
    await t.throwsAsync(stage.host('y', {}, { methods: methods as Record<string, never> }), { instanceOf: TypeError, message })
  }
  t.throws(() => stage.actor('x.1', { idempotent: 1 as unknown as boolean }), { instanceOf: StageError, message: /idempotent is 1/ })
  t.throws(() => stage.observe('x.1', ['n'], idempotent as object), { instanceOf: TypeError })
})

// ── peers of ill will ───────────────────────────────────────────────────────────────────────────────────────────

test('an owner that says nonsense of its methods can be called all the same', async (t) => {
  const mesh = actorMesh(t)
  const caller = await mesh.add('caller')
  const nonsense = [5, null, {}, [5], [['set']], ['x'.repeat(300)], [{ toString: 1 }], ['__proto__', 'constructor'], Array.from({ length: 50_000 }, (_, i) => `m${i}`), ['@get', '@watch', '@call']]
  let says: unknown
  let id = ''
  const liar = await mesh.add('liar', undefined, { chain: forging({ types: ['jobs.{id}'], services: { '@locate': (_, __, answer) => answer(null, [id, says]), '@call': (_, [, name], answer) => { if (name === 'ask') answer(null, 1) } } }) })
  id = liar.stage.id
  for (const [n, value] of nonsense.entries()) {
    says = value
    t.is(await mesh.go(caller.stage.actor(`jobs.${n}`)['ask']() as Promise<unknown>), 1)
  }
})

test('an owner that always says that the actor is elsewhere is asked again within the budget and the deadline alone', async (t) => {
  const mesh = actorMesh(t)
  const caller = await mesh.add('caller')
  let id = ''
  let asked = 0
  const liar = await mesh.add('liar', undefined, { chain: forging({ types: ['jobs.{id}'], services: { '@locate': (_, __, answer) => answer(null, [id, ['set']]), '@call': (_, __, answer) => { asked++; answer(new StageError('REFUSED', 'not here', { executed: 'no', cause: { moved: id } })) } } }) })
  id = liar.stage.id
  t.is(await mesh.go(outcome(caller.stage.actor('jobs.1', { timeoutMs: 2000 })['set']() as Promise<unknown>), 5000, 10), 'REFUSED no')
  t.true(asked > 4 && asked <= 4 * 11, `${asked} calls`)
})

test('what is held of such lists is bounded for each link, and alike ones are one', (t) => {
  const lists = new Repeatables()
  const [link, other] = [{}, {}]
  t.is(lists.of(link, ['a', 'b']), lists.of(link, ['a', 'b']))
  t.deepEqual([...lists.of(link, ['a', 'b'])!], ['a', 'b'])
  let held = 0
  for (let n = 0; n < 10_000; n++) if (lists.of(link, [`${n}`.padStart(103, 'x')])) held++
  t.true(held > 600 && held < 660, `${held} lists`)
  t.is(lists.of(link, ['x'.repeat(104)]), undefined)
  t.deepEqual([...lists.of(link, ['a', 'b'])!], ['a', 'b'])
  t.truthy(lists.of(other, ['new']))
  for (const wrong of [undefined, null, 'set', 5, {}, [], [5], ['set', 5], ['x'.repeat(257)], [['set']]]) t.is(lists.of({}, wrong), undefined)
})
