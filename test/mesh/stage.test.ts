/** A stage from outside: its page, its events, its options. */
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { Readable, Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import pump from 'pump'
import test from 'ava'
import { MemoryInterface, MemoryNetwork, MemoryRegistry, Stage, StageError, framing, rpc, tap, type Layer } from '../../src/index.js'
import type { Entry } from '../../src/types.js'
import { advance, realMesh, virtualMesh } from '../helpers/mesh.js'
import { until } from '../helpers/until.js'

interface Api {
  greet(name: string): string
  count(n: number): Promise<number>
}

test('the first lines of the page run as they stand', async (t) => {
  const { stage } = realMesh(t)
  const api = stage('api')
  api.to('*').provide('greet', (name: string) => `hi there, ${name}`)
  const web = stage('web')
  t.is(await web.to('api').call('greet', 'bob'), 'hi there, bob')
  t.is(await web.to('api').as<Api>().greet('bob'), 'hi there, bob')
})

test('callAll yields every match, oneself and errors included, and self: false leaves oneself out', async (t) => {
  const { stage } = realMesh(t)
  const stages = ['api1', 'api2', 'apix'].map((name) => stage(name))
  stages[0].to('*').provide('who', () => 'one')
  stages[1].to('*').provide('who', () => { throw new Error('not today') })
  stages[2].to('*').provide('who', () => 'self')
  await Promise.all(stages.map((one) => one.ready()))
  const [self] = [stages[2]]
  await until(() => self.peers().length === 2)
  const seen = new Map<string, string>()
  for await (const r of self.to('api*').callAll('who')) seen.set(r.peer.name, r.error ? `${r.error.code} ${(r.error.cause as Error).message}` : r.value)
  t.deepEqual([...seen].sort(), [['api1', 'one'], ['api2', 'REMOTE_ERROR not today'], ['apix', 'self']])
  const others: string[] = []
  for await (const r of self.to('api*', { self: false }).callAll('who')) others.push(r.peer.name)
  t.deepEqual(others.sort(), ['api1', 'api2'])
})

test('leaving a callAll early cancels the calls that are still open', async (t) => {
  const { stage } = realMesh(t)
  const quick = stage('n1')
  const slow = stage('n2')
  let cancelled!: () => void
  const wasCancelled = new Promise<void>((resolve) => { cancelled = resolve })
  quick.to('*').provide('go', () => 'quick')
  slow.to('*').provide('go', function () {
    this.signal.addEventListener('abort', cancelled)
    return new Promise(() => {})
  })
  const web = stage('web')
  await until(() => web.peers().length === 2)
  for await (const r of web.to('n*').callAll('go')) {
    t.is(r.peer.name, 'n1')
    break
  }
  await wasCancelled
  t.pass()
})

test('cast reaches every match, oneself included, and is encoded once', async (t) => {
  const { stage } = realMesh(t)
  const got: string[] = []
  const names = ['log-a', 'log-b', 'log-c']
  const stages = names.map((name) => stage(name))
  for (const one of stages) one.to('*').provide('line', (line: string) => { got.push(`${one.name} ${line}`) })
  const from = stages[0]
  await until(() => from.peers().length === 2)
  let reads = 0
  from.to('log-*').cast('line', { get text() { reads++; return 'x' } }.text)
  const counting = { get text() { reads++; return 'counted' } }
  from.to('log-*').cast('line', counting)
  await until(() => got.length === 6)
  t.is(reads, 2, 'the second cast read its argument once for three receivers')
  t.deepEqual(got.filter((line) => line.endsWith(' x')).sort(), names.map((name) => `${name} x`))
})

test('casts that come back in a circle end after 32 of them, as calls do', async (t) => {
  const { stage } = realMesh(t)
  let ran = 0
  const [a, b] = ['a', 'b'].map((name) => {
    const one = stage(name)
    one.to('*').provide('x', function () { ran++; this.to(name === 'a' ? 'b' : 'a').cast('x') })
    one.to('*').provide('idle', () => ran)
    return one
  })
  await Promise.all([a.to('b').call('idle'), b.to('a').call('idle')])
  a.to('b').cast('x')
  await until(() => ran >= 33)
  let before = -1
  while (before !== ran) { // each round is behind whatever the one before it has sent
    before = ran
    for (let i = 0; i < 3; i++) await Promise.all([a.to('b').call('idle'), b.to('a').call('idle')])
  }
  t.is(ran, 33, 'the first and 32 more')
})

test('a cast of a function is refused before anything is sent', (t) => {
  const { stage } = realMesh(t)
  const error = t.throws(() => stage('a').to('*').cast('line', () => 1), { instanceOf: StageError })
  t.is(error.code, 'BAD_ARGUMENT')
})

test('to() is a Duplex that connects on the first write, and the other end is handed to the peer', async (t) => {
  const { stage } = realMesh(t)
  const api = stage('api')
  const web = stage('web')
  const bytes = randomBytes(3_000_000)
  const received = new Promise<string>((resolve, reject) => {
    api.on('stream', (stream, peer) => {
      t.is(peer.name, 'web')
      const hash = createHash('sha256')
      pump(stream, new Writable({ write(chunk: Buffer, _e, done) { hash.update(chunk); done() } }), (error) => error ? reject(error) : resolve(hash.digest('hex')))
    })
  })
  await new Promise<void>((resolve, reject) => pump(Readable.from([bytes.subarray(0, 1_000_000), bytes.subarray(1_000_000)]), web.to('api'), (error) => error ? reject(error) : resolve()))
  t.is(await received, createHash('sha256').update(bytes).digest('hex'))
})

test('streams work with pipeline and async iteration, both ways at once', async (t) => {
  const { stage } = realMesh(t)
  const api = stage('api')
  api.on('stream', (stream) => pump(stream, stream))
  const web = stage('web')
  const stream = web.to('api')
  const bytes = randomBytes(1_500_000)
  const back: Buffer[] = []
  await Promise.all([
    pipeline(Readable.from([bytes]), stream as unknown as Writable, { end: true }),
    (async () => { for await (const chunk of stream) back.push(chunk as Buffer) })(),
  ])
  t.true(Buffer.concat(back).equals(bytes))
})

test('a stream that arrives while nobody listens is REFUSED', async (t) => {
  const { stage } = realMesh(t)
  stage('api')
  const stream = stage('web').to('api')
  stream.write('x')
  const [error] = await once(stream, 'error') as [StageError]
  t.is(error.code, 'REFUSED')
})

test('a stream never goes to oneself', async (t) => {
  const { stage } = realMesh(t)
  const api = stage('api')
  api.on('stream', () => t.fail('it came back'))
  const stream = api.to('api', { timeoutMs: 100 })
  stream.write('x')
  const [error] = await once(stream, 'error') as [StageError]
  t.is(error.code, 'NO_SUCH_PEER')
})

test('the callback form opens a stream to those there now, and with persist to whoever joins later', async (t) => {
  const { stage } = realMesh(t)
  const web = stage('web')
  const greeted: string[] = []
  const listener = (name: string): void => { stage(name).on('stream', (stream) => stream.on('data', (d) => greeted.push(`${name}:${d}`))) }
  listener('late-1')
  await until(() => web.lookup('late-1').length === 1)
  const opened: string[] = []
  web.to('late-*', { persist: true }, (error, stream, peer) => {
    t.is(error, null)
    opened.push(peer.name)
    stream.end('hi')
  })
  await until(() => greeted.length === 1)
  listener('late-2')
  await until(() => greeted.length === 2)
  t.deepEqual(opened, ['late-1', 'late-2'])
  t.deepEqual(greeted, ['late-1:hi', 'late-2:hi'])
})

test('without persist the callback of a pattern that nobody matches is told so', async (t) => {
  const { stage } = realMesh(t)
  const web = stage('web')
  const error = await new Promise<Error | null>((resolve) => web.to('nobody', resolve))
  t.is((error as StageError).code, 'NO_SUCH_PEER')
})

test('this is the call: peer, signal, deadline, and to() for calls that inherit them', async (t) => {
  const { stage } = realMesh(t)
  const db = stage('db')
  db.to('*').provide('query', function (n: number) { return { n, caller: this.peer.name, left: this.deadline - Date.now() } })
  const api = stage('api')
  api.to('*').provide('slow', async function (n: number) { return this.to('db').call('query', n) })
  const answer = await stage('web').to('api', { timeoutMs: 60_000 }).call('slow', 7)
  t.is(answer.n, 7)
  t.is(answer.caller, 'api')
  t.true(answer.left > 10_000 && answer.left <= 60_000, `${answer.left} ms of 60 000 were left, not of the default 10 000`)
})

test('en-masse: a function among the arguments travels as a reference', async (t) => {
  const { stage } = realMesh(t)
  const api = stage('api')
  api.to('*').provide('greet', (name, cb) => cb('hi there, ' + name))
  const web = stage('web')
  t.is(await web.to('api').call('greet', 'bob', (text: string) => text.toUpperCase()), 'HI THERE, BOB')
})

test('functions in the arguments of a passed function work too, in both directions', async (t) => {
  const { stage } = realMesh(t)
  const api = stage('api')
  const thanks: string[] = []
  api.to('*').provide('reverse', (text: string, cb) => cb([...text].reverse().join(''), (thx: string) => { thanks.push(thx) }))
  await stage('web').to('api').call('reverse', 'hello', async (text: string, kthx: (thx: string) => Promise<void>) => {
    t.is(text, 'olleh')
    await kthx('bye')
  })
  t.deepEqual(thanks, ['bye'])
})

test('provide takes effect at once on present links, the latest pattern wins, and unprovide takes it back', async (t) => {
  const { stage } = realMesh(t)
  const api = stage('api')
  const web = stage('web')
  api.to('*').provide('f', () => 'all')
  t.is(await web.to('api').call('f'), 'all')
  api.to('w*').provide('f', () => 'web')
  t.is(await web.to('api').call('f'), 'web')
  api.to('admin-*').provide('f', () => 'admin')
  t.is(await web.to('api').call('f'), 'web')
  api.to('w*').unprovide('f')
  t.is(await web.to('api').call('f'), 'all')
  api.to('*').unprovide('f')
  const error = await t.throwsAsync(web.to('api').call('f'), { instanceOf: StageError })
  t.is(error.code, 'NO_SUCH_METHOD')
  t.is(error.executed, 'no')
})

test('a method shown to one pattern is not there for others, with the error of a missing name', async (t) => {
  const { stage } = realMesh(t)
  const api = stage('api')
  api.to('admin-*').provide('reboot', () => 'done')
  const error = await t.throwsAsync(stage('web').to('api').call('reboot'), { instanceOf: StageError })
  const missing = await t.throwsAsync(stage('web').to('api').call('missing'), { instanceOf: StageError })
  t.is(error.code, missing.code)
  t.is(error.message.replace('reboot', 'missing'), missing.message)
  t.is(await stage('admin-1').to('api').call('reboot'), 'done')
})

test('methods() and the events tell what a peer shows', async (t) => {
  const { stage } = realMesh(t)
  const api = stage('api')
  const web = stage('web')
  const told: string[] = []
  web.on('methodAdded', (name, peer) => told.push(`+${name} ${peer.name}`))
  web.on('methodRemoved', (name, peer) => told.push(`-${name} ${peer.name}`))
  api.to('*').provide('b', () => 1)
  api.to('*').provide('a', () => 1)
  t.deepEqual(await web.to('api').methods(), ['a', 'b'])
  api.to('*').unprovide('b')
  await until(() => told.length === 3)
  t.deepEqual(told, ['+b api', '+a api', '-b api'])
})

test('a call goes where the fewest calls are in flight, and around among equals', async (t) => {
  const { stage } = realMesh(t)
  const counts = new Map<string, number>()
  const hold: (() => void)[] = []
  for (const name of ['g', 'g', 'g']) {
    const one = stage(name)
    one.to('*').provide('quick', () => { counts.set(one.id, (counts.get(one.id) ?? 0) + 1) })
    one.to('*').provide('slow', () => new Promise<void>((resolve) => { hold.push(resolve) }))
  }
  const web = stage('web')
  await until(() => web.peers().length === 3)
  await until(async () => { await web.to('g').call('quick'); return web.links().length === 3 }) // the others are dialled while the first one serves
  counts.clear()
  for (let i = 0; i < 30; i++) await web.to('g').call('quick')
  t.deepEqual([...counts.values()], [10, 10, 10])
  const slow = [web.to('g').call('slow'), web.to('g').call('slow')]
  await until(() => hold.length === 2)
  counts.clear()
  for (let i = 0; i < 10; i++) await web.to('g').call('quick')
  t.deepEqual([...counts.values()], [10], 'the one that is free gets them all')
  for (const done of hold) done()
  await Promise.all(slow)
})

test('key keeps a key on one peer, and spreads keys', async (t) => {
  const { stage, clock } = virtualMesh(t) // whose ids come from a seed: by chance one of four may have none of the keys
  const all = Array.from({ length: 4 }, () => stage('k'))
  for (const one of all) one.to('*').provide('id', () => one.id)
  const web = stage('web')
  await advance(clock, Promise.all([...all, web].map((one) => one.ready())))
  t.is(web.peers().length, 4)
  const owner = async (key: string): Promise<string> => web.to('k', { key }).call('id')
  const owners = (): Promise<string[]> => advance(clock, Promise.all(Array.from({ length: 40 }, (_, i) => owner(`user-${i}`))))
  const first = await owners()
  const second = await owners()
  t.deepEqual(first, second)
  t.is(new Set(first).size, 4)
})

test('P10: NO_SUCH_METHOD tries each other match once', async (t) => {
  const { stage } = realMesh(t)
  stage('g')
  stage('g')
  const able = stage('g')
  able.to('*').provide('only-here', () => able.id)
  const web = stage('web')
  await until(() => web.peers().length === 3)
  for (let i = 0; i < 6; i++) t.is(await web.to('g').call('only-here'), able.id)
})

test('NO_SUCH_METHOD does not wait for a match that refuses connections', async (t) => {
  const { clock, stage, network } = virtualMesh(t)
  const [web, alive, dead] = [stage('web'), stage('g'), stage('g')] as const
  await advance(clock, Promise.all([web.ready(), alive.ready(), dead.ready()]))
  await clock.advance(100)
  const address = web.lookup('g').find((peer) => peer.id === dead.id)!.addresses[0]
  network.refuse((_from, to) => to === address)
  for (let i = 0; i < 4; i++) {
    const from = clock.now()
    const error = await t.throwsAsync(advance(clock, web.to('g').call('nope'), 11_000, 10), { instanceOf: StageError })
    t.is(error.code, 'NO_SUCH_METHOD')
    t.true(clock.now() - from <= 1000, `${clock.now() - from} ms`)
    await clock.advance(500)
  }
})

test('a misspelt option of a stage is none', (t) => {
  t.throws(() => new Stage('a', 'memory:', undefined, { nmespace: 'x' } as object), { instanceOf: TypeError, message: /"nmespace" is not an option of a stage with this chain; known options: registry, interfaces, namespace, / })
})

test('registry and interfaces are options, or positions, and not both', async (t) => {
  const registry = new MemoryRegistry('by-option')
  const network = new MemoryNetwork()
  const ways = [
    new Stage('one', { registry, interfaces: new MemoryInterface(network) }),
    new Stage('two', { registry: 'memory:by-option', interfaces: [new MemoryInterface(network)] }),
  ]
  t.teardown(() => Promise.all(ways.map((stage) => stage.close())))
  ways[0].to('*').provide('greet', () => 'hi')
  t.is(await ways[1].to('one').call('greet'), 'hi')
  const carrier = new MemoryInterface(network)
  const wrong: [make: () => Stage, message: RegExp][] = [
    [() => new Stage('x', 'memory:', undefined, { registry }), /^registry is given twice, as the second argument and among the options: /],
    [() => new Stage('x', registry, undefined, { registry }), /^registry is given twice/],
    [() => new Stage('x', undefined, carrier, { interfaces: carrier }), /^interfaces is given twice, as the third argument and among the options: /],
    [() => new Stage('x', 'memory:', [], { interfaces: [] }), /^interfaces is given twice/],
    [() => new Stage('x', { registry } as never, undefined, {}), /^the options are given twice, as the second argument and as the fourth: /],
    [() => new Stage('x', { registry, interfaces: {} as never }), /is not an interface: /],
    [() => new Stage('x', { registry: {} as never }), /is not a registry: /],
    [() => new Stage('x', 5 as never), /is not a registry: /],
  ]
  for (const [make, message] of wrong) t.throws(make, { instanceOf: TypeError, message })
})

test('keep() returns what lets go of it, and the last one lets go of the link', async (t) => {
  const { stage, clock } = virtualMesh(t)
  const [a, b] = [stage('a', { idleLinkMs: 1000 }), stage('b', { idleLinkMs: 600_000 })]
  await advance(clock, Promise.all([a.ready(), b.ready()]))
  const linked = async (): Promise<boolean> => {
    await clock.advance(5000)
    return a.links().length > 0
  }
  const [first, second] = [a.keep('b'), a.keep('b')]
  t.true(await linked())
  first()
  first()
  t.true(await linked(), 'the other one holds on')
  second[Symbol.dispose]()
  t.false(await linked())
  const stale = a.keep('b')
  a.keep('b', false)
  const fresh = a.keep('b')
  stale()
  t.true(await linked(), 'what was let go of already lets go of nothing else')
  fresh()
  t.false(await linked())
})

test('own matches are served in process, with copies and errors as if remote', async (t) => {
  const { stage } = realMesh(t)
  const api = stage('api')
  const sent = { list: [1] }
  api.to('*').provide('take', function (value: { list: number[] }) { value.list.push(2); return { value, from: this.peer.id } })
  const { value, from } = await api.to('api').call('take', sent)
  t.deepEqual(value, { list: [1, 2] })
  t.deepEqual(sent, { list: [1] }, 'arguments do not share memory')
  t.is(from, api.id)
  t.deepEqual(api.links(), [])
})

test('a buffer that came belongs to whoever got it, and keeps little else in memory', async (t) => {
  const { stage } = realMesh(t)
  const api = stage('api')
  const pool = Buffer.allocUnsafe(1).buffer.byteLength // small ones share it, as Node's own do
  const got: Buffer[] = []
  api.to('*').provide('take', (buffer: Buffer, other: Buffer) => { got.push(buffer, other); return [buffer, other] })
  const web = stage('web')
  for (const size of [1000, 20_000, 65_536, 100_000, 1_000_000]) {
    const sent = [Buffer.alloc(size, 1), Buffer.alloc(size, 2)]
    const answers = await Promise.all([1, 2, 3].map(() => web.to('api').call<[Buffer, Buffer]>('take', ...sent)))
    const all = [...got.splice(0), ...answers.flat()]
    for (const [i, one] of all.entries()) t.true(one.equals(sent[i % 2]) && one.buffer.byteLength <= Math.max(2 * size + 1024, pool), `${i} of ${size} bytes has ${one.buffer.byteLength}`)
    all.forEach((one, i) => one.fill(i + 3))
    t.true(all.every((one, i) => one.every((byte) => byte === i + 3)), `${size} bytes share memory`)
  }
})

test('values survive the trip', async (t) => {
  const { stage } = realMesh(t)
  const api = stage('api')
  api.to('*').provide('echo', (value) => value)
  const echo = (value: unknown): Promise<unknown> => web.to('api').call('echo', value)
  const web = stage('web')
  const values = [new Date(0), new Map<unknown, unknown>([[{ a: 1 }, 2]]), new Set([1, 'x']), 2n ** 70n, new Float64Array([1.5, NaN]), Buffer.from('x'), undefined, NaN, -0, [undefined, null], { a: { b: [] } }]
  for (const value of values) t.deepEqual(await echo(value), value)
  const error = await echo(Object.assign(new RangeError('no'), { code: 'E_NO' })) as Error & { code: string }
  t.deepEqual([error.name, error.message, error.code], ['RangeError', 'no', 'E_NO'])
})

test('messages larger than a frame arrive whole', async (t) => {
  const { stage } = realMesh(t)
  const api = stage('api')
  api.to('*').provide('echo', (value) => value)
  const big = { bytes: randomBytes(700_000), text: 'ü'.repeat(300_000) }
  t.deepEqual(await stage('web').to('api').call('echo', big), big)
})

test('stage.call names a method anywhere in the namespace', async (t) => {
  const { stage } = realMesh(t)
  const api = stage('peer1')
  api.to('*').provide('method', (x: number) => x + 1)
  const web = stage('web')
  t.is(await web.call('default://peer1/method', 1), 2)
  t.is(await web.call('default://peer?/method', 1), 2)
  t.is(await web.call('default://p*/method', 1), 2)
  t.is((await t.throwsAsync(web.call('other://peer1/method', 1), { instanceOf: StageError })).code, 'WRONG_NAMESPACE')
  t.is((await t.throwsAsync(web.call('nonsense'), { instanceOf: StageError })).code, 'BAD_ARGUMENT')
})

test('to(peer) and to([a, b]) take peers and lists', async (t) => {
  const { stage } = realMesh(t)
  const ids: string[] = []
  for (const name of ['a', 'b', 'c']) {
    const one = stage(name)
    one.to('*').provide('id', () => one.id)
    ids.push(one.id)
  }
  const web = stage('web')
  await until(() => web.peers().length === 3)
  const peer = web.lookup('b')[0]
  t.is(await web.to(peer).call('id'), peer.id)
  const all: string[] = []
  for await (const r of web.to(['a', peer]).callAll('id')) all.push(r.value)
  t.deepEqual(all.sort(), [ids[0], ids[1]].sort())
})

test('lookup, exclusions and each', async (t) => {
  const { stage } = realMesh(t)
  for (const name of ['db1', 'db2', 'x']) stage(name)
  const web = stage('web')
  const each: string[] = []
  await until(() => web.peers().length === 3)
  await web.each('db?', (peer) => each.push(peer.name))
  t.deepEqual(each.sort(), ['db1', 'db2'])
  t.deepEqual(web.lookup('*', ['db1', 'x']).map((peer) => peer.name), ['db2'])
  t.deepEqual(web.peers('db?', ['db1']).map((peer) => peer.name), ['db2'])
  t.deepEqual(web.peers(), web.lookup('*'))
})

test('a call waits for a peer that comes later, up to its deadline', async (t) => {
  const { stage } = realMesh(t)
  const web = stage('web')
  const waiting = web.to('api').call('late')
  await web.ready()
  const api = stage('api')
  api.to('*').provide('late', () => 'here')
  t.is(await waiting, 'here')
})

test('the namespace comes from code, then from the environment, then is default; peers of others are not there', async (t) => {
  const { stage } = realMesh(t)
  const one = stage('one')
  one.setPeerNamespace('blue')
  t.is(one.namespace, 'blue')
  const two = stage('two', { namespace: 'green' })
  const three = stage('three').setPeerNamespace('blue')
  await until(() => one.peers().length === 1)
  await two.ready()
  t.deepEqual(one.peers().map((peer) => peer.name), ['three'])
  t.deepEqual(two.peers(), [])
  t.throws(() => three.setPeerNamespace('red'), { instanceOf: TypeError })
})

test('a stage that nobody touches is listed', async (t) => {
  const { stage } = realMesh(t)
  const web = stage('web')
  stage('quiet')
  await until(() => web.peers().length === 1)
  t.pass()
})

test('stats are zero after close, and what comes later is CLOSED', async (t) => {
  const { stage } = realMesh(t)
  const api = stage('api')
  api.to('*').provide('f', () => 1)
  const web = stage('web')
  await web.to('api').call('f')
  await Promise.all([web.close(), web.close(), api.close()])
  for (const [name, count] of Object.entries({ ...web.stats(), ...api.stats() })) t.is(count, 0, name)
  t.is((await t.throwsAsync(web.to('api').call('f'), { instanceOf: StageError })).code, 'CLOSED')
  t.is((await t.throwsAsync(web.ready(), { instanceOf: StageError })).code, 'CLOSED')
})

test('a wrapper above rpc takes none of its verbs, nor its goodbye', async (t) => {
  const { stage } = realMesh(t)
  const chain = [framing(), rpc(), tap(() => {})]
  const [a, b] = [stage('a', { chain }), stage('b', { chain })] as const
  b.to('*').provide('f', (n: number) => n + 1)
  b.to('*').provide('slow', () => new Promise((resolve) => setTimeout(() => resolve('done'), 200)))
  t.is(await a.to('b').call('f', 1), 2)
  const slow = a.to('b').call('slow')
  await until(() => b.stats()['serving'] === 1)
  await b.close()
  t.is(await slow, 'done')
})

test('in a chain of one\'s own as() has its deadline, and call says what is missing', async (t) => {
  const { stage } = realMesh(t)
  const a = stage('a', { chain: [] })
  const error = await t.throwsAsync(a.to('nobody', { timeoutMs: 50 }).as<{ foo(): void }>().foo(), { instanceOf: StageError })
  t.is(error.code, 'NO_SUCH_PEER')
  t.throws(() => a.to('b').call('f'), { instanceOf: TypeError, message: /rpc/ })
})

test('persist waits for a registry that is late', async (t) => {
  const { stage, registry } = realMesh(t)
  registry.fail(true)
  const web = stage('web')
  const opened: string[] = []
  web.to('late-*', { persist: true, timeoutMs: 20 }, (error, stream, peer) => { if (!error) opened.push(peer.name); stream?.end() })
  await new Promise((resolve) => setTimeout(resolve, 60)) // longer than the deadline of one stream
  registry.fail(false)
  stage('late-1').on('stream', () => {})
  await until(() => opened.length === 1)
  t.deepEqual(opened, ['late-1'])
})

test('a layer may announce while it is mounted, and others see it', async (t) => {
  const { stage } = realMesh(t)
  const announcing: Layer = { name: 'types', mount: (mesh) => { mesh.announce('types', [mesh.self.name]); return { wrap: (stream) => stream } } }
  const a = stage('a', { chain: [announcing] })
  const b = stage('b', { chain: [announcing] })
  await until(() => a.peers().length === 1 && b.peers().length === 1)
  t.deepEqual((a.peers()[0] as Entry).announces, { types: ['b'] })
})

test('a stage that was closed before its first use stays closed', async (t) => {
  const { stage } = realMesh(t)
  const a = stage('a')
  await a.close()
  t.deepEqual(a.stats(), {})
  t.throws(() => a.to('b'), { code: 'CLOSED' })
  await t.throwsAsync(a.ready(), { code: 'CLOSED' })
})

test('an unknown registry\'s URL is named without its password', (t) => {
  const error = t.throws(() => new Stage('a', 'postgress://user:hunter2@db/x'), { instanceOf: StageError })
  t.false(error.message.includes('hunter2'))
})

test('P13: a stream is finished when the peer has read all of it, and a refused one never is, however small', async (t) => {
  const { stage } = realMesh(t)
  const api = stage('api')
  const web = stage('web')
  await until(() => web.lookup('api').length === 1)
  const refused = await new Promise<Error | undefined>((resolve) => pump(Readable.from([Buffer.from('small')]), web.to('api'), resolve))
  t.is((refused as StageError).code, 'REFUSED')
  api.on('stream', (stream) => stream.destroy(new Error('disk full')))
  const failed = await new Promise<Error | undefined>((resolve) => pump(Readable.from([Buffer.from('small')]), web.to('api'), resolve))
  t.regex((failed as StageError).message, /disk full/)
  api.removeAllListeners('stream')
  let read = 0
  api.on('stream', (stream) => pump(stream, new Writable({ write(chunk: Buffer, _e, done) { setTimeout(() => { read += chunk.length; done() }, 20) } })))
  await new Promise<void>((resolve, reject) => pump(Readable.from([Buffer.alloc(100_000)]), web.to('api'), (error) => error ? reject(error) : resolve()))
  await until(() => read === 100_000)
})
