/** What define(), host(), actor() and observe() accept, and what they say of the rest. */
import test from 'ava'
import { StageError, type Self, type Stage } from '../../src/index.js'
import { actorMesh } from '../helpers/actors.js'
import { virtualMesh } from '../helpers/mesh.js'

class Thing {
  constructor(public params: Record<string, string>) {}
  where() { return this.params }
}

const create = (): object => ({})

test('a type that is not in order is a TypeError that says what is wrong with it', (t) => {
  const stage = virtualMesh(t).stage('a', { store: undefined })
  const cases: [unknown, RegExp][] = [
    [undefined, /undefined/],
    [null, /null/],
    ['things.{id}', /things/],
    [{ pattern: 'x.{id}' }, /constructor or create/],
    [{ pattern: 'x.{id}', constructor: Thing, create }, /constructor or create/],
    [{ pattern: 'x.{id}', constructor: 5 }, /5/],
    [{ pattern: 'x.{id}', constructor: null }, /null/],
    [{ pattern: 'x.{id}', create: 'Thing' }, /Thing/],
    [{ constructor: Thing }, /pattern/],
    [{ pattern: 5, constructor: Thing }, /5/],
    [{ pattern: '', constructor: Thing }, /pattern/],
    [{ pattern: 'x..y', constructor: Thing }, /part/],
    [{ pattern: '.x', constructor: Thing }, /part/],
    [{ pattern: 'x.{id', constructor: Thing }, /part/],
    [{ pattern: 'x.{}', constructor: Thing }, /part/],
    [{ pattern: 'x.{1d}', constructor: Thing }, /part/],
    [{ pattern: 'x.a{id}', constructor: Thing }, /part/],
    [{ pattern: 'x.{id}.{id}', constructor: Thing }, /two parameters named id/],
    [{ pattern: 'x\n.{id}', constructor: Thing }, /part/],
    [{ pattern: Array.from({ length: 17 }, (_, i) => `p${i}`).join('.'), constructor: Thing }, /17 parts/],
    [{ pattern: `${'x'.repeat(600)}.{id}`, constructor: Thing }, /512 bytes/],
    [{ pattern: 'x.{__proto__}', constructor: Thing }, /__proto__/],
    [{ pattern: 'x.{id}', constructor: Thing, durrable: true }, /durrable/],
    [{ pattern: 'x.{id}', constructor: Thing, durable: 'hp' }, /durable/],
    [{ pattern: 'x.{id}', constructor: Thing, durable: [5] }, /durable/],
    [{ pattern: 'x.{id}', constructor: Thing, durable: ['self'] }, /durable/],
    [{ pattern: 'x.{id}', constructor: Thing, durable: ['__proto__'] }, /durable/],
    [{ pattern: 'x.{id}', constructor: Thing, commit: 'never' }, /commit/],
    [{ pattern: 'x.{id}', constructor: Thing, placement: 'here' }, /placement/],
    [{ pattern: 'x.{id}', constructor: Thing, migrate: 'up' }, /migrate/],
    [{ pattern: 'x.{id}', constructor: Thing, readonly: 'peek' }, /readonly/],
    [{ pattern: 'x.{id}', constructor: Thing, readonly: ['_peek'] }, /_peek/],
    [{ pattern: 'x.{id}', constructor: Thing, readonly: ['constructor'] }, /constructor/],
    [{ pattern: 'x.{id}', constructor: Thing, reentrant: 'yes' }, /reentrant/],
    [{ pattern: 'x.{id}', constructor: Thing, share: 1 }, /share/],
  ]
  for (const name of ['version', 'idleMs', 'maxActors', 'mailbox', 'slowTurnMs']) {
    for (const value of [0, -1, NaN, '5', null, {}, 5n]) cases.push([{ pattern: 'x.{id}', constructor: Thing, [name]: value }, new RegExp(name)])
  }
  for (const name of ['version', 'maxActors', 'mailbox']) cases.push([{ pattern: 'x.{id}', constructor: Thing, [name]: 1.5 }, new RegExp(name)])
  cases.push([{ pattern: 'x.{id}', constructor: Thing, version: Infinity }, /version/])
  for (const [given, message] of cases) {
    const error = t.throws(() => stage.define(given as never), { instanceOf: TypeError }, String(message))
    t.regex(error?.message ?? '', message)
  }
})

test('what inherits its constructor is no class of actors: a type needs one of its own', (t) => {
  const stage = virtualMesh(t).stage('a')
  const error = t.throws(() => stage.define(Object.create({ constructor: Thing, pattern: 'x.{id}' }) as never), { instanceOf: TypeError })
  t.regex(error?.message ?? '', /constructor or create/)
})

test('a stage whose registry brings no store cannot host actors, and says so', async (t) => {
  const { stage } = virtualMesh(t)
  const bare = { address: 'bare:', publish: () => new Promise<never>(() => {}), watch: async function* () { await new Promise(() => {}) }, close: async () => {} }
  const a = stage('a', { store: bare as never })
  const error = t.throws(() => a.define({ pattern: 'x.{id}', constructor: Thing }), { instanceOf: TypeError })
  t.regex(error?.message ?? '', /store/)
})

test('two types whose patterns share an address are refused, others are not', async (t) => {
  const { add, go } = actorMesh(t)
  const { stage } = await add('a', (one) => one
    .define({ pattern: 'rooms.{room}.seats.{n}', constructor: Thing })
    .define({ pattern: 'rooms.{room}', constructor: Thing })
    .define({ pattern: 'halls.main', constructor: Thing }))
  for (const pattern of ['rooms.{other}', 'rooms.lobby', '{kind}.{id}', '{a}.lobby.seats.{b}', 'halls.main', 'halls.{id}']) {
    const error = t.throws(() => stage.define({ pattern, constructor: Thing }), { instanceOf: TypeError }, pattern)
    t.regex(error?.message ?? '', /overlaps/)
  }
  stage.define({ pattern: 'halls.main.{x}', constructor: Thing }).define({ pattern: 'rooms', constructor: Thing })
  t.deepEqual(await go(stage.actor<Thing>('rooms.lobby.seats.4').where()), { room: 'lobby', n: '4' })
  t.deepEqual(await go(stage.actor<Thing>('rooms').where()), {})
})

test('types of two stages that overlap are said once on each, and not those that are the same', async (t) => {
  const { add, clock } = actorMesh(t)
  const prepare = (...patterns: string[]) => (stage: Stage): void => { for (const pattern of patterns) stage.define({ pattern, constructor: Thing }) }
  const a = await add('a', prepare('rooms.{room}', 'halls.{id}', 'yards.{id}'))
  const b = await add('b', prepare('rooms.{other}', 'halls.main', 'yards.{id}'))
  await clock.advance(1000)
  const told = (errors: readonly string[]): string[] => errors.filter((one) => one.includes('overlaps')).map((one) => one.replace(/ \(.*?\)/, '').replace(/:.*/, ''))
  t.deepEqual(told(a.errors), ['b hosts halls.main, which overlaps halls.{id} of this stage'])
  t.deepEqual(told(b.errors), ['a hosts halls.{id}, which overlaps halls.main of this stage'])
})

test('the address of an actor: parts between dots, at most 512 bytes, and nothing that cannot be read', async (t) => {
  const { add, go, fails } = actorMesh(t)
  const { stage } = await add('a', (one) => one.define({ pattern: 'things.{id}', constructor: Thing }))
  const bad = ['', '.', 'things.', '.x', 'things..x', 'things.{id}', 'things.a}b', 'things.a\nb', 'things.\0', 'things.\x7f', 'things.\ud800', 'things.*', 'things.a?', '*', `things.${'x'.repeat(506)}`, `things.${'é'.repeat(253)}`, 5, null, undefined, {}, ['things.1'], Symbol('x')]
  for (const address of bad as string[]) {
    for (const use of [() => stage.actor(address), () => stage.observe(address, ['x']), () => stage.host(address, {}), () => stage.explain(address)]) {
      let thrown: unknown
      try {
        await use()
      } catch (error) {
        thrown = error
      }
      t.true(thrown instanceof StageError && thrown.code === 'BAD_NAME' && thrown.executed === 'no', `${String(address)}: ${String(thrown)}`)
    }
  }
  for (const id of ['x'.repeat(505), 'é'.repeat(252), 'a b', 'a/b', '日本', '__proto__', 'constructor', "'; drop table", '\u2028x'.slice(1), '🙂']) {
    t.deepEqual(await go(stage.actor<Thing>(`things.${id}`).where()), { id }, id)
  }
  await fails(stage.actor<Thing>('things.a.b', { timeoutMs: 200 }).where(), 'NO_SUCH_ACTOR', 'no')
})

test('an actor of an ES5 constructor, of a function that makes objects, and methods among own properties', async (t) => {
  const { add, go, fails } = actorMesh(t, { latencyMs: 1 })
  interface Old { n: number; add(by: number): number }
  const Old = function (this: Old) { this.n = 1 } as unknown as new () => Old
  Old.prototype = { add(this: Old, by: number) { return this.n += by } } as Old
  class Arrow {
    n = 1
    add = (by: number): number => this.n += by
    _hidden = (): number => this.n
  }
  const made: [Record<string, string>, string][] = []
  const a = await add('a', (one) => one
    .define({ pattern: 'old.{id}', constructor: Old, durable: true })
    .define({ pattern: 'arrow.{id}', constructor: Arrow, durable: true })
    .define({
      pattern: 'made.{id}.{part}', durable: true,
      create: (params, self: Self) => {
        made.push([params, self.address])
        return { n: 1, add(by: number) { return this.n += by } }
      },
    }))
  const b = await add('b')
  for (const address of ['old.1', 'arrow.1', 'made.1.x']) {
    const actor = b.stage.actor<Old>(address)
    t.is(await go(actor.add(2)), 3, address)
    t.is(await go(a.stage.actor<Old>(address).add(2)), 5, address)
    t.is(await go(Promise.resolve(actor.n)), 5, address)
  }
  t.deepEqual(made, [[{ id: '1', part: 'x' }, 'made.1.x']])
  await fails(b.stage.actor('arrow.1')['add2'](), 'NO_SUCH_METHOD')
  await go(a.stage.close())
  const c = await add('c', (one) => one.define({ pattern: 'arrow.{id}', constructor: Arrow, durable: true }))
  t.is(await go(c.stage.actor<Old>('arrow.1').add(1)), 6, 'a function among its properties is not kept, and is there again')
})

test('create that makes no object, or a promise, fails its calls and says why', async (t) => {
  const { add, fails } = actorMesh(t)
  const frozen = Object.freeze({ n: 1 })
  const { stage } = await add('a', (one) => one
    .define({ pattern: 'none.{id}', create: (() => undefined) as never })
    .define({ pattern: 'number.{id}', create: (() => 5) as never })
    .define({ pattern: 'promise.{id}', create: async () => ({ f: () => 1 }) })
    .define({ pattern: 'frozen.{id}', create: () => frozen }))
  for (const [address, why] of [['none.1', /undefined/], ['number.1', /5/], ['promise.1', /promise/], ['frozen.1', /not extensible/]] as const) {
    const error = await fails(stage.actor(address)['f'](), 'REMOTE_ERROR', 'no')
    t.regex(error.message, why)
  }
  t.deepEqual(stage.actors(), [])
})

test('options of actor() and observe() that are not in order', async (t) => {
  const { add } = actorMesh(t)
  const { stage } = await add('a')
  for (const timeoutMs of [0, -1, NaN, Infinity, '5'] as number[]) {
    t.is(t.throws<StageError>(() => stage.actor('x.1', { timeoutMs }), { instanceOf: StageError })?.code, 'BAD_ARGUMENT')
    t.is(t.throws<StageError>(() => stage.observe('x.1', ['a'], { timeoutMs }), { instanceOf: StageError })?.code, 'BAD_ARGUMENT', 'observe')
  }
  t.is(t.throws<StageError>(() => stage.actor('x.1', { signal: {} as AbortSignal }), { instanceOf: StageError })?.code, 'BAD_ARGUMENT')
  t.is(t.throws<StageError>(() => stage.observe('x.1', ['a'], { signal: {} as AbortSignal }), { instanceOf: StageError })?.code, 'BAD_ARGUMENT')
  t.throws(() => stage.actor('x.1', { timeout: 5 } as never), { instanceOf: TypeError })
  t.throws(() => stage.observe('x.1', ['a'], { every: true } as never), { instanceOf: TypeError })
  for (const names of [undefined, null, 'hp', [], [5], ['']] as unknown as string[][]) t.throws(() => stage.observe('x.1', names), { instanceOf: StageError })
  t.is(t.throws<StageError>(() => stage.observe('x.1', ['a'], { mode: 'some' as never }), { instanceOf: StageError })?.code, 'BAD_ARGUMENT')
})
