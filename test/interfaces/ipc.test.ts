import test from 'ava'
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, existsSync, lstatSync, mkdirSync, readdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { connect as dial, createServer } from 'node:net'
import type { Duplex } from 'node:stream'
import { join } from 'node:path'
import { parsePath } from '../../interfaces/ipc-place.js'
import { IpcInterface } from '../../interfaces/ipc.js'
import { StageError } from '../../src/errors.js'
import { compiled, endsByItself } from '../helpers/own-process.js'
import { tempFolder } from '../helpers/process.js'
import { interfaceSuite } from '../suites/interface.js'
import { Told, readAllOpen } from '../suites/stream.js'
import type { Assertions } from '../suites/test.js'
import { seeded } from '../helpers/mesh.js'

interfaceSuite(test, () => ({ listener: new IpcInterface(), dialler: new IpcInterface() }), { name: 'ipc' })
interfaceSuite(test, async (t) => ({ listener: new IpcInterface({ path: join(await tempFolder(t), 'x.sock') }), dialler: new IpcInterface() }), { name: 'ipc at a path' })
