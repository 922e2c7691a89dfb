import test from 'ava'
import { TcpInterface } from '../../interfaces/tcp.js'
import { interfaceSuite } from '../suites/interface.js'
interfaceSuite(test, () => ({ listener: new TcpInterface({ host: '127.0.0.1' }), dialler: new TcpInterface() }), { name: 'tcp' })
