import test from 'ava'
import { tap } from '../../wrappers/tap.js'
import { wrapperSuite } from '../suites/wrapper.js'
wrapperSuite(test, () => tap(() => {}), { name: 'tap' })
