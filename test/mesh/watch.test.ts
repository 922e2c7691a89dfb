/** When the registry is asked, and how often. */
import { AsyncLocalStorage } from 'node:async_hooks'
import test, { type ExecutionContext } from 'ava'
import { MemoryInterface, MemoryNetwork, MemoryRegistry, Stage, StageError, type StageOptions } from '../../src/index.js'
import type { Entry, View } from '../../src/types.js'
import { Directory } from '../../src/directory.js'
import { Lagging } from '../helpers/lagging.js'
import { advance, seeded, virtualMesh } from '../helpers/mesh.js'
import { CALL } from '../helpers/mallory.js'
import { Raw, tcpMesh } from '../helpers/raw-peer.js'
import { until } from '../helpers/until.js'
import { VirtualClock, settle } from '../helpers/virtual-clock.js'

// What a stage knows of the registry, and when it asks: a view is awaited before somebody is said not to be there.

let rooms = 0

/** Stages on a clock that stands still, each with a way of its own to the registry. */
function scene(t: ExecutionContext, lagMs = 0) {
  const clock = new VirtualClock()
  const network = new MemoryNetwork({ clock, random: seeded(1) })
  const room = `watch-${process.pid}-${++rooms}`
  const stages: Stage[] = []
  t.teardown(() => advance(clock, Promise.all(stages.map((one) => one.close())), 30_000))
  return {
    clock,
    stage(name: string, options: StageOptions = {}): { stage: Stage; registry: Lagging } {
      const registry = new Lagging(new MemoryRegistry(room, { clock, random: seeded(name) }), clock, lagMs)
      const stage = new Stage(name, registry, new MemoryInterface(network, { clock }), { ...options, clock, random: seeded(`${name} ${rooms}`) } as StageOptions)
      stages.push(stage)
      return { stage, registry }
    },
  }
}

async function answers(from: Stage, to: string, options: { timeoutMs?: number } = {}): Promise<unknown[]> {
  const found: unknown[] = []
  for await (const { error, value } of from.to(to, options).callAll('name')) found.push(error?.code ?? value)
  return found.sort()
}

/** Each way to ask for nobody, and what it answers from memory. */
const questions: Record<string, { ask(from: Stage, timeoutMs: number): Promise<unknown>; answer: unknown }> = {
  callAll: { ask: (from, timeoutMs) => answers(from, 'nobody', { timeoutMs }), answer: [] },
  'callAll of all': { ask: (from, timeoutMs) => answers(from, '*', { timeoutMs }), answer: ['a'] },
  'the callback form': { ask: (from, timeoutMs) => new Promise((resolve) => { from.to('nobody', { timeoutMs }, (error) => resolve(error?.code)) }), answer: 'NO_SUCH_PEER' },
  each: { ask: async (from) => { let count = 0; await from.each('nobody', () => count++); return count }, answer: 0 },
}

test('looks: a burst of questions shares one, and a loop asks 20 times a second at most', async (t) => {
  const { clock, stage } = scene(t)
  const { stage: a, registry } = stage('a')
  a.to('*').provide('name', () => 'a')
  await advance(clock, a.ready())
  await clock.advance(1000)
  const before = registry.watches.length
  for (let i = 0; i < 300; i++) a.to('nobody').cast('line')
  const asked = Object.values(questions).flatMap(({ ask }) => [ask(a, 10_000), ask(a, 10_000)])
  const call = a.to('nobody', { timeoutMs: 100 }).call('f').catch((error: StageError) => error.code)
  await settle()
  await Promise.all(asked)
  t.is(await advance(clock, call), 'NO_SUCH_PEER')
  t.is(registry.watches.length, before + 1)
  await clock.advance(1000)
  for (const question of ['cast', ...Object.keys(questions)]) {
    registry.watches.length = 0
    const until = clock.now() + 3000
    let rounds = 0
    const loop = (async () => {
      for (; clock.now() < until; rounds++) {
        if (question === 'cast') {
          a.to('nobody').cast('line')
          await new Promise<void>((resolve) => { clock.setTimeout(resolve, 1) })
        } else await questions[question].ask(a, 10_000)
      }
    })()
    await advance(clock, loop, 4000, 1)
    const gaps = registry.watches.slice(1).map((at, i) => at - registry.watches[i])
    t.true(Math.min(...gaps) >= 50, `${question}: ${gaps.slice(0, 9).join()}`)
    t.true(registry.watches.length >= 55 && rounds >= 55, `${question}: ${registry.watches.length} looks, ${rounds} rounds`)
    await clock.advance(1000)
  }
  t.is(registry.open, 1, 'of all watches one goes on')
})

test('where another match is known nothing is asked', async (t) => {
  const { clock, stage } = scene(t)
  const { stage: a, registry } = stage('a')
  const { stage: b } = stage('b')
  for (const one of [a, b]) one.to('*').provide('name', () => one.name)
  await advance(clock, Promise.all([a.ready(), b.ready()]))
  await advance(clock, a.to('b').call('name'))
  await clock.advance(1000)
  const before = registry.watches.length
  a.to('*').cast('line')
  const asked = [answers(a, '*'), answers(a, 'b'), a.to('b').call('name'), a.to('a').call('name'), a.to('*').call('name'), a.each('*', () => {}), answers(b, 'a')]
  await settle()
  t.deepEqual(await Promise.all(asked.slice(0, 2)), [['a', 'b'], ['b']])
  await advance(clock, Promise.all(asked))
  t.is(registry.watches.length, before)
})

test('a list is asked for where one of those on it is not known', async (t) => {
  const { clock, stage } = scene(t, 500)
  const { stage: a } = stage('a')
  const { stage: b } = stage('b')
  for (const one of [a, b]) one.to('*').provide('name', () => one.name)
  await advance(clock, Promise.all([a.ready(), b.ready(), a.each('b', () => {})]))
  const { stage: c } = stage('c')
  c.to('*').provide('name', () => 'c')
  await settle(10)
  t.deepEqual(a.peers().map((one) => one.name), ['b'])
  const found: unknown[] = []
  await advance(clock, (async () => { for await (const { value } of a.to(['a', 'b', 'c']).callAll('name')) found.push(value) })())
  t.deepEqual(found.sort(), ['a', 'b', 'c'])
})

test('who waits for a peer has the registry asked: calls, streams, a method that only another one has, actors', async (t) => {
  const waits: Record<string, (a: Stage) => Promise<unknown>> = {
    'a call': (a) => a.to('b', { timeoutMs: 100 }).call('name'),
    'a stream': (a) => new Promise((resolve, reject) => { a.to('b', { timeoutMs: 100 }).on('data', resolve).on('error', reject) }),
    'methods()': (a) => a.to('b', { timeoutMs: 100 }).methods(),
    'a method that this stage has not': (a) => a.to('*', { timeoutMs: 100 }).call('name'),
    'an actor': (a) => a.actor<Thing>('things.1', { timeoutMs: 100 }).hi(),
    'an actor that somebody waits for already': (a) => a.actor<Thing>('things.1', { timeoutMs: 100 }).hi(),
    'where an actor lives': async (a) => (await a.explain('things.2')).owner?.name,
  }
  const found: Record<string, unknown> = {}
  for (const [title, wait] of Object.entries(waits)) {
    const { clock, stage } = scene(t, 5000)
    const { stage: a } = stage('a')
    await advance(clock, a.ready())
    const already = title.endsWith('already') ? a.actor<Thing>('things.1', { timeoutMs: 60_000 }).hi() : undefined
    await clock.advance(10_000)
    const { stage: b } = stage('b')
    b.to('*').provide('name', () => 'b')
    b.on('stream', (other) => other.end('b'))
    b.define({ pattern: 'things.{id}', constructor: Thing })
    await advance(clock, b.actor<Thing>('things.2').hi())
    t.deepEqual(a.peers(), [])
    found[title] = await advance(clock, wait(a).then(String, (error: StageError) => error.message), 1000, 10)
    await already
  }
  t.deepEqual(found, { 'a call': 'b', 'a stream': 'b', 'methods()': 'name', 'a method that this stage has not': 'b', 'an actor': 'hi', 'an actor that somebody waits for already': 'hi', 'where an actor lives': 'b' })
})

class Thing {
  hi(): string { return 'hi' }
}

test('a registry that does not answer delays what is known by no more than its deadline allows', async (t) => {
  const { clock, stage } = scene(t)
  for (const [title, { ask, answer }] of Object.entries(questions)) {
    const { stage: a, registry } = stage('a', { namespace: title.replaceAll(' ', '-') })
    a.to('*').provide('name', () => 'a')
    await advance(clock, a.ready())
    await clock.advance(1000)
    registry.way = 'silent'
    for (const [timeoutMs, limit] of title === 'each' ? [[10_000, 2050]] : [[200, 200], [10_000, 2050]]) {
      const began = clock.now()
      const waited = async (): Promise<void> => {
        t.deepEqual(await ask(a, timeoutMs), answer, title)
        t.true(clock.now() - began <= limit, `${title}: ${clock.now() - began} ms of ${timeoutMs}`)
      }
      const asked = [waited()]
      await clock.advance(limit / 2)
      if (limit > 1000) asked.push(waited()) // a look that was begun before it is no answer, but says as much
      await advance(clock, Promise.all(asked), 20_000, 10)
      await clock.advance(5000)
    }
    const later = await Promise.race([ask(a, 10_000), settle(10).then(() => 'waits')])
    t.deepEqual(later, answer, 'after one look without an answer nobody waits for the next')
    registry.way = 'fresh'
    await clock.advance(3000)
    await advance(clock, ask(a, 10_000), 100, 10)
    await clock.advance(3000)
    const { watches } = registry
    t.is(registry.open, 1, `${title}: of ${watches.length} watches one goes on`)
    await advance(clock, a.close())
    t.deepEqual([registry.open, a.stats()['waiting']], [0, 0])
  }
  t.is(clock.pending, 0)
})

test('a stage closes while it asks', async (t) => {
  const { clock, stage } = scene(t)
  const { stage: a, registry } = stage('a')
  await advance(clock, a.ready())
  await clock.advance(1000)
  await registry.store(a.namespace).claim('things.1', { stage: 'unknown', activation: 'first' })
  registry.way = 'silent'
  const asked = [...Object.values(questions).map(({ ask }) => ask(a, 10_000)), a.to('nobody').call('f'), a.explain('things.1')].map((one) => one.catch((error: StageError) => error.code))
  await settle()
  t.is(registry.open, 2)
  const began = clock.now()
  await advance(clock, a.close())
  await Promise.all(asked)
  t.true(clock.now() - began < 500)
  t.deepEqual([registry.open, clock.pending, a.stats()['waiting']], [0, 0, 0])
})

test('P5: while the registry is away the last view counts, without an error or a wait', async (t) => {
  const { clock, stage } = scene(t)
  const { stage: a, registry } = stage('a')
  const { stage: b } = stage('b')
  for (const one of [a, b]) one.to('*').provide('name', () => one.name)
  await advance(clock, Promise.all([a.ready(), b.ready(), a.to('b').call('name')]))
  await clock.advance(1000)
  const told: string[] = []
  a.on('part', (peer) => told.push(peer.name)).on('error', (error) => told.push(error.message))
  registry.way = 'away'
  for (let i = 0; i < 3; i++) {
    for (const [title, { ask, answer }] of Object.entries(questions)) {
      const began = clock.now()
      t.deepEqual(await advance(clock, ask(a, 10_000), 1000, 10), title === 'callAll of all' ? ['a', 'b'] : answer)
      t.true(clock.now() - began <= 60)
    }
  }
  t.is(await advance(clock, a.to('b').call('name')), 'b')
  t.deepEqual([told, registry.open], [[], 1])
})

test('a registry that is back is asked at once, not with the next try', async (t) => {
  const { clock, stage } = scene(t)
  const { stage: a, registry } = stage('a')
  const failing = new MemoryRegistry(registry.address.slice('memory:'.length), { clock })
  t.teardown(() => failing.close())
  await advance(clock, a.ready())
  failing.fail(true)
  await clock.advance(12_000)
  failing.fail(false)
  const { stage: b } = stage('b')
  b.to('*').provide('name', () => 'b')
  await advance(clock, b.ready())
  t.deepEqual(await advance(clock, answers(a, 'b'), 100, 10), ['b'])
  await clock.advance(6000)
  t.is(registry.open, 1)
})

test('ready() resolves when the stage has seen itself in the registry, and says why it has not', async (t) => {
  const { clock, stage } = scene(t)
  const { stage: b, registry } = stage('b')
  registry.way = 'silent'
  const began = clock.now()
  const slow = await t.throwsAsync(advance(clock, b.ready()), { instanceOf: StageError, code: 'REGISTRY_UNAVAILABLE' })
  t.regex(slow.message, /lists b, but its watch has not shown/)
  t.true(clock.now() - began <= 6000)
  registry.way = 'fresh'
  await advance(clock, b.ready())

  const { stage: c, registry: away } = stage('c')
  away.way = 'away'
  await t.throwsAsync(advance(clock, c.ready(), 1000), { message: 'the registry of this test is away' })
  away.way = 'fresh'
  await advance(clock, c.ready())

  const { stage: d, registry: closing } = stage('d')
  closing.way = 'silent'
  const ready = t.throwsAsync(d.ready(), { instanceOf: StageError, code: 'CLOSED' })
  await clock.advance(100)
  await advance(clock, d.close())
  await ready
})

test('ready() of a stage that lost its lease speaks of its new id, and the stage works', async (t) => {
  const { clock, stage, cutOff } = virtualMesh(t)
  const [a, b] = [stage('a'), stage('b')]
  for (const one of [a, b]) one.to('*').provide('name', () => one.name)
  await advance(clock, Promise.all([a.ready(), b.ready()]))
  const { id } = b
  cutOff(b, true)
  await clock.advance(20_000)
  cutOff(b, false)
  await clock.advance(2000)
  await advance(clock, b.ready())
  t.not(b.id, id)
  t.deepEqual(await advance(clock, Promise.all([b.to('a').call('name'), answers(a, 'b'), answers(b, 'a')])), ['a', ['b'], ['a']])
})

test('P11: a cast that asks goes before the call that is made after it', async (t) => {
  const { clock, stage } = scene(t, 5000)
  const { stage: a } = stage('a')
  await advance(clock, a.ready())
  const { stage: b } = stage('b')
  const got: number[] = []
  b.to('*').provide('line', (n: number) => { got.push(n) })
  await advance(clock, b.ready())
  let last: Promise<unknown> | undefined
  for (let i = 0; i < 6; i++) {
    if (i % 2 === 0) a.to('b').cast('line', i)
    else last = a.to('b').call('line', i)
    await settle(1)
  }
  await advance(clock, last!, 1000, 10)
  t.deepEqual(got, [0, 1, 2, 3, 4, 5])
})

test('what a look finds is told as always, outside of the context of who asked', async (t) => {
  const { clock, stage } = scene(t, 5000)
  const { stage: a } = stage('a')
  await advance(clock, a.ready())
  const context = new AsyncLocalStorage<string>()
  const told: unknown[] = []
  a.on('join', (peer) => told.push(peer.name, context.getStore()))
  const { stage: b } = stage('b')
  await advance(clock, b.ready())
  await clock.advance(1000)
  await advance(clock, context.run('of who asked', () => a.each('b', () => {})), 100, 10)
  t.deepEqual(told, ['b', undefined])
  const { stage: c } = stage('c')
  await advance(clock, c.ready())
  await clock.advance(6000)
  t.deepEqual(told, ['b', undefined, 'c', undefined], 'nor does what the watch brings later')
})

test('nobody hears of half a view', async (t) => {
  const { clock, stage } = scene(t, 1000)
  const { stage: a } = stage('a')
  await advance(clock, a.ready())
  const seen: number[] = []
  a.on('join', () => seen.push(a.peers().length))
  const others = ['b', 'c', 'd'].map((name) => stage(name).stage)
  for (const one of others) one.to('*').provide('name', () => one.name)
  await advance(clock, Promise.all(others.map((one) => one.ready())))
  t.deepEqual(await advance(clock, answers(a, '?')), ['NO_SUCH_METHOD', 'b', 'c', 'd'])
  t.deepEqual(seen, [3, 3, 3])
})

test('calls never go to who merely calls itself so', async (t) => {
  const mesh = tcpMesh(t)
  const api = await mesh.stage('api')
  const raw = await Raw.join(t, api.address, { name: 'db' })
  await until(() => api.links().length === 1)
  t.is(api.links()[0].peer.name, 'db')
  const claimed = async (): Promise<void> => {
    api.to('db').cast('line')
    t.deepEqual(await answers(api, 'db'), [])
    await t.throwsAsync(api.to('db', { timeoutMs: 200 }).call('f'), { instanceOf: StageError, code: 'NO_SUCH_PEER' })
    t.deepEqual(raw.messages.filter(({ type }) => type === CALL), [])
  }
  await claimed()
  mesh.list({ id: raw.id, name: 'db', addresses: [] })
  const call = api.to('db', { timeoutMs: 500 }).call('f').catch(() => {})
  await until(() => raw.messages.some(({ type }) => type === CALL))
  await call
})

// ── the order of views ──────────────────────────────────────────────────────────────────────────────────────────

const entry = (name: string): Entry => ({ id: `id-of-${name}`, name, namespace: 'default', addresses: [], unique: false, draining: false, ttlMs: 15_000, announces: {}, meta: {} })

/** A directory whose watches say what the test makes them say. */
function told(t: ExecutionContext) {
  const clock = new VirtualClock()
  const events: string[] = []
  const watches: { show(...names: string[]): Promise<void>; fail(): Promise<void>; ended: boolean }[] = []
  const directory = new Directory({
    registry: {
      address: 'own:', publish: () => Promise.reject(new Error('unused')), close: () => Promise.resolve(),
      async *watch(_namespace, signal): AsyncGenerator<View> {
        const queue: (View | Error)[] = []
        let wake = (): void => {}
        const put = async (what: View | Error): Promise<void> => { queue.push(what); wake(); await settle() }
        const own = {
          ended: false,
          show: (...names: string[]) => put({ generation: '1', entries: names.map(entry), lapsed: [] }),
          fail: () => put(new Error('away')),
        }
        watches.push(own)
        signal.addEventListener('abort', () => wake())
        try {
          while (!signal.aborted) {
            const next = queue.shift()
            if (next instanceof Error) throw next
            if (next) yield next
            else await new Promise<void>((resolve) => { wake = resolve })
          }
        } finally {
          own.ended = true
        }
      },
    },
    clock, random: seeded(1), namespace: 'default', who: 'test', own: (id) => id === 'id-of-self',
    onjoin: ({ name }) => events.push(`+${name}`), onpart: ({ name }) => events.push(`-${name}`),
    onupdate: () => {}, onzombie: () => {}, onforgot: () => {}, onchange: () => {}, onlook: () => {}, onerror: () => {},
  })
  directory.start()
  t.teardown(() => directory.close())
  return { clock, directory, events, watches }
}

test('an older view that comes after that of a look undoes nothing', async (t) => {
  const { directory, events, watches } = told(t)
  await watches[0].show('b')
  const number = directory.look()
  await settle()
  await watches[1].show('b', 'c')
  t.true(directory.looked >= number)
  await watches[0].show('b')
  t.deepEqual(events, ['+b', '+c'])
  t.true(watches[0].ended)
  await watches[1].show('c')
  t.deepEqual(events, ['+b', '+c', '-b'])
})

test('nor does the view of a look that was read before what came meanwhile', async (t) => {
  const { directory, events, watches } = told(t)
  await watches[0].show('b')
  directory.look()
  await settle()
  await watches[0].show('b', 'c') // read after the look's, and here before it
  await watches[1].show('b')
  await watches[1].show('b', 'c')
  t.deepEqual(events, ['+b', '+c'])
})

test('what came during a look is shown when the look fails, or takes too long', async (t) => {
  const { clock, directory, events, watches } = told(t)
  await watches[0].show('b')
  const first = directory.look()
  await settle()
  await watches[0].show('b', 'c')
  t.deepEqual(events, ['+b'])
  await watches[1].fail()
  t.deepEqual(events, ['+b', '+c'])
  t.true(directory.looked >= first)
  await clock.advance(100)
  directory.look()
  await settle()
  await watches[0].show('b', 'c', 'd')
  await clock.advance(3000)
  t.deepEqual(events, ['+b', '+c', '+d'])
  t.true(watches[2].ended)
  await watches[0].show('b', 'd')
  t.deepEqual(events, ['+b', '+c', '+d', '-c'])
  t.is(directory.failure, undefined)
})

test('a watch that fails during a look leaves its place to it', async (t) => {
  const { clock, directory, events, watches } = told(t)
  await watches[0].show('b')
  directory.look()
  await settle()
  await watches[0].fail()
  t.is(directory.failure?.message, 'away')
  await watches[1].show('b', 'c')
  t.is(directory.failure, undefined)
  await clock.advance(10_000)
  t.is(watches.length, 2, 'the failed one is not tried again')
  await watches[1].fail()
  await clock.advance(400)
  await watches[2].show('c')
  t.deepEqual(events, ['+b', '+c', '-b'])
})
