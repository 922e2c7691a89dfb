/** Idle actors are collected, and no call is lost by that. */
import test from 'ava'
import type { Self, Stage, StageError } from '../../src/index.js'
import { actorMesh, type ActorMesh } from '../helpers/actors.js'
import { seeded } from '../helpers/mesh.js'
import { nothingUnhandled } from '../helpers/unhandled.js'
import { passed } from '../helpers/virtual-clock.js'

nothingUnhandled(test)

const counters = (mesh: ActorMesh, notes: string[], more: object = {}) => (stage: Stage): void => {
  stage.define({
    pattern: 'counters.{id}', durable: true, ...more, create: (_, self: Self) => ({
      n: 0,
      add() { return ++this.n },
      async slow(ms: number) { await passed(mesh.clock, ms); return ++this.n },
      get() { return this.n },
      leave() { self.deactivate(); return ++this.n },
      activate() { notes.push(`+${self.address}`) },
      deactivate(reason: string) { notes.push(`-${self.address} ${reason}`) },
    }),
  })
}

const addresses = (stage: Stage): string[] => stage.actors().map((one) => one.address).sort()

test('an actor that nobody used for idleMs is collected, and the next call finds it as it was', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 1 })
  const notes: string[] = []
  const a = await mesh.add('a', counters(mesh, notes, { idleMs: 10_000 }))
  const b = await mesh.add('b')
  await mesh.go(b.stage.actor('counters.1')['add']())
  await mesh.go(b.stage.actor('counters.2')['add']())
  await mesh.clock.advance(8000)
  await mesh.go(b.stage.actor('counters.2')['get']())
  await mesh.clock.advance(6000)
  t.deepEqual(addresses(a.stage), ['counters.2'])
  t.deepEqual(notes, ['+counters.1', '+counters.2', '-counters.1 idle'])
  t.is((await mesh.go(b.stage.explain('counters.1'))).owner, undefined, 'it was given up')
  await mesh.clock.advance(10_000)
  t.deepEqual(addresses(a.stage), [])
  t.is(await mesh.go(b.stage.actor('counters.1')['add']()), 2)
  t.is(await mesh.go(a.stage.actor('counters.2')['add']()), 2)
})

test('idleMs is five minutes where a type does not say', async (t) => {
  const mesh = actorMesh(t)
  const { stage } = await mesh.add('a', counters(mesh, []))
  await mesh.go(stage.actor('counters.1')['add']())
  await mesh.clock.advance(299_000)
  t.deepEqual(addresses(stage), ['counters.1'])
  await mesh.clock.advance(80_000) // it is looked for five times as often
  t.deepEqual(addresses(stage), [])
})

test('what is used, runs, waits or has a timer is not collected', async (t) => {
  const mesh = actorMesh(t)
  const notes: string[] = []
  const { stage } = await mesh.add('a', counters(mesh, notes, { idleMs: 2000 }))
  stage.define({ pattern: 'timed.{id}', idleMs: 2000, create: (_, self: Self) => ({ n: 0, every() { self.every(5000, () => this.n++) }, after() { self.after(5000, () => this.n++) } }) })
  const running = stage.actor('counters.run', { timeoutMs: 60_000 })['slow'](9000)
  await mesh.go(stage.actor('timed.every')['every']())
  await mesh.go(stage.actor('timed.after')['after']())
  for (let i = 0; i < 8; i++) {
    await mesh.go(stage.actor('counters.used')['get']())
    await mesh.clock.advance(1000)
  }
  t.deepEqual(addresses(stage), ['counters.run', 'counters.used', 'timed.every'])
  await mesh.go(running)
  await mesh.clock.advance(5000)
  t.deepEqual(addresses(stage), ['timed.every'])
})

test('P20: idle collection drops no call, however close it comes', async (t) => {
  let collected = 0
  for (let seed = 1; seed <= 8; seed++) {
    const mesh = actorMesh(t, { seed, latencyMs: 1 })
    const notes: string[] = []
    const idleMs = 200
    const hosts = [await mesh.add('h0', counters(mesh, notes, { idleMs })), await mesh.add('h1', counters(mesh, notes, { idleMs }))]
    for (const { shelf } of hosts) shelf.trouble({ beforeMs: 3, afterMs: 4 }, 'release', 'claim')
    const callers = [await mesh.add('c'), ...hosts]
    const chance = seeded(`idle ${seed}`)
    const calls: Promise<unknown>[] = []
    for (let i = 0; i < 150; i++) {
      calls.push(callers[i % 3].stage.actor('counters.1')['add']())
      await mesh.clock.advance(chance.float() < 0.4 ? idleMs + Math.floor(chance.float() * 120) : Math.floor(chance.float() * 10))
    }
    const answers = await mesh.go(Promise.all(calls)) as number[]
    t.deepEqual([...answers].sort((x, y) => x - y), Array.from({ length: 150 }, (_, i) => i + 1), `seed ${seed}`)
    collected += notes.filter((one) => one.endsWith('idle')).length
  }
  t.true(collected > 100, `${collected} collections`)
})

test('P20: calls that come while a collected actor says goodbye are run by the next one', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 1 })
  let goodbyes = 0
  const define = (stage: Stage): void => { stage.define({
    pattern: 'x.{id}', durable: true, idleMs: 500, create: () => ({
      n: 0, add() { return ++this.n },
      async deactivate() { goodbyes++; await passed(mesh.clock, 1000); this.n += 100 },
    }),
  }) }
  const a = await mesh.add('a', define)
  const b = await mesh.add('b')
  await mesh.go(b.stage.actor('x.1')['add']())
  while (goodbyes === 0) await mesh.clock.advance(50)
  const calls = [a, b, a, b].map(({ stage }) => stage.actor('x.1')['add']() as Promise<number>)
  t.deepEqual((await mesh.go(Promise.all(calls))).sort(), [102, 103, 104, 105], 'what the hook changed is kept')
  t.is(goodbyes, 1)
})

test('maxActors: the one that was not used for longest makes room', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 1 })
  const notes: string[] = []
  const { stage } = await mesh.add('a', counters(mesh, notes, { maxActors: 3 }))
  stage.define({ pattern: 'others.{id}', create: () => ({ f: () => 1 }) })
  for (const id of [1, 2, 3]) {
    await mesh.go(stage.actor(`counters.${id}`)['add']())
    await mesh.clock.advance(10)
  }
  await mesh.go(stage.actor('others.1')['f']())
  await mesh.go(stage.actor('counters.1')['get']())
  await mesh.go(stage.actor('counters.4')['add']())
  await mesh.clock.advance(10)
  t.deepEqual(addresses(stage), ['counters.1', 'counters.3', 'counters.4', 'others.1'])
  t.true(notes.includes('-counters.2 idle'))
  await mesh.go(stage.actor('counters.2')['add']())
  await mesh.clock.advance(10)
  t.deepEqual(addresses(stage), ['counters.1', 'counters.2', 'counters.4', 'others.1'])
  t.is(await mesh.go(stage.actor('counters.3')['add']()), 2, 'and it is as it was')
})

test('maxActors: while none is idle a new one is OVERLOADED, and others go on', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 1 })
  const notes: string[] = []
  const a = await mesh.add('a', counters(mesh, notes, { maxActors: 2 }))
  const b = await mesh.add('b')
  const busy = [1, 2].map((id) => a.stage.actor(`counters.${id}`)['slow'](2000))
  await mesh.clock.advance(20)
  for (const { stage } of [a, b]) {
    const error = await mesh.fails(stage.actor('counters.3')['add'](), 'OVERLOADED', 'no')
    t.regex(error.message, /2 actors of counters\.\{id\}/)
  }
  const behind = a.stage.actor('counters.1')['add']()
  t.deepEqual(await mesh.go(Promise.all([...busy, behind])), [1, 1, 2])
  t.is(await mesh.go(b.stage.actor('counters.3')['add']()), 1)
})

test('maxActors and calls to many actors: no call is lost, and no more actors stay than allowed', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 1 })
  const notes: string[] = []
  const a = await mesh.add('a', counters(mesh, notes, { maxActors: 5 }))
  const b = await mesh.add('b')
  const chance = seeded('max actors')
  const sums = new Map<string, number>()
  let overloaded = 0
  const calls: Promise<void>[] = []
  for (let i = 0; i < 300; i++) {
    const address = `counters.${Math.floor(chance.float() * 12)}`
    const { stage } = i % 2 ? a : b
    calls.push(stage.actor(address)['add']().then(() => { sums.set(address, (sums.get(address) ?? 0) + 1) }, (error: StageError) => {
      t.is(`${error.code} ${error.executed}`, 'OVERLOADED no')
      overloaded++
    }))
    await mesh.clock.advance(Math.floor(chance.float() * 4))
    t.true(a.stage.actors().length <= 10)
  }
  await mesh.go(Promise.all(calls))
  await mesh.clock.advance(1000)
  t.true(a.stage.actors().length <= 5, `${a.stage.actors().length}`)
  t.true(overloaded < 150, `${overloaded}`)
  for (const [address, sum] of sums) t.is(await mesh.go(a.stage.actor(address)['get']()), sum, address)
})

test('self.deactivate() puts an actor away behind its turn, and what waits is run by the next one', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 1 })
  const notes: string[] = []
  const a = await mesh.add('a', counters(mesh, notes))
  const b = await mesh.add('b')
  await mesh.go(b.stage.actor('counters.1')['add']())
  const calls = [b.stage.actor('counters.1')['leave'](), b.stage.actor('counters.1')['add'](), a.stage.actor('counters.1')['add'](), b.stage.actor('counters.1')['leave'](), b.stage.actor('counters.1')['add']()] as Promise<number>[]
  t.deepEqual((await mesh.go(Promise.all(calls))).sort(), [2, 3, 4, 5, 6])
  t.deepEqual(notes, ['+counters.1', '-counters.1 asked', '+counters.1', '-counters.1 asked', '+counters.1'])
})

test('10 000 actors are collected, and nothing of them is left', async (t) => {
  const mesh = actorMesh(t)
  const { stage } = await mesh.add('a', (one) => one.define({ pattern: 'x.{id}', idleMs: 5000, create: () => ({ f: () => 1 }) }))
  await mesh.go(Promise.all(Array.from({ length: 10_000 }, (_, i) => stage.actor(`x.${i}`)['f']())))
  t.is(stage.actors().length, 10_000)
  await mesh.clock.advance(8000)
  t.is(stage.actors().length, 0)
  t.is(stage.stats()['actors'], 0)
})
