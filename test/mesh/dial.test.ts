/** In which order, and for how long, the addresses of a peer are dialled. */
import { PassThrough, type Duplex } from 'node:stream'
import test from 'ava'
import { backoffMs, dial, refuses } from '../../src/dial.js'
import { StageError } from '../../src/errors.js'
import type { Interface, Peer } from '../../src/types.js'
import { advance, seeded } from '../helpers/mesh.js'
import { VirtualClock } from '../helpers/virtual-clock.js'

type Behaviour = 'answers' | 'answers late' | 'answers later' | 'answers late, whatever the signal says' | 'hangs' | 'accepts and hangs' | 'is another' | 'ECONNREFUSED' | 'ECONNREFUSED, no such place' | 'ENOENT' | 'EHOSTUNREACH'

/** Interfaces that do as each address is told, and a dial of all of them. */
function scene(places: Readonly<Record<string, Behaviour>>, costs: Readonly<Record<string, number | undefined>> = { memory: 0, ipc: 1, tcp: undefined }) {
  const clock = new VirtualClock()
  const tried: string[] = []
  const streams: Duplex[] = []
  const interfaces = Object.entries(costs).map(([scheme, cost]): Interface => ({
    scheme, cost,
    listen: async () => [],
    connect: async (address, signal) => {
      tried.push(`${address} at ${clock.now()}`)
      const what = places[address]
      if (what === 'hangs') await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)))
      if (what?.startsWith('answers ')) {
        const ms = { 'answers late': 300, 'answers later': 500, 'answers late, whatever the signal says': 600 }[what as string]
        await new Promise<void>((resolve, reject) => {
          clock.setTimeout(resolve, ms as number)
          if (!what.endsWith('says')) signal.addEventListener('abort', () => reject(signal.reason as Error))
        })
      }
      if (what?.startsWith('E')) throw Object.assign(new Error(`connect ${what}`, what.endsWith('place') ? { cause: { code: 'ENOENT' } } : {}), { code: /^E\w+/.exec(what)?.[0] })
      const stream = new PassThrough()
      streams.push(stream)
      return Object.assign(stream, { what })
    },
    close: async () => {},
  }))
  const greeted: string[] = []
  const ending = new AbortController()
  const peer: Peer = { id: 'x', name: 'x', namespace: 'default', addresses: Object.keys(places), meta: {} }
  const greet = async (stream: Duplex, through: Interface) => {
    const { what } = stream as Duplex & { what: Behaviour }
    if (what === 'is another') throw new StageError('WRONG_PEER', 'y lives here')
    if (what === 'accepts and hangs') await new Promise((_, reject) => stream.on('error', reject))
    greeted.push(through.scheme)
    return undefined
  }
  const unreachable: string[] = []
  const begin = () => dial(peer, { interfaces, clock, signal: ending.signal, greet, onunreachable: (address) => unreachable.push(address) })
  return { clock, tried, greeted, unreachable, streams, ending, begin, run: () => advance(clock, begin()) }
}

test('the cheapest address is dialled first, in whatever order they are listed', async (t) => {
  const { tried, greeted, run } = scene({ 'tcp://a:1': 'answers', 'ipc:///b': 'answers', 'other://c': 'answers', 'memory://d': 'answers' })
  t.is(await run(), undefined)
  t.deepEqual(tried, ['memory://d at 0'])
  t.deepEqual(greeted, ['memory'])
})

test('where one refuses, or is somebody else\'s by now, the next is dialled', async (t) => {
  for (const behaviour of ['ECONNREFUSED', 'EHOSTUNREACH', 'is another'] as const) {
    const { tried, greeted, run } = scene({ 'tcp://a:1': behaviour, 'tcp://b:1': 'answers', 'ipc:///b': behaviour, 'memory://d': 'ECONNREFUSED' })
    t.is(await run(), undefined)
    t.deepEqual(tried, ['memory://d at 0', 'ipc:///b at 0', 'tcp://a:1 at 0', 'tcp://b:1 at 0'])
    t.deepEqual(greeted, ['tcp'])
  }
})

test('where two hang, connecting or greeting, the third is dialled within the default deadline', async (t) => {
  for (const behaviour of ['hangs', 'accepts and hangs'] as const) {
    const { tried, greeted, run, streams, clock } = scene({ 'tcp://a:1': 'answers', 'ipc:///b': behaviour, 'memory://d': behaviour })
    t.is(await run(), undefined)
    t.deepEqual(tried, ['memory://d at 0', 'ipc:///b at 250', 'tcp://a:1 at 500'])
    t.deepEqual(greeted, ['tcp'])
    t.is(clock.now(), behaviour === 'hangs' ? 500 : 4000, 'handshakes go one at a time')
    t.deepEqual(streams.map(({ destroyed }) => destroyed), behaviour === 'hangs' ? [false] : [true, true, false])
    t.is(clock.pending, 0)
  }
})

test('the last one has all the time that one alone has', async (t) => {
  const alone: Record<string, Behaviour> = { 'tcp://a:1': 'hangs' }
  for (const places of [alone, { 'ipc:///b': 'ECONNREFUSED' as const, ...alone }]) {
    const { clock, run } = scene(places)
    const error = await run()
    t.is(error?.code, 'TIMEOUT')
    t.is(clock.now(), 5000)
  }
})

test('an address that is silent has a head start of 250 ms, and whoever is slower is closed', async (t) => {
  const { tried, greeted, run, streams } = scene({ 'memory://d': 'answers late', 'ipc:///b': 'answers later', 'tcp://a:1': 'answers' })
  t.is(await run(), undefined)
  t.deepEqual(tried, ['memory://d at 0', 'ipc:///b at 250'])
  t.deepEqual(greeted, ['memory'])
  t.is(streams.length, 1, 'the dial of the other was cancelled')
  const late = scene({ 'memory://d': 'answers late', 'tcp://a:1': 'answers late, whatever the signal says' })
  t.is(await late.run(), undefined)
  await late.clock.advance(1000)
  t.deepEqual(late.streams.map(({ destroyed }) => destroyed), [false, true])
  t.is(late.clock.pending, 0)
})

test('connections are greeted one after the other, and the spare one is closed', async (t) => {
  const { greeted, run, streams } = scene({ 'memory://d': 'accepts and hangs', 'ipc:///b': 'answers', 'tcp://a:1': 'answers' })
  t.is(await run(), undefined)
  t.deepEqual(greeted, ['ipc'])
  t.deepEqual(streams.map(({ destroyed }) => destroyed), [true, false, true])
})

test('what fails is told, but for places within other processes', async (t) => {
  const { unreachable, run } = scene({ 'memory://d': 'ECONNREFUSED, no such place', 'ipc:///b': 'is another', 'tcp://a:1': 'EHOSTUNREACH', 'tcp://b:1': 'answers' })
  t.is(await run(), undefined)
  t.deepEqual(unreachable, ['ipc:///b', 'tcp://a:1'])
})

test('an interface may say what it costs, and else is one of the network', async (t) => {
  const { tried, run } = scene({ 'tcp://a:1': 'ECONNREFUSED', 'far://b': 'ECONNREFUSED', 'mine://c': 'ECONNREFUSED', 'near://d': 'ECONNREFUSED' }, { near: 0.5, far: 3, tcp: 2, mine: undefined })
  await run()
  t.deepEqual(tried.map((one) => one.split(':')[0]), ['near', 'tcp', 'mine', 'far'])
})

test('that nobody listens is said only where all of them say so', async (t) => {
  const gone = await scene({ 'memory://d': 'ECONNREFUSED', 'ipc:///b': 'ECONNREFUSED', 'tcp://a:1': 'ECONNREFUSED' }).run() as StageError
  t.true(refuses(gone))
  t.is(gone.message, 'memory://d: connect ECONNREFUSED; ipc:///b: connect ECONNREFUSED; tcp://a:1: connect ECONNREFUSED')
  for (const behaviour of ['EHOSTUNREACH', 'hangs', 'is another'] as const) {
    for (const places of [{ 'memory://d': 'ECONNREFUSED', 'tcp://a:1': behaviour }, { 'memory://d': behaviour, 'tcp://a:1': 'ECONNREFUSED' }] as const) {
      const error = await scene(places).run() as StageError
      t.false(refuses(error), error.message)
      t.is(error.code, behaviour === 'hangs' ? 'TIMEOUT' : behaviour === 'is another' ? 'WRONG_PEER' : 'DISCONNECTED')
    }
  }
})

test('a place that is not there says nothing about whoever listened there', async (t) => {
  for (const missing of ['ENOENT', 'ECONNREFUSED, no such place'] as const) {
    for (const [places, gone] of [
      [{ 'ipc:///b': missing }, false],
      [{ 'memory://d': missing, 'ipc:///b': missing }, false],
      [{ 'memory://d': missing, 'ipc:///b': missing, 'tcp://a:1': 'ECONNREFUSED' }, true],
      [{ 'memory://d': missing, 'ipc:///b': 'ECONNREFUSED' }, true],
      [{ 'ipc:///b': missing, 'tcp://a:1': 'EHOSTUNREACH' }, false],
    ] as const) {
      const error = await scene(places).run() as StageError
      t.is(refuses(error), gone, JSON.stringify(places))
      t.is(error.code, 'DISCONNECTED')
    }
  }
})

test('a dial that is given up goes on to no other address', async (t) => {
  const { clock, tried, ending, begin } = scene({ 'memory://d': 'hangs', 'tcp://a:1': 'answers' })
  const dialling = begin()
  ending.abort(new Error('enough'))
  t.is(await dialling, undefined)
  t.deepEqual(tried, ['memory://d at 0'])
  t.is(clock.pending, 0)
})

test('between two dials there are 100 ms, each time 1.6 times as much, at most 10 s, and a fifth more or less', (t) => {
  const random = seeded(1)
  for (const [failures, ms] of [[1, 100], [2, 160], [5, 655], [11, 10_000], [100, 10_000]] as const) {
    const all = Array.from({ length: 200 }, () => backoffMs(random, failures))
    t.true(Math.min(...all) >= 0.8 * ms - 1 && Math.max(...all) <= 1.2 * ms + 1, `${Math.min(...all)} to ${Math.max(...all)} for ${ms}`)
    t.true(Math.max(...all) - Math.min(...all) > 0.3 * ms, 'they differ')
  }
})
