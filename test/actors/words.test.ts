/** What an error says: what the caller wrote, and no method of the library's own. */
import { Readable } from 'node:stream'
import test, { type ExecutionContext } from 'ava'
import type { Self, Stage, StageError } from '../../src/index.js'
import { actorMesh, away, forging, type ActorMesh, type Node } from '../helpers/actors.js'
import { nothingUnhandled } from '../helpers/unhandled.js'

nothingUnhandled(test)

const never = (): Promise<never> => new Promise(() => {})

const hosting = (stage: Stage): void => {
  stage.define({
    pattern: 'x.{id}', mailbox: 2, slowTurnMs: 100, idleMs: 600_000, durable: ['n'], create: (_, self: Self) => ({
      n: 1, odd: 1 as unknown, big: 1 as unknown,
      never, fail() { throw new Error('on purpose') }, odds: () => Symbol('x'), bigs: () => 'x'.repeat(5_000_000), stream: () => new Readable({ read() {} }),
      add() { return ++this.n },
      spoil() { this.odd = Symbol('x'); this.big = 'x'.repeat(5_000_000) },
      timer() { self.after(1, () => { throw new Error('on purpose') }); self.after(2, () => new Promise((resolve) => setImmediate(resolve))) },
      remind() { self.remind('soon', 'fail', { afterMs: 100 }) },
      hang() { self.after(1, never) },
    }),
  })
  stage.define({ pattern: 'broken.{id}', create: () => { throw new Error('on purpose') } })
  stage.define({ pattern: 'slow.{id}', create: () => ({ n: 1, activate: never, work() {} }) })
}

interface Place { mesh: ActorMesh; a: Node; b: Node; stage: Stage }
type Asked = Promise<unknown>
const get = (stage: Stage, address: string, name: string, options = {}): Asked => Promise.resolve(stage.actor(address, options)[name] as PromiseLike<unknown>)
const call = (stage: Stage, address: string, name: string, options = {}, ...args: unknown[]): Asked => stage.actor(address, options)[name](...args) as Asked
const watch = (stage: Stage, address: string, name: string, options = {}): Asked => stage.observe(address, [name], options).next()
const later = async <T>(mesh: ActorMesh, begin: () => T, ms = 50): Promise<T> => {
  const begun = begin()
  await mesh.clock.advance(ms)
  return begun
}
/** Something that keeps the actor busy. */
const busy = (place: Place, name = 'never'): Promise<unknown> => later(place.mesh, () => { void call(place.a.stage, 'x.1', name, { timeoutMs: 600_000 }).catch(() => {}) })
/** The link stands, and its owner says nothing more. */
const silent = async ({ mesh, a, b }: Place): Promise<void> => {
  await mesh.go(call(b.stage, 'x.1', 'add'))
  mesh.network.hold(a.address)
}

/** Each way to fail: what is asked, and what its error says; where nothing is said it is said elsewhere in the table. */
const WAYS: Record<string, { far?: true; code: string; says: RegExp; ask(place: Place): Asked | Promise<Asked> }> = {
  'a property, behind a turn': { code: 'TIMEOUT', says: /^reading n of x\.1 did not begin in time: queued for \d+ ms behind never\(\) of x\.1/, ask: async (place) => { await busy(place); return get(place.stage, 'x.1', 'n', { timeoutMs: 300 }) } },
  'a method, behind a turn': { code: 'TIMEOUT', says: /^add of x\.1 did not begin in time: queued for \d+ ms behind never\(\) of x\.1/, ask: async (place) => { await busy(place); return call(place.stage, 'x.1', 'add', { timeoutMs: 300 }) } },
  'a watch, behind a turn': { code: 'TIMEOUT', says: /^watching n of x\.1 did not begin in time: queued for \d+ ms behind never\(\) of x\.1/, ask: async (place) => { await busy(place); return watch(place.stage, 'x.1', 'n', { timeoutMs: 300 }) } },
  'a property, behind a timer': { code: 'TIMEOUT', says: /^reading n of x\.1 did not begin in time: queued for \d+ ms behind a timer of x\.1/, ask: async (place) => { await busy(place, 'hang'); return get(place.stage, 'x.1', 'n', { timeoutMs: 300 }) } },
  'a method that does not end': { code: 'TIMEOUT', says: /^never of x\.1 did not end in time/, ask: ({ stage }) => call(stage, 'x.1', 'never', { timeoutMs: 300 }) },
  'a property of one that is being made': { code: 'TIMEOUT', says: /^reading n of slow\.1 did not begin in time: .*activated/, ask: ({ stage }) => get(stage, 'slow.1', 'n', { timeoutMs: 300 }) },
  'a property of one that cannot be made': { code: 'REMOTE_ERROR', says: /^broken\.1 could not be activated/, ask: ({ stage }) => get(stage, 'broken.1', 'n') },
  'a watch of one that cannot be made': { code: 'REMOTE_ERROR', says: /^broken\.1 could not be activated/, ask: ({ stage }) => watch(stage, 'broken.1', 'n', { timeoutMs: 300 }) },
  'a property that cannot be sent': { code: 'BAD_ARGUMENT', says: /^the result of reading odd of x\.1 cannot be sent: .*symbol/, ask: async ({ mesh, stage }) => { await mesh.go(call(stage, 'x.1', 'spoil')); return get(stage, 'x.1', 'odd') } },
  'a property that is too large': { far: true, code: 'BAD_ARGUMENT', says: /^the result of reading big of x\.1 cannot be sent: /, ask: async ({ mesh, stage }) => { await mesh.go(call(stage, 'x.1', 'spoil')); return get(stage, 'x.1', 'big') } },
  'a result that cannot be sent': { code: 'BAD_ARGUMENT', says: /^the result of odds of x\.1 cannot be sent: .*symbol/, ask: ({ stage }) => call(stage, 'x.1', 'odds') },
  'a result that is too large': { far: true, code: 'BAD_ARGUMENT', says: /^the result of bigs of x\.1 cannot be sent: /, ask: ({ stage }) => call(stage, 'x.1', 'bigs') },
  'a watch of what cannot be sent': { code: 'BAD_ARGUMENT', says: /the property "odd"/, ask: async ({ mesh, stage }) => { await mesh.go(call(stage, 'x.1', 'spoil')); return watch(stage, 'x.1', 'odd') } },
  'a watch of what is too large': { code: 'BAD_ARGUMENT', says: /the property "big"/, ask: async ({ mesh, stage }) => { await mesh.go(call(stage, 'x.1', 'spoil')); return watch(stage, 'x.1', 'big') } },
  'an argument that cannot be sent': { code: 'BAD_ARGUMENT', says: /symbol/, ask: ({ stage }) => call(stage, 'x.1', 'add', {}, Symbol('x')) },
  'a method that throws': { code: 'REMOTE_ERROR', says: /^fail of x\.1 failed: on purpose/, ask: ({ stage }) => call(stage, 'x.1', 'fail') },
  'a property that is none': { code: 'NO_SUCH_PROPERTY', says: /^x\.1 has no public property "none"/, ask: ({ stage }) => get(stage, 'x.1', 'none') },
  'a watch of none': { code: 'NO_SUCH_PROPERTY', says: /^x\.1 has no public property "none"/, ask: ({ stage }) => watch(stage, 'x.1', 'none') },
  'a method that is none': { code: 'NO_SUCH_METHOD', says: /^x\.1 has no public method "none"/, ask: ({ stage }) => call(stage, 'x.1', 'none') },
  'a property whose signal fires': { code: 'CANCELLED', says: /^reading n of x\.1 was cancelled by its signal/, ask: async (place) => {
    await busy(place)
    const stop = new AbortController()
    const asked = get(place.stage, 'x.1', 'n', { signal: stop.signal })
    asked.catch(() => {})
    await place.mesh.clock.advance(50)
    stop.abort()
    return asked
  } },
  'a full mailbox': { code: 'OVERLOADED', says: /^2 calls are waiting for x\.1/, ask: async (place) => { await busy(place); await busy(place, 'add'); await busy(place, 'add'); return get(place.stage, 'x.1', 'n') } },
  'a watch at a full mailbox': { code: 'OVERLOADED', says: /^2 calls are waiting for x\.1/, ask: async (place) => { await busy(place); await busy(place, 'add'); await busy(place, 'add'); return watch(place.stage, 'x.1', 'n', { timeoutMs: 300 }) } },
  'an actor that nobody hosts': { code: 'NO_SUCH_ACTOR', says: /^no stage hosts nobody\.1/, ask: ({ stage }) => get(stage, 'nobody.1', 'n', { timeoutMs: 300 }) },
  'a watch of one that nobody hosts': { code: 'NO_SUCH_ACTOR', says: /^no stage hosts nobody\.1/, ask: ({ stage }) => watch(stage, 'nobody.1', 'n', { timeoutMs: 300 }) },
  'a store that is away': { code: 'STORE_UNAVAILABLE', says: /^(the store|add of|x\.1)/, ask: ({ a, stage }) => { a.shelf.trouble({ fail: away() }, 'claim'); return call(stage, 'x.1', 'add', { timeoutMs: 300 }) } },
  'a watch at a store that is away': { code: 'STORE_UNAVAILABLE', says: /x\.1/, ask: ({ a, stage }) => { a.shelf.trouble({ fail: away() }, 'claim'); return watch(stage, 'x.1', 'n', { timeoutMs: 300 }) } },
  'a stage that is closed': { code: 'CLOSED', says: /closed/, ask: async ({ mesh, stage }) => { await mesh.go(stage.close()); return get(stage, 'x.1', 'n') } },

  'a property of an owner that is silent': { far: true, code: 'TIMEOUT', says: /^reading n of x\.1 on a did not answer in time/, ask: async (place) => { await silent(place); return get(place.stage, 'x.1', 'n', { timeoutMs: 300 }) } },
  'a method of an owner that is silent': { far: true, code: 'TIMEOUT', says: /^add of x\.1 on a did not answer in time/, ask: async (place) => { await silent(place); return call(place.stage, 'x.1', 'add', { timeoutMs: 300 }) } },
  'a watch of an owner that is silent': { far: true, code: 'TIMEOUT', says: /^(watching n of x\.1 on a did not answer in time|x\.1 could not be watched within 300 ms)/, ask: async (place) => { await silent(place); return watch(place.stage, 'x.1', 'n', { timeoutMs: 300 }) } },
  'one that is sought at an owner that is silent': { far: true, code: 'TIMEOUT', says: /^reading n of x\.2 was not sent in time/, ask: async (place) => { await silent(place); return get(place.stage, 'x.2', 'n', { timeoutMs: 3000 }) } },
  'one that is sought for long at an owner that is silent': { far: true, code: 'TIMEOUT', says: /x\.2/, ask: async (place) => { await silent(place); return get(place.stage, 'x.2', 'n', { timeoutMs: 14_000 }) } },
  'a large argument that an owner does not read': { far: true, code: 'TIMEOUT', says: /^add of x\.1 waited until its deadline for a to read/, ask: async (place) => {
    await silent(place)
    for (let i = 0; i < 2; i++) void call(place.stage, 'x.1', 'add', {}, 'x'.repeat(2_000_000)).catch(() => {})
    return call(place.stage, 'x.1', 'add', { timeoutMs: 300 }, 'x'.repeat(2_000_000))
  } },
  'more than an owner reads': { far: true, code: 'OVERLOADED', says: /^a reads too slowly/, ask: async (place) => {
    await silent(place)
    for (let i = 0; i < 10; i++) void call(place.stage, 'x.1', 'add', {}, 'x'.repeat(2_000_000)).catch(() => {})
    return get(place.stage, 'x.1', 'n', { timeoutMs: 300 })
  } },
  'a link that breaks': { far: true, code: 'DISCONNECTED', says: /the link to a/, ask: async (place) => { await silent(place); const asked = get(place.stage, 'x.1', 'n'); asked.catch(() => {}); await place.mesh.clock.advance(20); place.mesh.network.cut(); return asked } },
  'a stream where there are too many': { far: true, code: 'OVERLOADED', says: /^the result of stream of x\.1 cannot be sent: 1000 streams are open to b/, ask: async (place) => { await streams(place); return call(place.stage, 'x.1', 'stream') } },
  'a watch where there are too many streams': { far: true, code: 'OVERLOADED', says: /^watching n of x\.1 failed: the result of watching cannot be sent: 1000 streams are open to b/, ask: async (place) => { await streams(place); return watch(place.stage, 'x.1', 'n', { timeoutMs: 300 }) } },
}

async function streams({ mesh, a, b }: Place): Promise<void> {
  a.stage.on('stream', (stream) => { stream.on('error', () => {}); stream.resume() })
  for (let i = 0; i < 1000; i++) {
    const stream = b.stage.to('a')
    stream.on('error', () => {})
    stream.write('x')
  }
  await mesh.clock.advance(500)
}

/** Whatever somebody may come to read of it. */
function said(error: unknown, depth = 0): string[] {
  if (!(error instanceof Error) || depth > 5) return []
  return [error.message, ...said(error.cause, depth + 1)]
}
const noneInner = (t: ExecutionContext, texts: readonly string[]): void => { for (const text of texts) t.notRegex(text, /@[a-z]/, 'it names a method of the library') }

for (const [what, { far, code, says, ask }] of Object.entries(WAYS)) {
  test(`an error says what was asked for: ${what}`, async (t) => {
    for (const from of far ? ['b'] : ['a', 'b']) {
      const mesh = actorMesh(t, { latencyMs: 1 })
      const a = await mesh.add('a', hosting)
      const b = await mesh.add('b')
      const asked = (async () => ask({ mesh, a, b, stage: from === 'a' ? a.stage : b.stage }))()
      const error = await mesh.fails(asked, code as StageError['code'])
      t.regex(error.message, says, from)
      noneInner(t, said(error))
      mesh.network.release()
      noneInner(t, [...a.errors, ...b.errors])
    }
  })
}

test('what a stage reports of timers, reminders and turns that fail or take long names no method of the library', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 1 })
  const a = await mesh.add('a', hosting)
  for (const name of ['timer', 'remind']) await mesh.go(call(a.stage, 'x.1', name))
  await mesh.go(call(a.stage, 'x.2', 'hang'))
  await mesh.clock.advance(20_000)
  const errors = a.errors.join('\n')
  t.true(a.failures.includes('a timer of x.1: on purpose'))
  t.true(a.failures.includes('the reminder soon of x.1: on purpose'))
  noneInner(t, a.failures)
  t.regex(errors, /^a timer of x\.2 has been running for/m)
  noneInner(t, a.errors)
})

test('a stage that hosts an actor, and serves nothing of the kind: its refusal names no method of the library', async (t) => {
  const mesh = actorMesh(t, { latencyMs: 1 })
  let id = ''
  const a = await mesh.add('a', undefined, { chain: forging({ types: ['x.{id}'], services: { '@locate': (_, __, answer) => answer(null, id) } }) })
  id = a.stage.id
  const b = await mesh.add('b')
  for (const ask of [get, call, watch]) noneInner(t, said(await mesh.fails(ask(b.stage, 'x.1', 'n', { timeoutMs: 500 }), 'NO_SUCH_METHOD')))
  const none = await mesh.add('none', undefined, { chain: forging({ types: ['y.{id}'] }) })
  noneInner(t, said(await mesh.fails(get(b.stage, 'y.1', 'n', { timeoutMs: 500 }), 'NO_SUCH_METHOD')))
  t.truthy(none)
})
