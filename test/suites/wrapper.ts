/**
 * The contract of a wrapper, as tests: a wrapped stream is still a good stream. To run the suite on your own wrapper:
 *
 *     import test from 'ava'
 *     import { wrapperSuite } from 'stagemesh/test/suites/wrapper'
 *     wrapperSuite(test, () => myWrapper(…), { name: 'mine' })
 *
 * Tests of wrappers that work on messages pass `objectMode`; such a wrapper must accept and deliver Buffers for the suite.
 */
import { once } from 'node:events'
import type { Duplex } from 'node:stream'
import { MemoryInterface, MemoryNetwork } from '../../interfaces/memory.js'
import { TcpInterface } from '../../interfaces/tcp.js'
import type { Interface, Peer, Wrapper } from '../../src/types.js'
import { Told, readAll, streamSuite, turn, type Ends, type StreamSuiteOptions } from './stream.js'
import type { Assertions, Test } from './test.js'

/** Options of the suite. */
export type WrapperSuiteOptions = StreamSuiteOptions

/** Two ends with the wrapper around each, and the raw streams below. */
interface Wrapped extends Ends {
  below: Ends
}

const peer = (name: string): Peer => ({ id: `id-${name}`, name, namespace: 'suite', addresses: [], meta: {} })

/** @param makeWrapper  called once for each test; the returned wrapper is applied to both ends */
export function wrapperSuite(test: Test, makeWrapper: () => Wrapper, options: WrapperSuiteOptions = {}): void {
  const { name = 'wrapper' } = options
  const wrapped = async (t: Assertions, listener: Interface, dialler: Interface): Promise<Wrapped> => {
    const below = await rawEnds(t, listener, dialler)
    const wrap = makeWrapper()
    const near = wrap(below.near, { peer: peer('far'), dialled: true })
    const far = wrap(below.far, { peer: peer('near'), dialled: false })
    return { near, far, below }
  }

  streamSuite(test, (t) => wrapped(t, ...memory()), { ...options, name: `${name} over memory` })
  streamSuite(test, (t) => wrapped(t, new TcpInterface({ host: '127.0.0.1' }), new TcpInterface({ host: '127.0.0.1' })), { ...options, name: `${name} over tcp` })

  const check = (title: string, run: (t: Assertions, ends: Wrapped, network: MemoryNetwork) => Promise<void>) =>
    test(`${name}: ${title}`, async (t) => {
      t.timeout(30_000)
      const network = new MemoryNetwork()
      const ends = await wrapped(t, ...memory(network))
      for (const end of [ends.near, ends.far]) end.on('error', () => {})
      await run(t, ends, network)
    })

  check('P27: destroying it destroys what is below with the same error', async (t, { near, below }) => {
    const told = { near: new Told(near), below: new Told(below.near) }
    const error = new Error('on purpose')
    near.destroy(error)
    await Promise.all([told.near.failed(t), told.below.failed(t)])
    t.is(told.near.error, error)
    t.is(told.below.error, error)
  })

  check('P27: destroying what is below destroys it with the same error', async (t, { near, below }) => {
    const told = { near: new Told(near), below: new Told(below.near) }
    const error = new Error('on purpose')
    below.near.destroy(error)
    await Promise.all([told.near.failed(t), told.below.failed(t)])
    t.is(told.near.error, error)
  })

  check('destroy() without an error passes, too, in both directions, and is not an end', async (t, { near, far, below }) => {
    const told = { near: new Told(near), below: new Told(below.near), far: new Told(far), belowFar: new Told(below.far) }
    near.destroy()
    below.far.destroy()
    for (const one of Object.values(told)) {
      await one.closed
      await turn()
      t.false(one.events.includes('end'))
      t.is(one.events.at(-1), 'close')
      t.is(one.events.filter((event) => event === 'close').length, 1)
    }
  })

  check('the inner stream closes without an error after our own end: the other direction has not ended', async (t, { near, below }) => {
    const told = new Told(near)
    near.resume().end()
    await once(near, 'finish')
    below.near.destroy()
    await told.closed
    await turn()
    t.false(told.events.includes('end'))
  })

  check('a reset of the connection is an error at both ends', async (t, { near, far }, network) => {
    const told = { near: new Told(near), far: new Told(far) }
    for (const end of [near, far]) end.resume()
    far.write(Buffer.from('half a message'))
    await turn()
    network.cut()
    await Promise.all([told.near.failed(t), told.far.failed(t)])
    t.is((told.near.error as NodeJS.ErrnoException).code, 'ECONNRESET')
  })

  check('closing it closes the inner stream', async (t, { near, far, below }) => {
    const closed = Promise.all([below.near, below.far].map((stream) => once(stream, 'close')))
    near.end()
    far.end()
    await Promise.all([readAll(near), readAll(far), closed])
    t.true(below.near.destroyed && below.far.destroyed)
  })

  check('it has a name, which both ends compare', async (t) => {
    t.truthy(makeWrapper().name)
    t.is(makeWrapper().name, makeWrapper().name)
  })
}

function memory(network = new MemoryNetwork()): [Interface, Interface] {
  return [new MemoryInterface(network), new MemoryInterface(network)]
}

async function rawEnds(t: Assertions, listener: Interface, dialler: Interface): Promise<Ends> {
  let onaccepted: (stream: Duplex) => void = () => {}
  const accepted = new Promise<Duplex>((resolve) => { onaccepted = resolve })
  const [address] = await listener.listen((stream) => onaccepted(stream))
  const near = await dialler.connect(address as string, new AbortController().signal)
  const far = await accepted
  t.teardown(async () => {
    near.destroy()
    far.destroy()
    await listener.close()
  })
  return { near, far }
}
