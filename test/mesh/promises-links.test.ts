/** Promises about links: each title begins with its number. */
import test from 'ava'
import type { Duplex } from 'node:stream'
import { MemoryInterface, MemoryRegistry, Stage, StageError, framing, rpc, type StageOptions } from '../../src/index.js'
import { actorMesh } from '../helpers/actors.js'
import { advance, virtualMesh } from '../helpers/mesh.js'
import { settle } from '../helpers/virtual-clock.js'

test('P6: no application byte passes before both ends are proven', async (t) => {
  const { clock, stage, network } = virtualMesh(t, { latencyMs: 10 })
  const seen: string[] = []
  const chain = [{ name: 'look', wrap: (stream: import('node:stream').Duplex, end: { peer: { name: string } }) => {
    seen.push(end.peer.name)
    return stream
  } }]
  const a = stage('a', { chain, namespace: 'one' })
  const b = stage('b', { chain, namespace: 'one' })
  b.on('stream', () => {})
  await advance(clock, Promise.all([a.ready(), b.ready()]))
  network.hold((from, to) => from === b.lookup('a')[0].addresses[0] || to === b.lookup('a')[0].addresses[0])
  a.to('b').write('hello')
  await clock.advance(3000)
  t.deepEqual(seen, [], 'the chain is not even made while the other end has not answered')
  network.release()
  await clock.advance(1000)
  t.deepEqual(seen.sort(), ['a', 'b'])
})

test('P7: two that dial each other at once settle on one link, the same on both ends; no call is lost or run twice', async (t) => {
  for (let seed = 1; seed <= 100; seed++) {
    const ran: string[] = []
    const { clock, stage, network } = virtualMesh(t, { seed })
    let tick = seed
    network.latencyMs = () => { tick = Math.imul(tick, 1103515245) + 12345 | 0; return (tick >>> 16) % 7 }
    const [a, b] = [stage('a'), stage('b')] as const
    for (const one of [a, b]) one.to('*').provide('f', (n: number) => { ran.push(`${one.name}${n}`); return n })
    await advance(clock, Promise.all([a.ready(), b.ready()]))
    await clock.advance(50)
    const calls = [1, 2, 3].flatMap((n) => [a.to('b').call('f', n), b.to('a').call('f', n)])
    await advance(clock, Promise.all(calls), 5000, 5)
    await clock.advance(1000)
    t.deepEqual(ran.sort(), ['a1', 'a2', 'a3', 'b1', 'b2', 'b3'], `seed ${seed}`)
    t.deepEqual(a.links().map((link) => link.id), b.links().map((link) => link.id), `seed ${seed}`)
    t.is(a.links().length, 1, `seed ${seed}`)
    await advance(clock, Promise.all([a.close(), b.close()]))
  }
})

test('P8: a half-open peer is noticed within 15 s by the link\'s own ping', async (t) => {
  const { clock, stage, network } = virtualMesh(t)
  const [a, b] = [stage('a'), stage('b')] as const
  b.to('*').provide('never', () => new Promise(() => {}))
  b.to('*').provide('f', () => 1)
  await advance(clock, Promise.all([a.ready(), b.ready()]))
  await advance(clock, a.to('b').call('f'))
  const pending = a.to('b', { timeoutMs: 60_000 }).call('never')
  await settle()
  network.hold()
  const held = clock.now()
  const error = await t.throwsAsync(advance(clock, pending, 20_000), { instanceOf: StageError })
  t.is(error.code, 'DISCONNECTED')
  t.is(error.executed, 'unknown')
  t.true(clock.now() - held <= 15_100, `${clock.now() - held} ms`)
  network.release()
})

test('P8: nor is it put off by a peer that changes its entry again and again', async (t) => {
  const { clock, add, go, network } = actorMesh(t)
  const [{ stage: a }, { stage: b }] = [await add('a'), await add('b')]
  b.to('*').provide('f', () => 1)
  await go(a.to('b').call('f'))
  const ends: unknown[] = []
  a.on('unlink', (_, error) => ends.push(error?.code))
  network.hold()
  for (let i = 0; i < 7; i++) {
    b.define({ pattern: `type${i}.{id}`, create: () => ({}) })
    await clock.advance(2157)
  }
  t.deepEqual(ends, ['DISCONNECTED'])
  network.release()
})

test('P9: all pending calls of a dead link settle in the same tick', async (t) => {
  const { clock, stage, network } = virtualMesh(t)
  const [a, b] = [stage('a'), stage('b')] as const
  b.to('*').provide('never', () => new Promise(() => {}))
  await advance(clock, Promise.all([a.ready(), b.ready()]))
  let settled = 0
  const calls = Array.from({ length: 100 }, () => a.to('b').call('never').catch((error: StageError) => {
    t.is(error.code, 'DISCONNECTED')
    settled++
  }))
  await clock.advance(100)
  let atUnlink = -1
  a.on('unlink', () => queueMicrotask(() => queueMicrotask(() => { atUnlink = settled })))
  network.cut()
  await advance(clock, Promise.all(calls))
  t.is(atUnlink, 100)
})

test('a link that nobody uses closes after idleLinkMs, without an error, and a call opens a new one', async (t) => {
  const { clock, stage } = virtualMesh(t)
  const [a, b] = [stage('a', { idleLinkMs: 1000 }), stage('b')] as const
  b.to('*').provide('f', () => 1)
  await advance(clock, Promise.all([a.ready(), b.ready()]))
  await advance(clock, a.to('b').call('f'))
  const reasons: unknown[] = []
  a.on('unlink', (_peer, error) => reasons.push(error))
  b.on('unlink', (_peer, error) => reasons.push(error))
  const [first] = a.links()
  await clock.advance(2500)
  t.deepEqual([a.links(), b.links()], [[], []])
  t.deepEqual(reasons, [undefined, undefined])
  t.is(await advance(clock, a.to('b').call('f')), 1)
  t.not(a.links()[0].id, first.id)
})

test('an idle link that closes loses no call that crosses its goodbye', async (t) => {
  for (let offset = 0; offset < 40; offset++) {
    const { clock, stage } = virtualMesh(t, { latencyMs: 5 })
    const [a, b] = [stage('a', { idleLinkMs: 500 }), stage('b', { idleLinkMs: 500 })] as const
    let ran = 0
    for (const one of [a, b]) one.to('*').provide('f', () => ++ran)
    await advance(clock, Promise.all([a.ready(), b.ready()]))
    await advance(clock, a.to('b').call('f'), 5000, 1)
    await clock.advance(990 - 20 + offset)
    await advance(clock, Promise.all([a.to('b').call('f'), b.to('a').call('f')]), 5000, 1)
    t.is(ran, 3)
    await advance(clock, Promise.all([a.close(), b.close()]))
  }
})

test('a link in use is not idle: a pending call, an open stream, a function that was passed', async (t) => {
  const { clock, stage } = virtualMesh(t)
  const [a, b] = [stage('a', { idleLinkMs: 1000 }), stage('b', { idleLinkMs: 1000 })] as const
  let later!: (text: string) => Promise<unknown>
  b.to('*').provide('subscribe', (fn: typeof later) => { later = fn })
  await advance(clock, Promise.all([a.ready(), b.ready()]))
  const heard: string[] = []
  await advance(clock, a.to('b').call('subscribe', (text: string) => { heard.push(text) }))
  await clock.advance(10_000)
  await advance(clock, later('still here'))
  t.deepEqual(heard, ['still here'])
})

test('keep holds a link open to every match, dials it again when it breaks, and lets go', async (t) => {
  const { clock, stage, network } = virtualMesh(t)
  const a = stage('a', { idleLinkMs: 1000 })
  await advance(clock, a.ready())
  a.keep('b*')
  const b = stage('b1', { idleLinkMs: 600_000 })
  await advance(clock, b.ready())
  await clock.advance(5000)
  const [first] = a.links()
  t.is(first?.peer.name, 'b1')
  network.cut()
  await clock.advance(1000)
  const [second] = a.links()
  t.is(second?.peer.name, 'b1')
  t.not(second?.id, first?.id)
  a.keep('b*', false)
  await clock.advance(5000)
  t.deepEqual(a.links(), [])
})

test('a link that nobody uses closes after a minute where nothing else was said', async (t) => {
  const { clock, stage } = virtualMesh(t)
  const [a, b] = [stage('a'), stage('b')] as const
  b.to('*').provide('f', () => 1)
  await advance(clock, Promise.all([a.ready(), b.ready()]))
  await advance(clock, a.to('b').call('f'))
  await clock.advance(59_000)
  t.is(a.links().length, 1)
  await clock.advance(62_000)
  t.deepEqual([a.links(), b.links()], [[], []])
})

test('redials back off while somebody waits, and stop when nobody does', async (t) => {
  const { clock, stage, network } = virtualMesh(t)
  const [a, b] = [stage('a'), stage('b')] as const
  await advance(clock, Promise.all([a.ready(), b.ready()]))
  await clock.advance(100)
  let dials = 0
  const [address] = a.lookup('b')[0].addresses
  network.refuse((_from, to) => { if (to === address) dials++; return to === address })
  const failed = await t.throwsAsync(advance(clock, a.to('b').call('f')), { instanceOf: StageError })
  t.is(failed.code, 'TIMEOUT')
  t.is(failed.phase, 'connecting')
  t.true(failed.message.includes(address), failed.message)
  t.true(dials > 4 && dials < 16, `${dials} dials in 10 s`)
  const before = dials
  await clock.advance(30_000)
  t.true(dials - before <= 1, 'nobody needs it any more')
})

test('links() and the events agree on both ends', async (t) => {
  const { clock, stage } = virtualMesh(t)
  const [a, b] = [stage('a'), stage('b')] as const
  const told: string[] = []
  const listen = (one: Stage): void => {
    one.on('link', (peer) => told.push(`${one.name} link ${peer.name}`))
    one.on('unlink', (peer) => told.push(`${one.name} unlink ${peer.name}`))
  }
  listen(a)
  listen(b)
  b.to('*').provide('f', () => 1)
  await advance(clock, a.to('b').call('f'))
  t.deepEqual(told.sort(), ['a link b', 'b link a'])
  t.true(a.links()[0].dialled)
  t.false(b.links()[0].dialled)
  await advance(clock, b.close())
  t.deepEqual(told.slice(2).sort(), ['a unlink b', 'b unlink a'])
})

test('a replica that cannot be reached fails no call while another one has a link', async (t) => {
  const { clock, stage, network } = virtualMesh(t, { latencyMs: 2 })
  const [web, good, bad] = [stage('web'), stage('g'), stage('g')] as const
  for (const one of [good, bad]) one.to('*').provide('id', () => one.id)
  await advance(clock, Promise.all([web.ready(), good.ready(), bad.ready()]))
  await clock.advance(100)
  const address = web.lookup('g').find((peer) => peer.id === bad.id)!.addresses[0]
  for (const fault of ['refuse', 'hold'] as const) {
    network[fault](address)
    for (let i = 0; i < 40; i++) {
      t.is(await advance(clock, web.to('g', { timeoutMs: 1000 }).call('id'), 2000, 1), good.id, fault)
      await clock.advance(100)
    }
    network.release(address)
    await clock.advance(30_000)
  }
  const seen = new Set<string>()
  for (let i = 0; i < 20; i++) { seen.add(await advance(clock, web.to('g').call('id'))); await clock.advance(200) }
  t.is(seen.size, 2, 'it takes part again when it can be reached')
})

test('a link that breaks right after it stood is dialled with a back-off', async (t) => {
  const { clock, stage } = virtualMesh(t)
  const chain = [framing(), rpc(), { name: 'breaks', wrap: (stream: Duplex) => { clock.setTimeout(() => stream.destroy(new Error('broken')), 1); return stream } }]
  const [a, b] = [stage('a', { chain }), stage('b', { chain })] as const
  await advance(clock, Promise.all([a.ready(), b.ready()]))
  let links = 0
  a.on('link', () => links++)
  a.keep('b')
  await clock.advance(30_000)
  t.true(links >= 3 && links <= 30, `${links} links in 30 s`)
})

test('a link with a pending call, or with an open stream, is not idle', async (t) => {
  const { clock, stage } = virtualMesh(t)
  const [a, b] = [stage('a', { idleLinkMs: 1000 }), stage('b', { idleLinkMs: 1000 })] as const
  b.to('*').provide('slow', () => new Promise((resolve) => clock.setTimeout(() => resolve('done'), 8000)))
  await advance(clock, Promise.all([a.ready(), b.ready()]))
  const call = a.to('b').call('slow')
  await clock.advance(100)
  const [{ id }] = a.links()
  await clock.advance(6000)
  t.is(a.links()[0]?.id, id)
  t.is(await advance(clock, call), 'done')
  b.on('stream', (stream) => stream.resume())
  const stream = a.to('b')
  stream.write('x')
  await clock.advance(6000)
  t.is(a.links()[0]?.id, id)
  stream.destroy()
  await clock.advance(3000)
  t.deepEqual(a.links(), [])
})

test('bytes and an end right behind the handshake arrive', async (t) => {
  for (let seed = 1; seed <= 30; seed++) {
    const { clock, stage } = virtualMesh(t, { seed, latencyMs: seed % 2 ? 5 : 0 })
    const [a, b] = [stage('a', { chain: [] }), stage('b', { chain: [] })] as const
    const got: string[] = []
    b.on('stream', (stream) => stream.on('data', (chunk: Buffer) => got.push(String(chunk))).on('end', () => got.push('end')))
    await advance(clock, Promise.all([a.ready(), b.ready()]))
    a.to('b').end('hello')
    await clock.advance(500)
    t.deepEqual(got, ['hello', 'end'], `seed ${seed}`)
    await advance(clock, Promise.all([a.close(), b.close()]))
  }
})

test('an interface that cannot listen is tried again, and the others are used meanwhile', async (t) => {
  const { clock, network } = virtualMesh(t)
  const late = new MemoryInterface(network, { clock })
  const listen = late.listen.bind(late)
  let able = false
  late.listen = (onstream) => able ? listen(onstream) : Promise.reject(new Error('no address yet'))
  const registry = new MemoryRegistry(`listen-${process.pid}`, { clock })
  const one = new Stage('one', registry, [new MemoryInterface(network, { clock }), late], { clock } as StageOptions)
  t.teardown(async () => { await advance(clock, one.close()) })
  await t.throwsAsync(advance(clock, one.ready()), { message: 'no address yet' })
  const watcher = new Stage('watcher', new MemoryRegistry(registry.address.slice('memory:'.length), { clock }), new MemoryInterface(network, { clock }), { clock } as StageOptions)
  t.teardown(async () => { await advance(clock, watcher.close()) })
  await advance(clock, watcher.ready())
  await clock.advance(100)
  t.is(watcher.lookup('one')[0].addresses.length, 1)
  able = true
  await clock.advance(5000)
  await advance(clock, one.ready())
  t.is(watcher.lookup('one')[0].addresses.length, 2)
})

test('an optional interface that cannot listen is told once, and fails ready() only where there is no other', async (t) => {
  const { clock, network } = virtualMesh(t)
  const stageOf = (name: string, ...others: MemoryInterface[]) => {
    const optional = Object.assign(new MemoryInterface(network, { clock }), { optional: true, listen: () => Promise.reject(new Error('no place')) })
    const stage = new Stage(name, new MemoryRegistry(`optional-${process.pid}`, { clock }), [optional, ...others], { clock } as StageOptions)
    t.teardown(async () => { await advance(clock, stage.close()) })
    const errors: string[] = []
    stage.on('error', ({ message }) => errors.push(message))
    return { stage, errors }
  }
  const one = stageOf('one', new MemoryInterface(network, { clock }))
  const alone = stageOf('alone')
  await advance(clock, one.stage.ready())
  await t.throwsAsync(advance(clock, alone.stage.ready()), { message: 'no place' })
  await clock.advance(60_000)
  t.deepEqual([one.errors, alone.errors], [['no place'], ['no place']])
})

test('stages that close, one after the other or at once, wait for nothing once nothing goes on', async (t) => {
  for (const together of [true, false]) {
    const { clock, stage } = virtualMesh(t)
    const [a, b] = [stage('a'), stage('b')]
    b.to('*').provide('x', () => 1)
    await advance(clock, a.to('b').call('x'))
    const from = clock.now()
    const closing: Promise<unknown> = together ? Promise.all([a.close(), b.close()]) : a.close().then(() => b.close())
    await advance(clock, closing, 20_000, 5)
    t.true(clock.now() - from < 500, `${clock.now() - from} ms`)
  }
})

test('P8: a peer that answers no ping is gone as DISCONNECTED, and as SLOW_PEER where it takes nothing of what is sent to it', async (t) => {
  for (const full of [false, true]) {
    const { clock, stage, network } = virtualMesh(t)
    const [a, b] = [stage('a'), stage('b')] as const
    b.to('*').provide('f', () => 1)
    await advance(clock, a.to('b').call('f'))
    const ends: string[] = []
    a.on('unlink', (_, error) => ends.push(error?.code ?? 'goodbye'))
    network.hold()
    const call = a.to('b', { timeoutMs: 60_000 }).call('f', Buffer.alloc(full ? 1_000_000 : 10)).then(() => 'done', ({ code, executed }: StageError) => `${code} ${executed}`)
    await clock.advance(15_100)
    const code = full ? 'SLOW_PEER' : 'DISCONNECTED'
    t.deepEqual(ends, [code])
    t.is(await call, `${code} unknown`)
    network.release()
  }
})

/** A link of these two that b has found idle, and a has not heard of that yet. */
async function parting(t: Parameters<typeof virtualMesh>[0], options: StageOptions = {}): Promise<{ mesh: ReturnType<typeof virtualMesh>; a: Stage; b: Stage }> {
  const mesh = virtualMesh(t, { latencyMs: 20 })
  const { clock } = mesh
  const b = mesh.stage('b', { idleLinkMs: 1000 })
  b.to('*').provide('idle', () => {})
  b.to('*').provide('slow', (ms: number) => new Promise((resolve) => { clock.setTimeout(() => resolve('done'), ms) }))
  await advance(clock, b.ready())
  if (options.unique) await advance(clock, mesh.stage('a', options).ready())
  const a = mesh.stage('a', options)
  await advance(clock, a.to('b').call('idle'))
  for (let ms = 0; b.links().length > 0; ms++) {
    if (ms > 5000) throw new Error('it was not found idle')
    await clock.advance(1)
  }
  return { mesh, a, b }
}

test('P13: what is begun on a link while the other end finds it idle is not cut off', async (t) => {
  const { mesh: { clock }, a } = await parting(t)
  t.is(a.links().length, 1)
  t.is(await advance(clock, a.to('b', { timeoutMs: 60_000 }).call('slow', 30_000)), 'done')
})

test('P23: a link of a stage that is not listed is known as long as it stands, and ends with close()', async (t) => {
  const { mesh, a, b } = await parting(t, { unique: true })
  const { clock, network } = mesh
  t.false(b.peers().some((peer) => peer.id === a.id), 'its name was taken')
  const slow = a.to('b').call('slow', 4000)
  await clock.advance(200)
  for (let i = 0; i < 12; i++) {
    await advance(clock, a.to('b').call('idle'))
    t.is(b.links().length, 1, `${i}`)
    await clock.advance(500)
  }
  t.is(await advance(clock, slow), 'done')
  await advance(clock, b.close())
  t.is(network.streams.size, 0)
})
