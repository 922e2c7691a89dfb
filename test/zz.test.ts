import test from 'ava'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import duplexify from 'duplexify'
import pump from 'pump'
import through2 from 'through2'
import { FileSocketInterface } from '../examples/own-interface.js'
import { interfaceSuite } from './suites/interface.js'
import { wrapperSuite } from './suites/wrapper.js'
interfaceSuite(test, async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'if-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  return { listener: new FileSocketInterface(folder), dialler: new FileSocketInterface(folder) }
}, { name: 'own-interface' })
wrapperSuite(test, () => function mine(stream) {
  const i = through2(), o = through2()
  pump(stream, i); pump(o, stream)
  return duplexify(o, i)
}, { name: 'w' })
