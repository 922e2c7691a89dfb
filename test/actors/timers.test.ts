/** Timers of an actor are turns, and end with its claim. */
import test from 'ava'
import type { Self, Stage } from '../../src/index.js'
import type { ActorTimer } from '../../wrappers/actors/types.js'
import { actorMesh, away, type ActorMesh } from '../helpers/actors.js'
import { nothingUnhandled } from '../helpers/unhandled.js'
import { passed } from '../helpers/virtual-clock.js'

nothingUnhandled(test)

const timed = (mesh: ActorMesh, notes: [string, number][], more: object = {}) => (stage: Stage): void => {
  const note = (what: string): void => void notes.push([what, mesh.clock.now()])
  stage.define({
    pattern: 'timed.{id}', ...more, create: (_, self: Self) => {
      const timers: ActorTimer[] = []
      return {
        n: 0,
        get timers() { return timers.length },
        after(ms: number) { timers.push(self.after(ms, () => { this.n++; note('after') })) },
        every(ms: number, takesMs = 0) {
          timers.push(self.every(ms, async () => {
            note('begin')
            this.n++
            if (takesMs > 0) await passed(mesh.clock, takesMs)
            note('end')
          }))
        },
        cancel() { for (const timer of timers) timer.cancel() },
        limited(times: number) { const timer = self.every(100, () => { if (++this.n >= times) timer.cancel(); note('tick') }) },
        failing() { self.every(100, () => { this.n++; note('fail'); throw new Error('on purpose') }) },
        async slow(ms: number) { note('slow'); await passed(mesh.clock, ms); note('slow end') },
        calls(address: string) { self.after(10, () => self.actor(address)['get']()) },
        leave() { self.deactivate() },
        get() { note('get'); return this.n },
        bad(ms: unknown, fn: unknown) { self.after(ms as number, fn as () => void) },
      }
    },
  })
}

test('the period of every() counts from the end of the last turn', async (t) => {
  const mesh = actorMesh(t)
  const notes: [string, number][] = []
  const { stage } = await mesh.add('a', timed(mesh, notes))
  await mesh.go(stage.actor('timed.1')['every'](1000, 300))
  const started = mesh.clock.now()
  await mesh.clock.advance(4000)
  t.deepEqual(notes.map(([what, at]) => [what, at - started]), [['begin', 1000], ['end', 1300], ['begin', 2300], ['end', 2600], ['begin', 3600], ['end', 3900]])
})

test('a timer is a turn: it waits for the one that runs, others wait for it, and what it changes is kept', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 1 })
  const notes: [string, number][] = []
  const a = await mesh.add('a', timed(mesh, notes, { durable: true }))
  const b = await mesh.add('b')
  await mesh.go(b.stage.actor('timed.1')['after'](100))
  const slow = b.stage.actor('timed.1')['slow'](500)
  await mesh.go(slow)
  await mesh.clock.advance(10)
  t.deepEqual(notes.map(([what]) => what), ['slow', 'slow end', 'after'])
  t.is(a.shelf.count('commit'), 1)
  await mesh.go(a.stage.close())
  const next = await mesh.add('next', timed(mesh, notes, { durable: true }))
  t.is(await mesh.go(next.stage.actor('timed.1')['get']()), 1)
})

test('a timer that is cancelled runs no more, from outside its callback or within it', async (t) => {
  const mesh = actorMesh(t)
  const notes: [string, number][] = []
  const { stage } = await mesh.add('a', timed(mesh, notes, { idleMs: 2000 }))
  await mesh.go(stage.actor('timed.1')['every'](100))
  await mesh.go(stage.actor('timed.1')['after'](500))
  await mesh.clock.advance(250)
  await mesh.go(stage.actor('timed.1')['cancel']())
  const before = notes.length
  t.is(before, 4)
  await mesh.go(stage.actor('timed.2')['limited'](3))
  await mesh.clock.advance(2000)
  t.is(notes.length, before + 3)
  await mesh.clock.advance(3000)
  t.deepEqual(stage.actors(), [], 'and nothing keeps it active')
})

test('timers are gone with the claim: put away, fenced, without a store, or with the lease', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 1 })
  const notes: [string, number][] = []
  const a = await mesh.add('a', timed(mesh, notes, { durable: true }))
  await mesh.add('b') // which takes it out of the registry when its lease has run out
  for (const [i, end] of ([
    (address: string) => mesh.go(a.stage.actor(address)['leave']() as Promise<void>),
    (address: string) => { mesh.registry.forget('default', address) },
    async () => { a.shelf.trouble({ fail: away() }); await mesh.clock.advance(6000); a.shelf.trouble() },
    async () => { mesh.cutOff(a.stage, true); await mesh.clock.advance(25_000); mesh.cutOff(a.stage, false); await mesh.clock.advance(3000) },
  ]).entries()) {
    const address = `timed.${i}`
    await mesh.go(a.stage.actor(address)['every'](100))
    await mesh.clock.advance(350)
    t.true(notes.length > 0)
    await end(address)
    await mesh.clock.advance(200)
    notes.length = 0
    await mesh.clock.advance(3000)
    t.deepEqual(notes, [], `${i}`)
    t.false(a.stage.actors().some((one) => one.address === address))
  }
})

test('a timer that is due when its actor is put away does not run in the next one', async (t) => {
  const mesh = actorMesh(t)
  const ran: unknown[] = []
  let made = 0
  const { stage } = await mesh.add('a', (one) => one.define({ pattern: 'x.{id}', create: (_, self: Self) => ({
    which: ++made,
    start() { self.after(50, () => ran.push([this.which, made])) },
    async leave() { self.deactivate(); await passed(mesh.clock, 200) },
    which2() { return this.which },
  }) }))
  await mesh.go(stage.actor('x.1')['start']())
  const leaving = stage.actor('x.1')['leave']()
  const next = stage.actor('x.1')['which2']()
  await mesh.go(leaving)
  t.is(await mesh.go(next), 2)
  await mesh.clock.advance(500)
  t.deepEqual(ran, [])
})

test('a timer that fails is reported, and goes on', async (t) => {
  const mesh = actorMesh(t)
  const notes: [string, number][] = []
  const a = await mesh.add('a', timed(mesh, notes, { durable: true }))
  await mesh.go(a.stage.actor('timed.1')['failing']())
  await mesh.clock.advance(550)
  t.is(notes.length, 5)
  t.deepEqual([...new Set(a.failures)], ['a timer of timed.1: on purpose'])
  t.is(a.failures.length, 5)
  t.is(await mesh.go(a.stage.actor('timed.1')['get']()), 0, 'what it had changed was put back')
})

test('calls from a timer have the deadline of a call, and a circle from it is found', async (t) => {
  const mesh = actorMesh(t)
  const notes: [string, number][] = []
  const a = await mesh.add('a', timed(mesh, notes))
  await mesh.go(a.stage.actor('timed.1')['calls']('timed.2'))
  await mesh.clock.advance(100)
  t.deepEqual(notes.map(([what]) => what), ['get'])
  await mesh.go(a.stage.actor('timed.1')['calls']('timed.1'))
  await mesh.clock.advance(100)
  t.regex(a.failures.join(), /timed\.1 → timed\.1/)
})

test('timers that are none are refused', async (t) => {
  const mesh = actorMesh(t)
  const a = await mesh.add('a', timed(mesh, []))
  const share = await mesh.add('b', (stage) => stage.define({ pattern: 'shared.{id}', share: true, create: (_, self: Self) => ({ set(ms: unknown, fn: unknown) { self.every(ms as number, fn as () => void) } }) }))
  for (const ms of [-1, NaN, Infinity, 2 ** 31, '5', null]) {
    const error = await mesh.fails(share.stage.actor('shared.1')['set'](ms, () => {}), 'REMOTE_ERROR', 'yes')
    t.true(error.cause instanceof TypeError || (error.cause as Error).name === 'TypeError')
  }
  await mesh.fails(share.stage.actor('shared.1')['set'](5, 'text'), 'REMOTE_ERROR')
  await mesh.fails(a.stage.actor('timed.1')['bad'](5, undefined), 'REMOTE_ERROR')
})

test('timers and reminders are set once the actor is made, and not by what makes it', async (t) => {
  const mesh = actorMesh(t)
  const what: ((self: Self) => void)[] = [(self) => self.after(1, () => {}), (self) => self.every(1, () => {}), (self) => self.remind('x', 'f', { afterMs: 1 }), (self) => self.forget('x')]
  const a = await mesh.add('a', (stage) => stage.define({ pattern: 'x.{id}', durable: true, create: ({ id }, self: Self) => { what[Number(id)](self); return { f: () => 1 } } }))
  for (const id of what.keys()) {
    const error = await mesh.fails(a.stage.actor(`x.${id}`)['f'](), 'REMOTE_ERROR', 'no')
    t.regex(error.message, /has not been created yet/)
  }
})

test('a timer that is cancelled while its turn waits runs no more', async (t) => {
  const { add, go, clock } = actorMesh(t)
  const { stage } = await add('a', (one) => one.define({
    pattern: 'x.{id}', create: (_, self: Self) => ({
      ran: [] as string[],
      async pay() {
        const timers = [self.after(100, () => this.ran.push('after')), self.every(100, () => this.ran.push('every'))]
        await passed(clock, 150)
        for (const timer of timers) timer.cancel()
      },
    }),
  }))
  await go(stage.actor('x.1')['pay']())
  await clock.advance(500)
  t.deepEqual(await go(Promise.resolve(stage.actor<{ ran: string[] }>('x.1').ran)), [])
})
