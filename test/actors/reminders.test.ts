/** Reminders ring at their time, also after crashes and restarts. */
import test from 'ava'
import type { Self, Stage } from '../../src/index.js'
import type { ReminderOptions } from '../../wrappers/actors/types.js'
import { actorMesh, away, type ActorMesh, type Shelf } from '../helpers/actors.js'
import { nothingUnhandled } from '../helpers/unhandled.js'

nothingUnhandled(test)

interface Ran { by: string; args: unknown[]; at: number }

const alarms = (mesh: ActorMesh, ran: Ran[], more: object = {}) => (stage: Stage): void => {
  stage.define({
    pattern: 'alarms.{id}', durable: true, ...more, create: (_, self: Self) => ({
      n: 0,
      set(name: string, options: ReminderOptions, method = 'ring') { self.remind(name, method, options) },
      async setAndFail(name: string, options: ReminderOptions) { self.remind(name, 'ring', options); await null; throw new Error('on purpose') },
      drop(name: string) { self.forget(name) },
      ring(...args: unknown[]) { ran.push({ by: stage.name, args, at: mesh.clock.now() }); return ++this.n },
      async ringTwice() { ran.push({ by: stage.name, args: [], at: mesh.clock.now() }); this.n++; self.remind('next', 'ring', { afterMs: 1000 }) },
      fails() { ran.push({ by: stage.name, args: ['fails'], at: mesh.clock.now() }); this.n += 100; throw new Error('on purpose') },
      save() { return self.save() },
      get() { return this.n },
      leave() { self.deactivate() },
    }),
  })
}

test('a reminder calls its method once, at its time, with its arguments, as a turn whose changes are kept', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 1 })
  const ran: Ran[] = []
  const a = await mesh.add('a', alarms(mesh, ran))
  const b = await mesh.add('b')
  const started = mesh.clock.now()
  await mesh.go(b.stage.actor('alarms.1')['set']('one', { afterMs: 5000, args: ['x', { deep: [1] }] }))
  await mesh.clock.advance(4900)
  t.deepEqual(ran, [])
  await mesh.clock.advance(300)
  t.deepEqual(ran.map(({ args }) => args), [['x', { deep: [1] }]])
  t.true(ran[0].at - started >= 5000 && ran[0].at - started < 5200)
  await mesh.clock.advance(60_000)
  t.is(ran.length, 1)
  t.is((await mesh.go(b.stage.explain('alarms.1'))).version, 2, 'one commit for setting it, one for its turn')
  await mesh.go(a.stage.close())
  const c = await mesh.add('c', alarms(mesh, ran))
  await mesh.clock.advance(30_000)
  t.is(await mesh.go(c.stage.actor('alarms.1')['get']()), 1)
  t.is(ran.length, 1, 'it was taken out by the commit of its turn')
})

test('everyMs: again and again, without drift', async (t) => {
  const mesh = actorMesh(t)
  const ran: Ran[] = []
  const a = await mesh.add('a', alarms(mesh, ran))
  const started = mesh.clock.now()
  await mesh.go(a.stage.actor('alarms.1')['set']('again', { afterMs: 1000, everyMs: 10_000 }))
  await mesh.clock.advance(52_000)
  t.deepEqual(ran.map(({ at }) => Math.round((at - started) / 1000)), [1, 11, 21, 31, 41, 51])
  await mesh.go(a.stage.actor('alarms.1')['drop']('again'))
  await mesh.clock.advance(50_000)
  t.is(ran.length, 6)
})

test('the same name again replaces it, and forget takes it back', async (t) => {
  const mesh = actorMesh(t)
  const ran: Ran[] = []
  const { stage } = await mesh.add('a', alarms(mesh, ran))
  const actor = stage.actor('alarms.1')
  await mesh.go(actor['set']('x', { afterMs: 2000, args: [1] }))
  await mesh.go(actor['set']('x', { afterMs: 4000, args: [2] }))
  await mesh.go(actor['set']('y', { afterMs: 2000, args: [3] }))
  await mesh.go(actor['drop']('y'))
  await mesh.go(actor['drop']('never was'))
  await mesh.clock.advance(10_000)
  t.deepEqual(ran.map(({ args }) => args), [[2]])
})

test('a reminder of a turn that throws, or of a commit that fails, was never set', async (t) => {
  const mesh = actorMesh(t)
  const ran: Ran[] = []
  const { stage, shelf } = await mesh.add('a', alarms(mesh, ran))
  const actor = stage.actor('alarms.1')
  await mesh.fails(actor['setAndFail']('x', { afterMs: 1000 }), 'REMOTE_ERROR')
  await mesh.go(actor['set']('kept', { afterMs: 5000, args: ['kept'] }))
  shelf.trouble({ fail: away() }, 'commit')
  await mesh.fails(actor['drop']('kept'), 'STORE_UNAVAILABLE')
  await mesh.fails(actor['set']('y', { afterMs: 1000 }), 'STORE_UNAVAILABLE')
  shelf.trouble()
  await mesh.clock.advance(20_000)
  t.deepEqual(ran.map(({ args }) => args), [['kept']])
})

test('reminders survive a crash, a clean close, and a restart of every stage on the same store', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 1 })
  const ran: Ran[] = []
  const nodes = [await mesh.add('h0', alarms(mesh, ran)), await mesh.add('h1', alarms(mesh, ran))]
  const caller = await mesh.add('c')
  const started = mesh.clock.now()
  await mesh.go(caller.stage.actor('alarms.crash')['set']('x', { afterMs: 20_000, args: ['crash'] }))
  const owner = nodes.find(({ stage }) => stage.actors().length > 0)!
  const other = nodes.find((one) => one !== owner)!
  mesh.crash(owner)
  await mesh.clock.advance(45_000)
  t.deepEqual(ran.map(({ by, args }) => [by, ...args]), [[other.stage.name, 'crash']])
  t.true(ran[0].at - started <= 20_000 + 25_000)
  ran.length = 0
  await mesh.go(caller.stage.actor('alarms.all')['set']('x', { afterMs: 30_000, args: ['all'] }))
  await mesh.go(caller.stage.actor('alarms.again')['set']('x', { afterMs: 10_000, everyMs: 10_000, args: ['again'] }))
  await mesh.go(Promise.all([other.stage.close(), caller.stage.close()]))
  await mesh.clock.advance(60_000)
  t.deepEqual(ran, [], 'nobody is there')
  await mesh.add('next', alarms(mesh, ran))
  await mesh.clock.advance(8000)
  t.deepEqual(ran.map(({ args }) => args[0]).sort(), ['again', 'all'], 'each once, without any call')
  await mesh.clock.advance(10_000)
  t.deepEqual(ran.map(({ args }) => args[0]).sort(), ['again', 'again', 'all'])
})

test('missed: what is long past is done once, or skipped, and goes on in its period', async (t) => {
  for (const missed of ['once', 'skip'] as const) {
    const mesh = actorMesh(t)
    const ran: Ran[] = []
    const a = await mesh.add('a', alarms(mesh, ran))
    const started = mesh.clock.now()
    await mesh.go(a.stage.actor('alarms.1')['set']('single', { afterMs: 5000, missed, args: ['single'] }))
    await mesh.go(a.stage.actor('alarms.1')['set']('period', { afterMs: 5000, everyMs: 20_000, missed, args: ['period'] }))
    await mesh.go(a.stage.close())
    await mesh.clock.advance(started + 105_000 - mesh.clock.now()) // five periods later, to the millisecond
    const b = await mesh.add('b', alarms(mesh, ran))
    await mesh.clock.advance(9000)
    t.deepEqual(ran.map(({ args }) => args[0]).sort(), missed === 'once' ? ['period', 'single'] : [], missed)
    ran.length = 0
    await mesh.clock.advance(started + 126_000 - mesh.clock.now())
    t.deepEqual(ran.map(({ args, at }) => [args[0], Math.round((at - started) / 1000)]), [['period', 125]], missed)
    void b
  }
})

test('an event loop that was busy for whole periods makes one turn of them, and not two', async (t) => {
  const mesh = actorMesh(t)
  const ran: Ran[] = []
  const a = await mesh.add('a', alarms(mesh, ran))
  await mesh.go(a.stage.actor('alarms.1')['set']('period', { afterMs: 1000, everyMs: 1000 }))
  await mesh.clock.advance(500)
  const at = mesh.clock.now()
  mesh.clock.burn(2500)
  await mesh.clock.advance(100)
  t.is(ran.length, 1)
  await mesh.clock.advance(at + 3900 - mesh.clock.now())
  t.is(ran.length, 2)
})

test('at least once: a reminder whose turn failed is tried again, with time in between, and reported', async (t) => {
  const mesh = actorMesh(t)
  const ran: Ran[] = []
  const a = await mesh.add('a', alarms(mesh, ran))
  await mesh.go(a.stage.actor('alarms.1')['set']('x', { afterMs: 1000 }, 'fails'))
  t.regex((await mesh.fails(a.stage.actor('alarms.2')['set']('x', { afterMs: 1000 }, 'missing') as Promise<unknown>, 'REMOTE_ERROR')).message, /"missing".*no public method/)
  await mesh.clock.advance(60_000)
  t.true(ran.length >= 2 && ran.length <= 60, `${ran.length} tries in a minute`)
  t.is(a.failures.filter((one) => one === 'the reminder x of alarms.1: on purpose').length, ran.length)
  t.is(await mesh.go(a.stage.actor('alarms.1')['get']()), 0, 'what it had changed was put back')
  t.is(await mesh.go(a.stage.actor('alarms.1')['ring']()), 1, 'and the actor can be called meanwhile')
  const before = ran.length
  await mesh.go(a.stage.actor('alarms.1')['drop']('x'))
  await mesh.clock.advance(600_000)
  t.is(ran.length, before)
})

test('at least once: a commit that fails leaves the reminder where it was', async (t) => {
  const mesh = actorMesh(t)
  const ran: Ran[] = []
  const a = await mesh.add('a', alarms(mesh, ran))
  await mesh.go(a.stage.actor('alarms.1')['set']('x', { afterMs: 1000 }))
  a.shelf.trouble({ fail: away() })
  await mesh.clock.advance(10_000)
  t.is(ran.length, 1)
  a.shelf.trouble()
  await mesh.clock.advance(15_000)
  t.is(ran.length, 2)
  t.is(await mesh.go(a.stage.actor('alarms.1')['get']()), 1)
  await mesh.clock.advance(30_000)
  t.is(ran.length, 2)
})

test('a reminder may set the next one, or itself again, within its turn', async (t) => {
  const mesh = actorMesh(t)
  const ran: Ran[] = []
  const a = await mesh.add('a', alarms(mesh, ran))
  await mesh.go(a.stage.actor('alarms.1')['set']('next', { afterMs: 1000 }, 'ringTwice'))
  await mesh.clock.advance(5000)
  t.is(ran.length, 2)
  t.is(await mesh.go(a.stage.actor('alarms.1')['get']()), 2)
})

test('an idle actor with a reminder is collected, and woken for it', async (t) => {
  const mesh = actorMesh(t)
  const ran: Ran[] = []
  const a = await mesh.add('a', alarms(mesh, ran, { idleMs: 2000 }))
  const started = mesh.clock.now()
  await mesh.go(a.stage.actor('alarms.1')['set']('x', { afterMs: 30_000 }))
  await mesh.clock.advance(10_000)
  t.deepEqual(a.stage.actors(), [])
  await mesh.clock.advance(28_000)
  t.is(ran.length, 1)
  t.true(ran[0].at - started >= 30_000 && ran[0].at - started <= 36_000, `${ran[0].at - started}`)
})

test('types that are not durable have reminders too, and commit: explicit keeps them with what is saved', async (t) => {
  const mesh = actorMesh(t)
  const ran: Ran[] = []
  const a = await mesh.add('a', alarms(mesh, ran, { durable: false }))
  await mesh.go(a.stage.actor('alarms.1')['set']('x', { afterMs: 20_000 }))
  await mesh.go(a.stage.close())
  const b = await mesh.add('b', alarms(mesh, ran, { durable: false }))
  await mesh.clock.advance(30_000)
  t.is(ran.length, 1)
  await mesh.go(b.stage.close())
  ran.length = 0
  const c = await mesh.add('c', alarms(mesh, ran, { commit: 'explicit' }))
  await mesh.go(c.stage.actor('alarms.2')['set']('x', { afterMs: 5000 }))
  await mesh.go(c.stage.actor('alarms.2')['save']())
  await mesh.clock.advance(20_000)
  t.is(ran.length, 1, 'and it is not rung again and again because nothing was saved since')
  await mesh.go(c.stage.actor('alarms.2')['leave']())
  await mesh.clock.advance(20_000)
  t.is(ran.length, 1, 'nor by the next activation')
  t.is(await mesh.go(c.stage.actor('alarms.2')['get']()), 0, 'what its turn changed was not saved')
})

test('reminders that are none are refused, and an actor has at most 100', async (t) => {
  const mesh = actorMesh(t)
  const ran: Ran[] = []
  const { stage } = await mesh.add('a', alarms(mesh, ran))
  const actor = stage.actor('alarms.1')
  const bad: [unknown, unknown, unknown][] = [
    ['', { afterMs: 1 }, 'ring'], [5, { afterMs: 1 }, 'ring'], ['x'.repeat(129), { afterMs: 1 }, 'ring'], ['x', { afterMs: -1 }, 'ring'], ['x', { afterMs: NaN }, 'ring'], ['x', { afterMs: '5' }, 'ring'], ['x', {}, 'ring'],
    ['x', { afterMs: 1, everyMs: 0 }, 'ring'], ['x', { afterMs: 1, everyMs: Infinity }, 'ring'], ['x', { afterMs: 1, missed: 'twice' }, 'ring'], ['x', { afterMs: 1 }, '_ring'], ['x', { afterMs: 1 }, 'constructor'], ['x', { afterMs: 1 }, 5],
    ['x', { afterMs: 1, args: [() => 1] }, 'ring'], ['x', { afterMs: 1, args: 'text' }, 'ring'], ['x', { afterMs: 1e300 }, 'ring'],
  ]
  const share = await mesh.add('b', alarms(mesh, ran, { pattern: 'shared.{id}', share: true } as object))
  for (const [name, options, method] of bad) {
    await mesh.fails(share.stage.actor('shared.1')['set'](name, options, method), 'REMOTE_ERROR', 'yes')
  }
  for (let i = 0; i < 100; i++) await mesh.go(actor['set'](`r${i}`, { afterMs: 50_000 }))
  const error = await mesh.fails(actor['set']('over', { afterMs: 50_000 }), 'REMOTE_ERROR', 'yes')
  t.regex(error.message, /100 reminders/)
  await mesh.go(actor['set']('r5', { afterMs: 60_000 }))
  await mesh.clock.advance(70_000)
  t.is(ran.length, 100)
})

test('one hundred due at once, on many actors that nobody has: each rings once', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 1 })
  const ran: Ran[] = []
  const a = await mesh.add('a', alarms(mesh, ran))
  await mesh.go(Promise.all(Array.from({ length: 250 }, (_, i) => a.stage.actor(`alarms.${i}`)['set']('x', { afterMs: 20_000, args: [i] }) as Promise<void>)))
  await mesh.go(a.stage.close())
  await mesh.clock.advance(60_000)
  const hosts = [await mesh.add('b', alarms(mesh, ran)), await mesh.add('c', alarms(mesh, ran))]
  await mesh.clock.advance(40_000)
  t.deepEqual(ran.map(({ args }) => args[0] as number).sort((x, y) => x - y), Array.from({ length: 250 }, (_, i) => i))
  t.true(hosts.every(({ stage }) => stage.actors().length > 50))
})

test('actors that cannot be made hold up no reminder of others', async (t) => {
  const mesh = actorMesh(t)
  const ran: Ran[] = []
  const broken = (stage: Stage): void => { stage.define({ pattern: 'broken.{id}', durable: true, create: (_, self: Self) => ({ set() { self.remind('x', 'f', { afterMs: 5000 }) }, f: () => 1 }) }) }
  const a = await mesh.add('a', (stage) => { broken(stage); alarms(mesh, ran)(stage) })
  await mesh.go(Promise.all(Array.from({ length: 150 }, (_, i) => a.stage.actor(`broken.${i}`)['set']() as Promise<void>)))
  await mesh.clock.advance(1000)
  await mesh.go(a.stage.actor('alarms.1')['set']('x', { afterMs: 10_000 }))
  await mesh.go(a.stage.close())
  await mesh.clock.advance(60_000)
  await mesh.add('b', (stage) => { stage.define({ pattern: 'broken.{id}', durable: true, create: () => { throw new Error('cannot be made') } }); alarms(mesh, ran)(stage) })
  await mesh.clock.advance(120_000)
  t.is(ran.length, 1)
})

test('one that was woken, ran and is due again soon is woken again', async (t) => {
  const mesh = actorMesh(t)
  const ran: Ran[] = []
  const a = await mesh.add('a', alarms(mesh, ran, { idleMs: 1000 }))
  await mesh.go(a.stage.actor('alarms.1')['set']('again', { afterMs: 12_000, everyMs: 12_000 }))
  await mesh.clock.advance(90_000)
  t.is(ran.length, 7, ran.map(({ at }) => at).join(" "))
})

test('commit: explicit: what a turn set stays when a later one throws, and rings once it is saved', async (t) => {
  const mesh = actorMesh(t)
  const ran: Ran[] = []
  const { stage } = await mesh.add('a', alarms(mesh, ran, { commit: 'explicit' }))
  const actor = stage.actor('alarms.1')
  await mesh.go(actor['set']('kept', { afterMs: 5000, args: ['kept'] }))
  await mesh.fails(actor['setAndFail']('never', { afterMs: 5000, args: ['never'] }) as Promise<unknown>, 'REMOTE_ERROR')
  await mesh.clock.advance(6000)
  t.deepEqual(ran, [], 'what is not saved does not ring')
  await mesh.go(actor['save']())
  await mesh.clock.advance(1000)
  t.deepEqual(ran.map(({ args }) => args), [['kept']])
})

test('a readonly method sets and forgets no reminder, and saves nothing', async (t) => {
  const mesh = actorMesh(t)
  const { stage, shelf } = await mesh.add('a', (one) => one.define({
    pattern: 'x.{id}', durable: true, readonly: ['set', 'drop', 'save', 'wait'], create: (_, self: Self) => ({
      n: 0,
      begin() { self.remind('x', 'ring', { afterMs: 60_000 }) },
      set() { self.remind('y', 'ring', { afterMs: 1 }) },
      drop() { self.forget('x') },
      async save() { this.n = 5; await self.save() },
      async wait() { await null; self.remind('z', 'ring', { afterMs: 1 }) },
      ring() { this.n++ },
    }),
  }))
  const actor = stage.actor('x.1')
  await mesh.go(actor['begin']())
  const commits = shelf.count('commit')
  for (const method of ['set', 'drop', 'save', 'wait']) t.regex((await mesh.fails(actor[method]() as Promise<unknown>, 'REMOTE_ERROR', 'yes')).message, new RegExp(`${method} of x\\.1 is readonly`))
  await mesh.clock.advance(30_000)
  t.is(shelf.count('commit'), commits)
  await mesh.clock.advance(35_000)
  t.is(await mesh.go(Promise.resolve(actor['n'] as unknown as PromiseLike<number>)), 1, 'the one that was there rang')
})

test('at least once: reminders that fail hold up none of others, however many they are', async (t) => {
  const mesh = actorMesh(t)
  const ran: Ran[] = []
  const { stage } = await mesh.add('a', (one) => {
    one.define({ pattern: 'broken.{id}', durable: true, create: (_, self: Self) => ({ set() { self.remind('x', 'f', { afterMs: 5000 }) }, f() { throw new Error('on purpose') } }) })
    alarms(mesh, ran, { idleMs: 1000 })(one)
  })
  await mesh.go(Promise.all(Array.from({ length: 250 }, (_, i) => stage.actor(`broken.${i}`)['set']() as Promise<void>)))
  await mesh.go(stage.actor('alarms.1')['set']('x', { afterMs: 90_000 }))
  await mesh.clock.advance(130_000)
  t.is(ran.length, 1)
})

test('at least once: reminders of types that nobody hosts any more hold up none of others', async (t) => {
  const mesh = actorMesh(t)
  const ran: Ran[] = []
  const a = await mesh.add('a', (one) => one.define({ pattern: 'gone.{id}', durable: true, create: (_, self: Self) => ({ set() { self.remind('x', 'f', { afterMs: 5000 }) }, f: () => 1 }) }))
  await mesh.go(Promise.all(Array.from({ length: 1200 }, (_, i) => a.stage.actor(`gone.${i}`)['set']() as Promise<void>)))
  await mesh.go(a.stage.close())
  const b = await mesh.add('b', alarms(mesh, ran, { idleMs: 1000 }))
  await mesh.go(b.stage.actor('alarms.1')['set']('x', { afterMs: 30_000 }))
  await mesh.clock.advance(240_000)
  t.is(ran.length, 1)
})

test('a store that never says what is due ends neither the looking for it nor what else is done from time to time', async (t) => {
  const mesh = actorMesh(t)
  const ran: Ran[] = []
  const { stage, shelf } = await mesh.add('a', alarms(mesh, ran, { idleMs: 1000 }))
  await mesh.go(stage.actor('alarms.1')['set']('x', { afterMs: 20_000 }))
  shelf.trouble({ hang: 'before' }, 'due')
  await mesh.clock.advance(15_000)
  shelf.trouble()
  await mesh.clock.advance(30_000)
  t.is(ran.length, 1)
})

test('a reminder that is due again whenever it is looked for runs each time', async (t) => {
  const mesh = actorMesh(t)
  let ran = 0
  const { stage } = await mesh.add('a', (one) => one.define({ pattern: 'x.{id}', durable: true, create: (_, self: Self) => ({
    set() { self.remind('tick', 'tick', { afterMs: 3000, everyMs: 3000 }) },
    tick() { ran++; self.deactivate() },
  }) }))
  await mesh.go(stage.actor('x.1')['set']())
  await mesh.clock.advance(300_000)
  t.true(ran >= 50, `${ran} times in 300 s`) // it is looked for every 5 s
})

test('missed: skip: one that came in time and failed is tried again until it has run', async (t) => {
  const mesh = actorMesh(t)
  const tries: number[] = []
  const { stage, shelf } = await mesh.add('a', (one) => one.define({ pattern: 'x.{id}', durable: true, idleMs: 500, create: (_, self: Self) => ({
    done: 0,
    set() { self.remind('once', 'run', { afterMs: 10_000, missed: 'skip' }) },
    run() { tries.push(mesh.clock.now()); if (mesh.clock.now() < 60_000) throw new Error('on purpose'); this.done++ },
    get() { return this.done },
  }) }))
  await mesh.go(stage.actor('x.1')['set']())
  await mesh.clock.advance(120_000)
  t.is(await mesh.go(stage.actor('x.1')['get']()), 1, tries.join(' '))
  await mesh.go(stage.actor('x.2')['set']())
  await mesh.clock.advance(5000)
  shelf.trouble((step, actor) => step === 'claim' && actor === 'x.2' ? { fail: away() } : undefined)
  await mesh.clock.advance(9000)
  shelf.trouble()
  await mesh.clock.advance(60_000)
  t.is(await mesh.go(stage.actor('x.2')['get']()), 1, 'also where it could not be made at once')
})

test('more reminders than are woken at once are all in time', async (t) => {
  const mesh = actorMesh(t)
  let ran = 0
  const define = (stage: Stage): void => { stage.define({ pattern: 'x.{id}', durable: true, create: (_, self: Self) => ({ set() { self.remind('once', 'run', { afterMs: 30_000, missed: 'skip' }) }, run() { ran++ } }) }) }
  const a = await mesh.add('a', define)
  await mesh.go(Promise.all(Array.from({ length: 1500 }, (_, i) => a.stage.actor(`x.${i}`)['set']() as Promise<void>)))
  await mesh.go(a.stage.close())
  await mesh.add('b', define)
  await mesh.clock.advance(70_000)
  t.is(ran, 1500)
})

/** So many actors whose reminders were due long ago, as a release before this one left them. */
async function stale(mesh: ActorMesh, shelf: Shelf, type: string, count: number): Promise<void> {
  const store = shelf.store('default')
  for (let i = 0; i < count; i++) {
    const claim = { stage: 'before', activation: `before-${type}-${i}` }
    const claimed = await store.claim(`${type}.${i}`, claim)
    if (claimed.owner) throw new Error(`${type}.${i} is owned`)
    const fence = { epoch: claimed.epoch, activation: claim.activation }
    await store.commit(`${type}.${i}`, fence, { id: `${i}`, version: 1, data: Buffer.alloc(1), wake: mesh.clock.wall() - 60_000 })
    await store.release(`${type}.${i}`, fence)
  }
  await store.close()
}

const cannot = (stage: Stage): void => { stage.define({ pattern: 'stuck.{id}', durable: true, create: () => { throw new Error('cannot be made') } }) }

for (const [what, define, says] of [
  ['of a type that nobody hosts', () => {}, /^the reminders of 10100 actors whose address begins with "stuck\." are due and cannot run: no stage hosts their type/],
  ['that cannot be made', cannot, /^the reminders of \d+ actors of stuck\.\{id\} are due and cannot run: .*cannot be made/],
] as const) {
  test(`10 100 due ones ${what} hold up no other, are counted, and are reported once`, async (t) => {
    const mesh = actorMesh(t)
    const ran: Ran[] = []
    const a = await mesh.add('a', alarms(mesh, ran))
    for (const i of [1, 2, 3]) await mesh.go(a.stage.actor(`alarms.${i}`)['set']('x', { afterMs: [1000, 30_000, 70_000][i - 1], args: [i] }))
    await stale(mesh, a.shelf, 'stuck', 10_100)
    await mesh.go(a.stage.close())
    await mesh.clock.advance(2000)
    const started = mesh.clock.now()
    const b = await mesh.add('b', (stage) => { define(stage); alarms(mesh, ran, { idleMs: 1000 })(stage) })
    await mesh.clock.advance(10_000)
    t.deepEqual(ran.map(({ args }) => args[0]), [1], 'due for long, and behind all of them')
    await mesh.clock.advance(started + 90_000 - mesh.clock.now())
    t.deepEqual(ran.map(({ args }) => args[0]), [1, 2, 3])
    for (const [i, at] of [[1, 28_000], [2, 68_000]]) t.true(ran[i].at - started >= at - 500 && ran[i].at - started <= at + 10_000, `${ran[i].at - started}`)
    const reports = b.errors.filter((one) => one.includes('are due and cannot run'))
    t.is(reports.length, 1, reports.join('\n'))
    t.regex(reports[0], says)
    t.is(b.stage.stats()['stuckReminders'], 10_100)
    const pages = b.shelf.count('due')
    await mesh.clock.advance(60_000)
    t.true(b.shelf.count('due') - pages <= 12 * (what.startsWith('of') ? 22 : 62), `${b.shelf.count('due') - pages} reads of the store in a minute`)
  })
}

test('what nobody hosted rings within seconds when somebody does, and counts no more', async (t) => {
  const mesh = actorMesh(t)
  const ran: Ran[] = []
  const late = alarms(mesh, ran, { pattern: 'late.{id}' })
  const a = await mesh.add('a', late)
  for (let i = 0; i < 30; i++) await mesh.go(a.stage.actor(`late.${i}`)['set']('x', { afterMs: 1000, args: [i] }))
  await mesh.go(a.stage.close())
  const b = await mesh.add('b', alarms(mesh, ran))
  await stale(mesh, b.shelf, 'stuck', 3000)
  await mesh.clock.advance(30_000)
  t.is(b.stage.stats()['stuckReminders'], 3030)
  t.is(b.errors.filter((one) => one.includes('cannot run')).length, 2)
  const c = await mesh.add('c', late)
  await mesh.clock.advance(8000)
  t.is(ran.length, 30)
  await mesh.clock.advance(10_000)
  t.is(b.stage.stats()['stuckReminders']! + c.stage.stats()['stuckReminders']!, 3000, 'by the one of them that looks after them')
})
