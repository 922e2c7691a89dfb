/** Who may talk to whom: secrets, namespaces, identities, chains, and what is shown only to some. */
import { once } from 'node:events'
import test from 'ava'
import { MemoryInterface, MemoryRegistry, Stage, StageError, TcpInterface, framing, latency, rpc, type StageOptions } from '../../src/index.js'
import { handshake } from '../../src/handshake.js'
import { systemClock } from '../../src/clock.js'
import { systemRandom } from '../../src/random.js'
import { advance, realMesh } from '../helpers/mesh.js'
import { CHAIN, Plain, Raw, hello, listener, packet, plain, tcpMesh, type TcpMesh } from '../helpers/raw-peer.js'
import { nothingUnhandled } from '../helpers/unhandled.js'
import { until } from '../helpers/until.js'
import { VirtualClock } from '../helpers/virtual-clock.js'

nothingUnhandled(test)

const SECRET = 'correct horse battery staple'
type Api = Awaited<ReturnType<TcpMesh<VirtualClock>['stage']>>

interface Watched {
  api: Api
  web: Api
  mesh: TcpMesh<VirtualClock>
  /** How often a handler of api ran. */
  ran(): number
}

/** Two stages of which each may have options of its own; api counts what reaches it. */
async function two(t: Parameters<typeof tcpMesh>[0], ofApi: Omit<StageOptions, 'registry'>, ofWeb: Omit<StageOptions, 'registry'>): Promise<Watched> {
  const mesh = tcpMesh(t, new VirtualClock())
  const api = await mesh.stage('api', ofApi)
  const web = await mesh.stage('web', ofWeb)
  let ran = 0
  api.to('*').provide('greet', () => { ran++; return 'hi' })
  return { api, web, mesh, ran: () => ran }
}

async function refusedCall({ api, web, ran }: Watched): Promise<StageError> {
  let links = 0
  for (const stage of [api, web]) stage.on('link', () => { links++ })
  const error = await web.to('api').call('greet').then(() => { throw new Error('it was let in') }, (thrown: unknown) => thrown as StageError)
  if (links > 0 || ran() > 0) throw new Error('a link stood')
  return error
}

test('P25: a wrong secret: no link, and the call says so at once', async (t) => {
  const error = await refusedCall(await two(t, { secret: SECRET }, { secret: 'another horse altogether' }))
  t.like(error, { code: 'AUTH_FAILED', executed: 'no' })
  t.regex(error.message, /secret/)
  t.false(error.message.includes('horse'), 'no secret in a message')
})

test('P25: a secret on one side only, either side', async (t) => {
  for (const [a, b] of [[{ secret: SECRET }, {}], [{}, { secret: SECRET }]]) {
    const error = await refusedCall(await two(t, a, b))
    t.like(error, { code: 'AUTH_FAILED', executed: 'no' })
    t.regex(error.message, /give both the same `secret`/)
  }
})

test('the right secret, of the stage or of the interface, lets both in', async (t) => {
  const mesh = tcpMesh(t, new VirtualClock())
  const api = await mesh.stage('api', { secret: SECRET })
  const web = await mesh.stage('web', { tcp: { secret: SECRET } })
  api.to('*').provide('greet', () => 'hi')
  t.is(await web.to('api').call('greet'), 'hi')
})

test('P25: different namespaces on one registry neither see nor reach each other', async (t) => {
  const watched = await two(t, { namespace: 'prod' }, { namespace: 'dev' })
  const { api, web, mesh, ran } = watched
  await mesh.clock.advance(30_000)
  t.deepEqual(api.peers(), [])
  t.deepEqual(web.peers(), [])
  const call = web.to('api', { timeoutMs: 1000 }).call('greet')
  const error = await t.throwsAsync<StageError>(advance(mesh.clock, call, 2000))
  t.is(error.code, 'NO_SUCH_PEER')
  t.regex(error.message, /namespace dev/)
  await t.throwsAsync(web.call('prod://api/greet'), { code: 'WRONG_NAMESPACE' })
  t.is(ran(), 0)
})

test('a namespace that begins like another is another', async (t) => {
  const { api, web, mesh } = await two(t, { namespace: 'prod' }, { namespace: 'prod.eu' })
  await mesh.clock.advance(5000)
  t.deepEqual([...api.peers(), ...web.peers()], [])
})

test('P25: different namespaces dialled by hand: refused before anything else is said', async (t) => {
  const { api, web, mesh, ran } = await two(t, { namespace: 'prod', secret: SECRET }, { namespace: 'dev', secret: SECRET })
  // somebody copies the entry from one namespace to the other
  mesh.list({ id: api.id, name: 'api', namespace: 'dev', addresses: [api.address] })
  await until(() => web.peers().length === 1)
  const error = await refusedCall({ api, web, mesh, ran })
  t.like(error, { code: 'WRONG_NAMESPACE', executed: 'no' })
  const one = await plain(t, api.address)
  one.write(packet(hello({ namespace: 'dev' })))
  t.is((await one.refused())?.code, 'WRONG_NAMESPACE')
  t.is(one.packets.length, 1, 'it was not told who is there')
})

test('P25: the same secret in two namespaces proves nothing across them', async (t) => {
  const { api } = await two(t, { namespace: 'prod', secret: SECRET }, {})
  // says the right namespace, and proves with the key of another
  const one = await plain(t, api.address)
  const error = await t.throwsAsync<StageError>(handshake({
    stream: one.socket, dialled: true, clock: systemClock, random: systemRandom, namespace: 'dev', chain: CHAIN, secret: SECRET,
    self: { id: 'mallory-0001', name: 'mallory', addresses: [] }, isGone: () => false, ongone: () => {}, onproven: () => {}, decide: () => ({ ready: 1 }),
  }))
  t.is(error.code, 'WRONG_NAMESPACE')
})

// ── recorded, reflected, recycled ───────────────────────────────────────────────────────────────────────────────

/** Hands every byte on, both ways, and keeps what the dialler said. */
async function recorder(t: Parameters<typeof plain>[0], target: string): Promise<{ address: string; said: Buffer[] }> {
  const said: Buffer[] = []
  const address = await listener(t, (one) => {
    void plain(t, target).then((far) => {
      one.socket.on('data', (chunk: Buffer) => said.push(chunk))
      said.push(one.bytes)
      far.write(one.bytes)
      one.socket.pipe(far.socket).pipe(one.socket)
    })
  })
  return { address, said }
}

test('a handshake that was recorded does not work a second time', async (t) => {
  const { api, ran } = await two(t, { secret: SECRET }, {})
  const between = await recorder(t, api.address)
  const raw = await Raw.join(t, between.address, { secret: SECRET, id: '0mallory-0001' })
  raw.call(1, 'greet')
  await until(() => raw.got(4, 1).length === 1)
  t.is(ran(), 1)
  raw.socket.destroy()
  await until(() => api.links().length === 0)

  const again = await plain(t, api.address)
  again.write(Buffer.concat(between.said))
  t.is((await again.refused())?.code, 'AUTH_FAILED')
  t.is(ran(), 1)
  t.deepEqual(api.links(), [])
})

test('a stage that is dialled by a reflection of what it says does not prove itself to itself', async (t) => {
  // whoever listens here knows no secret: it sends back what the dialler says, at first word for word
  for (const change of [(said: Record<string, unknown>) => said, (said: Record<string, unknown>) => 'from' in said ? { ...said, from: { id: 'zmallory-0001', name: 'mallory', addresses: [] } } : said]) {
    const mesh = tcpMesh(t, new VirtualClock())
    const web = await mesh.stage('web', { secret: SECRET })
    const codes: unknown[] = []
    const address = await listener(t, (one) => {
      let sent = 0
      one.socket.on('data', () => {
        for (const said of one.packets.slice(sent)) {
          sent++
          if ('error' in said) codes.push((said['error'] as { code: string }).code)
          else one.write(packet(change(said)))
        }
      })
    })
    mesh.list({ id: 'zmallory-0001', addresses: [address] })
    const call = web.to('mallory', { timeoutMs: 3000 }).call('greet')
    call.catch(() => {})
    await until(() => codes.length > 0)
    t.true(codes.every((code) => code === 'WRONG_PEER' || code === 'AUTH_FAILED'), String(codes))
    t.deepEqual(web.links(), [])
    const error = await t.throwsAsync<StageError>(advance(mesh.clock, call, 4000))
    t.true(['TIMEOUT', 'AUTH_FAILED'].includes(error.code))
    t.is(error.executed, 'no')
  }
})

test('two handshakes side by side: what proves one does not prove the other', async (t) => {
  // mallory knows no secret; api dials her while she dials web, and she hands their words to each other under her own name
  const { api, web, mesh, ran } = await two(t, { secret: SECRET }, { secret: SECRET })
  const codes: unknown[] = []
  const address = await listener(t, (near) => {
    void plain(t, api.address).then((far) => {
      const hand = (from: Plain, to: Plain): void => {
        let sent = 0
        const look = (): void => {
          for (const said of from.packets.slice(sent)) {
            sent++
            if ('error' in said) codes.push((said['error'] as { code: string }).code)
            to.write(packet('from' in said ? { ...said, expect: undefined, from: { id: 'zmallory-0001', name: 'mallory', addresses: [] } } : said))
          }
        }
        from.socket.on('data', look)
        look()
      }
      hand(near, far)
      hand(far, near)
    })
  })
  mesh.list({ id: 'zmallory-0001', addresses: [address] })
  const call = web.to('mallory', { timeoutMs: 1000 }).call('greet')
  call.catch(() => {})
  await until(() => codes.length > 0)
  t.is(codes[0], 'AUTH_FAILED')
  await t.throwsAsync(advance(mesh.clock, call, 2000))
  t.is(ran(), 0)
  t.deepEqual([...api.links(), ...web.links()], [])
})

test('P6: an address that another stage has now: WRONG_PEER, and not one byte for the wrapper above', async (t) => {
  for (const secret of [undefined, SECRET]) {
    const { api, web, mesh, ran } = await two(t, { secret }, { secret })
    mesh.list({ id: 'gone-00000001', name: 'gone', addresses: [api.address] })
    await until(() => web.peers().length === 2)
    const met: string[] = []
    api.on('link', ({ name }) => met.push(name))
    web.on('link', ({ name }) => met.push(name))
    const call = web.to('gone', { timeoutMs: 1000 }).call('greet')
    call.catch(() => {})
    await until(async () => { await mesh.clock.advance(20); return mesh.clock.now() > 1000 })
    const error = await t.throwsAsync<StageError>(call)
    t.like(error, { code: 'TIMEOUT', phase: 'connecting', executed: 'no' })
    t.is((error.cause as StageError).code, 'WRONG_PEER')
    t.regex(error.message, /expected the stage gone-00000001/)
    t.deepEqual(met, [])
    t.is(ran(), 0)
    t.is(web.stats()['handshakes'], 0)
  }
})

test('P6: after WRONG_PEER the next look at the registry is used', async (t) => {
  const { api, web, mesh } = await two(t, {}, {})
  const other = await mesh.stage('other')
  other.to('*').provide('greet', () => 'the right one')
  const listed = { id: other.id, name: 'other', addresses: [api.address] }
  mesh.list(listed)
  await until(() => web.peers().find(({ id }) => id === other.id)?.addresses[0] === api.address)
  const call = web.to('other', { timeoutMs: 5000 }).call('greet')
  for (let i = 0; i < 20; i++) await mesh.clock.advance(20)
  mesh.list({ ...listed, addresses: [other.address] })
  t.is(await advance(mesh.clock, call, 5000), 'the right one')
})

test('a stage that dials itself, under its own id or another', async (t) => {
  const mesh = tcpMesh(t, new VirtualClock())
  const api = await mesh.stage('api')
  mesh.list({ id: 'ghost-0000001', name: 'ghost', addresses: [api.address] })
  await until(() => api.peers().length === 1)
  const call = api.to('ghost', { timeoutMs: 1000 }).call('greet')
  call.catch(() => {})
  await until(async () => { await mesh.clock.advance(20); return mesh.clock.now() > 1000 })
  const error = await t.throwsAsync<StageError>(call)
  t.is((error.cause as StageError).code, 'WRONG_PEER')
  t.regex(error.message, /has connected to itself/)
  const one = await plain(t, api.address)
  one.write(packet(hello({ from: { id: api.id, name: 'api', addresses: [] } })))
  t.is((await one.refused())?.code, 'WRONG_PEER')
  t.deepEqual(api.links(), [])
  t.is(api.stats()['handshakes'], 0)
})

test('an id that was reported gone is not let in again', async (t) => {
  const { api, mesh } = await two(t, {}, {})
  mesh.list({ id: 'mallory-0001', addresses: ['tcp://127.0.0.1:1'] })
  await until(() => api.peers().length === 2)
  mesh.list({ id: 'mallory-0001', addresses: ['tcp://127.0.0.1:1'], draining: true })
  await until(() => api.peers().length === 1)
  const one = await plain(t, api.address)
  one.write(packet(hello()))
  one.write(packet({ proof: '' }))
  const error = await one.refused()
  t.true(one.packets.some((each) => each['gone'] === true), 'it is told, so that one who lives comes back under another')
  t.is(error?.code, 'WRONG_PEER')
  t.regex(error?.message ?? '', /reported gone/)
})

// ── chain and version ───────────────────────────────────────────────────────────────────────────────────────────

test('P6: chains that differ: both are named, on both ends', async (t) => {
  const error = await refusedCall(await two(t, { chain: [{ name: 'slow', wrap: latency(1) }, framing(), rpc()] }, {}))
  t.like(error, { code: 'CHAIN_MISMATCH', executed: 'no' })
  t.regex(error.message, /slow → framing → rpc:msgpack/)
  t.regex(error.message, /framing → rpc:msgpack/)
})

test('a chain in another order, a longer one and none are different chains', async (t) => {
  const mesh = tcpMesh(t, new VirtualClock())
  const api = await mesh.stage('api')
  for (const chain of [['rpc:msgpack', 'framing'], ['framing'], ['framing', 'rpc:msgpack', 'x'], [], ['framing', 'rpc:json']]) {
    const error = await t.throwsAsync<StageError>(Raw.join(t, api.address, { chain }))
    t.is(error.code, 'CHAIN_MISMATCH')
    t.true(error.message.includes(chain.join(' → ') || 'the bare stream'), error.message)
    t.true(error.message.includes('framing → rpc:msgpack'))
  }
})

test('a chain whose rpc has no framing right below it: calls say so, and nothing crashes', async (t) => {
  const chain = [framing(), latency(1), rpc()]
  const { api, web, mesh } = await two(t, { chain }, { chain })
  const own = await t.throwsAsync<StageError>(api.to('api').call('greet'), { code: 'BAD_ARGUMENT' })
  t.regex(own.message, /framing\(\)/)
  const call = web.to('api', { timeoutMs: 1000 }).call('greet')
  call.catch(() => {})
  await until(async () => { await mesh.clock.advance(20); return mesh.clock.now() > 1000 })
  const error = await t.throwsAsync<StageError>(call)
  t.is(error.executed, 'no')
  t.regex(error.message, /framing\(\)/)
  t.deepEqual([...api.links(), ...web.links()], [])
})

test('P6: a protocol of which no version is shared, on the port and behind an address', async (t) => {
  const mesh = tcpMesh(t, new VirtualClock())
  const api = await mesh.stage('api')
  for (const protocol of [[2, 2], [2, 9], [0, 0], [1e308, 1e308]]) {
    const one = await plain(t, api.address)
    one.write(packet(hello({ protocol })))
    const error = await one.refused()
    t.is(error?.code, 'VERSION_MISMATCH')
    t.regex(error?.message ?? '', /protocol 1/)
  }
  const later = await plain(t, api.address)
  later.write(packet(hello({ protocol: [0, 7] })))
  await until(() => later.packets.length === 1)
  t.false('error' in later.packets[0], 'ranges that overlap are enough')

  const address = await listener(t, (one) => one.write(packet(hello({ protocol: [3, 4] }))))
  mesh.list({ id: 'mallory-0001', addresses: [address] })
  const error = await t.throwsAsync<StageError>(api.to('mallory').call('greet'))
  t.like(error, { code: 'VERSION_MISMATCH', executed: 'no' })
  t.regex(error.message, /3 to 4/)
})

// ── misuse in the constructor ───────────────────────────────────────────────────────────────────────────────────

test('a secret of less than 16 bytes is a TypeError, which does not repeat it', (t) => {
  for (const secret of ['', 'tiny!', '0'.repeat(15)]) {
    for (const make of [() => new TcpInterface({ secret }), () => new Stage('api', new MemoryRegistry('short'), new MemoryInterface(), { secret })]) {
      const error = t.throws(make, { instanceOf: TypeError })
      t.regex(error.message, /16 bytes/)
      if (secret) t.false(error.message.includes(secret))
    }
  }
  for (const secret of [5, null, {}] as unknown as string[]) {
    t.throws(() => new Stage('api', new MemoryRegistry('short'), new MemoryInterface(), { secret }), { instanceOf: TypeError })
  }
})

test('to listen beyond loopback without a secret is a TypeError, unless it is meant so', async (t) => {
  const registry = () => new MemoryRegistry('beyond')
  for (const at of [{ bind: '0.0.0.0' }, { bind: '::' }, { host: '10.1.2.3' }, { bind: '10.1.2.3' }]) {
    const error = t.throws(() => new Stage('api', registry(), new TcpInterface(at)), { instanceOf: TypeError }, JSON.stringify(at))
    t.regex(error.message, /secret/)
    t.regex(error.message, /insecure: true/)
    for (const [tcp, options] of [[{ secret: SECRET }, {}], [{}, { secret: SECRET }], [{ insecure: true }, {}], [{}, { insecure: true }]]) {
      const stage = new Stage('api', registry(), new TcpInterface({ ...at, ...tcp }), options)
      await stage.close()
    }
  }
  for (const bind of ['127.0.0.1', '::1', 'localhost', '127.8.8.8']) t.notThrows(() => void new Stage('api', registry(), new TcpInterface({ bind })).close())
})

test('one exposed interface among several is enough', (t) => {
  t.throws(() => new Stage('api', new MemoryRegistry('several'), [new MemoryInterface(), new TcpInterface({ bind: '0.0.0.0' })]), { instanceOf: TypeError })
})

test('where $STAGE_HOST leads beyond loopback the default interface needs a secret too', (t) => {
  const before = process.env['STAGE_HOST']
  process.env['STAGE_HOST'] = '10.1.2.3'
  try {
    t.throws(() => new Stage('api', 'redis://127.0.0.1:1'), { instanceOf: TypeError })
  } finally {
    if (before === undefined) delete process.env['STAGE_HOST']
    else process.env['STAGE_HOST'] = before
  }
})

// ── shown to some ───────────────────────────────────────────────────────────────────────────────────────────────

test('methods that are shown to admin-* are there for nobody else', async (t) => {
  const mesh = tcpMesh(t, new VirtualClock())
  const api = await mesh.stage('api', { secret: SECRET })
  const admin = await mesh.stage('admin-7', { secret: SECRET })
  const web = await mesh.stage('web', { secret: SECRET })
  let ran = 0
  api.to('admin-*').provide('drop', () => { ran++; return 'dropped' })
  api.to('*').provide('greet', () => 'hi')
  const heard: string[] = []
  web.on('methodAdded', (name) => heard.push(name))

  t.is(await admin.to('api').call('drop'), 'dropped')
  const hidden = await t.throwsAsync<StageError>(web.to('api').call('drop'))
  const missing = await t.throwsAsync<StageError>(web.to('api').call('nope'))
  t.is(hidden.message.replace('drop', 'nope'), missing.message)
  t.like(hidden, { code: missing.code, executed: missing.executed, cause: missing.cause })
  t.is(hidden.code, 'NO_SUCH_METHOD')
  await t.throwsAsync(web.to('api').as<{ drop(): string }>().drop(), { code: 'NO_SUCH_METHOD' })
  web.to('api').cast('drop')
  for await (const { error } of web.to('api').callAll('drop')) t.is(error?.code, 'NO_SUCH_METHOD')
  t.deepEqual(await web.to('api').methods(), ['greet'])
  t.deepEqual(await admin.to('api').methods(), ['drop', 'greet'])
  t.deepEqual(heard, ['greet'])
  t.is(ran, 1)

  // the other way round as well: a name that only contains it, or has it in capitals
  for (const name of ['x-admin-1', 'Admin-1', 'admin']) {
    const raw = await Raw.join(t, api.address, { name, id: `raw-${name}-0001`, secret: SECRET })
    raw.call(1, 'drop')
    await until(() => raw.got(5, 1).length === 1)
    await until(() => raw.got(8).length === 1)
    t.false(raw.got(8)[0].body.includes('drop'))
  }
  t.is(ran, 1)
})

test('a method that is taken back is gone for links that stand', async (t) => {
  const mesh = realMesh(t)
  const [api, web] = [mesh.stage('api'), mesh.stage('web')]
  api.to('*').provide('greet', () => 'hi')
  api.to('web').provide('greet', () => 'hi web')
  t.is(await web.to('api').call('greet'), 'hi web')
  api.to('web').unprovide('greet')
  t.is(await web.to('api').call('greet'), 'hi')
  const removed = once(web, 'methodRemoved')
  api.to('*').unprovide('greet')
  await t.throwsAsync(web.to('api').call('greet'), { code: 'NO_SUCH_METHOD' })
  t.is((await removed)[0], 'greet')
})
