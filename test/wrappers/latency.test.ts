/** The wrapper latency: the suite of wrappers, and its delays. */
import test from 'ava'
import type { Duplex } from 'node:stream'
import { wrapperSuite } from '../suites/wrapper.js'
import { VirtualClock } from '../helpers/virtual-clock.js'
import { pair } from '../../src/pair.js'
import type { LinkEnd } from '../../src/types.js'
import { latency } from '../../wrappers/latency.js'

wrapperSuite(test, () => latency(2), { name: 'latency' })

const end: LinkEnd = { peer: { id: 'id', name: 'peer', namespace: 'test', addresses: [], meta: {} }, dialled: true }

/** One end behind the wrapper, the other bare, and when what arrived there. */
function scene(ms: number | (() => number)) {
  const clock = new VirtualClock()
  const [inner, far] = pair()
  const near = latency(ms, { clock })(inner, end)
  const log = (stream: Duplex) => {
    const arrived: string[] = []
    stream.on('data', (chunk: Buffer) => arrived.push(`${chunk.toString()} ${clock.now()}`)).on('end', () => arrived.push(`end ${clock.now()}`))
    return arrived
  }
  return { clock, near, far, log }
}

test('everything comes as much later as it says, in both directions, the end too', async (t) => {
  const { clock, near, far, log } = scene(50)
  const [there, here] = [log(far), log(near)]
  near.end('question')
  await clock.advance(10)
  far.end('answer')
  await clock.advance(100)
  t.deepEqual(there, ['question 50', 'end 50'])
  t.deepEqual(here, ['answer 60', 'end 60'])
})

test('many are under way at once: the spacing stays', async (t) => {
  const { clock, near, far, log } = scene(50)
  const there = log(far)
  for (let i = 0; i < 10; i++) {
    near.write(`${i}`)
    await clock.advance(1)
  }
  await clock.advance(50)
  t.deepEqual(there, Array.from({ length: 10 }, (_, i) => `${i} ${50 + i}`))
})

test('one that is quicker does not overtake', async (t) => {
  const delays = [30, 10, 40]
  const { clock, near, far, log } = scene(() => delays.shift() ?? 0)
  const there = log(far)
  for (const one of ['a', 'b', 'c']) near.write(one)
  near.end()
  await clock.advance(100)
  t.deepEqual(there, ['a 30', 'b 30', 'c 40', 'end 40'])
})

test('a closed one leaves no timer', async (t) => {
  const { clock, near } = scene(50)
  near.write('bytes')
  await clock.advance(1)
  t.is(clock.pending, 1)
  near.destroy()
  await clock.advance(0)
  t.is(clock.pending, 0)
})

test('no more than 1 MiB is under way', async (t) => {
  const { clock, near, far } = scene(50)
  let got = 0
  far.on('data', (chunk: Buffer) => { got += chunk.length })
  const chunk = Buffer.alloc(16 * 1024)
  let sent = 0
  const go = () => { while (sent < 4 * 1024 * 1024) { sent += chunk.length; if (!near.write(chunk)) return } }
  near.on('drain', go)
  go()
  await clock.advance(49)
  t.true(sent < 1.25 * 1024 * 1024, String(sent))
  await clock.advance(1000)
  t.is(got, sent)
  t.is(got, 4 * 1024 * 1024)
})

test('pressure reaches also a writer that takes its time', async (t) => {
  const { clock, near } = scene(50)
  const chunk = Buffer.alloc(64 * 1024)
  let sent = 0
  for (; sent < 100 && !near.writableNeedDrain; sent++) {
    near.write(chunk)
    await clock.advance(100)
  }
  t.true(sent < 30, String(sent))
})

test('it refuses a delay that is none', (t) => {
  for (const ms of [-1, NaN, Infinity, '5' as unknown as number]) t.throws(() => latency(ms), { instanceOf: TypeError })
  t.is(latency(5).name, 'latency')
})
