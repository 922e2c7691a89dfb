/** An owner whose claim or lease is gone can commit nothing and begin nothing. */
import test from 'ava'
import type { Self, Stage, StageError } from '../../src/index.js'
import { actorMesh, away, type ActorMesh, type Node } from '../helpers/actors.js'
import { seeded } from '../helpers/mesh.js'
import { nothingUnhandled } from '../helpers/unhandled.js'
import { passed } from '../helpers/virtual-clock.js'

nothingUnhandled(test)

interface Seen { by: string; name: string; at: number }

/** Writes down what runs where, and when. */
const counters = (mesh: ActorMesh, seen: Seen[] = [], more: object = {}) => (stage: Stage): void => {
  stage.define({
    pattern: 'counters.{id}', durable: true, ...more, create: (_, self: Self) => ({
      n: 0,
      add(name = '') { seen.push({ by: stage.name, name, at: mesh.clock.now() }); return ++this.n },
      async slow(ms: number, name = '') { seen.push({ by: stage.name, name, at: mesh.clock.now() }); await passed(mesh.clock, ms); return ++this.n },
      get() { return this.n },
      deactivate(reason: string) { seen.push({ by: stage.name, name: `deactivate ${reason} ${self.signal.aborted}`, at: mesh.clock.now() }) },
    }),
  })
}

/** Lets everybody believe that it is gone, without it noticing: its way to the registry is cut, and its lease runs out. */
async function depose(mesh: ActorMesh, node: Node): Promise<void> {
  mesh.cutOff(node.stage, true)
  await mesh.clock.advance(20_000)
}

test('P15: a deposed activation\'s late commit is FENCED, nothing of it is visible, and what waited goes to the new owner and runs once', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 1 })
  const { add, go, fails, clock } = mesh
  const seen: Seen[] = []
  const old = await add('old', counters(mesh, seen))
  t.is(await go(old.stage.actor('counters.1')['add']()), 1)
  const next = await add('next', counters(mesh, seen))
  const long = old.stage.actor('counters.1', { timeoutMs: 60_000 })['slow'](30_000, 'long')
  const waiting = ['w1', 'w2', 'w3'].map((name) => old.stage.actor('counters.1', { timeoutMs: 60_000 })['add'](name) as Promise<number>)
  await clock.advance(100)
  await depose(mesh, old)
  t.is(await go(next.stage.actor('counters.1')['add']('next')), 2)
  const error = await fails(long, 'FENCED', 'yes')
  t.regex(error.message, /another owner/)
  t.is(await go(next.stage.actor('counters.1')['get']()), 2, 'of the deposed one nothing is there')
  t.deepEqual(old.stage.actors(), [])
  t.deepEqual(await go(Promise.all(waiting)), [3, 4, 5])
  t.deepEqual(seen.filter(({ name }) => name.startsWith('w')).map(({ by, name }) => `${by} ${name}`), ['next w1', 'next w2', 'next w3'])
  t.true(seen.some(({ name }) => name === 'deactivate fenced true'), 'the claim is lost, and its signal has fired')
})

test('P18: no turn starts on a stage whose lease was not renewed for 0.8 TTL, and they go on when it is renewed', async (t) => {
  for (const ttlMs of [15_000, 5000]) {
    const mesh = actorMesh(t, { latencyMs: 1 })
    const { add, go, clock, cutOff } = mesh
    const seen: Seen[] = []
    const a = await add('a', counters(mesh, seen), { ttlMs })
    await go(a.stage.actor('counters.1')['add']())
    await clock.advance(ttlMs)
    cutOff(a.stage, true)
    const cut = clock.now()
    const calls: Promise<unknown>[] = []
    while (clock.now() < cut + 0.95 * ttlMs) {
      calls.push(a.stage.actor('counters.1', { timeoutMs: 60_000 })['add'](), a.stage.actor(`counters.at${clock.now()}`, { timeoutMs: 60_000 })['add']())
      await clock.advance(ttlMs / 50)
    }
    const last = Math.max(...seen.map(({ at }) => at))
    t.true(last >= cut + 0.4 * ttlMs && last <= cut + 0.8 * ttlMs, `TTL ${ttlMs}: the last turn began ${last - cut} ms after the registry was cut off`)
    t.is(mesh.clock.now() > last, true)
    const before = seen.length
    cutOff(a.stage, false)
    const back = clock.now()
    await go(Promise.all(calls))
    t.true(seen.length > before && seen[before].at - back <= 1100, 'they go on with the next renewal')
    t.is(await go(a.stage.actor('counters.1')['get']()), calls.length / 2 + 1)
  }
})

test('P18: readonly turns, timers and reads do not start either', async (t) => {
  const mesh = actorMesh(t)
  const { add, go, clock, cutOff } = mesh
  const began: string[] = []
  const a = await add('a', (stage) => stage.define({ pattern: 'x.{id}', readonly: ['peek'], create: (_, self: Self) => ({
    n: 1,
    start() { self.every(500, () => began.push('timer')) },
    peek() { began.push('peek') },
    activate() { began.push('activate') },
  }) }))
  await go(a.stage.actor('x.1')['start']())
  cutOff(a.stage, true)
  await clock.advance(13_000)
  began.length = 0
  const codes: string[] = []
  for (const call of [a.stage.actor('x.1', { timeoutMs: 1500 })['peek'](), Promise.resolve(a.stage.actor('x.1', { timeoutMs: 1500 })['n'] as unknown as PromiseLike<number>), a.stage.actor('x.2', { timeoutMs: 1500 })['peek']()]) {
    (call as Promise<unknown>).catch((error: StageError) => codes.push(`${error.code} ${error.executed} ${error.phase}`))
  }
  await clock.advance(1700)
  t.deepEqual(began, [])
  t.deepEqual(codes.sort(), ['TIMEOUT no connecting', 'TIMEOUT no queued', 'TIMEOUT no queued'])
  cutOff(a.stage, false)
  await clock.advance(3000)
  t.true(began.includes('timer'))
})

test('P18: a claim that was answered late, and a call that comes back to its turn, begin nothing before the lease is renewed', async (t) => {
  const mesh = actorMesh(t)
  const { add, go, clock, cutOff } = mesh
  const began: string[] = []
  const a = await add('a', (stage) => stage.define({ pattern: 'x.{id}', reentrant: true, create: (_, self: Self) => ({
    activate() { began.push(`activate ${self.address}`) },
    async outer() { await passed(clock, 14_000); return self.actor(self.address)['inner']() as Promise<unknown> },
    inner() { began.push('inner'); return 'came back' },
  }) }))
  const outer = a.stage.actor('x.1', { timeoutMs: 60_000 })['outer']()
  await clock.advance(100)
  cutOff(a.stage, true)
  await clock.advance(10_000)
  a.shelf.trouble({ afterMs: 4500 }, 'claim')
  const late = a.stage.actor('x.2', { timeoutMs: 60_000 })['inner']()
  await clock.advance(4700)
  t.deepEqual(began, ['activate x.1'])
  t.is((await go(a.stage.explain('x.1'))).queue, 0)
  cutOff(a.stage, false)
  t.is(await go(outer), 'came back')
  t.is(await go(late), 'came back')
  t.deepEqual(began.sort(), ['activate x.1', 'activate x.2', 'inner', 'inner'])
})

test('P18: a call that came back to a turn which has ended by the time that the lease is renewed is a turn like any other', async (t) => {
  const mesh = actorMesh(t)
  const { add, go, clock, cutOff } = mesh
  const notes: string[] = []
  const wait = (ms: number): Promise<void> => passed(clock, ms)
  const a = await add('a', (stage) => stage.define({ pattern: 'x.{id}', reentrant: true, durable: true, create: (_, self: Self) => ({
    n: 0,
    async outer() { await wait(14_000); void (self.actor('y.1')['notify'](self.address) as Promise<unknown>).catch((error: Error) => notes.push(error.message)); await wait(500) },
    async inner() { notes.push('+inner'); this.n++; await wait(100); notes.push('-inner') },
    next() { notes.push('next'); return ++this.n },
  }) }))
  const b = await add('b', (stage) => stage.define({ pattern: 'y.{id}', create: (_, self: Self) => ({ notify: (address: string) => self.actor(address)['inner']() as Promise<unknown>, warm() {} }) }))
  await go(a.stage.actor('y.1')['warm']())
  await go(b.stage.actor('x.1')['next']())
  const outer = a.stage.actor('x.1', { timeoutMs: 60_000 })['outer']()
  await clock.advance(100)
  cutOff(a.stage, true)
  const next = a.stage.actor('x.1', { timeoutMs: 60_000 })['next']()
  await clock.advance(14_700)
  t.deepEqual(notes, ['next'])
  cutOff(a.stage, false)
  await go(outer)
  t.is(await go(next, 5000, 5), 2)
  while (!notes.includes('+inner')) await clock.advance(5)
  t.is(await go(a.stage.actor('x.1')['next'](), 5000, 5), 4)
  t.deepEqual(notes, ['next', 'next', '+inner', '-inner', 'next'])
  t.is((await go(a.stage.explain('x.1'))).version, 4)
})

test('P18: the larger of monotonic and wall clock counts: a machine that slept begins no turn before it has renewed', async (t) => {
  const mesh = actorMesh(t)
  const { add, go, clock, cutOff } = mesh
  const seen: Seen[] = []
  const a = await add('a', counters(mesh, seen))
  await go(a.stage.actor('counters.1')['add']())
  cutOff(a.stage, true)
  await clock.advance(1000)
  clock.jump(12_500)
  const call = a.stage.actor('counters.1', { timeoutMs: 60_000 })['add']('slept')
  await clock.advance(500)
  t.false(seen.some(({ name }) => name === 'slept'))
  clock.jump(-12_500)
  cutOff(a.stage, false)
  t.is(await go(call), 2)
  clock.burn(12_500) // the loop was busy: nothing of what waits begins before a heartbeat
  cutOff(a.stage, true)
  const stalled = a.stage.actor('counters.1', { timeoutMs: 60_000 })['add']('stalled')
  await clock.advance(200)
  t.false(seen.some(({ name }) => name === 'stalled'))
  cutOff(a.stage, false)
  t.is(await go(stalled), 3)
})

test('a lost lease drops all actors of the stage: their signals fire, callers are told, and they are made anew', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 1 })
  const { add, go, clock, cutOff } = mesh
  const seen: Seen[] = []
  const a = await add('a', counters(mesh, seen))
  const b = await add('b')
  for (let i = 0; i < 5; i++) await go(b.stage.actor(`counters.${i}`)['add']())
  t.is(a.stage.actors().length, 5)
  const running = a.stage.actor('counters.0', { timeoutMs: 60_000 })['slow'](40_000).then(() => 'done', (error: StageError) => `${error.code} ${error.executed}`)
  const { id } = a.stage
  await clock.advance(100)
  seen.length = 0
  await depose(mesh, a)
  cutOff(a.stage, false)
  await clock.advance(2000)
  t.not(a.stage.id, id)
  t.deepEqual(a.stage.actors(), [])
  t.is(await go(running), 'FENCED unknown')
  t.deepEqual(seen.map(({ name }) => name), Array(5).fill('deactivate lost true'))
  await clock.advance(3000)
  for (let i = 0; i < 5; i++) t.is(await go(b.stage.actor(`counters.${i}`)['add']()), 2)
})

test('P15, P16: counters through leases that run out, cuts and a bad store: nothing acknowledged is lost, nothing counts twice, in one order', async (t) => {
  t.timeout(120_000)
  let unknown = 0
  let moves = 0
  for (let seed = 1; seed <= 12; seed++) {
    const mesh = actorMesh(t, { latencyMs: 3, seed })
    const { add, go, clock, network, cutOff } = mesh
    const chance = seeded(`fences ${seed}`)
    const hosts = [await add('h0', counters(mesh), { ttlMs: 3000 }), await add('h1', counters(mesh), { ttlMs: 3000 }), await add('h2', counters(mesh), { ttlMs: 3000 })]
    const callers = [await add('c0', undefined, { ttlMs: 3000 }), hosts[0], hosts[1]]
    const history: { actor: string; begun: number; ended: number; n: number }[] = []
    const maybe = new Map<string, number>()
    const calls: Promise<void>[] = []
    const owners = new Set<string>()
    for (let step = 0; step < 120; step++) {
      const actor = `counters.${Math.floor(chance.float() * 3)}`
      const { stage } = callers[Math.floor(chance.float() * callers.length)]
      const begun = clock.now()
      calls.push(stage.actor(actor, { timeoutMs: 6000 })['add']().then((n: number) => { history.push({ actor, begun, ended: clock.now(), n }) }, (error: StageError) => {
        if (error.executed === 'no') return
        unknown++
        maybe.set(actor, (maybe.get(actor) ?? 0) + 1)
      }))
      const dice = chance.float()
      const host = hosts[Math.floor(chance.float() * hosts.length)]
      if (dice < 0.04) cutOff(host.stage, true)
      else if (dice < 0.14) for (const one of hosts) cutOff(one.stage, false)
      else if (dice < 0.17) network.cut(host.address)
      else if (dice < 0.20) host.shelf.trouble(() => chance.float() < 0.5 ? { lose: away() } : { fail: away() })
      else if (dice < 0.23) host.shelf.trouble({ beforeMs: 100, afterMs: 400 }, 'commit')
      else if (dice < 0.25) host.shelf.trouble({ hang: chance.float() < 0.5 ? 'after' : 'before' }, 'commit')
      else if (dice < 0.35) for (const one of hosts) one.shelf.trouble()
      await clock.advance(Math.floor(chance.float() * 400))
      for (const one of hosts) for (const { address, fence } of one.stage.actors()) owners.add(`${address} ${fence?.epoch}`)
    }
    for (const one of hosts) { cutOff(one.stage, false); one.shelf.trouble() }
    await go(Promise.all(calls))
    await clock.advance(25_000)
    moves += owners.size - 3
    for (const actor of ['counters.0', 'counters.1', 'counters.2']) {
      const own = history.filter((one) => one.actor === actor)
      const last = await go(callers[0].stage.actor(actor)['get']()) as number
      const numbers = own.map(({ n }) => n)
      t.is(new Set(numbers).size, numbers.length, `seed ${seed}: ${actor} gave one number twice: ${numbers.join()}`)
      t.true(last >= own.length && last <= own.length + (maybe.get(actor) ?? 0), `seed ${seed}: ${actor} is ${last} after ${own.length} answers and ${maybe.get(actor) ?? 0} of unknown outcome`)
      t.true(Math.max(0, ...numbers) <= last, `seed ${seed}: ${actor} is ${last}, and ${Math.max(...numbers)} was answered`)
      for (const x of own) for (const y of own) if (x.ended < y.begun) t.true(x.n < y.n, `seed ${seed}: ${actor} answered ${x.n} before ${y.n} was asked for`)
    }
  }
  t.true(unknown > 10 && moves > 10, `${unknown} unknown outcomes, ${moves} moves`)
})

test('an object that is hosted under a name is there again after the store forgot it, and nowhere twice', async (t) => {
  const mesh = actorMesh(t)
  const { add, go, clock, registry } = mesh
  const lamp = { on: 0, hit() { return ++lamp.on } }
  const a = await add('a')
  const b = await add('b')
  await go(a.stage.host('lamps.1', lamp))
  t.is(await go(b.stage.actor('lamps.1')['hit']()), 1)
  registry.empty()
  await clock.advance(40_000)
  t.is(await go(b.stage.actor('lamps.1')['hit']()), 2)
  registry.forget('default', 'lamps.1')
  const other = { on: 100, hit() { return ++other.on } }
  await go(b.stage.host('lamps.1', other))
  await clock.advance(40_000)
  t.deepEqual([a, b].map(({ stage }) => stage.actors().length), [0, 1])
  for (const [i, { stage }] of [a, b].entries()) t.is(await go(stage.actor('lamps.1')['hit']()), 101 + i)
})

test('P17: an object that was given to host() and lost its claim serves nobody before what still runs on it has ended', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 1 })
  const notes: string[] = []
  const object = {
    async work(name: string, ms: number) { notes.push(`+${name}`); await passed(mesh.clock, ms); notes.push(`-${name}`); return name },
    async deactivate() { notes.push('+bye'); await passed(mesh.clock, 300); notes.push('-bye') },
    activate() { notes.push('hello') },
  }
  const a = await mesh.add('a')
  await mesh.go(a.stage.host('lamp.1', object))
  const first = a.stage.actor('lamp.1', { timeoutMs: 120_000 })['work']('first', 30_000) as Promise<unknown>
  await mesh.clock.advance(50)
  mesh.registry.forget(a.stage.namespace, 'lamp.1')
  await mesh.fails(first, 'FENCED')
  t.is(await mesh.go(a.stage.actor('lamp.1')['work']('second', 10)), 'second')
  t.deepEqual(notes, ['hello', '+first', '+bye', '-bye', '-first', 'hello', '+second', '-second'])
})

test('host() that fails hosts nothing, also where the lease was lost meanwhile', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 1 })
  const a = await mesh.add('a')
  await mesh.add('sweeper')
  mesh.cutOff(a.stage, true)
  await mesh.clock.advance(14_000)
  const hosting = a.stage.host('lobby', { get: () => 1 }) // waits for a lease that is certain
  hosting.catch(() => {})
  await mesh.clock.advance(26_000)
  mesh.cutOff(a.stage, false)
  await mesh.fails(hosting, 'FENCED')
  await mesh.clock.advance(120_000)
  t.deepEqual(a.stage.actors(), [])
  const b = await mesh.add('b')
  await mesh.go(b.stage.host('lobby', { get: () => 2 }))
  t.is(await mesh.go(a.stage.actor('lobby')['get']()), 2)
})

test('host() right behind the end of what it hosted before takes the claim anew', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 1 })
  const a = await mesh.add('a')
  const off = await mesh.go(a.stage.host('lobby', { get: () => 1 }))
  const gone = off()
  await mesh.go(a.stage.host('lobby', { get: () => 2 }))
  await mesh.go(gone)
  const b = await mesh.add('b')
  const error = await mesh.fails(b.stage.host('lobby', { get: () => 3 }), 'NAME_TAKEN')
  t.regex(error.message, /lobby/)
  t.is(await mesh.go(b.stage.actor('lobby')['get']()), 2)
})

test('P17: an activate() that runs when the claim is lost has ended before the next one begins on the same object', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 1 })
  const notes: string[] = []
  const a = await mesh.add('a')
  await mesh.go(a.stage.host('lamp.1', { async activate() { notes.push('+'); await passed(mesh.clock, 7000); notes.push('-') }, get: () => 1 }))
  await mesh.clock.advance(100)
  mesh.registry.empty()
  await mesh.clock.advance(1000)
  t.is(await mesh.go(a.stage.actor('lamp.1', { timeoutMs: 60_000 })['get']()), 1)
  t.deepEqual(notes, ['+', '-', '+', '-'])
})
