/** The store that is memory: the suite of stores. */
import test from 'ava'
import { MemoryRegistry } from '../../registries/memory.js'
import { VirtualClock } from '../helpers/virtual-clock.js'
import { storeSuite } from '../suites/store.js'

let count = 0

storeSuite(test, async () => {
  const clock = new VirtualClock()
  const name = `store-suite-${++count}`
  const admin = new MemoryRegistry(name, { clock })
  return {
    open: () => new MemoryRegistry(name, { clock }),
    advance: (ms) => clock.advance(ms),
    forget: async (namespace, actor) => admin.forget(namespace, actor),
    empty: async () => admin.empty(),
    fail: async (failing) => admin.fail(failing),
    close: () => admin.close(),
  }
}, { name: 'memory' })
