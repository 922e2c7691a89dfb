import test from 'ava'
import { latency } from '../../wrappers/latency.js'
import { wrapperSuite } from '../suites/wrapper.js'
wrapperSuite(test, () => latency(2), { name: 'latency' })
