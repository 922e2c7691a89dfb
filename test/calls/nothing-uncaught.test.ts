/** Whatever is passed or returned, and whenever it breaks: no uncaught exception, every call settles, and nothing is left. */
import { EventEmitter, on } from 'node:events'
import { PassThrough, Readable, Writable } from 'node:stream'
import { ReadableStream, TransformStream, WritableStream } from 'node:stream/web'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import test from 'ava'
import type { Stage, StageError, TargetOptions } from '../../src/index.js'
import { actorMesh, type ActorMesh } from '../helpers/actors.js'
import { nothingUnhandled } from '../helpers/unhandled.js'
import { until } from '../helpers/until.js'
import { passed, settle } from '../helpers/virtual-clock.js'

nothingUnhandled(test)
setFlagsFromString('--expose-gc')
const gc = runInNewContext('gc') as () => void

// ── what is passed ────────────────────────────────────────────────────────────────────────────────────────────────────

/** From its owner's side. */
interface Thing {
  readonly value: object
  break(): void
  /** Its owner need not hold it any more. */
  over(): boolean
}

const broken = (): Error => Object.assign(new Error('it broke'), { code: 'EBROKEN' })

function ofNode(value: Readable | Writable): Thing {
  if ('push' in value) value.push('x')
  return { value, break: () => { value.destroy(broken()) }, over: () => value.destroyed }
}

const things: Record<string, () => Thing> = {
  'a Readable': () => ofNode(new Readable({ read() {} })),
  'a Readable of objects': () => ofNode(new Readable({ objectMode: true, read() {} })),
  'a Writable': () => ofNode(new Writable({ write: (_chunk, _encoding, done) => { done() } })),
  'a Duplex': () => ofNode(new PassThrough()),
  'a socket': () => ofNode(Object.assign(new PassThrough(), { setKeepAlive() {} })),
  'a ReadableStream': () => {
    let over = false
    let control!: ReadableStreamDefaultController
    const value = new ReadableStream({ start(given) { control = given; control.enqueue('x') }, cancel() { over = true } })
    return { value, break: () => { if (!over) control.error(broken()); over = true }, over: () => over }
  },
  'a WritableStream': () => {
    let over = false
    let control!: { error(error: Error): void }
    const value = new WritableStream({ start(given) { control = given }, abort() { over = true } })
    return { value, break: () => { control.error(broken()); over = true }, over: () => over }
  },
  'a TransformStream': () => {
    let control!: { error(error: Error): void }
    const value = new TransformStream({ start(given) { control = given } })
    return { value, break: () => { control.error(broken()) }, over: () => true }
  },
  'a generator': () => {
    let state: 'new' | 'running' | 'over' = 'new'
    let fails = false
    let fail = (): void => { fails = true }
    const value = (async function* () {
      state = 'running'
      try {
        yield 'x'
        await new Promise((_, reject) => {
          fail = () => { reject(broken()) }
          if (fails) fail()
        })
      } finally { state = 'over' }
    })()
    return { value, break: () => { fail() }, over: () => state !== 'running' }
  },
  'events': () => {
    const bus = new EventEmitter()
    bus.on('error', () => {}) // the iterator has one as well, until it is left
    const value = on(bus, 'tick') as AsyncIterable<unknown>
    bus.emit('tick', 'x')
    return { value, break: () => { bus.emit('error', broken()) }, over: () => bus.listenerCount('tick') === 0 }
  },
  'a function': () => {
    let fail = (): never => { throw broken() }
    return { value: (): unknown => fail(), break: () => { fail = () => { throw broken() } }, over: () => true }
  },
}

/** In what it lies, and how it is got out again. */
const packs: readonly (readonly [pack: (value: unknown) => unknown, unpack: (packed: unknown) => unknown])[] = [
  [(value) => value, (value) => value],
  [(value) => [1, value], (list) => (list as unknown[])[1]],
  [(value) => new Map([['k', { value }]]), (map) => (map as Map<string, { value: unknown }>).get('k')?.value],
  [(value) => new Set([value]), (set) => [...set as Set<unknown>][0]],
  [(value) => new Error('for its cause', { cause: value }), (error) => (error as Error).cause],
  [(value) => ({ deep: { er: [{ value }] } }), (deep) => (deep as { deep: { er: { value: unknown }[] } }).deep.er[0].value],
]
const titles = Object.keys(things)
const packOf = (i: number): (typeof packs)[number] => packs[i % packs.length]

/** Reads, writes or calls it until it ends or fails. */
async function use(packed: unknown, i: number): Promise<void> {
  const value = packOf(i)[1](packed)
  if (typeof value === 'function') return void await (value as () => unknown)()
  const stream = value as Partial<AsyncIterable<unknown> & WritableStream & { writable: unknown }>
  if (stream[Symbol.asyncIterator]) {
    for await (const one of stream as AsyncIterable<unknown>) void one
  } else if (stream.getWriter) await stream.getWriter().closed
  else if (typeof stream.writable === 'object') await (stream.writable as WritableStream).getWriter().closed
  else if ((value as Writable).destroyed) throw (value as Writable).errored ?? new Error('it is closed')
  else await new Promise<void>((resolve, reject) => { (value as Writable).on('error', reject).on('close', resolve).write('x') })
}

// ── whom it is passed to ──────────────────────────────────────────────────────────────────────────────────────────────

interface World extends ActorMesh {
  /** The store is slow from now on. */
  trouble(): void
  /** What is passed, by its number. */
  readonly all: Thing[]
  /** Which of them were passed. */
  readonly given: Set<number>
  readonly kept: [packed: unknown, i: number][]
  caller: Stage
  callee: Stage
}

function handOut(world: World, i: number): unknown {
  world.given.add(i)
  return packOf(i)[0](world.all[i].value)
}

const handlers = (world: World) => ({
  store: (packed: unknown, i: number) => use(packed, i),
  ignore: () => 'done',
  keep: (packed: unknown, i: number) => { world.kept.push([packed, i]) },
  slow: () => passed(world.clock, 500),
  give: (i: number) => handOut(world, i),
  giveBroken: (i: number) => { world.all[i].break(); return handOut(world, i) },
  giveBreaking: (i: number) => { process.nextTick(() => { world.all[i].break() }); return handOut(world, i) },
  giveBreakingSoon: (i: number) => { world.clock.setTimeout(() => { world.all[i].break() }, 20); return handOut(world, i) },
  giveLate: async (i: number) => { await passed(world.clock, 300); return handOut(world, i) },
  raise: (i: number) => { throw handOut(world, i) },
})
type Method = keyof ReturnType<typeof handlers>
const methods = Object.keys(handlers({} as World)) as Method[]

type Call = (method: string, args: readonly unknown[], options?: TargetOptions, name?: string) => Promise<unknown>

const provided = (world: World) => (stage: Stage): void => { for (const [name, handler] of Object.entries(handlers(world))) stage.to('*').provide(name, handler) }
const hosted = (world: World, options: object) => (stage: Stage): void => {
  const own = handlers(world)
  class Thingy {
    turns = 0
  }
  for (const name of methods) Object.defineProperty(Thingy.prototype, name, { value(this: Thingy, ...args: never[]) { this.turns++; return (own[name] as (...args: unknown[]) => unknown)(...args) } })
  stage.define({ pattern: 'things.{id}', constructor: Thingy, ...options } as never)
}
const actorCall = (stage: (world: World) => Stage) => (world: World): Call => (method, args, options, name) =>
  (stage(world).actor(name === undefined ? 'things.1' : `${name}.1`, options as { timeoutMs?: number }) as unknown as Record<string, (...args: readonly unknown[]) => Promise<unknown>>)[method](...args)

interface Place {
  prepare(world: World): (stage: Stage) => void
  call(world: World): Call | Promise<Call>
  /** For somebody who is not there. */
  waits?: boolean
}

const places: Record<string, Place> = {
  'another stage': { prepare: provided, call: (world) => (method, args, options, name = 'callee') => world.caller.to(name, options).call(method, ...args), waits: true },
  'the stage itself': { prepare: provided, call: (world) => (method, args, options, name = 'callee') => world.callee.to(name, options).call(method, ...args), waits: true },
  'every match': {
    prepare: provided,
    call: (world) => async (method, args, options, name = 'callee*') => {
      for await (const { error, value } of world.caller.to(name, options).callAll(method, ...args)) {
        if (error) throw error
        return value as unknown
      }
      return undefined
    },
  },
  'a method by its address': { prepare: provided, call: (world) => (method, args, _, name = 'callee') => (world.caller as unknown as { call(uri: string, ...args: unknown[]): Promise<unknown> }).call(`${name === 'callee' ? 'default' : 'elsewhere'}://${name}/${method}`, ...args) },
  'a function of the other stage': {
    prepare: (world) => (stage) => { stage.to('*').provide('functions', () => handlers(world)) },
    call: async (world) => {
      const functions = await world.go(world.caller.to('callee').call<Record<string, (...args: readonly unknown[]) => Promise<unknown>>>('functions'))
      return (method, args) => (functions[method] ?? functions['store'])(...args)
    },
  },
  'an actor elsewhere': { prepare: (world) => hosted(world, {}), call: actorCall((world) => world.caller), waits: true },
  'an actor of the same stage': { prepare: (world) => hosted(world, {}), call: actorCall((world) => world.callee), waits: true },
  'a durable actor elsewhere': { prepare: (world) => hosted(world, { durable: true }), call: actorCall((world) => world.caller), waits: true },
  'a durable actor of the same stage': { prepare: (world) => hosted(world, { durable: true }), call: actorCall((world) => world.callee), waits: true },
  'a shared actor of the same stage': { prepare: (world) => hosted(world, { share: true }), call: actorCall((world) => world.callee), waits: true },
}

// ── when it breaks ────────────────────────────────────────────────────────────────────────────────────────────────────

type Moment = (world: World, call: Call) => readonly Promise<unknown>[] | Promise<readonly Promise<unknown>[]>

/** What was not passed is nobody's yet. */
const breakAll = ({ all, given }: World): void => { for (const i of given) all[i].break() }
/** They may fail before the test awaits them. */
const heard = (calls: Promise<unknown>[]): Promise<unknown>[] => {
  for (const one of calls) one.catch(() => {})
  return calls
}
/** A call with each thing in its arguments. */
const give = (world: World, call: Call, method: string, options?: TargetOptions, name?: string): Promise<unknown>[] =>
  heard(world.all.map((_, i) => call(method, [handOut(world, i), i], options, name)))
/** A call for each thing as its result. */
const take = (world: World, call: Call, method: Method, options?: TargetOptions): Promise<unknown>[] => heard(world.all.map((_, i) => call(method, [i], options)))
const tried = (promises: readonly Promise<unknown>[]): Promise<PromiseSettledResult<unknown>[]> => Promise.allSettled(promises)

const fresh: Record<string, Moment> = {
  'an argument breaks before the call': (world, call) => { for (const one of world.all) one.break(); return give(world, call, 'store') },
  'an argument breaks in the tick of the call': (world, call) => { const calls = give(world, call, 'store'); breakAll(world); return calls },
  'an argument breaks while the callee is found': async (world, call) => { const calls = give(world, call, 'store'); await settle(1); breakAll(world); return calls },
  'an argument breaks while the link is made': async (world, call) => { const calls = give(world, call, 'store'); await world.clock.advance(1); breakAll(world); return calls },
  'an argument breaks in the tick of the call, and nobody is there': (world, call) => { const calls = give(world, call, 'store', {}, 'nobody'); breakAll(world); return calls },
  'an argument breaks where nobody is': async (world, call) => { const calls = give(world, call, 'store', {}, 'nobody'); await world.clock.advance(100); breakAll(world); return calls },
}

const linked: Record<string, Moment> = {
  'an argument breaks after the call was refused': (world, call) => { const calls = give(world, call, 'missing'); breakAll(world); return calls },
  'an argument breaks when its name is none': (world, call) => { const calls = give(world, async (...args) => call(...args), 'to string'); breakAll(world); return calls },
  'an argument breaks beside what cannot be sent': (world, call) => { const calls = heard(world.all.map((_, i) => call('store', [handOut(world, i), Symbol('no')]))); breakAll(world); return calls },
  'an argument breaks on its way': async (world, call) => {
    world.network.hold()
    const calls = give(world, call, 'store')
    await settle()
    breakAll(world)
    world.network.release()
    return calls
  },
  'an argument breaks behind another call': async (world, call) => {
    const slow = call('slow', [])
    const calls = give(world, call, 'store')
    await world.clock.advance(100)
    breakAll(world)
    return [slow, ...calls]
  },
  'an argument breaks while it is read': async (world, call) => { const calls = give(world, call, 'store'); await world.clock.advance(100); breakAll(world); return calls },
  'an argument breaks after the answer, and is read then': async (world, call) => {
    const calls = give(world, call, 'keep')
    await world.clock.advance(100)
    breakAll(world)
    await world.clock.advance(100)
    return [...calls, ...heard(world.kept.splice(0).map(([packed, i]) => use(packed, i)))]
  },
  'an argument breaks after the answer, and is never read': async (world, call) => { const calls = give(world, call, 'ignore'); await world.clock.advance(100); breakAll(world); return calls },
  'an argument breaks after the signal had fired': (world, call) => { const calls = give(world, call, 'store', { signal: AbortSignal.abort() }); breakAll(world); return calls },
  'an argument breaks after the signal fires': async (world, call) => {
    const controller = new AbortController()
    const calls = give(world, call, 'store', { signal: controller.signal })
    await world.clock.advance(100)
    controller.abort()
    breakAll(world)
    return calls
  },
  'an argument breaks after the deadline': async (world, call) => {
    world.network.hold()
    const calls = give(world, call, 'store', { timeoutMs: 200 })
    await world.clock.advance(300)
    breakAll(world)
    world.network.release()
    return calls
  },
  'an argument breaks when the link is cut': async (world, call) => { const calls = give(world, call, 'store'); await world.clock.advance(100); world.network.cut(); breakAll(world); return calls },
  'a result is broken before it is returned': (world, call) => take(world, call, 'giveBroken'),
  'a result breaks in the tick of its return': (world, call) => take(world, call, 'giveBreaking'),
  'a result breaks before it is read': async (world, call) => {
    const results = await world.go(tried(take(world, call, 'give')))
    breakAll(world)
    await world.clock.advance(100)
    return results.map((one, i) => one.status === 'fulfilled' ? use(one.value, i) : Promise.resolve())
  },
  'a result breaks while it is read': async (world, call) => {
    const results = await world.go(tried(take(world, call, 'give')))
    const uses = heard(results.map((one, i) => one.status === 'fulfilled' ? use(one.value, i) : Promise.resolve()))
    await world.clock.advance(100)
    breakAll(world)
    return uses
  },
  'a result breaks and is never read': async (world, call) => { const calls = take(world, call, 'give'); await world.clock.advance(100); breakAll(world); return calls },
  'a result breaks while its turn is committed': (world, call) => {
    world.trouble()
    return take(world, call, 'giveBreakingSoon')
  },
  'a result breaks when nobody waits for it': async (world, call) => {
    const controller = new AbortController()
    const calls = take(world, call, 'giveLate', { signal: controller.signal })
    await world.clock.advance(100)
    controller.abort()
    await world.clock.advance(5000)
    breakAll(world)
    return calls
  },
  'a result breaks when the link is cut': async (world, call) => { const calls = take(world, call, 'give'); await world.clock.advance(100); world.network.cut(); breakAll(world); return calls },
  'what is thrown breaks': async (world, call) => { const calls = take(world, call, 'raise'); await world.clock.advance(100); breakAll(world); return calls },
  'an argument breaks after the stage was closed': async (world, call) => {
    await world.go(Promise.all([world.caller.close(), world.callee.close()]))
    const calls = give(world, async (...args) => call(...args), 'store')
    breakAll(world)
    return calls
  },
}

/** How everything ends, or what the cause of its end was. In a frame of its own, which holds no function or result afterwards. */
async function codesOf(world: World, place: Place, moment: Moment, isLinked: boolean): Promise<string[]> {
  const call = await place.call(world)
  if (isLinked) await world.go(call('ignore', []))
  world.all.push(...titles.map((title) => things[title]()))
  const outcomes = await world.go(tried(await moment(world, call)))
  return outcomes.map((one) => {
    if (one.status === 'fulfilled') return 'fulfilled'
    const { code, cause } = one.reason as StageError & { cause?: { code?: string } }
    return `${code}: ${cause?.code}`
  })
}

/** Those whose errors are heard before anybody reads them. */
const NODES = titles.flatMap((title, i) => /Readable( of|$)|Writable$|Duplex|socket/.test(title) ? [i] : [])
const LEFT = ['streams', 'functions', 'calls', 'serving', 'actorCalls', 'heldBytes', 'unreadBytes', 'waiting'] as const

for (const [where, place] of Object.entries(places)) {
  for (const [when, moment] of [...Object.entries(fresh), ...Object.entries(linked)]) {
    test(`P9: nothing is uncaught when ${when}: ${where}`, async (t) => {
      const mesh = actorMesh(t, { latencyMs: 1 })
      let trouble = (): void => {}
      const world = { ...mesh, all: [], kept: [], given: new Set(), trouble: () => { trouble() } } as unknown as World
      const callee = await mesh.add('callee', place.prepare(world), { namespace: 'default' })
      world.callee = callee.stage
      world.caller = (await mesh.add('caller', undefined, { namespace: 'default' })).stage
      trouble = () => { callee.shelf.trouble({ beforeMs: 50 }, 'commit') }
      const codes = await codesOf(world, place, moment, when in linked)
      if (when === 'an argument breaks where nobody is' && place.waits) for (const i of NODES) t.is(codes[i], 'BAD_ARGUMENT: EBROKEN', titles[i])
      await mesh.clock.advance(75_000) // unread ones end after a minute
      t.deepEqual(titles.filter((_, i) => world.given.has(i) && !world.all[i].over()), [], 'these still run')
      world.all.length = 0
      const left = (): object => Object.fromEntries([world.caller, world.callee].flatMap((stage) => LEFT.map((what) => [`${stage.name} ${what}`, stage.stats()[what] ?? 0] as const).filter(([, count]) => count > 0)))
      await until(async () => { gc(); await mesh.clock.advance(100); return Object.keys(left()).length === 0 }, 60_000).catch(() => {})
      t.deepEqual(left(), {})
    })
  }
}
