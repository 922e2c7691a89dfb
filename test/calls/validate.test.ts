/** Schemas around methods: of calls, casts and actors, here and from afar, by zod and by valibot. */
import { PassThrough, Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { setImmediate as turnOf } from 'node:timers/promises'
import type { StandardSchemaV1 } from '@standard-schema/spec'
import test, { type ExecutionContext } from 'ava'
import * as v from 'valibot'
import { z } from 'zod'
import { Stage, StageError, TcpInterface, actors, framing, method, msgpack, rpc, type Interceptor, type ProvideOptions, type StageOptions } from '../../src/index.js'
import { Writer } from '../../src/writer.js'
import type { Refs } from '../../wrappers/codec.js'
import { json } from '../../wrappers/json.js'
import { ERROR, RESULT, scene } from '../helpers/mallory.js'
import { nothingUnhandled } from '../helpers/unhandled.js'
import { until } from '../helpers/until.js'

nothingUnhandled(test)

const REF = 2, CAST = 3
const none: Refs = { give: () => 0, take: () => undefined }
const decoded = (bytes: Buffer): unknown => msgpack().decode(bytes, 0, bytes.length, none)
function encoded(value: unknown): Buffer {
  const writer = new Writer()
  msgpack().encode(value, writer, none)
  return writer.bytes.subarray(0, writer.at)
}

let places = 0

/** A stage that calls and one that is called. */
function pair(t: ExecutionContext, { carrier = 'memory', api: options }: { carrier?: 'tcp' | 'memory'; api?: StageOptions } = {}) {
  const place = `memory:validate-${++places}`
  const codec = (): ReturnType<typeof msgpack> => carrier === 'tcp' ? msgpack() : json()
  const [web, api] = ['web', 'api'].map((name) => new Stage(name, place, carrier === 'tcp' ? new TcpInterface() : undefined, { chain: [framing(), rpc({ codec: codec() }), actors()], ...(name === 'api' ? options : {}) }))
  t.teardown(() => Promise.all([web.close(), api.close()]))
  const errors: StageError[] = []
  api.on('error', (error) => errors.push(error as StageError))
  return { web, api, errors, began: [] as unknown[][] }
}

type Pair = ReturnType<typeof pair>

const failure = (promise: PromiseLike<unknown>): Promise<StageError> => Promise.resolve(promise).then((value) => { throw new Error(`it was answered: ${String(value)}`) }, (error: unknown) => error as StageError)

interface Library {
  name: string
  text: StandardSchemaV1
  /** A text, which becomes its length. */
  length: StandardSchemaV1
  number: StandardSchemaV1
  optional: StandardSchemaV1
  user: StandardSchemaV1
  /** A text that has more than one character, which is only known later. */
  later: StandardSchemaV1
  stream: StandardSchemaV1
  fn: StandardSchemaV1
  /** Numbers up to 9, as text. */
  small: StandardSchemaV1
  smallLater: StandardSchemaV1
}

const libraries: readonly Library[] = [
  {
    name: 'zod',
    text: z.string(), length: z.string().transform((one) => one.length), number: z.number(), optional: z.number().default(5),
    user: z.object({ name: z.string(), tags: z.array(z.string()) }),
    later: z.string().refine(async (one) => { await turnOf(); return one.length > 1 }, 'too short'),
    stream: z.instanceof(Readable), fn: z.custom((one) => typeof one === 'function'),
    small: z.number().max(9).transform(String), smallLater: z.number().refine(async (one) => { await turnOf(); return one < 10 }).transform(String),
  },
  {
    name: 'valibot',
    text: v.string(), length: v.pipe(v.string(), v.transform((one) => one.length)), number: v.number(), optional: v.optional(v.number(), 5),
    user: v.object({ name: v.string(), tags: v.array(v.string()) }),
    later: v.pipeAsync(v.string(), v.checkAsync(async (one) => { await turnOf(); return one.length > 1 }, 'too short')),
    stream: v.instance(Readable), fn: v.function(),
    small: v.pipe(v.number(), v.maxValue(9), v.transform(String)), smallLater: v.pipeAsync(v.number(), v.checkAsync(async (one) => { await turnOf(); return one < 10 }), v.transform(String)),
  },
]

/** A way in which methods can be called that have options. */
interface Way {
  name: string
  /** The arguments of each call are noted in `began`, and it answers with the first of them. */
  show(pair: Pair, methods: Readonly<Record<string, ProvideOptions>>): Promise<void>
  call(from: Stage, method: string, ...args: unknown[]): Promise<unknown>
  /** As messages name a method. */
  words(method: string): string
}

const go = (began: unknown[][]) => (...args: unknown[]): unknown => { began.push(args); return args[0] }
const object = (began: unknown[][], methods: object): object => Object.fromEntries(Object.keys(methods).map((name) => [name, go(began)]))
const ofActor = (name: string, address: string, show: Way['show']): Way => ({ name, show, words: (method) => `${method} of ${address}`, call: (from, method, ...args) => (from.actor(address) as Record<string, (...args: unknown[]) => Promise<unknown>>)[method](...args) })
const ways: readonly Way[] = [
  { name: 'a method', words: (method) => method, show: async ({ api, began }, methods) => { for (const [name, options] of Object.entries(methods)) api.to('*').provide(name, options, go(began)) }, call: (from, method, ...args) => from.to('api').call(method, ...args) },
  ofActor('an actor', 'things.1', async ({ api, began }, methods) => void api.define({ pattern: 'things.{id}', create: () => object(began, methods), methods })),
  ofActor('an actor that shares', 'things.1', async ({ api, began }, methods) => void api.define({ pattern: 'things.{id}', share: true, create: () => object(began, methods), methods })),
  ofActor('an object', 'thing', async ({ api, began }, methods) => void await api.host('thing', object(began, methods), { methods: methods as object })),
]

/** Whoever passes, and whoever does not. */
interface Case {
  method: string
  options(library: Library): ProvideOptions
  good: readonly (readonly [args: readonly unknown[], got: readonly unknown[], answer?: unknown])[]
  bad: readonly (readonly [args: readonly unknown[], path: readonly (string | number)[], message: RegExp])[]
}

const cases: readonly Case[] = [
  { method: 'one', options: ({ text }) => ({ input: text }), good: [[['x'], ['x']]], bad: [[[5], [0], /^argument 1 of one.* does not pass its schema: .*string/i], [[], [0], /argument 1 of/], [['x', 'y'], [1], /expected at most 1 argument, found 2/], [[null], [0], /argument 1 of/]] },
  { method: 'several', options: ({ text, number }) => ({ input: [text, number] }), good: [[['x', 1], ['x', 1]]], bad: [[['x', 'y'], [1], /^argument 2 of several/], [['x'], [1], /^argument 2 of several/], [['x', 1, undefined], [2], /expected at most 2 arguments, found 3/]] },
  { method: 'none', options: () => ({ input: [] }), good: [[[], []]], bad: [[[1], [0], /expected at most 0 arguments, found 1/]] },
  { method: 'changed', options: ({ length, optional }) => ({ input: [length, optional] }), good: [[['four'], [4, 5]], [['x', 7], [1, 7]]], bad: [[[[]], [0], /argument 1/]] },
  { method: 'object', options: ({ user }) => ({ input: user }), good: [[[{ name: 'bob', tags: ['a'], admin: true }], [{ name: 'bob', tags: ['a'] }]]], bad: [[[{ name: 'bob', tags: ['a', 5] }], [0, 'tags', 1], /\(at tags\.1\)$/], [[{ tags: [] }], [0, 'name'], /\(at name\)$/]] },
  { method: 'later', options: ({ later, number }) => ({ input: [later, number] }), good: [[['long', 1], ['long', 1]]], bad: [[['x', 1], [0], /too short/], [['long', '1'], [1], /^argument 2/]] },
  { method: 'result', options: ({ small }) => ({ output: small }), good: [[[3], [3], '3']], bad: [] },
  { method: 'resultLater', options: ({ smallLater, number }) => ({ input: number, output: smallLater }), good: [[[3], [3], '3']], bad: [[['3'], [0], /argument 1/]] },
]

for (const library of libraries) {
  for (const way of ways) {
    for (const carrier of ['memory', 'tcp'] as const) {
      test(`${library.name}, ${carrier}: arguments and results of ${way.name}`, async (t) => {
        const two = pair(t, { carrier })
        await way.show(two, Object.fromEntries(cases.map(({ method, options }) => [method, options(library)])))
        for (const from of [two.web, two.api]) {
          for (const { method, good, bad } of cases) {
            for (const [args, got, answer = got[0]] of good) {
              t.deepEqual(await way.call(from, method, ...args), answer, method)
              t.deepEqual(two.began.splice(0), [got], method)
            }
            for (const [args, path, message] of bad) {
              const error = await failure(way.call(from, method, ...args))
              t.like(error, { name: 'StageError', code: 'BAD_ARGUMENT', executed: 'no' }, method)
              t.regex(error.message, message)
              t.true(error.message.includes(way.words(method)), error.message)
              t.deepEqual(error.issues?.map((one) => [typeof one.message, one.path]), [['string', path]])
            }
            t.deepEqual(two.began, [])
          }
        }
        t.deepEqual(two.errors, [])
      })
    }

    test(`${library.name}: a result of ${way.name} that does not pass is REMOTE_ERROR, and an error event of the callee`, async (t) => {
      const two = pair(t, { carrier: 'tcp' })
      await way.show(two, { now: { output: library.small }, later: { output: library.smallLater } })
      for (const from of [two.web, two.api]) {
        for (const method of ['now', 'later']) {
          const error = await failure(way.call(from, method, 10))
          t.like(error, { code: 'REMOTE_ERROR', executed: 'yes', message: `the result of ${way.words(method)} does not pass its output schema`, issues: undefined, cause: undefined })
          const [told] = two.errors.splice(0)
          t.like(told, { code: 'REMOTE_ERROR', executed: 'yes' })
          t.deepEqual(told.issues?.[0].path, [])
          t.is(two.began.splice(0).length, 1)
        }
      }
    })

    test(`${library.name}: streams and functions of ${way.name} go to the schemas as they are`, async (t) => {
      const two = pair(t, { carrier: 'tcp' })
      const { web, began, api } = two
      await way.show(two, { go: { input: [library.fn, library.stream] } })
      const done = way.call(web, 'go', () => 'called', Readable.from(['a', 'b'], { objectMode: false }))
      await until(() => began.length === 1)
      const [fn, stream] = began.splice(0)[0] as [() => Promise<string>, Readable]
      t.is(await text(stream), 'ab')
      t.is(await fn(), 'called')
      await done
      for (const from of way.name === 'an actor that shares' ? [web] : [web, api]) { // what is shared stays the caller's
        const left = new PassThrough()
        t.like(await failure(way.call(from, 'go', 'no function', left)), { code: 'BAD_ARGUMENT', issues: [{ path: [0] }] })
        await until(() => left.destroyed)
      }
      t.deepEqual(began, [])
    })
  }

  test(`${library.name}: calls start in the order sent where schemas answer at once; one that waits is overtaken`, async (t) => {
    const { web, api, began } = pair(t, { carrier: 'tcp' })
    api.to('*').provide('now', { input: library.text }, go(began))
    api.to('*').provide('later', { input: library.later }, go(began))
    api.define({ pattern: 'things.{id}', create: () => ({ now: go(began), later: go(began) }), methods: { now: { input: library.text }, later: { input: library.later } } })
    await web.to('api').methods()
    const thing = web.actor<{ now(text: string): Promise<unknown>; later(text: string): Promise<unknown> }>('things.1')
    await Promise.all([...['1.', '2.', '3.'].map((n) => web.to('api').call(n === '2.' ? 'later' : 'now', n))])
    t.deepEqual(began.splice(0).flat(), ['1.', '3.', '2.'])
    await thing.now('0.')
    began.length = 0
    await Promise.all([thing.now('1.'), thing.later('2.'), thing.now('3.')])
    t.deepEqual(began.flat(), ['1.', '3.', '2.'])
  })
}

test('a cast that does not pass is dropped; a bad result of one is an error event', async (t) => {
  for (const carrier of ['memory', 'tcp'] as const) {
    const { web, api, errors, began } = pair(t, { carrier })
    api.to('*').provide('note', { input: z.number(), output: z.number().max(9) }, (n) => { began.push([n]); return n })
    await web.to('api').methods()
    for (const from of [web, api]) {
      for (const n of ['x', 10, 1]) from.to('api').cast('note', n)
      await until(() => began.length === 2)
      t.deepEqual(began.splice(0), [[10], [1]])
      await until(() => errors.length === 1)
      t.regex(errors.splice(0)[0].message, /^the result of note does not pass its output schema: /)
    }
  }
})

test('interceptors come first, then authorize, then the schemas, then the handler', async (t) => {
  const seen: string[] = []
  const note: Interceptor = async (call, next) => {
    seen.push(`interceptor ${String(call.args)}`)
    try {
      return await next(call.args[0] === 'change' ? { ...call, args: [7] } : call)
    } catch (error) {
      seen.push(`interceptor ${(error as StageError).code}`)
      throw error
    }
  }
  const { web, api } = pair(t, { carrier: 'tcp', api: { interceptors: [note], authorize: ({ args }) => { seen.push(`stage ${String(args)}`); return true } } })
  const options = {
    authorize: ({ args }: { args: readonly unknown[] }) => { seen.push(`method ${String(args)}`); return args[0] !== 'forbidden' },
    input: z.number().transform((n) => { seen.push('schema'); return n + 1 }),
    output: z.number().transform((n) => { seen.push('output'); return n + 1 }),
  }
  const handler = (n: number): number => { seen.push(`handler ${n}`); return n }
  api.to('*').provide('go', options, handler)
  api.define({ pattern: 'things.{id}', create: () => ({ go: handler }), authorize: ({ args }) => { seen.push(`type ${String(args)}`); return true }, methods: { go: options } })
  for (const [type, call] of [[[], (arg: unknown) => web.to('api').call<number>('go', arg)], [['type'], (arg: unknown) => web.actor('things.1').go(arg) as Promise<number>]] as const) {
    const typed = (arg: unknown): string[] => type.map((one) => `${one} ${String(arg)}`)
    t.is(await call(1), 3)
    t.deepEqual(seen.splice(0), ['interceptor 1', 'stage 1', ...typed(1), 'method 1', 'schema', 'handler 2', 'output'])
    t.is(await call('change'), 9)
    t.deepEqual(seen.splice(0), ['interceptor change', 'stage 7', ...typed(7), 'method 7', 'schema', 'handler 8', 'output'])
    t.like(await failure(call('forbidden')), { code: 'FORBIDDEN', executed: 'no' })
    t.deepEqual(seen.splice(0), ['interceptor forbidden', 'stage forbidden', ...typed('forbidden'), 'method forbidden', 'interceptor FORBIDDEN'])
    t.like(await failure(call('x')), { code: 'BAD_ARGUMENT', executed: 'no', issues: [{ path: [0] }] })
    t.deepEqual(seen.splice(0), ['interceptor x', 'stage x', ...typed('x'), 'method x', 'interceptor BAD_ARGUMENT'])
  }
})

test('authorize of one method is asked for that method alone, and for its calls alone', async (t) => {
  const { web, api } = pair(t)
  api.define({ pattern: 'vaults.{id}', create: () => ({ gold: 5, look: () => 'gold', take: () => 'took' }), methods: { take: { authorize: ({ headers }) => headers['token'] === 'good' } } })
  interface Vault { gold: number; look(): string; take(): string }
  for (const from of [web, api]) {
    const vault = from.actor<Vault>('vaults.1')
    t.deepEqual([await vault.look(), await vault.gold], ['gold', 5])
    t.like(await failure(vault.take()), { code: 'FORBIDDEN', executed: 'no' })
    t.is(await from.actor<Vault>('vaults.1', { headers: { token: 'good' } }).take(), 'took')
  }
})

// ── schemas that do not behave ──────────────────────────────────────────────────────────────────────────────────

/** A schema whose validate() is this. */
const schema = (validate: (value: unknown) => unknown): StandardSchemaV1 => ({ '~standard': { version: 1, vendor: 'test', validate: validate as never } })

const broken: readonly [title: string, validate: (value: unknown) => unknown][] = [
  ['throws', () => { throw new Error('no database') }],
  ['throws a StageError', () => { throw new StageError('OVERLOADED', 'no database') }],
  ['throws nothing', () => { throw undefined }],
  ['rejects', async () => { await turnOf(); throw new Error('no database') }],
  ['returns nothing', () => undefined],
  ['returns true', () => true],
  ['returns an empty object', () => ({})],
  ['returns a text', () => 'value'],
  ['resolves to nothing', async () => undefined],
  ['returns issues that are no list', () => ({ issues: 5, value: 1 })],
  ['returns issues that are null', () => ({ issues: [null] })],
  ['returns issues whose path is no list', () => ({ issues: [{ message: 'x', path: 5 }] })],
]
for (const way of ways.slice(0, 2)) {
  test(`a schema of ${way.name} that does not behave lets nothing pass, and is an error event of the callee`, async (t) => {
    const two = pair(t, { carrier: 'tcp' })
    const { web, began, errors } = two
    await way.show(two, Object.fromEntries(broken.flatMap(([, validate], i) => [[`in${i}`, { input: schema(validate) }], [`out${i}`, { output: schema(validate) }]])))
    for (const [i, [title]] of broken.entries()) {
      t.like(await failure(way.call(web, `in${i}`, 'secret')), { code: 'BAD_ARGUMENT', executed: 'no', message: `argument 1 of ${way.words(`in${i}`)} could not be checked: its schema failed`, cause: undefined, issues: undefined }, title)
      t.deepEqual(began, [])
      t.regex(errors.splice(0)[0].message, new RegExp(`^the schema for argument 1 of ${way.words(`in${i}`)} failed: `), title)
      t.like(await failure(way.call(web, `out${i}`, 'secret')), { code: 'REMOTE_ERROR', executed: 'yes', message: `the result of ${way.words(`out${i}`)} does not pass its output schema`, cause: undefined, issues: undefined }, title)
      t.regex(errors.splice(0)[0].message, new RegExp(`^the output schema of ${way.words(`out${i}`)} failed: `), title)
      t.is(began.splice(0).length, 1)
    }
  })
}

test('issues without a reason are still issues; issues are bounded, at the callee and from a peer', async (t) => {
  const { web, api, began } = pair(t, { carrier: 'tcp' })
  const issues: Record<string, unknown> = {
    none: [],
    nameless: [{ message: 5 }],
    many: Array.from({ length: 1000 }, (_, i) => ({ message: 'x'.repeat(1000), path: Array.from({ length: 20 }, () => i % 2 ? 'y'.repeat(1000) : { key: Symbol('z') }) })),
    lines: [{ message: 'a\nb\u001b[2J', path: ['p'] }],
  }
  api.to('*').provide('go', { input: schema((name) => ({ issues: issues[String(name)] })) }, go(began))
  for (const name of ['none', 'nameless']) t.like(await failure(web.to('api').call('go', name)), { code: 'BAD_ARGUMENT', executed: 'no', issues: undefined })
  const many = await failure(web.to('api').call('go', 'many'))
  t.is(many.issues?.length, 32)
  t.true(many.message.length <= 1024)
  for (const { message, path } of many.issues ?? []) {
    t.is(message.length, 256)
    t.is(path.length, 16)
    t.true(path.every((key) => typeof key === 'number' || key.length <= 64))
  }
  t.deepEqual((await failure(web.to('api').call('go', 'lines'))).issues, [{ message: 'a\\nb\\u001b[2J', path: [0, 'p'] }])
  t.deepEqual(began, [])
})

test('a schema that never answers ends with the deadline, and the handler does not run', async (t) => {
  for (const way of ways.slice(0, 2)) {
    const two = pair(t, { carrier: 'tcp' })
    let answer: (result: unknown) => void = () => {}
    await way.show(two, { go: { input: schema(() => new Promise((resolve) => { answer = resolve })) } })
    await two.web.ready()
    const call = way.name === 'a method' ? two.web.to('api', { timeoutMs: 200 }).call('go', 1) : two.web.actor('things.1', { timeoutMs: 200 }).go(1) as Promise<unknown>
    t.is((await failure(call)).code, 'TIMEOUT')
    answer({ value: 1 })
    await turnOf()
    t.deepEqual(two.began, [])
  }
})

test('issues of a call within a handler are part of the cause', async (t) => {
  const { web, api } = pair(t, { carrier: 'tcp' })
  api.to('*').provide('inner', { input: z.object({ n: z.number() }) }, ({ n }) => n)
  api.to('*').provide('outer', function () { return this.to('api').call('inner', { n: 'x' }) })
  const { code, cause } = await failure(web.to('api').call('outer'))
  t.is(code, 'REMOTE_ERROR')
  t.like(cause, { code: 'BAD_ARGUMENT', issues: [{ path: [0, 'n'] }] })
})

test('an error of an interceptor arrives with its issues and its cause, before and after the call', async (t) => {
  const two = pair(t, { carrier: 'tcp', api: { interceptors: [async (call, next) => {
    if (call.args[0] === 2) await next(call)
    throw new StageError('BAD_ARGUMENT', 'own words', { cause: new Error('why'), issues: [{ message: 'x', path: ['p'] }] })
  }] } })
  for (const way of ways.slice(0, 2)) {
    await way.show(two, { go: {} })
    for (const from of [two.web, two.api]) {
      for (const n of [1, 2]) t.like(await failure(way.call(from, 'go', n)), { code: 'BAD_ARGUMENT', executed: n === 1 ? 'no' : 'yes', message: 'own words', issues: [{ message: 'x', path: ['p'] }], cause: { message: 'why' } })
    }
  }
})

test('a turn is answered with its result as it left it, though the next one changes the same object', async (t) => {
  const { web, api } = pair(t, { carrier: 'tcp' })
  const same = schema((value) => ({ value }))
  const made = (): object => { const items: number[] = []; const push = (n: number): number[] => { items.push(n); return items }; return { free: push, ruled: push, checked: push } }
  api.define({ pattern: 'lists.{id}', create: made, methods: { ruled: { authorize: () => true, input: z.number() }, checked: { output: same } } })
  for (const from of [web, api]) {
    for (const method of ['free', 'ruled', 'checked']) {
      const list = from.actor(`lists.${from.name}-${method}`) as Record<string, (n: number) => Promise<number[]>>
      await list[method](0)
      t.deepEqual((await Promise.all([1, 2, 3].map((n) => list[method](n)))).map((one) => one.length), [2, 3, 4], method)
    }
  }
})

test('streams in a result that does not pass are ended', async (t) => {
  const stream = new PassThrough()
  const { web, api } = pair(t, { carrier: 'tcp' })
  api.to('*').provide('go', { output: z.object({ n: z.number() }) }, (() => ({ n: 'x', stream })) as () => never)
  t.is((await failure(web.to('api').call('go'))).code, 'REMOTE_ERROR')
  await until(() => stream.destroyed)
})

// ── a peer that keeps to nothing ────────────────────────────────────────────────────────────────────────────────

test('P24: no bytes of a peer reach a handler or an actor past their schemas', async (t) => {
  const { api, raw } = await scene(t)
  const began: unknown[][] = []
  api.to('*').provide('go', { input: z.strictObject({ n: z.number() }) }, go(began))
  api.define({ pattern: 'things.{id}', create: () => ({ go: go(began) }), methods: { go: { input: z.strictObject({ n: z.number() }) } } })
  const wrong: unknown[][] = [[], [1], [null], [[]], [{}], [{ n: '1' }], [{ n: 1, m: 2 }], [{ n: 1 }, 2], [new Map([['n', 1]])], Array.from({ length: 1000 }, () => ({ n: 1 }))]
  let id = 1
  const calls = wrong.flatMap((args) => [['go', args], ['@call', ['things.1', 'go', args]]] as [string, unknown[]][]).map(([name, args]) => {
    raw.call(id += 2, name, encoded(args))
    return id
  })
  for (const args of wrong) raw.message(CAST, 0, [0], [2], Buffer.from('go'), encoded(args))
  // what is no method is not a way round either
  for (const name of ['__proto__', 'constructor', 'toString', 'go\0', 'Go']) raw.call(id += 2, '@call', encoded(['things.1', name, [5]]))
  raw.call(id += 2, 'go', encoded([{ n: 1 }]))
  await until(() => raw.got(RESULT, id).length === 1)
  await until(() => calls.every((one) => raw.got(ERROR, one).length === 1))
  for (const one of calls) t.like(decoded(raw.got(ERROR, one)[0].body), { code: 'BAD_ARGUMENT', executed: 'no' })
  t.deepEqual(began, [[{ n: 1 }]])
  t.false(raw.closed)
})

test('what a peer sends as issues is bounded, and anything else in their place is left out', async (t) => {
  const { api, raw } = await scene(t)
  let fn!: () => Promise<unknown>
  api.to('*').provide('take', (given: typeof fn) => { fn = given })
  raw.call(1, 'take', Buffer.from([0x91, 0xd6, 1, 0, 0, 0, 7]))
  await until(() => raw.got(RESULT, 1).length === 1)
  const told = async (issues: unknown): Promise<StageError> => {
    const before = raw.got(REF).length
    const called = failure(fn())
    await until(() => raw.got(REF).length > before)
    raw.message(ERROR, raw.got(REF)[before].id, encoded({ code: 'BAD_ARGUMENT', message: 'no', executed: 'no', issues }))
    return called
  }
  for (const issues of [5, 'x', {}, null, [], [null, 5, { path: [1] }], new Map(), true]) t.like(await told(issues), { code: 'BAD_ARGUMENT', issues: undefined })
  const { issues } = await told(Array.from({ length: 40 }, () => ({ message: 'x'.repeat(400), path: [null, { key: {} }, true, 1, 'y'.repeat(100), ...Array<number>(100).fill(1)], more: 1 })))
  t.is(issues?.length, 32)
  t.deepEqual(issues?.[0], { message: 'x'.repeat(256), path: ['null', '[object Object]', 'true', 1, 'y'.repeat(64), ...Array<number>(11).fill(1)] })
})

// ── options ─────────────────────────────────────────────────────────────────────────────────────────────────────

test('schemas of methods by option, of the stage and of the layer', async (t) => {
  const place = `memory:validate-${++places}`
  const provide = {
    greet: method({ input: z.string().trim(), output: z.string(), handler: (name) => `hi there, ${name}` }),
    plain: { input: v.string(), handler: (name: string) => name },
  }
  const api = new Stage('api', place, undefined, { provide })
  const own = new Stage('own', place, undefined, { chain: [framing(), rpc({ provide }), actors()] })
  const web = new Stage('web', place)
  t.teardown(() => Promise.all([api.close(), own.close(), web.close()]))
  for (const name of ['api', 'own']) {
    t.is(await web.to(name).call('greet', '  bob '), 'hi there, bob')
    t.is(await web.to(name).call('plain', 'x'), 'x')
    for (const one of ['greet', 'plain']) t.like(await failure(web.to(name).call(one, 5)), { code: 'BAD_ARGUMENT', issues: [{ path: [0] }] })
  }
})

test('a schema that is a function is one too, and a list of schemas is as it was given', async (t) => {
  const { web, api, began } = pair(t)
  const callable = Object.assign(() => {}, schema((value) => value === 1 ? { value } : { issues: [{ message: 'not 1' }] }))
  const list = [callable]
  api.to('*').provide('go', { input: list }, go(began))
  list.length = 0
  t.is(await web.to('api').call('go', 1), 1)
  t.like(await failure(web.to('api').call('go', 2)), { code: 'BAD_ARGUMENT', message: 'argument 1 of go does not pass its schema: not 1' })
})

const misuse: readonly [title: string, options: unknown, message: RegExp][] = [
  ['an input that is no schema', { input: 5 }, /input of go is 5: expected a Standard Schema, as those of zod, valibot and arktype are, or a list/],
  ['an input that is null', { input: null }, /input of go is null/],
  ['an input that is a class', { input: String }, /input of go is .*expected a Standard Schema/],
  ['a list with something else', { input: [z.string(), {}] }, /input\[1\] of go is \{\}: expected a Standard Schema/],
  ['a list with a hole', { input: [, z.string()] }, /input\[0\] of go is undefined/],
  ['a schema of another version', { input: { '~standard': { version: 2, vendor: 'x', validate: () => ({ value: 1 }) } } }, /input of go is .*expected a Standard Schema/],
  ['a schema without validate()', { input: { '~standard': { version: 1, vendor: 'x' } } }, /input of go is .*expected a Standard Schema/],
  ['an output that is a list', { output: [z.string()] }, /output of go is .*expected a Standard Schema, as those of zod, valibot and arktype are$/],
  ['an unknown option', { inputs: z.string() }, /"inputs" is not an option of go in .*; known options: authorize, input, output/],
  ['authorize that is no function', { authorize: true }, /authorize of go is true/],
  ['options that are a schema', z.string(), /is not an option of go in/],
  ['options that are a list', [z.string()], /expected an object with authorize, input, output/],
]
for (const [title, options, message] of misuse) {
  test(`misuse is a TypeError: ${title}`, async (t) => {
    const { api } = pair(t)
    const expected = { instanceOf: TypeError, message }
    t.throws(() => api.to('*').provide('go', options as ProvideOptions, () => 1), expected)
    t.throws(() => api.define({ pattern: 'things.{id}', create: () => ({ go: () => 1 }), methods: { go: options as ProvideOptions } }), expected)
    const given = { provide: { go: { ...options as object, handler: () => 1 } } }
    t.throws(() => new Stage('x', `memory:validate-${++places}`, undefined, given), Array.isArray(options) || '~standard' in (options as object) ? { instanceOf: TypeError } : expected)
    await t.throwsAsync(() => api.host('thing', { go: () => 1 }, { methods: { go: options as never } }), expected)
    t.is(await api.to('api').methods().then((names) => names.length), 0)
  })
}

const names: readonly [title: string, methods: unknown, message: RegExp][] = [
  ['a list', [], /has methods: \[\]; expected an object with options by name of method/],
  ['a text', 'go', /has methods: "go"/],
  ['null', null, /has methods: null/],
  ['a private name', { _go: {} }, /has options for "_go" in methods, which is not a public method/],
  ['a hook', { activate: {} }, /"activate" in methods, which is not a public method/],
  ['what every object has', { toString: {} }, /"toString" in methods, which is not a public method/],
  ['no name', { '': {} }, /"" in methods, which is not a public method/],
]
for (const [title, methods, message] of names) {
  test(`methods of a type or of an object that are ${title}: a TypeError`, async (t) => {
    const { api } = pair(t)
    t.throws(() => api.define({ pattern: 'things.{id}', create: () => ({}), methods: methods as never }), { instanceOf: TypeError, message })
    await t.throwsAsync(() => api.host('thing', {}, { methods: methods as never }), { instanceOf: TypeError, message })
  })
}

test('options for a method that the object does not have guard nothing, so that the actor is not made', async (t) => {
  const { web, api } = pair(t)
  const methods = { atack: { authorize: () => false } }
  api.define({ pattern: 'players.{id}', create: () => ({ attack: () => 1 }), methods })
  const error = await failure(web.actor<{ attack(): number }>('players.1').attack())
  t.regex(error.message, /has options for "atack" in methods, but its object has no public method of that name/)
  t.is(error.executed, 'no')
  await t.throwsAsync(() => api.host('door', { open: () => 1, shut: true }, { methods: { shut: {} } as never }), { instanceOf: TypeError, message: /"shut" in methods/ })
})

test('stages, methods and actors without options are not wrapped', async (t) => {
  const { web, api, began } = pair(t)
  api.define({ pattern: 'things.{id}', create: () => ({ go: go(began), free: go(began) }), methods: { go: { input: z.number() } } })
  t.is(await web.actor<{ free(text: string): Promise<string> }>('things.1').free('x'), 'x')
  t.deepEqual(began, [['x']])
})
