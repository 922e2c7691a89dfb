/** The stream that is the link: the suite of wrappers on rpc. */
import test from 'ava'
import { DeadlineSweep } from '../../src/deadlines.js'
import { systemClock } from '../../src/clock.js'
import { pair } from '../../src/pair.js'
import type { LinkEnd, Mesh } from '../../src/types.js'
import { frame } from '../../wrappers/framing.js'
import { rpc } from '../../wrappers/rpc/layer.js'
import type { Duplex } from 'node:stream'
import { wrapperSuite } from '../suites/wrapper.js'

/** As much of a stage as the stream that is the link needs. */
const mesh = (): Mesh<never> => {
  const deadlines = new DeadlineSweep(systemClock)
  return { clock: systemClock, deadlines, timeoutMs: 10_000, self: { id: 'me' }, options: {}, peers: () => [], find() {}, emit() {}, error() {} } as unknown as Mesh<never>
}

wrapperSuite(test, () => {
  const { wrap } = rpc().mount(mesh())
  return function rpcOverFrames(stream: Duplex, end: LinkEnd) { return wrap!(frame(stream), end) }
}, { name: 'rpc, the stream that is the link' })

test('whoever waits for a write to the stream that is the link is told when it is cut', async (t) => {
  const [near, far] = pair()
  const { wrap } = rpc().mount(mesh())
  const link = wrap!(frame(near), { peer: { id: 'far', name: 'far' }, dialled: true } as LinkEnd)
  const told: (Error | null | undefined)[] = []
  link.write(Buffer.alloc(1024 * 1024), (error) => { told.push(error) })
  link.end('x', ((error?: Error) => { told.push(error) }) as () => void)
  await new Promise((resolve) => setImmediate(resolve))
  t.deepEqual(told, [])
  far.destroy()
  near.destroy(new Error('cut'))
  await new Promise((resolve) => setImmediate(resolve))
  t.deepEqual(told.map((error) => error?.message), ['cut', 'cut'])
})
