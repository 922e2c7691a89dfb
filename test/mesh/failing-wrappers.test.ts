/** A wrapper that throws, or returns what is no stream: an error event where it did, and a failed dial on the other end, both at once. */
import { Duplex, PassThrough } from 'node:stream'
import test, { type ExecutionContext } from 'ava'
import { MemoryInterface, MemoryNetwork, MemoryRegistry, Stage, StageError, TcpInterface, around, framing, rpc, type ChainItem, type Peer, type Wrapper } from '../../src/index.js'
import { advance, virtualMesh } from '../helpers/mesh.js'
import { type Plain, hello, packet, plain, tcpMesh } from '../helpers/raw-peer.js'
import { nothingUnhandled } from '../helpers/unhandled.js'
import { until } from '../helpers/until.js'
import { VirtualClock, settle } from '../helpers/virtual-clock.js'

nothingUnhandled(test)

type Carrier = 'memory' | 'tcp'
const PLACES = ['bottom', 'middle', 'top'] as const
type Place = (typeof PLACES)[number]

/** What a wrapper does in place of returning a stream, and what is said of it. */
const FAULTS: Record<string, { fault(stream: Duplex): unknown; says: RegExp }> = {
  'throws': { fault: () => { throw new Error('wrapper broke') }, says: /wrapper broke/ },
  'throws a text': { fault: () => { throw 'wrapper broke' }, says: /not an Error was thrown: "wrapper broke"/ },
  'throws nothing': { fault: () => { throw undefined }, says: /not an Error was thrown: undefined/ },
  'returns nothing': { fault: () => undefined, says: /it returned undefined: a wrapper must return a stream/ },
  'returns null': { fault: () => null, says: /it returned null/ },
  'returns a number': { fault: () => 5, says: /it returned 5/ },
  'returns a plain object': { fault: () => ({ provide: 1 }), says: /it returned \{"provide":1\}/ },
  'is async': { fault: async (stream) => stream, says: /it returned a promise/ },
  'is async and throws': { fault: async () => { throw new Error('wrapper broke') }, says: /it returned a promise/ },
  'returns a destroyed stream': { fault: (stream) => { stream.on('error', () => {}); return new PassThrough().destroy() }, says: /the returned stream is destroyed/ },
  'destroys the stream below it': { fault: (stream) => { stream.destroy(new Error('wrapper broke')); return new PassThrough() }, says: /wrapper broke|destroyed/ },
}

interface Side {
  stage: Stage
  broken: boolean
  calls: number
  made: Duplex[]
  errors: Error[]
  events: string[]
}
let rooms = 0

/** Passes everything on, and has done what a wrapper may do before the next one fails. */
function busy(side: Side, inner: Duplex): Duplex {
  const outer = new Duplex({
    read: () => { inner.resume() },
    write: (chunk, _encoding, done) => { inner.write(chunk, done) },
    final: (done) => { inner.end(done) },
    destroy: (error, done) => { inner.destroy(error ?? undefined); done(error) },
  })
  inner.on('data', (chunk) => { if (!outer.push(chunk)) inner.pause() })
  inner.on('end', () => outer.push(null))
  side.made.push(outer)
  return outer
}

const greeting = (inner: Duplex): Duplex => { inner.write('hello'); inner.read(); return inner }

function two(t: ExecutionContext, carrier: Carrier, place: Place, fault: (stream: Duplex) => unknown, above: readonly ChainItem[] = []): { a: Side; b: Side } {
  const room = `failing-${process.pid}-${++rooms}`
  const network = new MemoryNetwork()
  const make = (name: string): Side => {
    const chain = PLACES.map((at) => ({
      name: at,
      wrap: ((inner) => {
        if (at !== place) return busy(side, inner)
        side.calls++
        if (side.broken) return fault(greeting(inner)) as Duplex
        return inner
      }) as Wrapper,
    }))
    const stage = new Stage(name, new MemoryRegistry(room), carrier === 'tcp' ? new TcpInterface({ host: '127.0.0.1' }) : new MemoryInterface(network), { chain: [...chain, ...above] })
    const side: Side = { stage, broken: false, calls: 0, made: [], errors: [], events: [] }
    side.stage.on('error', (error) => side.errors.push(error))
    for (const event of ['link', 'unlink', 'stream'] as const) side.stage.on(event, () => side.events.push(event))
    return side
  }
  const [a, b] = [make('a'), make('b')]
  t.teardown(() => Promise.all([a.stage.close(), b.stage.close()]))
  return { a, b }
}

const streamTo = (stage: Stage, name: string): Promise<Duplex> => new Promise((resolve, reject) => stage.to(name, (error, stream) => { if (error) reject(error); else resolve(stream) }))

/** Whatever may wait for a link. */
const WAITERS: Record<string, (stage: Stage) => Promise<unknown>> = {
  'to(name, callback)': (stage) => streamTo(stage, 'b'),
  'a stream of to()': (stage) => new Promise((resolve, reject) => stage.to('b').on('error', reject).on('end', resolve).write('x')),
}
const CALLS: Record<string, (stage: Stage) => Promise<unknown>> = {
  ...WAITERS,
  'call': (stage) => stage.to('b').call('f'),
  'callAll': async (stage) => { for await (const answer of stage.to('b').callAll('f')) if (answer.error) throw answer.error },
  'methods': (stage) => stage.to('b').methods(),
}

/** One dial fails at once, with what failed. */
async function failed(t: ExecutionContext, { a, b }: { a: Side; b: Side }, where: 'dialler' | 'listener' | 'both', wait: (stage: Stage) => Promise<unknown>, label: string): Promise<StageError> {
  a.broken = where !== 'listener'
  b.broken = where !== 'dialler'
  await Promise.all([a.stage.ready(), b.stage.ready()])
  const error = await t.throwsAsync<StageError>(wait(a.stage), undefined, label)
  for (const side of [a, b]) t.true(side.calls <= 1, `${label}: one dial`)
  t.is(error.code, where === 'listener' ? 'CHAIN_MISMATCH' : 'BAD_ARGUMENT', label)
  return error
}

for (const carrier of ['memory', 'tcp'] as const) {
  for (const where of ['dialler', 'listener', 'both'] as const) {
    test(`${carrier}: a wrapper that fails at the ${where} fails the dial at once, on both ends`, async (t) => {
      t.timeout(120_000)
      for (const [how, { fault, says }] of Object.entries(FAULTS)) await Promise.all(PLACES.flatMap((place) => Object.entries(WAITERS).map(async ([waiter, wait]) => {
        const label = `${how}, ${place}, ${waiter}`
        const { a, b } = two(t, carrier, place, fault)
        const error = await failed(t, { a, b }, where, wait, label)
        t.regex(error.message, says, label)
        t.regex(error.message, new RegExp(`the wrapper ${place} failed`), label)
        await until(() => a.stage.stats()['handshakes'] === 0 && b.stage.stats()['handshakes'] === 0)
        for (const [side, other, dialled] of [[a, b, 'which it dialled'], [b, a, 'which had dialled it']] as const) {
          t.is(side.errors.length, side.broken ? 1 : 0, label)
          t.deepEqual(side.events, [], `${label}: no link was announced`)
          t.is(side.stage.links().length, 0, label)
          t.true(side.made.every((stream) => stream.destroyed), `${label}: what the other wrappers returned`)
          if (!side.broken) continue
          const [said] = side.errors as StageError[]
          t.is(said.code, 'BAD_ARGUMENT', label)
          t.true(said.message.includes(`for ${other.stage.name} (${other.stage.id}), ${dialled}`), `${label}: ${said.message}`)
          t.is(said.peer?.id, other.stage.id, label)
          if (how === 'throws') t.is((said.cause as Error).message, 'wrapper broke', label)
        }
        a.broken = b.broken = false
        b.stage.on('stream', (stream: Duplex) => stream.on('data', (chunk) => stream.write(chunk)))
        const stream = await streamTo(a.stage, 'b')
        stream.write('x')
        await new Promise((resolve) => stream.once('data', resolve))
        t.is(a.stage.links().length, 1, label)
      })))
    })

    test(`${carrier}: a wrapper below framing and rpc that fails at the ${where} fails calls at once`, async (t) => {
      for (const place of PLACES) await Promise.all(Object.entries(CALLS).map(async ([waiter, wait]) => {
        const label = `${place}, ${waiter}`
        const { a, b } = two(t, carrier, place, FAULTS['throws'].fault, [framing(), rpc()])
        b.stage.to('*').provide('f', () => 1)
        const error = await failed(t, { a, b }, where, wait, label)
        t.is(error.executed, 'no', label)
        a.broken = b.broken = false
        t.is(await a.stage.to('b').call('f'), 1, label)
      }))
    })
  }
}

test('two that dial each other at once settle on one link, and while one chain fails those that wait on both ends are told', async (t) => {
  for (let seed = 1; seed <= 60; seed++) {
    const { clock, stage, network } = virtualMesh(t, { seed })
    let tick = seed
    network.latencyMs = () => { tick = Math.imul(tick, 1103515245) + 12345 | 0; return (tick >>> 16) % 7 }
    let broken = seed % 2 === 1
    const unlinks: unknown[] = []
    const make = (name: string): Stage => {
      const one = stage(name, { chain: [{ name: 'own', wrap: (stream) => { if (broken && name === 'a') throw new Error('wrapper broke'); return stream.pipe(new PassThrough()) } }] })
      one.on('unlink', (_, error) => unlinks.push(error))
      return one
    }
    const [a, b] = [make('a'), make('b')]
    await advance(clock, Promise.all([a.ready(), b.ready()]))
    await clock.advance(50)
    if (broken) {
      const began = clock.now()
      const [there, back] = await advance(clock, Promise.all([streamTo(a, 'b'), streamTo(b, 'a')].map((one) => t.throwsAsync<StageError>(one))), 5000, 1)
      t.deepEqual([there.code, back.code], ['BAD_ARGUMENT', 'CHAIN_MISMATCH'], `seed ${seed}`)
      t.true(clock.now() - began < 100, `seed ${seed}: ${clock.now() - began} ms`)
      broken = false
      await clock.advance(1000) // the other dial may still be under way
    }
    await advance(clock, Promise.all([streamTo(a, 'b'), streamTo(b, 'a')]), 5000, 1)
    await clock.advance(1000)
    t.deepEqual([a.links().length, b.links().length, a.links()[0]?.id], [1, 1, b.links()[0]?.id], `seed ${seed}`)
    t.deepEqual(unlinks, [], `seed ${seed}`)
    await advance(clock, Promise.all([a.close(), b.close()]))
  }
})

test('no time passes before whoever waits is told', async (t) => {
  for (const failing of ['a', 'b']) {
    const { clock, stage } = virtualMesh(t)
    const make = (name: string): Stage => stage(name, { chain: [{ name: 'own', wrap: (stream) => { if (name === failing) throw new Error('wrapper broke'); return stream } }] })
    const [a, b] = [make('a'), make('b')]
    await advance(clock, Promise.all([a.ready(), b.ready()]))
    const began = clock.now()
    await t.throwsAsync(streamTo(a, 'b'), { message: /wrapper broke/ })
    t.is(clock.now(), began)
  }
})

test('a wrapper that fails for one peer fails for no other, and one of several that share a name is left out', async (t) => {
  const room = `failing-${process.pid}-${++rooms}`
  const network = new MemoryNetwork()
  const make = (name: string, fails: (peer: Peer) => boolean): Stage => new Stage(name, new MemoryRegistry(room), new MemoryInterface(network), {
    chain: [{ name: 'picky', wrap: (stream, { peer }) => { if (fails(peer)) throw new Error(`not with ${peer.name}`); return stream } }, framing(), rpc()],
  })
  const web = make('web', ({ name }) => name === 'bad')
  const stages = [web, make('good', () => false), make('bad', () => false), make('db', () => true), make('db', () => false)]
  t.teardown(() => Promise.all(stages.map((stage) => stage.close())))
  for (const stage of stages) stage.to('*').provide('who', () => stage.id)
  await Promise.all(stages.map((stage) => stage.ready()))
  t.is(await web.to('good').call('who'), stages[1].id)
  t.regex((await t.throwsAsync(web.to('bad').call('who'))).message, /not with bad/)
  for (let i = 0; i < 5; i++) t.is(await web.to('db').call('who'), stages[4].id)
})

test('a wrapper that fails the second time fails the second link', async (t) => {
  const { a, b } = two(t, 'memory', 'top', FAULTS['throws'].fault)
  await Promise.all([a.stage.ready(), b.stage.ready()])
  const stream = await streamTo(a.stage, 'b')
  b.broken = true
  stream.destroy()
  await until(() => b.events.includes('unlink') && a.events.includes('unlink'))
  t.is((await t.throwsAsync<StageError>(streamTo(a.stage, 'b'))).code, 'CHAIN_MISMATCH')
  b.broken = false
  await streamTo(a.stage, 'b')
})

test('a chain that always fails is not dialled in a tight loop, and a link that is to be kept stands once it does not', async (t) => {
  for (const failing of ['a', 'b'] as const) {
    const { clock, stage } = virtualMesh(t)
    let broken = true
    const calls = { a: 0, b: 0 }
    const make = (name: 'a' | 'b'): Stage => stage(name, { chain: [{ name: 'own', wrap: (stream) => { calls[name]++; if (broken && name === failing) throw new Error('wrapper broke'); return stream } }] })
    const [a, b] = [make('a'), make('b')]
    await advance(clock, Promise.all([a.ready(), b.ready()]))
    a.keep('b')
    await clock.advance(60_000)
    t.true(calls.a >= 5 && calls.a <= 25, `${calls.a} dials in a minute`)
    t.is(calls[failing], calls[failing === 'a' ? 'a' : 'b'])
    broken = false
    await clock.advance(15_000)
    t.deepEqual([a.links().length, b.links().length], [1, 1])
  }
})

test('the link to oneself: a wrapper that fails on either of its ends is an error event, and fails the call', async (t) => {
  const good: Wrapper = (stream) => around(stream, new PassThrough(), new PassThrough())
  for (const below of [good, ((stream) => stream.pipe(new PassThrough())) as Wrapper]) for (const end of [true, false]) {
    const { stage } = virtualMesh(t)
    const made: Duplex[] = []
    let broken = true
    const a = stage('a', {
      chain: [
        { name: 'fine', wrap: (stream, link) => { if (!broken) return stream; const outer = below(stream, link); made.push(outer); return outer } },
        { name: 'own', wrap: (stream, { dialled }) => { if (broken && dialled === end) throw new Error('wrapper broke'); return stream } }, framing(), rpc(),
      ],
    })
    a.to('*').provide('f', () => 1)
    const errors: Error[] = []
    a.on('error', (error) => errors.push(error))
    const error = await t.throwsAsync<StageError>(a.to('a').call('f'))
    t.is(error.code, 'BAD_ARGUMENT')
    t.regex(error.message, /the wrapper own failed: wrapper broke/)
    t.deepEqual(errors, [error])
    await settle()
    t.true(made.every((stream) => stream.destroyed))
    broken = false
    t.is(await a.to('a').call('f'), 1)
  }
})

test('library layers that do not fit together are said to on both ends, without a dial that goes on', async (t) => {
  const { stage } = virtualMesh(t)
  const [a, b] = [stage('a', { chain: [rpc()] }), stage('b', { chain: [rpc()] })]
  const errors: string[] = []
  for (const one of [a, b]) one.on('error', (error) => errors.push(error.message))
  await Promise.all([a.ready(), b.ready()])
  const error = await t.throwsAsync<StageError>(a.to('b').call('f'))
  t.is(error.code, 'BAD_ARGUMENT')
  t.regex(error.message, /rpc\(\) needs framing\(\)/)
  await settle()
  t.is(errors.length, 2)
})

// ── while one end has built its chain, and the other has not ────────────────────────────────────────────────────────

test('no byte of a chain passes before both chains stand, and none is lost that was written before', async (t) => {
  for (const carrier of ['memory', 'tcp'] as const) {
    const room = `failing-${process.pid}-${++rooms}`
    const network = new MemoryNetwork()
    const heard: string[] = []
    const make = (name: string): Stage => new Stage(name, new MemoryRegistry(room), carrier === 'tcp' ? new TcpInterface({ host: '127.0.0.1' }) : new MemoryInterface(network), {
      chain: [{
        name: 'eager',
        wrap: (stream) => {
          stream.write(`${name}1,`)
          t.is(stream.read(), null)
          stream.cork()
          stream.write(`${name}2,`)
          stream.write(Buffer.from(`${name}3,`))
          process.nextTick(() => stream.uncork())
          const other = new PassThrough()
          stream.on('data', (chunk: Buffer) => { heard.push(String(chunk)) })
          stream.pipe(other)
          return stream
        },
      }],
    })
    const [a, b] = [make('a'), make('b')]
    t.teardown(() => Promise.all([a.close(), b.close()]))
    await Promise.all([a.ready(), b.ready()])
    const stream = await streamTo(a, 'b')
    stream.write('a4,')
    await until(() => heard.join('').length === 21)
    t.deepEqual(heard.join('').split(',').filter(Boolean).sort(), ['a1', 'a2', 'a3', 'a4', 'b1', 'b2', 'b3'])
    t.true(/a1.*a2.*a3.*a4/.test(heard.join('')) && /b1.*b2.*b3/.test(heard.join('')))
  }
})

test('a stream that a wrapper destroys before the other end has built its chain fails the dial', async (t) => {
  const { clock, stage, network } = virtualMesh(t, { latencyMs: 20 })
  let broken = true
  const make = (name: string): Stage => stage(name, { chain: [{ name: 'own', wrap: (inner) => {
    const outer = new Duplex({ read: () => {}, write: (chunk, _encoding, done) => { inner.write(chunk, done) } })
    inner.on('data', (chunk: Buffer) => outer.push(chunk))
    if (broken && name === waits.name) setImmediate(() => outer.destroy(new Error('too late')))
    return outer
  } }] })
  // the arbiter has the greater id, and builds its chain first
  const [other, waits] = [make('a'), make('b')].sort((one, two) => one.id < two.id ? -1 : 1)
  const errors: string[] = []
  waits.on('error', (error) => errors.push(error.message))
  await advance(clock, Promise.all([other.ready(), waits.ready()]))
  await clock.advance(100)
  const error = await t.throwsAsync<StageError>(advance(clock, streamTo(waits, other.name), 1000))
  t.is(error.code, 'BAD_ARGUMENT')
  t.regex(error.message, /too late/)
  t.deepEqual(errors, [error.message])
  broken = false
  network.latencyMs = 0
  await advance(clock, streamTo(waits, other.name))
})

test('a stage that closes, or a connection that breaks, while the other end builds its chain', async (t) => {
  for (const what of ['closes', 'breaks'] as const) {
    const { clock, stage, network } = virtualMesh(t, { latencyMs: 20 })
    const made: Duplex[] = []
    const chain: ChainItem[] = [{ name: 'own', wrap: (stream: Duplex) => { made.push(stream); return stream } }]
    const [a, b] = [stage('a', { chain }), stage('b', { chain })]
    await advance(clock, Promise.all([a.ready(), b.ready()]))
    await clock.advance(100)
    const waiting = streamTo(a, 'b').catch((error: StageError) => error)
    while (made.length < 1) await clock.advance(1)
    if (what === 'closes') {
      await advance(clock, b.close())
      const error = await advance(clock, waiting, 20_000) as StageError
      t.true(error instanceof StageError, what)
    } else {
      network.cut()
      const stream = await advance(clock, waiting, 20_000)
      t.false(stream instanceof StageError, what)
      t.is(a.links()[0].id, b.links()[0].id)
    }
    t.true(made[0].destroyed)
    t.is(a.stats()['handshakes'], 0)
  }
})

/** Says of a peer with a chain of one's own what a proper one says, up to the verdict. */
const LOWER = '-'.repeat(12), HIGHER = 'z'.repeat(16)
const own = (id: string, over: object = {}): Buffer => packet(hello({ chain: ['own'], own: true, from: { id, name: 'mallory', addresses: [] }, ...over }))

const ODD: [title: string, says: Buffer, code: RegExp][] = [
  ['garbage', Buffer.from('what is this, and who asked?'), /PROTOCOL_ERROR/],
  ['another message', packet({ built: 'yes' }), /PROTOCOL_ERROR/],
  ['no message', packet('[]'), /PROTOCOL_ERROR/],
  ['that its chain failed', packet({ error: { code: 'CHAIN_MISMATCH', message: `mallory could not build its chain\x1b[31m${'x'.repeat(5000).slice(0, 2000)}` } }), /^$/],
  ['another error', packet({ error: { code: 'CLOSED', message: 5 } }), /PROTOCOL_ERROR|^$/],
]

async function met(t: ExecutionContext, clock: VirtualClock, id: string): Promise<{ api: Stage; one: Plain; events: string[] }> {
  const mesh = tcpMesh(t, clock)
  const api = await mesh.stage('api', { chain: [{ name: 'own', wrap: (stream) => stream }] })
  const events: string[] = []
  for (const event of ['link', 'unlink', 'stream', 'error'] as const) api.on(event, () => events.push(event))
  const one = await plain(t, api.address)
  one.write(Buffer.concat([own(id), packet({ proof: '' }), ...(id === HIGHER ? [packet({ verdict: { ready: 1 } })] : [])]))
  await until(() => one.packets.some((message) => message['built'] === true))
  return { api, one, events }
}

test('what a peer says in place of that its chain stands ends the connection, and no link was announced', async (t) => {
  for (const id of [LOWER, HIGHER]) for (const [title, says] of ODD) {
    const { api, one, events } = await met(t, new VirtualClock(), id)
    one.write(says)
    await until(() => one.closed)
    await until(() => api.stats()['handshakes'] === 0)
    t.deepEqual(events, [], title)
    t.deepEqual([api.links().length, api.stats()['slots']], [0, 0], title)
  }
})

test('a peer that does not say whether its chain stands is given up after 5 s, and one that says so is linked', async (t) => {
  const clock = new VirtualClock()
  for (const id of [LOWER, HIGHER]) {
    const { api, one, events } = await met(t, clock, id)
    await clock.advance(4000)
    t.is(api.stats()['handshakes'], 1)
    await clock.advance(1500)
    await until(() => one.closed)
    await until(() => api.stats()['handshakes'] === 0)
    t.deepEqual([events, api.stats()['slots']], [[], 0])
    const { api: again, one: proper, events: after } = await met(t, clock, id)
    proper.write(Buffer.concat([packet({ built: true }), Buffer.from('and more')]))
    await until(() => again.links().length === 1)
    t.deepEqual(after, ['link', 'stream'])
  }
})

test('a peer of a version that cannot wait is linked without it', async (t) => {
  const mesh = tcpMesh(t, new VirtualClock())
  const api = await mesh.stage('api', { chain: [{ name: 'own', wrap: (stream) => stream }] })
  const one = await plain(t, api.address)
  one.write(Buffer.concat([own(LOWER, { own: undefined }), packet({ proof: '' })]))
  await until(() => api.links().length === 1)
  t.false(one.packets.some((message) => 'built' in message))
})

test('a chain of library layers asks nothing of the other end', async (t) => {
  const mesh = tcpMesh(t, new VirtualClock())
  const api = await mesh.stage('api')
  const one = await plain(t, api.address)
  one.write(Buffer.concat([packet(hello({ own: false, from: { id: LOWER, name: 'mallory', addresses: [] } })), packet({ proof: '' })]))
  await until(() => api.links().length === 1 && one.bytes.length > 0)
  const said = one.bytes.toString('utf8', 8, 8 + one.bytes.readUInt32BE(4))
  t.is((JSON.parse(said) as { own: boolean }).own, false)
  t.false(one.bytes.includes('"built"'))
})
