/** After a crash an actor goes on elsewhere with its last acknowledged state. */
import test from 'ava'
import type { Self, Stage, StageError } from '../../src/index.js'
import { actorMesh, type ActorMesh, type Node } from '../helpers/actors.js'
import { nothingUnhandled } from '../helpers/unhandled.js'
import { passed } from '../helpers/virtual-clock.js'

nothingUnhandled(test)

const counters = (mesh: ActorMesh, more: object = {}) => (stage: Stage): void => {
  stage.define({
    pattern: 'counters.{id}', durable: true, ...more, create: (_, self: Self) => ({
      n: 0, ran: [] as string[],
      add(name = '') { this.ran.push(name); return ++this.n },
      async slow(ms: number, name = '') { await passed(mesh.clock, ms); return this.add(name) },
      get() { return [this.n, this.ran] },
      where() { return stage.name },
      async other(address: string, method: string, ...args: unknown[]) { return self.actor(address)[method](...args) as Promise<unknown> },
    }),
  })
}

const IDS = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9].map((n) => `counters.${n}`)

/** Three hosts and a caller, ten actors with a commit each; the host that has most of them. */
async function scene(mesh: ActorMesh, more: object = {}): Promise<{ caller: Node; hosts: Node[]; victim: Node; left: Node[]; theirs: string[] }> {
  const hosts = [await mesh.add('h0', counters(mesh, more)), await mesh.add('h1', counters(mesh, more)), await mesh.add('h2', counters(mesh, more))]
  const caller = await mesh.add('caller')
  for (const id of IDS) for (let n = 0; n < 2; n++) await mesh.go(caller.stage.actor(id)['add']('before'))
  const victim = [...hosts].sort((x, y) => y.stage.actors().length - x.stage.actors().length)[0]
  return { caller, hosts, victim, left: hosts.filter((one) => one !== victim), theirs: victim.stage.actors().map((one) => one.address) }
}

/** How long it takes until each of them answers. */
async function answered(mesh: ActorMesh, from: Node, ids: readonly string[]): Promise<{ took: number; answers: unknown[] }> {
  const started = mesh.clock.now()
  const ask = async (id: string): Promise<unknown> => {
    for (;;) {
      try {
        return await from.stage.actor(id, { timeoutMs: 25_000 })['get']() as unknown
      } catch (error) {
        if (!['DISCONNECTED', 'TIMEOUT'].includes((error as StageError).code)) throw error
      }
    }
  }
  const answers = await mesh.go(Promise.all(ids.map(ask)), 60_000, 10)
  return { took: mesh.clock.now() - started, answers }
}

test('P19: after a crash with reset connections each actor answers elsewhere within 3 s, with its last acknowledged state', async (t) => {
  for (let seed = 1; seed <= 8; seed++) {
    const mesh = actorMesh(t, { seed, latencyMs: 2 })
    const { caller, victim, theirs, left } = await scene(mesh)
    t.true(theirs.length >= 4)
    await mesh.clock.advance(seed * 700)
    mesh.crash(victim)
    const { took, answers } = await answered(mesh, caller, theirs)
    t.true(took <= 3000, `seed ${seed}: ${took} ms`)
    t.deepEqual(answers, theirs.map(() => [2, ['before', 'before']]))
    t.is(await mesh.go(caller.stage.actor(theirs[0])['add']()), 3)
    const hosting = left.flatMap(({ stage }) => stage.actors().map((one) => one.address))
    for (const id of theirs) t.true(hosting.includes(id))
  }
})

test('P19: the same for a caller that hosts the type itself, and for one that was never linked to the crashed stage', async (t) => {
  for (const linked of [true, false]) {
    const mesh = actorMesh(t, { latencyMs: 2 })
    const { victim, left, theirs } = await scene(mesh)
    const from = linked ? left[0] : await mesh.add('fresh')
    if (!linked) t.deepEqual(from.stage.links(), [])
    mesh.crash(victim)
    const { took, answers } = await answered(mesh, from, theirs)
    t.true(took <= 3000, `${from.stage.name}: ${took} ms`)
    t.deepEqual(answers, theirs.map(() => [2, ['before', 'before']]))
  }
})

test('P19: where the owner fell silent, within 20 s', async (t) => {
  for (let seed = 1; seed <= 5; seed++) {
    const mesh = actorMesh(t, { seed, latencyMs: 2 })
    const { caller, victim, theirs } = await scene(mesh)
    await mesh.clock.advance(seed * 1300)
    mesh.silence(victim)
    const { took, answers } = await answered(mesh, caller, theirs)
    t.true(took <= 20_000, `seed ${seed}: ${took} ms`)
    t.deepEqual(answers, theirs.map(() => [2, ['before', 'before']]))
  }
})

test('P19: the same for a caller that was never linked to the silent stage', async (t) => {
  for (let seed = 1; seed <= 3; seed++) {
    const mesh = actorMesh(t, { seed, latencyMs: 2 })
    const { victim, theirs } = await scene(mesh)
    const fresh = await mesh.add('fresh')
    await mesh.clock.advance(seed * 1300)
    mesh.silence(victim)
    const { took, answers } = await answered(mesh, fresh, theirs)
    t.true(took <= 20_000, `seed ${seed}: ${took} ms`)
    t.deepEqual(answers, theirs.map(() => [2, ['before', 'before']]))
  }
})

test('P19: after a clean close within 2 s, and nothing that was acknowledged is lost', async (t) => {
  for (let seed = 1; seed <= 5; seed++) {
    const mesh = actorMesh(t, { seed, latencyMs: 2 })
    const { caller, victim, theirs } = await scene(mesh)
    const closing = victim.stage.close()
    const { took, answers } = await answered(mesh, caller, theirs)
    t.true(took <= 2000, `seed ${seed}: ${took} ms`)
    t.deepEqual(answers, theirs.map(() => [2, ['before', 'before']]))
    await mesh.go(closing)
  }
})

test('P20: close() drops no accepted call: what runs ends, and what waits runs elsewhere, once and in order', async (t) => {
  for (let seed = 1; seed <= 6; seed++) {
    const mesh = actorMesh(t, { seed, latencyMs: 2 })
    const { caller, victim, left, theirs } = await scene(mesh)
    const [id] = theirs
    const made: string[] = []
    const calls: Promise<unknown>[] = []
    const call = (from: Node, slowMs: number): void => {
      const name = `${from.stage.name}-${made.length}`
      made.push(name)
      const actor = from.stage.actor(id, { timeoutMs: 30_000 })
      calls.push(slowMs > 0 ? actor['slow'](slowMs, name) : actor['add'](name))
    }
    for (let i = 0; i < 10; i++) for (const from of [caller, victim, left[0]]) call(from, i % 3 === 0 ? 40 : 0)
    await mesh.clock.advance(30 * seed)
    const closing = victim.stage.close()
    for (let i = 0; i < 20; i++) {
      for (const from of [caller, left[0]]) call(from, i % 7 === 0 ? 20 : 0)
      await mesh.clock.advance(15)
    }
    await mesh.go(Promise.all(calls))
    await mesh.go(closing)
    const [n, ran] = await mesh.go(caller.stage.actor(id)['get']()) as [number, string[]]
    t.is(n, made.length + 2, `seed ${seed}`)
    t.deepEqual([...ran.slice(2)].sort(), [...made].sort())
    for (const from of [caller, victim, left[0]]) {
      const own = ran.filter((name) => name.startsWith(`${from.stage.name}-`)).map((name) => Number(name.split('-')[1]))
      t.deepEqual(own, [...own].sort((x, y) => x - y), `seed ${seed}: ${from.stage.name}`)
    }
  }
})

test('P20: stages that leave one after the other hand an actor on without losing a call', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 2 })
  const hosts = [await mesh.add('h0', counters(mesh)), await mesh.add('h1', counters(mesh))]
  const caller = await mesh.add('caller')
  let made = 0
  const calls: Promise<unknown>[] = []
  for (let round = 0; round < 6; round++) {
    const next = mesh.add(`h${round + 2}`, counters(mesh))
    await next.then((node) => hosts.push(node))
    const owner = hosts.find(({ stage }) => stage.actors().length > 0) ?? hosts[0]
    hosts.splice(hosts.indexOf(owner), 1)
    const closing = owner.stage.close()
    for (let i = 0; i < 30; i++) {
      made++
      calls.push(caller.stage.actor('counters.1', { timeoutMs: 30_000 })[i % 5 ? 'add' : 'slow'](i % 5 ? '' : 10))
      await mesh.clock.advance(7)
    }
    await mesh.go(closing)
  }
  await mesh.go(Promise.all(calls))
  t.is((await mesh.go(caller.stage.actor('counters.1')['get']()) as [number])[0], made)
})

test('a turn of a stage that closes may call the other actors of that stage, and be called back', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 2 })
  const a = await mesh.add('a', counters(mesh))
  const caller = await mesh.add('caller')
  for (const id of ['counters.1', 'counters.2']) await mesh.go(caller.stage.actor(id)['add']())
  const call = caller.stage.actor('counters.1')['other']('counters.2', 'slow', 400)
  await mesh.clock.advance(20)
  const closing = a.stage.close()
  t.is(await mesh.go(call), 2)
  await mesh.go(closing)
  const b = await mesh.add('b', counters(mesh))
  t.deepEqual(await mesh.go(b.stage.actor('counters.2')['get']()), [2, ['', '']])
})

test('the last host of a type leaves: its calls wait for another one, and fail with their deadlines', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 2 })
  const a = await mesh.add('a', counters(mesh))
  const caller = await mesh.add('caller')
  await mesh.go(caller.stage.actor('counters.1')['add']())
  await mesh.go(a.stage.close())
  const short = caller.stage.actor('counters.1', { timeoutMs: 500 })['add']()
  const long = caller.stage.actor('counters.1', { timeoutMs: 20_000 })['add']()
  await mesh.fails(short, 'NO_SUCH_ACTOR', 'no')
  await mesh.clock.advance(3000)
  await mesh.add('b', counters(mesh))
  t.is(await mesh.go(long), 2)
})

test('a stage that comes back under the same name takes nothing from who has the actors by then', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 2 })
  const { caller, victim, theirs } = await scene(mesh)
  mesh.crash(victim)
  await answered(mesh, caller, theirs)
  const back = await mesh.add(victim.stage.name, counters(mesh))
  for (const id of theirs) t.not(await mesh.go(caller.stage.actor(id)['where']()), back.stage.name)
  t.deepEqual(back.stage.actors(), [])
})
