/** A call carries the turns that wait for it, so that circles are seen. */
import test from 'ava'
import { StageError, type Self, type Stage } from '../../src/index.js'
import { actorMesh, type ActorMesh } from '../helpers/actors.js'
import { nothingUnhandled } from '../helpers/unhandled.js'
import { passed } from '../helpers/virtual-clock.js'

nothingUnhandled(test)

/** Actors that call each other, and whose turns take a while. */
const pairs = (mesh: ActorMesh, more: object = {}) => (stage: Stage): void => {
  stage.define({
    pattern: 'pairs.{id}', reentrant: true, readonly: ['look', 'glance'], durable: true, ...more, create: (_, self: Self) => ({
      n: 0,
      async write(ms: number) { await passed(mesh.clock, ms); return ++this.n },
      glance() { return this.n },
      async look(to: string, method: string) { return self.actor(to)['after'](10, self.address, method) as Promise<unknown> },
      async after(ms: number, back: string, method: string) { await passed(mesh.clock, ms); return self.actor(back)[method](30) as Promise<unknown> },
    }),
  })
}

test('P17: a call of an activation that was put away is none of the turns of the next one', async (t) => {
  for (const reentrant of [false, true]) {
    const mesh = actorMesh(t, { latencyMs: 1 })
    const running: string[] = []
    const a = await mesh.add('a', (stage) => {
      stage.define({
        pattern: 'pairs.{id}', reentrant, create: (_, self: Self) => ({
          go() { void (self.actor('others.1')['back'](self.address) as Promise<unknown>).catch((error: StageError) => running.push(error.code)); self.deactivate() },
          async long() { running.push('+long'); await passed(mesh.clock, 200); running.push('-long') },
          get() { running.push('get') },
        }),
      })
      stage.define({ pattern: 'others.{id}', create: (_, self: Self) => ({ async back(address: string) { await passed(mesh.clock, 50); await self.actor(address)['get']() } }) })
    })
    await mesh.go(a.stage.actor('pairs.1')['go']())
    await mesh.go(a.stage.actor('pairs.1')['long']())
    await mesh.clock.advance(300)
    t.deepEqual(running, ['+long', '-long', 'get'], 'it waited like any other, and nobody waits for it in a circle')
  }
})

test('P17: what comes back to a turn that changes nothing may read beside it, and not write', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 1 })
  const a = await mesh.add('a', pairs(mesh))
  t.is(await mesh.go(a.stage.actor('pairs.1')['look']('pairs.2', 'glance')), 0)
  const error = await mesh.fails(a.stage.actor('pairs.1')['look']('pairs.2', 'write') as Promise<unknown>, 'REMOTE_ERROR', 'yes')
  t.regex(error.message, /cycle of calls: pairs\.1 → pairs\.2 → pairs\.1/)
  t.is(await mesh.go(a.stage.actor('pairs.1')['write'](1)), 1)
  t.is((await mesh.go(a.stage.explain('pairs.1'))).version, 1)
})

test('a call that is given up while its actor is looked for leaves nothing behind for the next one', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 2 })
  const a = await mesh.add('a', pairs(mesh))
  const b = await mesh.add('b')
  await mesh.go(b.stage.actor('pairs.9')['glance']())
  for (let i = 0; i < 5; i++) {
    const controller = new AbortController()
    const call = b.stage.actor(`pairs.${i}`, { signal: controller.signal })['glance']() as Promise<unknown>
    controller.abort()
    await mesh.fails(call, 'CANCELLED', 'no')
  }
  t.is(await mesh.go(b.stage.actor('pairs.0')['glance']()), 0)
  await mesh.go(a.stage.close())
  const error = await mesh.fails(b.stage.actor('pairs.1', { timeoutMs: 300 })['glance']() as Promise<unknown>, 'NO_SUCH_ACTOR', 'no')
  t.regex(error.message, /no stage hosts pairs\.1/)
})

test('what activate() changed of an actor that says itself when it is kept stays when a turn throws', async (t) => {
  const mesh = actorMesh(t)
  const a = await mesh.add('a', (stage) => stage.define({
    pattern: 'x.{id}', durable: true, commit: 'explicit', create: () => ({ ready: false, activate() { this.ready = true }, fail() { this.ready = false; throw new Error('on purpose') }, get() { return this.ready } }),
  }))
  await mesh.fails(a.stage.actor('x.1')['fail']() as Promise<unknown>, 'REMOTE_ERROR', 'yes')
  t.is(await mesh.go(a.stage.actor('x.1')['get']()), true)
})

test('a reminder that activate() sets is kept, also where nothing else is', async (t) => {
  const mesh = actorMesh(t)
  const rung: string[] = []
  const a = await mesh.add('a', (stage) => stage.define({
    pattern: 'x.{id}', create: (_, self: Self) => ({ activate() { self.remind('morning', 'ring', { afterMs: 1000 }) }, ring() { rung.push(self.address) }, fail() { throw new Error('on purpose') } }),
  }))
  await mesh.fails(a.stage.actor('x.1')['fail']() as Promise<unknown>, 'REMOTE_ERROR', 'yes')
  await mesh.clock.advance(3000)
  t.deepEqual(rung, ['x.1'])
})

test('a save() that waited for one that failed keeps nothing either', async (t) => {
  const mesh = actorMesh(t)
  const outcomes: string[] = []
  const a = await mesh.add('a', (stage) => stage.define({
    pattern: 'x.{id}', durable: true, commit: 'explicit', create: (_, self: Self) => ({
      n: 0,
      async twice() {
        this.n = 1
        const first = self.save().then(() => 'ok', (error: StageError) => error.code)
        this.n = 2
        const second = self.save().then(() => 'ok', (error: StageError) => error.code)
        outcomes.push(await first, await second)
      },
      get() { return this.n },
    }),
  }))
  a.shelf.trouble({ fail: new StageError('AUTH_FAILED', 'not you') }, 'commit')
  await mesh.go((a.stage.actor('x.1')['twice']() as Promise<unknown>).catch(() => {}))
  a.shelf.trouble()
  await mesh.clock.advance(100)
  t.deepEqual(outcomes, ['AUTH_FAILED', 'FENCED'])
  t.is(a.shelf.count('commit'), 1)
  t.is(await mesh.go(a.stage.actor('x.1')['get']()), 0)
})

test('P17: what a readonly turn left behind takes nothing of the turns after it', async (t) => {
  const mesh = actorMesh(t)
  const { stage } = await mesh.add('a', (one) => {
    one.define({
      pattern: 'x.{id}', readonly: ['look'], create: (_, self: Self) => ({
        error: '',
        look() { self.after(10, async () => { await (self.actor('y.1')['back']() as Promise<unknown>).catch((error: StageError) => { this.error = `${error.code} ${error.message}` }) }) },
        get: () => 1,
      }),
    })
    one.define({ pattern: 'y.{id}', create: (_, self: Self) => ({ back: () => self.actor('x.1')['get']() }) })
  })
  await mesh.go(stage.actor('x.1')['look']())
  await mesh.clock.advance(50)
  t.regex(await mesh.go(Promise.resolve(stage.actor<{ error: string }>('x.1').error)), /cycle of calls: x\.1 → y\.1 → x\.1/, 'and not that nobody answered in time')
})

test('P17: what reads within what came back belongs to the turn that it all came back to', async (t) => {
  const mesh = actorMesh(t)
  const { stage } = await mesh.add('a', (one) => {
    one.define({
      pattern: 'x.{id}', reentrant: true, durable: true, readonly: ['r', 'r2'], create: (_, self: Self) => ({
        hp: 1,
        async outer() {
          void self.actor('d.1')['call']('r')
          void self.actor('d.2')['write']()
          await passed(mesh.clock, 20)
        },
        r: async () => self.actor('d.3')['call']('r2', 30),
        async r2() { await passed(mesh.clock, 100); return this.hp },
        async w() { await passed(mesh.clock, 60); this.hp = 2; return this.hp },
      }),
    })
    one.define({
      pattern: 'd.{id}', create: (_, self: Self) => ({
        async call(method: string, ms = 1) { await passed(mesh.clock, ms); return self.actor('x.1')[method]() as Promise<unknown> },
        write: () => self.actor('x.1')['w'](),
      }),
    })
  })
  await mesh.go(stage.actor('x.1')['outer']())
  await mesh.clock.advance(500)
  t.is(await mesh.go(Promise.resolve(stage.actor<{ hp: number }>('x.1').hp)), 2)
})
