import type { Duplex } from 'node:stream'
import type { Interface } from '../../src/types.js'
import type { Assertions } from '../suites/test.js'

/** A listening interface: its address, and the streams that it accepts. All go with the test. */
export async function opened(t: Assertions, listener: Interface): Promise<{ address: string, accepted: Duplex[] }> {
  t.teardown(() => listener.close())
  const accepted: Duplex[] = []
  const [address] = await listener.listen((stream) => {
    accepted.push(stream)
    t.teardown(() => void stream.destroy())
  })
  return { address, accepted }
}
