/** What the library hands out, as values: a proxy of an actor is one at the other end as well, a stream is a stream, and what can be neither says so. */
import { once } from 'node:events'
import { PassThrough, type Duplex } from 'node:stream'
import { text } from 'node:stream/consumers'
import { inspect } from 'node:util'
import test, { type ExecutionContext } from 'ava'
import { Stage, StageError, actors, framing, msgpack, rpc, type Actor, type ChainItem, type Handler, type Self } from '../../src/index.js'
import { json } from '../../wrappers/json.js'
import { actorMesh } from '../helpers/actors.js'
import { realMesh } from '../helpers/mesh.js'
import { Raw, tcpMesh } from '../helpers/raw-peer.js'
import { nothingUnhandled } from '../helpers/unhandled.js'
import { until } from '../helpers/until.js'

nothingUnhandled(test)

const calls: string[] = []

class Player {
  self!: Self
  hp = 10
  friend?: Actor<Player>
  friends = new Map<string, Actor<Player>[]>()
  hit(by: number): number { return this.hp -= by }
  async strike(other: Actor<Player>, by: number): Promise<number> { return other.hit(by) }
  strikeAll(others: Map<string, { one: Actor<Player> }[]>): Promise<number[]> { return Promise.all([...others.values()].flat().map(({ one }) => one.hit(1))) }
  same(value: unknown): unknown { return value }
  whom(id: string): Actor<Player> { return this.self.actor<Player>(`players.${id}`) }
  befriend(other: Actor<Player>): void { this.friend = other; this.friends.set('all', [other, other]) }
  betray(other: Actor<Player>): void { this.friend = other; throw new Error('no') }
  async friendsHp(): Promise<number | undefined> { return this.friend?.hp }
  later(other: Actor<Player>): void { this.self.remind('later', 'strike', { afterMs: 10, args: [other, 3] }) }
  async run(fn: (one: Actor<Player>) => Promise<Actor<Player>>): Promise<number> { return (await fn(this.self.actor<Player>('players.8'))).hit(1) }
  // names by which streams are known: nobody may call them only to find out what a proxy is
  on(): void { calls.push('on') }
  pipe(): void { calls.push('pipe') }
  read(): void { calls.push('read') }
  write(): void { calls.push('write') }
  end(): void { calls.push('end') }
  destroy(): void { calls.push('destroy') }
}

const addressOf = (one: unknown): string => String(one)
const chainOf = (codec: string): ChainItem[] => [framing(), rpc({ codec: codec === 'json' ? json() : msgpack() }), actors()]

interface Ends { api: Stage; web: Stage }

function ends(t: ExecutionContext, codec: string, handlers: Record<string, Handler> = {}): Ends {
  const mesh = realMesh(t)
  const options = { chain: chainOf(codec), store: mesh.registry }
  const [api, web] = [mesh.stage('api', options), mesh.stage('web', options)]
  api.define({ pattern: 'players.{id}', constructor: Player, durable: true })
  for (const [name, handler] of Object.entries(handlers)) api.to('*').provide(name, handler)
  return { api, web }
}

/** A way to the other end and back: what comes out of it must be a proxy like the one that went in. */
const ways: Record<string, (ends: Ends, one: Actor<Player>) => Promise<unknown>> = {
  'an argument and a result': ({ web }, one) => web.to('api').call('echo', one),
  'in an object': async ({ web }, one) => (await web.to('api').call<{ a: [Actor<Player>] }>('echo', { a: [one] })).a[0],
  'in a Map and a Set': async ({ web }, one) => [...(await web.to('api').call<Map<string, Set<Actor<Player>>>>('echo', new Map([['x', new Set([one])]]))).get('x')!][0],
  'a key of a Map': async ({ web }, one) => [...(await web.to('api').call<Map<Actor<Player>, number>>('echo', new Map([[one, 1]]))).keys()][0],
  'callAll': async ({ web }, one) => {
    for await (const { value, error } of web.to('api').callAll<Actor<Player>>('echo', one)) return value ?? error
    return 'no answer'
  },
  'cast': async ({ web }, one) => { web.to('api').cast('keep', one); await until(() => kept !== undefined); const it = kept; kept = undefined; return it },
  'an item of an argument': async ({ web }, one) => (await web.to('api').call<Actor<Player>[]>('all', (async function* () { yield one })()))[0],
  'an item of a result': async ({ web }, one) => {
    for await (const item of await web.to('api').call<AsyncIterable<unknown>>('items', one)) return item
    return 'no item'
  },
  'written to a stream of objects': async ({ web }, one) => {
    const stream = await web.to('api').call<Duplex>('mirror')
    stream.write({ one })
    const [back] = await once(stream, 'data') as [{ one: unknown }]
    stream.end()
    return back.one
  },
  'an argument of a function, and its result': ({ web }, one) => web.to('api').call('apply', (other: Actor<Player>) => other, one),
  'an actor elsewhere': ({ web }, one) => web.actor<Player>('players.2').same(one),
  'an actor of the same stage': ({ api }, one) => api.actor<Player>('players.2').same(one),
}
let kept: unknown

const handlers: Record<string, Handler> = {
  echo: (value: unknown) => value,
  keep: (value: unknown) => { kept = value },
  all: async (items: AsyncIterable<unknown>) => { const all = []; for await (const item of items) all.push(item); return all },
  items: async function* (one: unknown) { yield one },
  mirror: () => new PassThrough({ objectMode: true }),
  apply: (fn: (one: unknown) => Promise<unknown>, one: unknown) => fn(one),
}

for (const codec of ['msgpack', 'json']) {
  test.serial(`${codec}: a proxy of an actor arrives as one, whichever way it goes`, async (t) => {
    const both = ends(t, codec, handlers)
    const { api, web } = both
    for (const address of ['players.1', 'players.ünï 😀', `players.${'x'.repeat(504)}`]) {
      for (const [way, go] of Object.entries(ways)) {
        const one = (way.includes('same stage') ? api : web).actor<Player>(address)
        const back = await go(both, one) as Actor<Player>
        t.not(back, one, way)
        t.is(inspect(back), `actor ${address}`, way)
        t.is(addressOf(back), address, way)
        t.is(await back.hp, 10, way)
        t.is(await back.same(5), 5, way)
      }
    }
    const back = await web.to('api').call<Actor<Player>>('echo', web.actor('players.9', { timeoutMs: 50 }))
    t.is((await web.explain(back)).address, 'players.9')
    for await (const { hp } of web.observe(back, ['hp'])) {
      t.is(hp, 10)
      break
    }
    t.deepEqual(calls, [], 'nobody asked the actor what it is')
  })

  test.serial(`${codec}: calls through a proxy that arrived reach the actor`, async (t) => {
    const { api, web } = ends(t, codec, { strike: (one: Actor<Player>) => one.hit(2), pick: () => api.actor('players.7') })
    const [a, b] = [web.actor<Player>('players.1'), web.actor<Player>('players.2')]
    t.is(await web.to('api').call('strike', a), 8)
    t.is(await a.strike(b, 3), 7)
    t.is(await api.actor<Player>('players.1').strike(api.actor<Player>('players.2'), 1), 6)
    t.deepEqual(await a.strikeAll(new Map([['x', [{ one: b }, { one: b }]]])), [5, 4])
    t.is(await (await web.to('api').call<Actor<Player>>('pick')).hit(1), 9)
    t.is(await (await a.whom('7')).hit(1), 8)
    t.is(await a.run((one) => Promise.resolve(one)), 9)
    t.is(await b.hp, 4)
  })

  test.serial(`${codec}: a proxy that cannot be sent in vain: what fails leaves the actor alone`, async (t) => {
    const { web } = ends(t, codec, { throws: (one: unknown) => { throw { one } as unknown as Error } })
    const one = web.actor<Player>('players.1')
    await t.throwsAsync(web.to('api').call('echo', one, Symbol('s')))
    await t.throwsAsync(web.to('api').call('missing', { one: [one] }))
    await t.throwsAsync(web.to('nobody', { timeoutMs: 50 }).call('echo', one))
    const error = await t.throwsAsync<StageError>(web.to('api').call('throws', one))
    t.is(String((error.cause as { one: unknown }).one), 'players.1')
    t.is(await one.hp, 10)
    t.deepEqual(calls, [])
  })

  test.serial(`${codec}: what stands for more than its properties is refused, and says what to do`, async (t) => {
    const both = ends(t, codec, {
      self(this: unknown) { return { it: this } },
      echo: (value: unknown) => value,
    })
    const { api, web } = both
    const player = web.actor<Player>('players.1')
    const elsewhere = new Stage('far', 'memory:handles-far', undefined, { namespace: 'far' })
    t.teardown(() => elsewhere.close())
    const refused: [unknown, RegExp][] = [
      [web, /is a stage, which cannot be sent: send its name/],
      [web.to('api').as(), /is a proxy that as\(\) returned.*call to\(name\)\.as\(\)/],
      [player.hp, /is a function and a promise at once.*await it first/],
      [player.hit, /is a function and a promise at once.*a function that calls it/],
      [Object.assign(() => 1, { then() {} }), /is a function and a promise at once/],
      [Promise.resolve(1), /is a promise: await it first/],
      [elsewhere.actor('players.1'), /is the actor "players\.1" of the namespace "far", which cannot be called from default/],
    ]
    for (const [value, message] of refused) {
      for (const [way, send] of Object.entries({
        call: (it: unknown) => web.to('api').call('echo', it), actor: (it: unknown) => player.same(it), local: (it: unknown) => api.actor<Player>('players.1').same(it),
        item: async (it: unknown) => { for await (const one of await web.to('api').call<AsyncIterable<unknown>>('echo', (async function* () { yield it })())) void one },
      })) {
        for (const it of [value, [new Map([['x', { value }]])]]) {
          if (way === 'item' && it === value) continue // a generator awaits what it yields
          const error = await t.throwsAsync<StageError>(send(it), undefined, `${String(message)} ${way}`)
          t.is(error.code, 'BAD_ARGUMENT', way)
          t.regex(error.message, message, way)
          if (it !== value) t.regex(error.message, /\[0\]\.x\.value /)
        }
      }
      t.throws(() => web.to('api').cast('echo', value), { instanceOf: StageError, code: 'BAD_ARGUMENT' })
    }
    t.regex((await t.throwsAsync<StageError>(web.to('api').call('self'))).message, /\.it is the `this` of a handler/)
    class Shy { self!: Self; leak(): unknown { return this.self } mine(): this { return this } data = 1 }
    api.define({ pattern: 'shy.{id}', constructor: Shy })
    for (const stage of [api, web]) {
      t.regex((await t.throwsAsync<StageError>(stage.actor<Shy>('shy.1').leak() as Promise<unknown>)).message, /is the self of an actor.*self\.actor\(self\.address\)/)
      t.deepEqual(await stage.actor<Shy>('shy.1').mine() as unknown, { data: 1 })
    }
  })

  test.serial(`${codec}: a to() is the stream that it is`, async (t) => {
    const { api, web } = ends(t, codec, { say: (stream: Duplex) => { stream.end('hello') } })
    const third = api.to('web') // whoever listens there is reached through the caller
    third.destroy()
    web.on('stream', (stream) => void stream.destroy())
    const got = new Promise<string>((resolve) => api.on('stream', (stream) => { void text(stream).then(resolve) }))
    await web.to('api').call('say', web.to('api'))
    t.is(await got, 'hello')
  })
}

// ── state ───────────────────────────────────────────────────────────────────────────────────────────────────────

test.serial('a proxy is kept in the state, is put back with it, and is there after a crash', async (t) => {
  const mesh = actorMesh(t)
  const prepare = (stage: Stage): void => void stage.define({ pattern: 'players.{id}', constructor: Player, durable: true })
  const [a, b] = [await mesh.add('a', prepare), await mesh.add('b', prepare)]
  const web = await mesh.add('web')
  const [one, two] = ['players.1', 'players.2'].map((address) => web.stage.actor<Player>(address)) as [Actor<Player>, Actor<Player>]
  await mesh.go(two.hit(4))
  await mesh.go(one.befriend(two))
  const commits = a.shelf.count('commit') + b.shelf.count('commit')
  await mesh.go(one.befriend(two))
  t.is(a.shelf.count('commit') + b.shelf.count('commit'), commits, 'the same actor is no change')
  await mesh.fails(one.betray(one), 'REMOTE_ERROR')
  t.is(addressOf(await mesh.go(Promise.resolve(one.friend))), 'players.2')
  t.is(await mesh.go(one.friendsHp()), 6)
  const owner = (await mesh.go(web.stage.explain(one))).owner!.name === 'a' ? a : b
  mesh.crash(owner)
  await mesh.clock.advance(20_000)
  t.is(await mesh.go(one.friendsHp()), 6)
  const friends = await mesh.go(Promise.resolve(one.friends))
  t.deepEqual(friends.get('all')!.map(String), ['players.2', 'players.2'])
  t.is(await mesh.go(friends.get('all')![1].hit(1)), 5)
})

test.serial('a proxy that is watched, here and elsewhere, and one that a reminder brings', async (t) => {
  const mesh = actorMesh(t)
  const a = await mesh.add('a', (stage) => void stage.define({ pattern: 'players.{id}', constructor: Player, durable: true }))
  const web = await mesh.add('web')
  for (const { stage } of [a, web]) {
    const one = stage.actor<Player>(`players.of-${stage.name}`)
    await mesh.go(one.befriend(stage.actor<Player>('players.2')))
    const loop = stage.observe(one, ['friend', 'friends'])
    const { value } = await mesh.go(loop.next())
    t.is(await mesh.go(Promise.resolve((value as { friend: Actor<Player> }).friend.hp)), 10)
    t.is(await mesh.go(Promise.resolve((value as { friends: Map<string, Actor<Player>[]> }).friends.get('all')![0].hp)), 10)
    await loop.return!()
  }
  await mesh.go(web.stage.actor<Player>('players.1').later(web.stage.actor<Player>('players.2')))
  await mesh.clock.advance(3000)
  t.is(await mesh.go(Promise.resolve(web.stage.actor<Player>('players.2').hp)), 7)
})

// ── what a peer may do wrong ────────────────────────────────────────────────────────────────────────────────────

/** A reference as msgpack. */
const reference = (address: string): Buffer => { const bytes = Buffer.from(address); return Buffer.concat([Buffer.from([0xc8, bytes.length >> 8, bytes.length & 255, 9]), bytes]) }

test.serial('P24: a reference to what is no address ends the link that brings it, and no other', async (t) => {
  const mesh = tcpMesh(t)
  const api = await mesh.stage('api')
  let called = 0
  api.to('*').provide('take', () => { called++ })
  const ends: string[] = []
  api.on('unlink', (_, error) => ends.push(error?.code ?? 'none'))
  const good = await Raw.join(t, api.address, { id: 'mallory-good' })
  for (const [i, address] of ['', '.', 'players.', 'players..1', 'players.{id}', 'a\u0000b', 'a\u2028b', 'x'.repeat(513), 'x'.repeat(1025), 'x'.repeat(60_000)].entries()) {
    const raw = await Raw.join(t, api.address, { id: `mallory-${1000 + i}` })
    raw.call(1, 'take', Buffer.concat([Buffer.from([0x91]), reference(address)]))
    await until(() => ends.length === i + 1)
    t.is(ends[i], 'PROTOCOL_ERROR', JSON.stringify(address.slice(0, 20)))
  }
  t.is(called, 0)
  good.call(1, 'take', Buffer.concat([Buffer.from([0x91]), reference('players.1')]))
  await until(() => called === 1)
})

test.serial('a chain without actors has nothing that a reference could stand for', async (t) => {
  const mesh = tcpMesh(t)
  const chain = [framing(), rpc()]
  const [api, web, full] = [await mesh.stage('api', { chain }), await mesh.stage('web', { chain }), await mesh.stage('full', { store: mesh.registry })]
  api.to('*').provide('take', () => {})
  t.like(await t.throwsAsync<StageError>(web.to('api').call('take', full.actor('players.1'))), { code: 'BAD_ARGUMENT', message: '[0] refers to an object that no layer of this chain knows: send its name' })
  const end = once(api, 'unlink') as Promise<[unknown, StageError]>
  const raw = await Raw.join(t, api.address, { chain: ['framing', 'rpc:msgpack'] })
  raw.call(1, 'take', Buffer.concat([Buffer.from([0x91]), reference('players.1')]))
  t.is((await end)[1].code, 'PROTOCOL_ERROR')
})
