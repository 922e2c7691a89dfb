/** In which order messages of different sizes leave. */
import { Duplex } from 'node:stream'
import test, { type ExecutionContext } from 'ava'
import { Framed } from '../../wrappers/framing.js'
import { msgpack } from '../../wrappers/codec.js'
import { Wire } from '../../wrappers/rpc/wire/wire.js'
import type { Clock } from '../../src/types.js'

const MIB = 2 ** 20

/** A link whose carrier takes what it is given when it is told to, and a clock that stands still. */
function scene(t: ExecutionContext) {
  const pauses: (() => void)[] = []
  const clock: Clock = { now: () => 1000, wall: () => 1000, setTimeout: (fn) => { pauses.push(fn); return { cancel: () => {} } } }
  let take: (() => void) | undefined
  let taken = 0
  const carrier = new Duplex({
    read() {},
    write(chunk: Buffer, _encoding, done) { take = () => { taken += chunk.length; take = undefined; done() } },
    highWaterMark: 64 * 1024,
  })
  const framed = new Framed(carrier)
  t.teardown(() => framed.destroy())
  const wire = new Wire(framed, msgpack(), { give: () => 1, take: () => undefined }, clock, true)
  framed.onflushed = () => wire.flushed()
  wire.calledAt = clock.now()
  const turn = (): Promise<void> => new Promise((resolve) => { setImmediate(resolve) })
  /** Lets the carrier take all that it is given, as long as it is given something. */
  const drain = async (): Promise<void> => { for (await turn(); take; await turn()) take() }
  return { wire, drain, pauses, taken: () => taken }
}

test('messages of less than a frame that wait for the carrier go as soon as it takes them, without the pauses of streams', async (t) => {
  const { wire, drain, pauses, taken } = scene(t)
  for (let i = 0; i < 32; i++) wire.encoded(Buffer.alloc(60_000, 3))
  t.true(wire.held > MIB)
  await drain()
  t.is(wire.held, 0)
  t.true(taken() > 32 * 60_000)
  t.is(pauses.length, 0)
})

test('the parts of a large one leave room for calls: they pause after each handful', async (t) => {
  const { wire, drain, pauses } = scene(t)
  wire.encoded(Buffer.alloc(MIB, 3))
  await drain()
  t.is(pauses.length, 1)
  t.true(wire.held > 0)
})
