/** A watch goes on when its link is cut, and when its actor moves or its owner crashes. */
import test from 'ava'
import { actors, framing, rpc, tap, type Self, type Stage, type StageError } from '../../src/index.js'
import { actorMesh, away, type ActorMesh, type Node } from '../helpers/actors.js'
import { seeded } from '../helpers/mesh.js'
import { nothingUnhandled } from '../helpers/unhandled.js'

nothingUnhandled(test)

interface Shown { version: number; reset?: true; n: number; [name: string]: unknown }

const counters = (more: object = {}) => (stage: Stage): void => {
  stage.define({
    pattern: 'counters.{id}', durable: true, ...more, create: (_, self: Self) => ({
      n: 0, other: 0, big: Buffer.alloc(0), name: 'none',
      add() { return ++this.n },
      more() { return ++this.other },
      grow(size: number) { this.big = Buffer.alloc(size, ++this.n); return this.n },
      rename(name: string) { this.name = name },
      leave() { self.deactivate() },
    }),
  })
}

function reading(loop: AsyncIterableIterator<unknown>): { got: Shown[]; ended: Promise<unknown> } {
  const got: Shown[] = []
  const ended = (async () => { for await (const one of loop) got.push(one as Shown) })().then(() => 'done', (error: StageError) => error.code ?? error)
  return { got, ended }
}

/** No step back, no change twice, and none left out but where it says so. */
function gapless(got: readonly Shown[]): string | undefined {
  for (let i = 1; i < got.length; i++) {
    if (got[i].reset) continue
    if (got[i].n !== got[i - 1].n + 1) return `${got[i - 1].n} → ${got[i].n} at ${i}`
  }
  return undefined
}

const watch = (node: Node, address = 'counters.1', mode: 'every' | 'latest' = 'every') => reading(node.stage.observe(address, ['n'], { mode }))
const add = (mesh: ActorMesh, node: Node, address = 'counters.1'): Promise<number> => mesh.go(node.stage.actor(address)['add']() as Promise<number>)

test('P21: a cut link: the loop goes on by itself, without a gap, a repeat or a reset', async (t) => {
  for (let seed = 1; seed <= 6; seed++) {
    const mesh = actorMesh(t, { seed, latencyMs: 3 })
    const a = await mesh.add('a', counters())
    const b = await mesh.add('b')
    const every = watch(b)
    const latest = watch(b, 'counters.1', 'latest')
    const chance = seeded(`watch ${seed}`)
    await mesh.clock.advance(50)
    for (let i = 0; i < 80; i++) {
      await add(mesh, a)
      if (chance.float() < 0.1) mesh.network.cut()
      await mesh.clock.advance(Math.floor(chance.float() * 30))
    }
    await mesh.clock.advance(10_000)
    t.deepEqual(every.got.map(({ n }) => n), Array.from({ length: 81 }, (_, n) => n), `seed ${seed}`)
    t.false(every.got.some((one) => one.reset), `seed ${seed}`)
    t.is(latest.got.at(-1)?.n, 80)
    t.false(latest.got.some((one, i) => one.reset || (i > 0 && one.n <= latest.got[i - 1].n)), `seed ${seed}`)
  }
})

test('P21: more changes than are remembered while the link was cut: one reset, and then on', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 1 })
  const a = await mesh.add('a', counters({ durable: false }))
  const b = await mesh.add('b')
  const every = watch(b)
  await mesh.clock.advance(50)
  await add(mesh, a)
  await mesh.clock.advance(50)
  mesh.network.refuse(b.address)
  mesh.network.cut()
  await mesh.go(Promise.all(Array.from({ length: 1000 }, () => a.stage.actor('counters.1')['add']() as Promise<number>)))
  await mesh.go(Promise.all(Array.from({ length: 1000 }, () => a.stage.actor('counters.1')['add']() as Promise<number>)))
  mesh.network.release()
  await mesh.clock.advance(15_000)
  await add(mesh, a)
  await mesh.clock.advance(100)
  t.deepEqual(every.got.map(({ n, reset }) => [n, reset ?? false]), [[0, false], [1, false], [2001, true], [2002, false]])
})

test('P21: a crash of the owner: a reset with the last acknowledged state, and then on', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 2 })
  const hosts = [await mesh.add('h0', counters()), await mesh.add('h1', counters())]
  const c = await mesh.add('c')
  const every = watch(c)
  const latest = watch(c, 'counters.1', 'latest')
  await mesh.clock.advance(100)
  for (let i = 0; i < 5; i++) await add(mesh, c)
  await mesh.clock.advance(50)
  const owner = hosts.find(({ stage }) => stage.actors().length > 0)!
  // a change that is committed, and never told: its link is silent
  mesh.network.hold(c.address)
  await add(mesh, owner)
  mesh.network.release(c.address)
  mesh.crash(owner)
  await mesh.clock.advance(10_000)
  t.is(await add(mesh, c), 7)
  await mesh.clock.advance(100)
  for (const { got } of [every, latest]) {
    t.deepEqual(got.slice(-2).map(({ n, reset }) => [n, reset ?? false]), [[6, true], [7, false]])
    t.deepEqual(got.filter((one) => one.reset).length, 1)
  }
})

test('P21: an owner that moves off: nothing was missed, and nothing is marked', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 2 })
  const hosts = [await mesh.add('h0', counters())]
  const c = await mesh.add('c')
  const every = watch(c)
  const own = watch(hosts[0])
  await mesh.clock.advance(100)
  for (let round = 1; round <= 3; round++) {
    for (let i = 0; i < 4; i++) await add(mesh, c)
    await mesh.clock.advance(100)
    hosts.push(await mesh.add(`h${round}`, counters()))
    await mesh.go(hosts[round - 1].stage.close())
    await mesh.clock.advance(3000)
  }
  await add(mesh, c)
  await mesh.clock.advance(100)
  t.deepEqual(every.got.map(({ n }) => n), Array.from({ length: 14 }, (_, n) => n))
  t.false(every.got.some((one) => one.reset))
  t.is(await mesh.go(own.ended), 'CLOSED')
  t.deepEqual(own.got.map(({ n }) => n), [0, 1, 2, 3, 4])
})

test('P21: self.deactivate() ends no loop, and what was committed just before it is told', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 2 })
  const a = await mesh.add('a', counters())
  const b = await mesh.add('b')
  const loops = [watch(a), watch(b)]
  await mesh.clock.advance(100)
  for (let i = 0; i < 5; i++) {
    await mesh.go(Promise.all(['add', 'add', 'add', 'leave'].map((method) => a.stage.actor('counters.1')[method]() as Promise<unknown>)))
    await mesh.clock.advance(3000)
  }
  for (const { got } of loops) {
    t.is(got.at(-1)?.n, 15)
    t.is(gapless(got), undefined)
  }
})

test('P21: a watcher of what seldom changes misses nothing while others change all the time', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 1 })
  const a = await mesh.add('a', counters({ durable: false }))
  const b = await mesh.add('b')
  const names = [a, b].map(({ stage }) => reading(stage.observe('counters.1', ['name'], { mode: 'every' })))
  const busy = watch(b)
  await mesh.clock.advance(50)
  await mesh.go(a.stage.actor('counters.1')['rename']('first'))
  for (let i = 0; i < 3; i++) await mesh.go(Promise.all(Array.from({ length: 900 }, () => a.stage.actor('counters.1')['add']() as Promise<number>)))
  await mesh.go(a.stage.actor('counters.1')['rename']('second'))
  await mesh.clock.advance(200)
  for (const { got } of names) t.deepEqual(got.map(({ name, reset }) => [name, reset ?? false]), [['none', false], ['first', false], ['second', false]])
  t.is(busy.got.at(-1)?.n, 2700)
  mesh.network.cut()
  await mesh.clock.advance(5000)
  await mesh.go(a.stage.actor('counters.1')['rename']('third'))
  await mesh.clock.advance(200)
  t.deepEqual(names[1].got.slice(3).map(({ name, reset }) => [name, reset ?? false]), [['third', false]])
})

test('P21: a value of more than a mebibyte is a change like any other', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 1 })
  const a = await mesh.add('a', counters({ durable: false }))
  const b = await mesh.add('b')
  const loops = [a, b].map(({ stage }) => reading(stage.observe('counters.1', ['n', 'big'], { mode: 'every' })))
  await mesh.clock.advance(50)
  for (let i = 0; i < 4; i++) {
    await mesh.go(a.stage.actor('counters.1')['grow'](1_500_000))
    await mesh.clock.advance(300)
  }
  for (const { got } of loops) t.deepEqual(got.map(({ n, reset, big }) => [n, reset ?? false, (big as Buffer).length]), [[0, false, 0], [1, false, 1_500_000], [2, false, 1_500_000], [3, false, 1_500_000], [4, false, 1_500_000]])
})

test('a loop that nobody reads costs bounded memory, says what it left out, and has the newest value', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 1 })
  const a = await mesh.add('a', counters({ durable: false }))
  const b = await mesh.add('b')
  for (const { stage } of [a, b]) {
    const address = `counters.${stage.name}`
    const small = stage.observe(address, ['n'], { mode: 'every' })
    const large = stage.observe(address, ['n', 'big'], { mode: 'every' })
    await mesh.go(Promise.all([small.next(), large.next()]))
    for (let i = 0; i < 60; i++) {
      await mesh.go(Promise.all(Array.from({ length: 20 }, () => stage.actor(address)['grow'](200_000) as Promise<number>)))
      await mesh.clock.advance(20)
    }
    await mesh.clock.advance(500)
    const rest = async (loop: AsyncIterableIterator<unknown>): Promise<Shown[]> => {
      const got: Shown[] = []
      const end = loop.return!.bind(loop)
      for (;;) {
        const next = await Promise.race([loop.next(), mesh.clock.advance(10).then(() => undefined)])
        if (!next) break
        got.push(next.value as Shown)
      }
      await end()
      return got
    }
    for (const [loop, least] of [[small, 1], [large, 1]] as const) {
      const got = await rest(loop)
      t.is(got.at(-1)?.n, 1200)
      t.true(got.length >= least && got.length <= 1024)
      t.is(got.filter((one) => one.reset).length >= 1, true, `${got.length}`)
      t.is(gapless(got), undefined)
      const bytes = got.reduce((sum, one) => sum + ((one['big'] as Buffer | undefined)?.length ?? 0), 0)
      t.true(bytes <= 4 * 1024 * 1024, `${bytes} bytes waited`)
    }
  }
})

test('at most 1024 changes wait for a loop in mode every, however small they are', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 1 })
  const a = await mesh.add('a', counters({ durable: false }))
  const loop = a.stage.observe('counters.1', ['n'], { mode: 'every' })
  await mesh.go(loop.next())
  for (let i = 0; i < 1200; i++) await mesh.go(a.stage.actor('counters.1')['grow'](1))
  await mesh.clock.advance(100)
  const got: Shown[] = []
  while (got.at(-1)?.n !== 1200) got.push((await mesh.go(loop.next())).value as Shown)
  t.true(got.length < 1024, `${got.length} waited`)
  t.is(got.filter((one) => one.reset).length, 1)
  t.is(gapless(got), undefined)
  await loop.return?.()
})

test('1000 loops on one stage: what they are told goes over the link once', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 1 })
  let bytes = 0
  const chain = () => [tap((chunk, direction) => { if (direction === 'in') bytes += chunk.length }), framing(), rpc(), actors()]
  const quiet = () => [tap(() => {}), framing(), rpc(), actors()]
  const a = await mesh.add('a', counters({ durable: false }), { chain: quiet() })
  const b = await mesh.add('b', undefined, { chain: chain() })
  const loops = Array.from({ length: 1000 }, () => reading(b.stage.observe('counters.1', ['n', 'big'], { mode: 'every' })))
  await mesh.clock.advance(100)
  t.is(a.stage.actors()[0].watchers, 1)
  const before = bytes
  for (let i = 0; i < 10; i++) await mesh.go(a.stage.actor('counters.1')['grow'](10_000))
  await mesh.clock.advance(100)
  t.true(bytes - before > 100_000 && bytes - before < 120_000, `${bytes - before} bytes`)
  for (const { got } of loops) t.is(got.length, 11)
})

test('P21: watchers through cuts, moves and a bad store see no silent gap and no step back', async (t) => {
  t.timeout(120_000)
  let resets = 0
  for (let seed = 1; seed <= 8; seed++) {
    const mesh = actorMesh(t, { seed, latencyMs: 3 })
    const chance = seeded(`watchers ${seed}`)
    const hosts = [await mesh.add('h', counters({ idleMs: 2000 }), { ttlMs: 3000 }), await mesh.add('h', counters({ idleMs: 2000 }), { ttlMs: 3000 })]
    const c = await mesh.add('c')
    const watchers = [watch(c), watch(hosts[0]), watch(c, 'counters.1', 'latest')]
    await mesh.clock.advance(500)
    const calls: Promise<unknown>[] = []
    for (let step = 0; step < 150; step++) {
      if (chance.float() < 0.7) calls.push((c.stage.actor('counters.1', { timeoutMs: 4000 })['add']() as Promise<unknown>).catch(() => {}))
      const dice = chance.float()
      const host = hosts[Math.floor(chance.float() * hosts.length)]
      if (dice < 0.03) mesh.cutOff(host.stage, true)
      else if (dice < 0.13) for (const one of hosts) mesh.cutOff(one.stage, false)
      else if (dice < 0.18) mesh.network.cut(host.address)
      else if (dice < 0.2) calls.push((c.stage.actor('counters.1', { timeoutMs: 4000 })['leave']() as Promise<unknown>).catch(() => {}))
      else if (dice < 0.23) host.shelf.trouble(() => chance.float() < 0.5 ? { lose: away() } : { fail: away() }, 'commit')
      else if (dice < 0.35) for (const one of hosts) one.shelf.trouble()
      await mesh.clock.advance(Math.floor(chance.float() * 300))
    }
    for (const one of hosts) { mesh.cutOff(one.stage, false); one.shelf.trouble() }
    await mesh.go(Promise.all(calls))
    await mesh.clock.advance(30_000)
    const n = await mesh.go(Promise.resolve(c.stage.actor('counters.1')['n'] as unknown as PromiseLike<number>))
    await mesh.clock.advance(3000)
    for (const [i, { got }] of watchers.entries()) {
      t.is(got.at(-1)?.n, n, `seed ${seed}, watcher ${i}: the newest value arrives`)
      if (i < 2) t.is(gapless(got), undefined, `seed ${seed}, watcher ${i}`)
      for (let at = 1; at < got.length; at++) t.true(got[at].version >= got[at - 1].version, `seed ${seed}, watcher ${i}: no step back`)
      resets += got.filter((one) => one.reset).length
    }
  }
  t.true(resets > 3, `${resets} resets`)
})

test('P21: an object that is new at another owner is shown with a reset, though nothing of either was ever kept', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 1 })
  const prepare = (stage: Stage): void => { stage.define({ pattern: 'born.{id}', durable: true, create: () => ({ n: 0, where: stage.name }) }) }
  const hosts = [await mesh.add('a', prepare), await mesh.add('b', prepare)]
  const c = await mesh.add('c')
  const { got } = reading(c.stage.observe('born.1', ['n', 'where'], { mode: 'every' }))
  await mesh.clock.advance(100)
  t.is(got.length, 1)
  const owner = hosts.find(({ stage }) => stage.name === got[0]['where'])!
  await mesh.go(owner.stage.close())
  await mesh.clock.advance(5000)
  t.deepEqual(got.slice(1).map(({ where, reset, version }) => [where, reset, version]), [[hosts.find((one) => one !== owner)!.stage.name, true, 0]])
})

test('P21: where the store has lost its past, a watcher goes on with a reset, and not for the word of an owner of the past', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 1 })
  const hosts = [await mesh.add('a', counters()), await mesh.add('b', counters())]
  const c = await mesh.add('c')
  await add(mesh, c)
  const { got } = watch(c)
  await mesh.clock.advance(100)
  mesh.registry.forget('default', 'counters.1')
  mesh.clock.jump(-3_600_000) // as from a copy of yesterday: epochs that were there before
  await mesh.fails(c.stage.actor('counters.1')['add']() as Promise<unknown>, 'FENCED')
  await mesh.clock.advance(30_000)
  t.is(got.length, 1, 'it may be an owner of the past that answers')
  await mesh.clock.advance(30_000)
  t.is(await add(mesh, c), 1)
  await mesh.clock.advance(100)
  t.deepEqual(got.slice(1).map(({ n, reset }) => [n, reset ?? false]), [[0, true], [1, false]])
  t.is(hosts.length, 2)
})

test('a watch that begins because its link has just gone is over with it', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 1 })
  const a = await mesh.add('a', (stage) => { stage.define({ pattern: 'x.{id}', readonly: ['peek'], create: () => ({ n: 0, peek: () => new Promise((resolve) => { mesh.clock.setTimeout(() => { resolve(1) }, 3000) }), f: () => 1 }) }) })
  const b = await mesh.add('b')
  t.is(await mesh.go(b.stage.actor('x.1')['f']()), 1)
  const peek = a.stage.actor('x.1')['peek']()
  await mesh.clock.advance(10)
  void (b.stage.actor('x.1')['f']() as Promise<unknown>).catch(() => {}) // waits for it
  const { ended, got } = reading(b.stage.observe('x.1', ['n']))
  await mesh.clock.advance(10)
  t.is((await mesh.go(a.stage.explain('x.1'))).queue, 2)
  mesh.network.cut()
  await mesh.go(peek)
  await mesh.clock.advance(5000)
  t.is(got.length, 1)
  await mesh.go(b.stage.close())
  t.is(await ended, 'CLOSED')
  await mesh.clock.advance(1000)
  t.is((await mesh.go(a.stage.explain('x.1'))).watchers, 0)
})
