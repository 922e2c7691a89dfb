import { once } from 'node:events'
import type { Duplex } from 'node:stream'
import test from 'ava'
import { TcpInterface, Stage, MemoryRegistry } from '../src/index.js'
import { realMesh } from './helpers/mesh.js'
import { streamSuite, type Ends } from './suites/stream.js'
import type { Assertions } from './suites/test.js'

let rooms = 0

/** Two stages over TCP with the given chain. */
function two(t: Assertions, options: { chain?: [] } = {}): [Stage, Stage] {
  const room = `streams-${process.pid}-${++rooms}`
  const stages = ['near', 'far'].map((name) => new Stage(name, new MemoryRegistry(room), new TcpInterface({ host: '127.0.0.1' }), options))
  t.teardown(async () => { await Promise.all(stages.map((one) => one.close())) })
  return stages as [Stage, Stage]
}

/** What `to()` yields by its callback, and what the peer gets for it. */
async function handed(near: Stage, far: Stage): Promise<Ends> {
  const got = once(far, 'stream') as Promise<[Duplex]>
  far.on('stream', (stream) => { stream.allowHalfOpen = true })
  await until(() => near.lookup('far').length === 1)
  const opened = await new Promise<Duplex>((resolve, reject) => near.to('far', (error, stream) => { if (error) reject(error); else resolve(stream) }))
  const [stream] = await got
  return { near: opened, far: stream }
}

const until = async (condition: () => boolean): Promise<void> => { while (!condition()) await new Promise((resolve) => setImmediate(resolve)) }

streamSuite(test, (t) => handed(...two(t)), { name: 'a stream of a link over tcp' })
streamSuite(test, (t) => handed(...two(t, { chain: [] })), { name: 'the bare socket, chain: []' })
streamSuite(test, (t) => {
  const { stage } = realMesh(t)
  return handed(stage('near'), stage('far'))
}, { name: 'a stream of a link over memory' })
streamSuite(test, (t) => {
  const { stage } = realMesh(t)
  return handed(stage('near', { chain: [] }), stage('far', { chain: [] }))
}, { name: 'the bare stream over memory, chain: []' })
