/** P26: each piece of the user's code that the library calls, over each carrier, and what it sees of an AsyncLocalStorage. */
import { AsyncLocalStorage } from 'node:async_hooks'
import { once } from 'node:events'
import { Readable, Writable, type Duplex } from 'node:stream'
import { ReadableStream } from 'node:stream/web'
import test, { type ExecutionContext } from 'ava'
import { systemClock } from '../../src/clock.js'
import { IpcInterface, MemoryInterface, MemoryRegistry, Stage, TcpInterface, framing, rpc, type CallContext, type Interface, type Self, type StageOptions } from '../../src/index.js'
import { until as untilMs } from '../helpers/until.js'

interface Context { readonly name: string }
const als = new AsyncLocalStorage<Context>()
const within = <T>(name: string, fn: () => T): T => als.run({ name }, fn)
/** In whose context this runs. */
const who = (): string => als.getStore()?.name ?? 'nobody'
/** What runs in an empty context may enter one of its own, which no one else may see. */
const enter = (name: string): void => als.enterWith({ name })

const carriers: readonly [name: string, make: () => Interface][] = [
  ['memory', () => new MemoryInterface()],
  ['ipc', () => new IpcInterface()],
  ['tcp', () => new TcpInterface()],
]

let names = 0

/** All kinds go on in one process, and a busy machine takes its time for them. */
const until = (condition: () => boolean): Promise<void> => untilMs(condition, 30_000)

/** Two stages that were made in one context, and whose link was dialled in another. */
interface Pair {
  readonly near: Stage
  readonly far: Stage
  /** What code that the library calls has seen. */
  readonly seen: string[]
  /** Another stage on the same registry. */
  more(name: string): Stage
}

async function pairOf(t: ExecutionContext, make: () => Interface, options: StageOptions = {}): Promise<Pair> {
  const room = `contexts-${process.pid}-${++names}`
  const more = (name: string): Stage => within('maker', () => {
    const stage = new Stage(name, new MemoryRegistry(room), make(), options)
    t.teardown(() => stage.close())
    return stage
  })
  const [near, far] = [more('near'), more('far')]
  const seen: string[] = []
  for (const one of [near, far]) if (!options.chain) one.to('*').provide('hello', () => 'hello')
  await within('ready', () => Promise.all([near.ready(), far.ready()]))
  if (!options.chain) await within('dialler', () => near.to('far').call('hello'))
  return { near, far, seen, more }
}

const soon = (): Promise<void> => new Promise((resolve) => { setImmediate(resolve) })

/** An actor that notes in whose context each of its members begins, and goes on. */
function probe(seen: string[], self: Self) {
  seen.push(who())
  enter('create')
  return {
    n: 0,
    async activate() { seen.push(who()); await soon(); seen.push(who()); enter('activate') },
    deactivate() { seen.push(who()) },
    who() { this.n++; return who() },
    peek() { return who() },
    async later() { const before = who(); await soon(); return [before, who()] },
    enter() { enter('turn') },
    async enterLater() { await soon(); enter('turn') },
    async waits(signal: AbortSignal = new AbortController().signal) { await soon(); return who() + String(signal.aborted) },
    until(done: () => unknown) { return done() },
    listens() { self.signal.addEventListener('abort', () => seen.push(who())) },
    inherits() { return within('turn', () => (self.actor('probe.other')['who'] as () => Promise<string>)()) },
    around() { return (self.actor('probe.other')['back'] as (address: string) => Promise<string>)(self.address) },
    back(address: string) { return (self.actor(address)['peek'] as () => Promise<string>)() },
    after() { within('turn', () => { self.after(0, () => seen.push(who())); self.after(5, () => { seen.push(who()); enter('timer') }) }) },
    every() { let left = 3; const timer = self.every(1, () => { seen.push(who()); enter('timer'); if (--left === 0) timer.cancel() }) },
    fails() { self.after(0, () => { throw new Error('on purpose') }) },
    remind() { within('turn', () => { self.remind('r', 'ring', { afterMs: 0 }) }) },
    ring() { seen.push(who()) },
    leave() { self.deactivate() },
    call(fn: () => Promise<unknown>) { return within('turn', fn) },
    fn() { return () => who() },
    waiting() { let done: (result: unknown) => void = () => {}; return { [Symbol.asyncIterator]() { return this }, next: () => new Promise((resolve) => { seen.push(who()); done = resolve }), return() { seen.push(who()); done({ done: true }); return Promise.resolve({ done: true }) } } },
    web() { return new ReadableStream({ cancel() { seen.push(who()) } }) },
    looked() { return { get deep() { seen.push(who()); return 1 } } },
    raises() { throw new (class extends Error { override get name() { seen.push(who()); return 'Own' } })('on purpose') },
    box: {},
    keeps() { this.n++; this.box = { get deep() { seen.push(who()); return 1 } } },
    async *list() { try { yield who(); await soon(); yield who(); yield who() } finally { seen.push(who()) } },
    async read(values: AsyncIterable<string>) { return within('turn', async () => { const got = []; for await (const one of values) got.push(one); return got }) },
  }
}

type Remote = Record<string, (...args: unknown[]) => Promise<unknown>>

/** Hosted at `far`, called from both, so that calls go over the link and within the stage. */
function actors({ near, far, seen }: Pair, options: object = {}): { far: Remote; near: Remote } {
  within('definer', () => far.define({ pattern: 'probe.{id}', create: (_, self: Self) => probe(seen, self), ...options }))
  return { near: near.actor('probe.1') as unknown as Remote, far: far.actor('probe.1') as unknown as Remote }
}

const all = async <T>(values: AsyncIterable<T>): Promise<T[]> => {
  const got: T[] = []
  for await (const one of values) got.push(one)
  return got
}

/** Each returns in whose context the code ran, one for each time. */
const kinds: Record<string, (pair: Pair) => Promise<unknown>> = {
  'a handler, and what it awaits': async ({ near, far }) => {
    far.to('*').provide('who', async () => { const before = who(); await soon(); return [before, who()] })
    return within('caller', () => near.to('far').call('who'))
  },
  'a handler that is called back over the link': async ({ near, far }) => {
    near.to('*').provide('who', () => who())
    return within('caller', () => far.to('near').call('who'))
  },
  'a handler of a typed call, of callAll, and of a cast': async ({ near, far, seen }) => {
    far.to('*').provide('who', () => { seen.push(who()); return who() })
    return within('caller', async () => {
      near.to('far').cast('who')
      const answers = await all(near.to('f*').callAll<string>('who'))
      await until(() => seen.length >= 2)
      return [...seen, ...answers.map(({ value }) => value), await near.to('far').as<{ who(): string }>().who()]
    })
  },
  'a handler of a call to oneself': async ({ far }) => {
    far.to('*').provide('who', () => who())
    return within('caller', () => far.to('far').call('who'))
  },
  'a handler behind one that entered a context': async ({ near, far }) => {
    far.to('*').provide('who', () => { const before = who(); enter('handler'); return before })
    return within('caller', async () => [...await Promise.all(Array.from({ length: 20 }, () => near.to('far').call('who'))), await near.to('far').call('who')])
  },
  'a handler of a call that waited its turn': async ({ near, far }) => {
    far.to('*').provide('who', () => { for (const end = Date.now() + 4; Date.now() < end;); const before = who(); enter('handler'); return before })
    return within('caller', () => Promise.all(Array.from({ length: 10 }, () => near.to('far').call('who'))))
  },
  'a handler that a handler calls': async ({ near, far }) => {
    near.to('*').provide('who', () => who())
    far.to('*').provide('ask', function (this: CallContext) { return within('handler', () => this.to('near').call('who')) })
    return within('caller', () => near.to('far').call('ask'))
  },
  'a listener of the signal of a handler': async ({ near, far, seen }) => {
    far.to('*').provide('waits', function (this: CallContext) {
      return new Promise<void>((resolve) => { this.signal.addEventListener('abort', () => { seen.push(who()); enter('listener'); resolve() }); seen.push(who()) })
    })
    const ending = new AbortController()
    const call = within('caller', () => near.to('far', { signal: ending.signal }).call('waits')).catch(() => {})
    await until(() => seen.length >= 1)
    within('canceller', () => { ending.abort() })
    await call
    await until(() => seen.length >= 2)
    return seen
  },
  'functions that were passed, in both directions': async ({ near, far }) => {
    far.to('*').provide('call', (fn: () => Promise<string>) => within('handler', fn))
    far.to('*').provide('fn', () => within('handler', () => () => who()))
    return within('caller', async () => [await near.to('far').call('call', () => who()), await (await near.to('far').call<() => Promise<string>>('fn'))()])
  },
  'each step of a generator that was returned, and its end': async ({ near, far, seen }) => {
    far.to('*').provide('list', async function* () { try { yield who(); await soon(); yield who(); for (;;) yield who() } finally { seen.push(who()) } })
    return within('caller', async () => {
      const got: string[] = []
      for await (const one of await near.to('far').call<AsyncIterable<string>>('list')) if (got.push(one) === 3) break
      await until(() => seen.length >= 1)
      return [...got, ...seen]
    })
  },
  'each step of a generator that was passed': async ({ near, far }) => {
    far.to('*').provide('read', (values: AsyncIterable<string>) => within('handler', () => all(values)))
    return within('caller', () => near.to('far').call('read', (async function* () { yield who(); await soon(); yield who() })()))
  },
  'the end of an iterable whose call failed': async ({ near, seen }) => {
    const values = { [Symbol.asyncIterator]() { return this }, next: () => Promise.resolve({ done: true, value: undefined }), return() { seen.push(who()); return Promise.resolve({ done: true, value: undefined }) } }
    await within('caller', () => near.to('far').call('then', values)).catch(() => {})
    return seen
  },
  'what a Readable that was passed reads': async ({ near, far, seen }) => {
    far.to('*').provide('read', (stream: Readable) => within('handler', () => all(stream)))
    let left = 3
    await within('caller', () => near.to('far').call('read', new Readable({ read() { seen.push(who()); this.push(left-- > 0 ? 'x' : null) } })))
    return seen
  },
  'what a Writable that was passed writes': async ({ near, far, seen }) => {
    far.to('*').provide('write', (stream: Writable) => within('handler', () => new Promise<void>((resolve) => { stream.write('x'); stream.end('y', resolve) })))
    await within('caller', () => near.to('far').call('write', new Writable({ write(_chunk, _encoding, done) { seen.push(who()); enter('write'); done() }, final(done) { seen.push(who()); done() } })))
    return seen
  },
  'what a Writable that takes its time writes': async ({ near, far, seen }) => {
    far.to('*').provide('write', (stream: Writable) => within('handler', () => new Promise<void>((resolve) => { for (const one of 'xyz') stream.write(one); stream.end(resolve) })))
    await within('caller', () => near.to('far').call('write', new Writable({ highWaterMark: 1, write(_chunk, _encoding, done) { seen.push(who()); enter('write'); setImmediate(done) } })))
    return seen
  },
  'what a Writable of objects that was passed writes': async ({ near, far, seen }) => {
    far.to('*').provide('write', (stream: Writable) => within('handler', () => new Promise<void>((resolve) => { for (const one of [1, 2, 3]) stream.write(one); stream.end(resolve) })))
    await within('caller', () => near.to('far').call('write', new Writable({ objectMode: true, highWaterMark: 1, write(_value, _encoding, done) { seen.push(who()); enter('write'); setImmediate(done) }, final(done) { seen.push(who()); done() } })))
    return seen
  },
  'each step of an iterator that was passed, and enters a context': async ({ near, far, seen }) => {
    far.to('*').provide('read', (values: AsyncIterable<number>) => within('handler', () => all(values)))
    let left = 3
    const values = { [Symbol.asyncIterator]() { return this }, next() { seen.push(who()); enter('step'); return Promise.resolve(left-- > 0 ? { done: false, value: left } : { done: true, value: undefined }) } }
    await within('caller', () => near.to('far').call('read', values))
    return seen
  },
  'each step of an iterator that was returned, and enters a context': async ({ near, far, seen }) => {
    let left = 3
    const values = { [Symbol.asyncIterator]() { return this }, next() { seen.push(who()); enter('step'); return Promise.resolve(left-- > 0 ? { done: false, value: left } : { done: true, value: undefined }) } }
    far.to('*').provide('list', () => values)
    await within('caller', async () => all(await near.to('far').call<AsyncIterable<number>>('list')))
    return seen
  },
  'an accepted stream and its events': async ({ near, far, seen }) => {
    far.on('stream', (stream) => {
      seen.push(who())
      for (const event of ['data', 'end', 'close']) stream.on(event, () => { seen.push(who()); enter(event) })
      stream.on('data', () => { within('listener', () => stream.write('y', () => seen.push(who()))) })
      enter('listener')
    })
    const stream = within('caller', () => { const to = near.to('far'); to.write('x'); return to })
    await once(stream, 'data')
    within('ender', () => stream.end())
    await once(stream, 'close')
    await until(() => seen.length >= 5)
    return seen
  },
  'data of one accepted stream behind that of another': async ({ near, far, seen }) => {
    far.on('stream', (stream) => { stream.on('data', () => { seen.push(who()); enter('data') }) })
    const streams = within('caller', () => Array.from({ length: 3 }, () => near.to('far')))
    for (let round = 1; round <= 3; round++) {
      for (const one of streams) within('writer', () => one.write('x'))
      await until(() => seen.length >= 3 * round)
    }
    for (const one of streams) one.destroy()
    return seen
  },
  'events of the stage: link, methodAdded, methodRemoved, update, failed, unlink, part': async (pair) => {
    const { near, far, seen } = pair
    const told: string[] = []
    const events = ['link', 'methodAdded', 'methodRemoved', 'update', 'unlink', 'part', 'join'] as const
    for (const event of events) near.on(event, () => { told.push(event); seen.push(who()); enter(event) })
    far.on('failed', () => { told.push('failed'); seen.push(who()) })
    const heard = (event: string): Promise<void> => until(() => told.includes(event))
    within('provider', () => { far.to('*').provide('extra', () => 1) })
    await heard('methodAdded')
    within('provider', () => { far.to('*').unprovide('extra') })
    await heard('methodRemoved')
    await within('teller', () => far.setMeta({ zone: 'a' }))
    await heard('update')
    await within('caller', () => actors(pair).near['fails']())
    await heard('failed')
    await within('closer', () => far.close())
    await heard('part')
    await heard('unlink')
    return seen
  },
  'a stage\'s own events while it is made, and while it meets another': async ({ near, seen, more }) => {
    const told: string[] = []
    const third = more('third')
    for (const event of ['listening', 'join', 'link'] as const) third.on(event, () => { told.push(event); seen.push(who()) })
    for (const event of ['join', 'link'] as const) near.on(event, () => { told.push(`near ${event}`); seen.push(who()) })
    await within('ready', () => third.ready())
    await within('dialler', () => third.to('near').call('hello'))
    await until(() => ['listening', 'join', 'link', 'near join', 'near link'].every((one) => told.includes(one)))
    return seen
  },
  'the idle time of a stream': async ({ near, far, seen }) => {
    far.on('stream', (stream) => { stream.resume() })
    const stream = within('caller', () => near.to('far'))
    within('setter', () => { stream.setTimeout(5, () => { seen.push(who()); stream.destroy() }) })
    within('writer', () => { stream.write('x') })
    await once(stream, 'close')
    return seen
  },
}

/** @param end  which stage calls */
function kindsOfActors(end: 'near' | 'far'): Record<string, (pair: Pair) => Promise<unknown>> {
  return {
    'create, activate, a turn, deactivate': async (pair) => {
      const actor = actors(pair)[end]
      const turn = await within('activator', () => actor['later']())
      await within('leaver', () => actor['leave']())
      await until(() => pair.seen.length >= 4)
      return [turn, pair.seen]
    },
    'a turn of one that is active': async (pair) => {
      const actor = actors(pair)[end]
      await within('activator', () => actor['who']())
      return [await within('caller', () => actor['who']()), await actor['who']()]
    },
    'turns that waited behind others': async (pair) => {
      const actor = actors(pair)[end]
      await within('activator', () => actor['who']())
      const names = ['later', 'who', 'later', 'enter', 'who', 'enterLater', 'who', 'later']
      return (await Promise.all(names.map((name, i) => within(`caller ${i}`, () => actor[name]())))).filter((one) => one !== undefined)
    },
    'readonly turns, side by side': async (pair) => {
      const actor = actors(pair, { readonly: ['later', 'peek'] })[end]
      await within('activator', () => actor['who']())
      return Promise.all(['later', 'peek', 'later'].map((name, i) => within(`caller ${i}`, () => actor[name]())))
    },
    'reentrant turns, and one that comes back': async (pair) => {
      const actor = actors(pair, { reentrant: true })[end]
      return [await within('caller', () => actor['around']()), await within('caller', () => actor['later']())]
    },
    'turns of an actor that keeps its state': async (pair) => {
      const actor = actors(pair, { durable: true })[end]
      return Promise.all(['who', 'who', 'later', 'who'].map((name, i) => within(`caller ${i}`, () => actor[name]())))
    },
    'a turn that a turn calls': async (pair) => {
      const actor = actors(pair)[end]
      return within('caller', () => actor['inherits']())
    },
    'timers': async (pair) => {
      const actor = actors(pair)[end]
      await within('caller', () => actor['after']())
      await within('caller', () => actor['every']())
      await until(() => pair.seen.length >= 2 + 1 + 2 + 3)
      return pair.seen
    },
    'reminders': async (pair) => {
      const actor = actors(pair, { durable: true })[end]
      await within('caller', () => actor['remind']())
      await until(() => pair.seen.length >= 2 + 1 + 1)
      return pair.seen
    },
    'functions that were passed, in both directions': async (pair) => {
      const actor = actors(pair)[end]
      return within('caller', async () => [await actor['call'](() => who()), await (await actor['fn']() as () => Promise<string>)()])
    },
    'each step of a generator that was returned, and its end': async (pair) => {
      const actor = actors(pair)[end]
      return within('caller', async () => {
        const got: string[] = []
        for await (const one of await actor['list']() as AsyncIterable<string>) if (got.push(one) === 2) break
        await until(() => pair.seen.length >= 3)
        return [...got, ...pair.seen]
      })
    },
    'what is being read when the actor leaves, and when its reader does': async (pair) => {
      for (const leaves of [(actor: Remote) => actor['leave'](), (_: Remote, reader: AsyncIterator<unknown>) => reader.return?.()]) {
        for (const share of [false, true]) {
          const name = `probe${share ? 's' : ''}`
          if (leaves.length === 1) within('definer', () => pair.far.define({ pattern: `${name}.{id}`, create: (_, self: Self) => probe(pair.seen, self), share }))
          for (const what of ['list', 'waiting']) {
            if (end === 'near' && what === 'waiting') continue // its next() is asked for at once, and a turn waits for it
            const actor = pair[end].actor(`${name}.1`) as unknown as Remote
            const reader = (await within('caller', () => actor[what]()) as AsyncIterable<unknown>)[Symbol.asyncIterator]()
            const next = within('caller', () => reader.next())
            if (what === 'list') await next
            else if (leaves.length === 1) { within('caller', () => void reader.return?.()); await next }
            await within('leaver', () => leaves(actor, reader))
            await next
            await reader.return?.()
            await soon()
          }
        }
      }
      return pair.seen
    },
    'getters in what a turn returns, throws and keeps': async (pair) => {
      const actor = actors(pair, { durable: true })[end]
      await within('activator', () => actor['who']())
      await within('caller', async () => { await actor['looked'](); await actor['raises']().catch(() => {}); await actor['keeps']() })
      return pair.seen
    },
    'a stream of the web that ends by the signal of its call': async (pair) => {
      actors(pair)
      const ending = new AbortController()
      const actor = pair[end].actor('probe.1', { signal: ending.signal }) as unknown as Remote
      await within('caller', () => actor['web']())
      within('canceller', () => { ending.abort() })
      await until(() => pair.seen.length >= 2)
      return pair.seen
    },
    'a listener of its signal, and what is read of it, when host() is taken back': async (pair) => {
      const { seen } = pair
      const object = { listens(this: { self: Self }) { this.self.signal.addEventListener('abort', () => seen.push(who())) }, async *list() { try { yield 1; yield 2 } finally { seen.push(who()) } }, deactivate() { seen.push(who()) } }
      const off = await within('hoster', () => pair.far.host('single', object))
      const actor = pair[end].actor('single') as unknown as Remote
      await within('caller', () => actor['listens']())
      const reader = (await within('caller', () => actor['list']()) as AsyncIterable<unknown>)[Symbol.asyncIterator]()
      await within('caller', () => reader.next())
      await within('releaser', () => off())
      await until(() => seen.length >= 3)
      await reader.return?.()
      return seen
    },
    'each step of a generator that was passed': async (pair) => {
      const actor = actors(pair)[end]
      return within('caller', () => actor['read']((async function* () { yield who(); await soon(); yield who() })()))
    },
    'a listener of its signal': async (pair) => {
      const actor = actors(pair)[end]
      await within('activator', () => actor['listens']())
      await within('leaver', () => actor['leave']())
      await until(() => pair.seen.length >= 5) // it was made, activate() twice, deactivate(), and last the listener
      return pair.seen
    },
    'a listener of its signal, where its stage hosts the object no more': async (pair) => {
      const object = { seen: pair.seen, self: undefined as Self | undefined, listens() { this.self!.signal.addEventListener('abort', () => this.seen.push(who())) } }
      const leave = await within('hoster', () => pair.far.host('probe', object))
      await within('activator', () => (pair[end].actor('probe') as unknown as Remote)['listens']())
      await within('leaver', leave)
      return pair.seen
    },
  }
}

/** What each kind has seen, or how it failed; one after the other, as they have times to keep. */
async function run(t: ExecutionContext, make: () => Interface, some: Record<string, (pair: Pair) => Promise<unknown>>): Promise<Record<string, unknown>> {
  const found: Record<string, unknown> = {}
  for (const [kind, one] of Object.entries(some)) {
    found[kind] = await pairOf(t, make).then(one).then((seen) => [...new Set([seen].flat(Infinity))], String)
  }
  return found
}

for (const [carrier, make] of carriers) {
  const groups = { 'handlers, functions, streams and events': kinds, 'actors, called over the link': kindsOfActors('near'), 'actors, called within their stage': kindsOfActors('far') }
  for (const [group, some] of Object.entries(groups)) {
    test(`P26: over ${carrier}, begins in an empty context: ${group}`, async (t) => {
      t.deepEqual(await run(t, make, some), Object.fromEntries(Object.keys(some).map((kind) => [kind, ['nobody']])))
    })
  }

  test(`P26: over ${carrier}, begins in an empty context: what comes over a chain of no wrappers`, async (t) => {
    const { near, far, seen } = await pairOf(t, make, { chain: [] })
    far.on('stream', (stream) => {
      seen.push(who())
      for (const event of ['data', 'end', 'close']) stream.on(event, () => { seen.push(who()) })
    })
    const stream = within('caller', () => { const to = near.to('far'); to.write('x'); return to })
    await until(() => seen.length >= 2)
    within('writer', () => { stream.write('x') })
    await until(() => seen.length >= 3)
    within('ender', () => { stream.end() })
    await until(() => seen.length >= 5)
    t.deepEqual(seen, new Array(5).fill('nobody'))
  })

  test(`P26: over ${carrier}, begins in an empty context: what a wrapper of one's own below the calls writes`, async (t) => {
    const seen: string[] = []
    const noting = (stream: Duplex): Duplex => new Proxy(stream, {
      get(_, name) {
        const value: unknown = Reflect.get(stream, name, stream)
        if (name === 'write') seen.push(who())
        return typeof value === 'function' ? value.bind(stream) as unknown : value
      },
    })
    const { near, far } = await pairOf(t, make, { chain: [{ name: 'noting', wrap: noting }, framing(), rpc()] })
    far.to('*').provide('hello', () => 'hello')
    for (const name of ['dialler', 'caller']) await within(name, () => near.to('far').call('hello'))
    t.true(seen.length > 1)
    t.deepEqual([...new Set(seen)], ['nobody'])
  })

  test(`P26: over ${carrier}, what comes of a call goes on in the context of its caller`, async (t) => {
    const pair = await pairOf(t, make)
    const { near, far } = pair
    far.on('stream', (stream) => { stream.end('bye') })
    far.to('*').provide('list', async function* () { yield 1; await soon(); yield 2 })
    const actor = actors(pair).near
    await Promise.all(['one', 'two'].map((name) => within(name, async () => {
      const found: [string, unknown][] = []
      const note = (what?: unknown): void => void found.push([who(), what])
      await near.to('far').call('hello')
      note()
      await near.to('far').call('missing').catch(note)
      for await (const one of near.to('*').callAll('hello')) note(one)
      for await (const one of await near.to('far').call<AsyncIterable<number>>('list')) note(one)
      await near.each('far', note)
      await new Promise<void>((resolve) => { near.to('far', (_, stream) => { note(); enter('callback'); stream?.destroy(); resolve() }) })
      await new Promise<void>((resolve) => { near.to('nobody', { timeoutMs: 1 }, () => { note(); resolve() }) })
      await actor['who']()
      note()
      for await (const one of near.observe('probe.1', ['n'])) { note(one); break }
      for await (const one of near.to('far')) note(one)
      t.deepEqual([...new Set(found.map(([context]) => context))], [name])
    })))
    const asked: string[] = []
    within('asker', () => near.to('*', { persist: true }, (_, stream) => { asked.push(who()); enter('callback'); stream?.destroy() }))
    await until(() => asked.length >= 1)
    for (const name of ['third', 'fourth']) pair.more(name)
    await until(() => asked.length >= 3)
    t.deepEqual(asked, ['asker', 'asker', 'asker'])
  })

  test(`P26: over ${carrier}, events of a stream that somebody reads are in no context, or in that of the reader`, async (t) => {
    const { near, far } = await pairOf(t, make)
    far.on('stream', (stream) => { stream.pipe(stream) })
    await Promise.all(['one', 'two', 'three'].map((name) => within(name, async () => {
      const found = new Set<string>()
      const stream = near.to('far')
      for (const event of ['connect', 'data', 'drain', 'finish', 'end', 'close']) stream.on(event, () => { found.add(who()) })
      for (let i = 0; i < 20; i++) if (!stream.write(Buffer.alloc(64 * 1024))) await once(stream, 'drain')
      stream.end()
      await once(stream, 'close')
      t.deepEqual([...found].filter((one) => one !== 'nobody' && one !== name), [])
    })))
  })
}

test('P26: a timer of the clock begins in an empty context', async (t) => {
  for (const ms of [0, 1]) t.is(await new Promise((resolve) => { within('caller', () => systemClock.setTimeout(() => { resolve(who()) }, ms, true)) }), 'nobody')
})

test('P26: a module that was imported within a context carries nothing of it', async (t) => {
  const url = new URL('../../src/outside.js?again', import.meta.url).href
  const { outside } = await within('importer', () => import(url) as Promise<typeof import('../../src/outside.js')>)
  t.is(within('caller', () => outside(who)), 'nobody')
  t.is(outside(who), 'nobody')
  t.is(await outside(async () => { await soon(); return who() }), 'nobody')
})

test('P26: an empty context within an empty one sees nothing of what lies between', async (t) => {
  const { outside } = await import('../../src/outside.js')
  t.is(outside(() => within('between', () => outside(who))), 'nobody')
  t.is(within('caller', () => { outside(enter, undefined, 'entered'); return who() }), 'caller')
  t.is(outside(who), 'nobody')
  t.deepEqual(outside(function (this: unknown, ...args: number[]) { return [this, ...args] }, 'self', 1, 2), ['self', 1, 2])
  t.throws(() => outside(() => { throw new Error('on purpose') }), { message: 'on purpose' })
  t.is(who(), 'nobody')
})
