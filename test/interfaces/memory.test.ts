import test from 'ava'
import { MemoryInterface, MemoryNetwork } from '../../interfaces/memory.js'
import { interfaceSuite } from '../suites/interface.js'
interfaceSuite(test, () => { const n = new MemoryNetwork(); return { listener: new MemoryInterface(n), dialler: new MemoryInterface(n) } }, { name: 'memory' })
