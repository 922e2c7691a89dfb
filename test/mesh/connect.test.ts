/** Stages that find each other by addresses alone: connect(), disconnect(), keep(peer), send(). */
import test, { type ExecutionContext } from 'ava'
import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import { Stage, StageError, TcpInterface, type Interface, type Peer, type StageOptions } from '../../src/index.js'
import { systemClock } from '../../src/clock.js'
import { handshake } from '../../src/handshake.js'
import { systemRandom } from '../../src/random.js'
import { until } from '../helpers/until.js'

let count = 0
const addresses = new WeakMap<Stage, readonly string[]>()
/** The address of a stage on TCP. */
const at = (stage: Stage): string => addresses.get(stage)!.find((one) => one.startsWith('tcp:'))!

async function made(t: ExecutionContext, name: string, options: StageOptions = {}): Promise<Stage> {
  t.timeout(60_000)
  const stage = new Stage(name, { registry: 'none:', interfaces: new TcpInterface(), ...options })
  stage.on('listening', (all) => addresses.set(stage, all))
  stage.to('*').provide('name', () => stage.name)
  stage.to('*').provide('who', function () { return this.peer.name })
  t.teardown(() => stage.close())
  await stage.ready()
  return stage
}

test('two stages know each other by name as long as the link stands', async (t) => {
  const [a, b] = [await made(t, 'a', { meta: { zone: 'eu' } }), await made(t, 'b')]
  t.deepEqual(a.peers(), [])
  const peer = await b.connect(at(a))
  t.deepEqual([peer.name, peer.id, peer.meta, peer.claimed], ['a', a.id, { zone: 'eu' }, undefined])
  t.is(await b.to('a').call('name'), 'a')
  t.is(await a.to('b').call('who'), 'a')
  t.deepEqual(a.peers().map(({ name }) => name), ['b'])
  const stream = once(a, 'stream') as Promise<[NodeJS.ReadWriteStream]>
  b.to('a').end('bytes')
  const [incoming] = await stream
  t.is(String((await once(incoming, 'data'))[0]), 'bytes')
  const gone = once(a, 'unlink')
  await b.disconnect(peer)
  await gone
  await until(() => a.peers().length === 0 && b.peers().length === 0)
  t.is((await t.throwsAsync(b.to('a', { timeoutMs: 200 }).call('name'), { instanceOf: StageError }) as StageError).code, 'NO_SUCH_PEER')
  // the id may come back
  t.is((await b.connect(at(a))).id, a.id)
  t.is(await a.to('b').call('name'), 'b')
})

test('P7: both dial at once, and one link stands', async (t) => {
  const [a, b] = [await made(t, 'a'), await made(t, 'b')]
  const peers = await Promise.all([a.connect(at(b)), b.connect(at(a)), a.connect(at(b))])
  t.deepEqual(peers.map(({ name }) => name), ['b', 'a', 'b'])
  await until(() => a.links().length === 1 && b.links().length === 1)
  t.is(a.links()[0].id, b.links()[0].id)
  t.is(await a.to('b').call('name'), 'b')
  t.is(await b.to('a').call('name'), 'a')
})

test('nobody learns of the others, and the link is not closed for being idle', async (t) => {
  const [a, b, c] = [await made(t, 'a'), await made(t, 'b', { idleLinkMs: 50 }), await made(t, 'c', { idleLinkMs: 50 })]
  await Promise.all([b.connect(at(a)), c.connect(at(a))])
  await new Promise((resolve) => setTimeout(resolve, 300))
  t.deepEqual(a.peers().map(({ name }) => name).sort(), ['b', 'c'])
  t.deepEqual([b.peers().length, c.peers().length], [1, 1])
  t.is(await a.to('c').call('name'), 'c')
})

test('a kept peer is dialled again by its address, also when its process was replaced', async (t) => {
  const bind = '127.0.0.77' // a port of 127.0.0.1 may be somebody else's when it is wanted again
  const a = await made(t, 'a', { interfaces: new TcpInterface({ bind }) })
  const port = Number(at(a).split(':').at(-1))
  const b = await made(t, 'b')
  const peer = await b.connect(at(a))
  using held = b.keep(peer)
  void held
  await a.close()
  await until(() => b.peers().length === 0)
  const next = await made(t, 'a', { interfaces: new TcpInterface({ bind, port }) })
  await until(() => b.peers().length === 1)
  t.is(b.peers()[0].id, next.id)
  t.is(await b.to('a').call('name'), 'a')
  await b.disconnect(peer) // as it was before
  await new Promise((resolve) => setTimeout(resolve, 1000))
  t.deepEqual(b.peers(), [], 'it was let go')
  t.throws(() => b.keep(peer), { message: /was not found by connect/ })
})

test('there is no event part for a stage that was connected, when it closes or is cut off', async (t) => {
  const [a, b] = [await made(t, 'a'), await made(t, 'b')]
  const told: string[] = []
  for (const event of ['join', 'part', 'timeout'] as const) a.on(event, () => told.push(event))
  await b.connect(at(a))
  const gone = once(a, 'unlink')
  await b.close()
  await gone
  await until(() => a.peers().length === 0)
  t.deepEqual(told, [])
})

test('connect() finds whom a link leads to that stood before', async (t) => {
  const a = await made(t, 'a', { registry: `memory:connect-${++count}`, interfaces: new TcpInterface() })
  const b = await made(t, 'b', { meta: { zone: 'eu' } })
  await b.connect(at(a))
  t.deepEqual(a.peers(), [], 'a stranger, whom it has not dialled')
  const peer = await a.connect(at(b))
  t.deepEqual([peer.id, peer.meta, peer.claimed], [b.id, { zone: 'eu' }, undefined])
  t.is(await a.to('b', { timeoutMs: 3000 }).call('name'), 'b')
  t.is(a.links().length, 1)
})

test('of several addresses the first that answers is used, and one that is silent costs a quarter of a second', async (t) => {
  const [a, b] = [await made(t, 'a'), await made(t, 'b')]
  const silent = createServer((socket) => void socket.on('error', () => {}))
  await new Promise<void>((resolve) => { silent.listen(0, '127.0.0.1', resolve) })
  t.teardown(() => void silent.close())
  const { port } = silent.address() as AddressInfo
  const started = performance.now()
  t.is((await b.connect([`tcp://127.0.0.1:${port}`, at(a)])).name, 'a')
  t.true(performance.now() - started < 4000, 'the silent one was not waited for')
  using held = b.keep(b.peers()[0])
  t.truthy(held, 'the address that led there is known')
  const error = await t.throwsAsync(b.connect(['tcp://127.0.0.1:1', 'tcp://127.0.0.1:2']), { instanceOf: StageError }) as StageError
  t.is(error.code, 'DISCONNECTED')
  t.regex(error.message, /127\.0\.0\.1:1: .*127\.0\.0\.1:2: /)
})

test('with the secret alone, nobody gets a name that the registry lists', async (t) => {
  const secret = 'sixteen bytes or more'
  const registry = `memory:connect-${++count}`
  const [api, db] = [await made(t, 'api', { registry, secret }), await made(t, 'db', { registry, secret })]
  await until(() => api.peers('db').length === 1)
  const mallory = await made(t, 'db', { secret })
  api.to('db').provide('only', () => 'for db')
  await mallory.connect(at(api))
  t.deepEqual(api.peers('db').map(({ id }) => id), [db.id])
  t.is((await t.throwsAsync(mallory.to('api').call('only'), { instanceOf: StageError }) as StageError).code, 'NO_SUCH_METHOD')
  t.is(await db.to('api').call('only'), 'for db')
})

test('a stage believes a stranger only by a proof, or if it has no registry', async (t) => {
  const secret = 'sixteen bytes or more'
  for (const [registry, proof, believes] of [['none:', undefined, true], ['memory:connect', undefined, false], ['memory:connect', secret, true]] as const) {
    const a = await made(t, 'a', { registry, secret: proof, interfaces: new TcpInterface() })
    const b = await made(t, 'db', { secret: proof })
    await b.connect(at(a))
    t.is(await b.to('a').call('name'), 'a', 'who dials knows whom')
    await until(() => a.links().length === 1)
    t.is(a.peers('db').length, believes ? 1 : 0, `${registry} ${proof}`)
    t.is(a.send('db', 1), believes, 'a name that is only claimed is none')
    t.is(a.links()[0].peer.claimed, believes ? undefined : true)
    await Promise.all([a.close(), b.close()])
  }
})

test('a listed stage and one that is connected are matches of one name', async (t) => {
  const secret = 'sixteen bytes or more'
  const registry = 'memory:connect-both'
  const [web, listed, far] = [await made(t, 'web', { registry, secret }), await made(t, 'api', { registry, secret }), await made(t, 'api', { secret })]
  await until(() => web.peers().length === 1)
  await web.connect(at(far))
  const answers = new Set<string>()
  for (let i = 0; i < 20; i++) for await (const { peer } of web.to('api').callAll('name')) answers.add(peer.id)
  t.deepEqual([...answers].sort(), [listed.id, far.id].sort())
  await far.close()
  await until(() => web.peers('api').length === 1)
  await listed.close()
  await until(() => web.peers('api').length === 0)
})

test('actors of a stage that was connected are found', async (t) => {
  const a = await made(t, 'a', { store: 'memory:connect-actors' })
  const b = await made(t, 'b', { store: 'memory:connect-actors' })
  a.define({ pattern: 'players.{id}', create: () => ({ hp: 100, attack(damage: number) { this.hp -= damage; return this.hp } }) } as never)
  const storeless = await made(t, 'storeless')
  t.throws(() => storeless.define({ pattern: 'x.{id}', create: () => ({}) }), { message: /store/ })
  await b.connect(at(a))
  t.is(await b.actor<{ attack(damage: number): number }>('players.42').attack(10), 90)
})

test('what cannot be connected says why', async (t) => {
  const a = await made(t, 'a')
  const b = await made(t, 'b', { namespace: 'other' })
  const closed = at(await (async () => { const gone = await made(t, 'gone'); const address = at(gone); await gone.close(); addresses.set(gone, [address]); return gone })())
  const tried: [unknown, string, RegExp][] = [
    [closed, 'DISCONNECTED', /ECONNREFUSED/], [at(a), 'WRONG_PEER', /itself/], ['memory://x', 'BAD_ARGUMENT', /begins with tcp:/], ['10.0.0.5:4000', 'BAD_ARGUMENT', /begins with tcp:/],
    ['tcp://x:0', 'BAD_ARGUMENT', /1 to 65535/], [17, 'BAD_ARGUMENT', /expected one such as/], [at(b), 'WRONG_NAMESPACE', /namespace/],
  ]
  for (const [address, code, told] of tried) {
    const error = await t.throwsAsync(a.connect(address as string), { instanceOf: StageError }, String(address)) as StageError
    t.is(error.code, code as never, String(address))
    t.regex(error.message, told)
  }
  t.throws(() => a.keep({ id: 'x', name: 'x' } as Peer), { code: 'BAD_ARGUMENT', message: /was not found by connect/ } as never)
  await a.disconnect({ id: 'x', name: 'x' } as Peer)
  t.throws(() => new Stage('x', 'none:x'), { message: /expected 'none:'/ })
})

test('send() reaches those to whom a link stands, and says so', async (t) => {
  const [a, b, c] = [await made(t, 'a'), await made(t, 'b'), await made(t, 'c')]
  t.is(a.send('b', 1), false)
  const [peer] = await Promise.all([a.connect(at(b)), a.connect(at(c))])
  const got: [string, string, unknown][] = []
  for (const one of [b, c]) one.on('message', (from, value) => got.push([one.name, from.name, value]))
  t.is(a.send(peer, { n: 1 }), true)
  t.is(a.send(b.id, [2]), true)
  t.is(a.send('c', new Map([['k', 3]])), true)
  t.is(a.send(['b', c.id, 'nobody'], 'four'), 2)
  t.is(a.send([], 5), 0)
  t.is(a.send('nobody', 6), false)
  await until(() => got.length === 5)
  t.deepEqual(got.filter(([to]) => to === 'b').map(([, , value]) => value), [{ n: 1 }, [2], 'four'])
  t.deepEqual(got.filter(([to]) => to === 'c').map(([, , value]) => value), [new Map([['k', 3]]), 'four'])
  t.true(got.every(([, from]) => from === 'a'))
  t.throws(() => a.send('b', () => {}), { code: 'BAD_ARGUMENT' } as never)
  t.throws(() => a.send(17 as never, 1), { code: 'BAD_ARGUMENT' } as never)
  await b.close()
  await until(() => a.links().length === 1)
  t.is(a.send(peer, 7), false)
})

test('a method cannot have the name under which values travel', async (t) => {
  const a = await made(t, 'a')
  t.throws(() => a.to('*').provide('@value', () => {}))
})

test('an introduction that is none is refused, and the stage goes on', async (t) => {
  const a = await made(t, 'a')
  const dialler = new TcpInterface()
  const said: unknown[] = [null, 5, 'text', [], {}, { meta: {}, announces: null }, { meta: {}, announces: [] }, { announces: 'x' }]
  for (const [i, introduction] of said.entries()) {
    const stream = await dialler.connect(at(a), new AbortController().signal)
    t.teardown(() => void stream.destroy())
    const error = await t.throwsAsync(handshake({
      stream, dialled: true, clock: systemClock, random: systemRandom, namespace: 'default', self: { id: `mallory-${i}000`, name: 'mallory', addresses: [] },
      chain: ['framing', 'rpc:msgpack', 'actors'], isGone: () => false, ongone: () => {}, onproven: () => {}, decide: () => ({ ready: 1 }),
      introduces: true, introduction: () => introduction as never, onintroduced: () => {},
    }), { instanceOf: StageError }, JSON.stringify(introduction)) as StageError
    t.is(error.code, 'PROTOCOL_ERROR', JSON.stringify(introduction))
    t.regex(error.message, /introduction/)
  }
  t.deepEqual(a.peers(), [])
  const b = await made(t, 'b')
  await b.connect(at(a))
  t.is(await b.to('a').call('name'), 'a')
})

test('disconnect() of what is no peer is BAD_ARGUMENT', async (t) => {
  const a = await made(t, 'a')
  for (const wrong of ['a', undefined, null, 5, {}]) {
    const error = await t.throwsAsync(a.disconnect(wrong as never), { instanceOf: StageError }) as StageError
    t.is(error.code, 'BAD_ARGUMENT')
  }
})

test('a held address stays held when its stage is found by another address', async (t) => {
  const [a, b] = [await made(t, 'a'), await made(t, 'b')]
  const peer = await b.connect(at(a))
  using held = b.keep(peer)
  void held
  await b.connect(at(a).replace('127.0.0.1', 'localhost'))
  await until(() => a.peers().length === 1)
  await a.disconnect(a.peers()[0])
  await until(() => b.links().length === 0)
  await until(() => b.links().length === 1)
  await b.disconnect(peer)
  t.deepEqual(b.links(), [])
  t.throws(() => b.keep(peer), { message: /was not found by connect/ }, 'the address that was held is let go')
})

test('an address that was let go while it was dialled leaves a later link alone', async (t) => {
  const a = await made(t, 'a')
  const tcp = new TcpInterface()
  /** A dial that waits until it may go on, and how it ended: refused, or with a stream that has closed. */
  let gate: Promise<void> | undefined
  const dials: Promise<unknown>[] = []
  const carrier: Interface = {
    scheme: 'tcp', listen: (onstream) => tcp.listen(onstream), close: () => tcp.close(),
    connect: (address, signal) => {
      const dialled = Promise.resolve(gate).then(() => tcp.connect(address, signal))
      if (gate) dials.push(dialled.then((stream) => new Promise((resolve) => { stream.once('close', resolve) }), () => {}))
      return dialled
    },
  }
  const b = await made(t, 'b', { interfaces: carrier })
  const peer = await b.connect(at(a))
  b.keep(peer)
  let open!: () => void
  gate = new Promise((resolve) => { open = resolve })
  await until(() => a.peers().length === 1)
  await a.disconnect(a.peers()[0])
  await until(() => b.links().length === 0)
  await until(() => dials.length === 1)
  await b.disconnect(peer)
  gate = undefined
  await b.connect(at(a))
  open()
  await dials[0]
  t.is(b.links().length, 1)
  t.is(await b.to('a').call('name'), 'a')
})
