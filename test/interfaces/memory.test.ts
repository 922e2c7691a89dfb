/** The interface that is memory: the suite of interfaces, and what is its own. */
import test from 'ava'
import type { Duplex } from 'node:stream'
import { MemoryInterface, MemoryNetwork, type MemoryNetworkOptions } from '../../interfaces/memory.js'
import { systemClock } from '../../src/clock.js'
import { seeded } from '../helpers/mesh.js'
import { endsByItself } from '../helpers/own-process.js'
import { VirtualClock, settle } from '../helpers/virtual-clock.js'
import { interfaceSuite } from '../suites/interface.js'
import { Told } from '../suites/stream.js'

interfaceSuite(test, () => {
  const network = new MemoryNetwork()
  return { listener: new MemoryInterface(network), dialler: new MemoryInterface(network) }
}, { name: 'memory' })

interfaceSuite(test, () => {
  const network = new MemoryNetwork({ latencyMs: 1 })
  return { listener: new MemoryInterface(network), dialler: new MemoryInterface(network) }
}, { name: 'memory with latency' })

const never = new AbortController().signal

/** Two interfaces on a network whose time stands still. */
async function scene(options: MemoryNetworkOptions = {}) {
  const clock = new VirtualClock()
  const network = new MemoryNetwork({ clock, ...options })
  const [here, there] = [new MemoryInterface(network), new MemoryInterface(network)]
  const accepted: Duplex[] = []
  await there.listen((stream) => accepted.push(stream))
  const connect = async () => {
    const dial = here.connect(there.address, never)
    await clock.advance(100)
    return { near: await dial, far: accepted.at(-1) as Duplex }
  }
  return { clock, network, here, there, accepted, connect }
}

/** What arrives and when. */
function arrivals(stream: Duplex, clock: VirtualClock): string[] {
  const log: string[] = []
  stream.on('data', (chunk: Buffer) => log.push(`${chunk.toString()} ${clock.now()}`)).on('end', () => log.push(`end ${clock.now()}`))
  return log
}

test('each interface has an address of its own, which is not used again', async (t) => {
  const network = new MemoryNetwork()
  const first = new MemoryInterface(network)
  t.deepEqual(await first.listen(() => {}), [first.address])
  await first.close()
  const second = new MemoryInterface(network)
  t.deepEqual(await second.listen(() => {}), [second.address])
  t.not(second.address, first.address)
  await second.close()
})

test('an address of another network means nobody, though both have counted as far', async (t) => {
  const [here, elsewhere] = [new MemoryInterface(new MemoryNetwork()), new MemoryInterface(new MemoryNetwork())]
  t.teardown(() => Promise.all([here.close(), elsewhere.close()]))
  await here.listen((stream) => void stream.destroy())
  await t.throwsAsync(here.connect(elsewhere.address, new AbortController().signal), { code: 'ECONNREFUSED' })
  t.is(new MemoryInterface(new MemoryNetwork({ random: seeded(1) })).address, new MemoryInterface(new MemoryNetwork({ random: seeded(1) })).address)
})

test('without a network all of a process are on one', async (t) => {
  const [listener, dialler] = [new MemoryInterface(), new MemoryInterface()]
  t.teardown(() => listener.close())
  const [address] = await listener.listen((stream) => stream.destroy())
  ;(await dialler.connect(address as string, never)).destroy()
  t.pass()
})

test('it listens once', async (t) => {
  const { there } = await scene()
  await t.throwsAsync(there.listen(() => {}), { instanceOf: TypeError })
})

test('without latency it asks for no timers, and is quick', async (t) => {
  const { clock, connect } = await scene()
  const { near, far } = await connect()
  const listening = clock.pending
  const log = arrivals(far, clock)
  near.write('a')
  await Promise.resolve()
  t.is(clock.pending, listening)
  await settle(1)
  t.deepEqual(log, ['a 100'])
})

test('latency delays dial, bytes and end, and keeps the spacing', async (t) => {
  const { clock, accepted, here, there } = await scene({ latencyMs: 10 })
  const dial = here.connect(there.address, never)
  await clock.advance(9)
  t.is(accepted.length, 0)
  await clock.advance(1)
  t.is(accepted.length, 1)
  await clock.advance(10)
  const near = await dial
  const log = arrivals(accepted[0] as Duplex, clock)
  for (const one of ['a', 'b', 'c']) {
    near.write(one)
    await clock.advance(1)
  }
  near.end()
  await clock.advance(20)
  t.deepEqual(log, ['a 30', 'b 31', 'c 32', 'end 33'])
})

test('latency may differ by direction and time; nothing overtakes', async (t) => {
  const delays: number[] = []
  const { clock, connect } = await scene({ latencyMs: (from) => (from.endsWith('/2') ? 5 : delays.shift() ?? 0) })
  const { near, far } = await connect()
  const [log, back] = [arrivals(far, clock), arrivals(near, clock)]
  delays.push(30, 10)
  near.write('slow')
  near.write('quick')
  far.write('back')
  await clock.advance(50)
  t.deepEqual(log, ['slow 130', 'quick 130'])
  t.deepEqual(back, ['back 105'])
})

test('hold: nobody notices, and after release everything goes on in order', async (t) => {
  const { clock, network, here, there, accepted, connect } = await scene()
  const { near, far } = await connect()
  const told = [new Told(near), new Told(far)]
  const log = arrivals(far, clock)
  near.write('before')
  await settle()
  network.hold(there.address)
  near.write('during')
  near.end()
  const dial = here.connect(there.address, never)
  await clock.advance(3_600_000)
  t.deepEqual(log, ['before 100'])
  t.deepEqual(told.flatMap((one) => one.events), ['finish'])
  t.is(accepted.length, 1)
  network.release(there.address)
  await settle()
  t.deepEqual(log, ['before 100', 'during 3600100', 'end 3600100'])
  t.truthy(await dial)
  t.is(accepted.length, 2)
})

test('hold: one direction only, and no other streams', async (t) => {
  const { clock, network, here, there, connect } = await scene()
  const [one, other] = [await connect(), await connect()]
  const third = new MemoryInterface(network)
  let extra: Duplex | undefined
  await third.listen((stream) => { extra = stream })
  const near = await here.connect(third.address, never)
  network.hold((from, to) => from === here.address && to === there.address)
  const [forward, back, elsewhere] = [arrivals(one.far, clock), arrivals(other.near, clock), arrivals(extra as unknown as Duplex, clock)]
  for (const stream of [one.near, other.far, near]) stream.write('x')
  await settle()
  t.deepEqual([forward.length, back.length, elsewhere.length], [0, 1, 1])
})

test('cut: both ends fail with ECONNRESET, what was in flight is lost, others go on', async (t) => {
  const { clock, network, here, there, connect } = await scene()
  const one = await connect()
  const third = new MemoryInterface(network)
  await third.listen((stream) => stream.pipe(stream))
  const near = await here.connect(third.address, never)
  const told = [new Told(one.near), new Told(one.far)]
  const log = arrivals(one.far, clock)
  one.near.write('lost')
  network.cut(there.address)
  for (const end of told) {
    await end.failed(t)
    t.is((end.error as NodeJS.ErrnoException).code, 'ECONNRESET')
  }
  t.deepEqual(log, [])
  const echo = arrivals(near, clock)
  near.write('x')
  await settle()
  t.is(echo.length, 1)
})

test('cut: a dial on its way fails too', async (t) => {
  const { network, here, there } = await scene()
  network.hold()
  const dial = t.throwsAsync(here.connect(there.address, never), { code: 'ECONNRESET' })
  await settle()
  network.cut()
  await dial
})

test('refuse: dials fail until release', async (t) => {
  const { network, here, there, connect } = await scene()
  network.refuse(there.address)
  await t.throwsAsync(here.connect(there.address, never), { code: 'ECONNREFUSED', message: /memory:\/\/[\w-]+\/2/ })
  network.release(there.address)
  t.truthy((await connect()).near)
})

test('a bare destroy that throws away what was written is a reset', async (t) => {
  const { connect } = await scene()
  const { near, far } = await connect()
  const told = new Told(far)
  while (near.write(Buffer.alloc(16 * 1024))) { /* until it has to keep some back */ }
  await settle()
  near.destroy()
  await told.failed(t)
})

test('a write to an end that is gone fails', async (t) => {
  const { connect } = await scene()
  const { near, far } = await connect()
  const told = new Told(near)
  far.destroy()
  await settle()
  near.write('anybody there?')
  await told.closed
  t.is((told.error as NodeJS.ErrnoException).code, 'EPIPE')
})

test('closed and ended it leaves no timer and no stream behind', async (t) => {
  const { clock, network, there, connect } = await scene({ latencyMs: 10 })
  const { near, far } = await connect()
  for (const end of [near, far]) end.resume().end()
  await clock.advance(100)
  t.true(near.destroyed && far.destroyed)
  t.is(network.streams.size, 0)
  await there.close()
  t.is(clock.pending, 0)
})

test('two ends that answer each other at once do not starve the process', async (t) => {
  const network = new MemoryNetwork()
  const [here, there] = [new MemoryInterface(network), new MemoryInterface(network)]
  const [address] = await there.listen((stream) => stream.pipe(stream))
  const near = await here.connect(address as string, never)
  near.on('data', (chunk: Buffer) => near.write(chunk))
  near.write('ping')
  await new Promise<void>((resolve) => systemClock.setTimeout(resolve, 5, true))
  near.destroy()
  await there.close()
  t.pass()
})

test('it keeps its process alive while it listens, and no longer', async (t) => {
  await endsByItself(t, 'interfaces/memory.js', ({ MemoryInterface }: { MemoryInterface: new () => MemoryInterface }) => new MemoryInterface())
})
