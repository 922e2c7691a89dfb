import { execFile } from 'node:child_process'
import { once } from 'node:events'
import type { Duplex } from 'node:stream'
import { promisify } from 'node:util'
import test from 'ava'
import { MemoryInterface, MemoryNetwork, TcpInterface, Stage, MemoryRegistry, framing, latency, rpc, tap, type StageOptions } from '../src/index.js'
import { realMesh } from './helpers/mesh.js'
import { compiled } from './helpers/own-process.js'
import { streamSuite, type Ends } from './suites/stream.js'
import type { Assertions } from './suites/test.js'

let rooms = 0

/** Two stages over TCP with the given chain. */
function two(t: Assertions, options: Pick<StageOptions, 'chain'> = {}): [Stage, Stage] {
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

/** What `to()` itself is, and what the peer gets for it. */
async function reached(near: Stage, far: Stage): Promise<Ends> {
  const got = once(far, 'stream') as Promise<[Duplex]>
  far.on('stream', (stream) => { stream.allowHalfOpen = true })
  const target = near.to('far')
  target.read(0)
  const [[stream]] = await Promise.all([got, once(target, 'connect')])
  return { near: target, far: stream }
}

/** One end of a pair, and what the peer got when the other was passed to it in a call. */
async function passed(t: Assertions, up: boolean): Promise<Ends> {
  const [near, far] = two(t)
  const network = new MemoryNetwork()
  const [listener, dialler] = [new MemoryInterface(network), new MemoryInterface(network)]
  t.teardown(async () => { await Promise.all([listener.close(), dialler.close()]) })
  let mine!: Duplex
  const [address] = await listener.listen((stream) => { mine = stream })
  const given = await dialler.connect(address as string, new AbortController().signal)
  let arrived: Duplex | undefined
  far.to('*').provide('take', (stream: Duplex) => { arrived = stream })
  near.to('*').provide('give', () => given)
  if (up) await near.to('far').call('take', given)
  else arrived = await far.to('near').call<Duplex>('give')
  const other = arrived as Duplex
  other.allowHalfOpen = true
  return { near: mine, far: other }
}

const until = async (condition: () => boolean): Promise<void> => { while (!condition()) await new Promise((resolve) => setImmediate(resolve)) }

streamSuite(test, (t) => handed(...two(t)), { name: 'a stream of a link over tcp' })
streamSuite(test, (t) => reached(...two(t)), { name: 'to() over tcp' })
streamSuite(test, (t) => reached(...two(t, { chain: [] })), { name: 'to() over the bare socket' })
streamSuite(test, (t) => {
  const { stage } = realMesh(t)
  return reached(stage('near'), stage('far'))
}, { name: 'to() over memory' })
streamSuite(test, (t) => handed(...two(t, { chain: [tap(() => {}), latency(1), framing({ maxFrameBytes: 4096 }), rpc()] })), { name: 'a stream of a link through every wrapper' })
streamSuite(test, (t) => passed(t, true), { name: 'a stream that was an argument' })
streamSuite(test, (t) => passed(t, false), { name: 'a stream that was a result' })
streamSuite(test, (t) => handed(...two(t, { chain: [] })), { name: 'the bare socket, chain: []' })
streamSuite(test, (t) => {
  const { stage } = realMesh(t)
  return handed(stage('near'), stage('far'))
}, { name: 'a stream of a link over memory' })
streamSuite(test, (t) => {
  const { stage } = realMesh(t)
  return handed(stage('near', { chain: [] }), stage('far', { chain: [] }))
}, { name: 'the bare stream over memory, chain: []' })

test('drain comes after uncork(), as with streams of Node', async (t) => {
  const [near, far] = two(t)
  far.on('stream', (stream) => { stream.resume() })
  const stream = near.to('far')
  await new Promise((resolve) => { stream.write('x', resolve) })
  stream.cork()
  t.false(stream.write(Buffer.alloc(20_000)))
  stream.uncork()
  await once(stream, 'drain')
  t.pass()
})

test('what a listener for drain throws is the process\'s to hear, and ends nothing else on the link', async (t) => {
  const script = `
    const { MemoryInterface, Stage } = await import(${JSON.stringify(compiled('src/index.js'))})
    process.on('uncaughtException', (error) => console.log('uncaught:', error.message))
    const [near, far] = ['near', 'far'].map((name) => new Stage(name, 'memory:drain', new MemoryInterface()))
    far.to('*').provide('slow', () => new Promise((resolve) => setTimeout(resolve, 200, 'answered')))
    far.on('stream', (stream) => {
      stream.once('drain', () => { stream.end('end'); throw new Error('a bug') })
      stream.write(Buffer.alloc(256 * 1024 + 10)) // the last of it goes when the first was taken
    })
    const stream = near.to('far')
    stream.write('x')
    let came = 0
    setTimeout(() => stream.on('data', (chunk) => { came += chunk.length }), 50)
    console.log(await near.to('far').call('slow').catch((error) => error.message), came)
    await Promise.all([near.close(), far.close()])`
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script])
  t.is(stdout, 'uncaught: a bug\nanswered 262157\n')
})

test('what a listener of a stream throws is the process\'s to hear, and ends nothing else on the link', async (t) => {
  const script = `
    const { MemoryInterface, Stage } = await import(${JSON.stringify(compiled('src/index.js'))})
    process.on('uncaughtException', (error) => console.log('uncaught:', error.message))
    const [near, far] = ['near', 'far'].map((name) => new Stage(name, 'memory:listener', new MemoryInterface()))
    far.to('*').provide('slow', () => new Promise((resolve) => setTimeout(resolve, 200, 'answered')))
    let came = 0
    far.on('stream', (stream) => stream.on('data', () => { if (++came === 2) throw new Error('a bug') }))
    const stream = near.to('far')
    stream.write('one')
    const slow = near.to('far').call('slow')
    setTimeout(() => stream.write('two'), 50)
    setTimeout(() => stream.end('three'), 100)
    console.log(await slow, came)
    await Promise.all([near.close(), far.close()])`
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script])
  t.is(stdout, 'uncaught: a bug\nanswered 3\n')
})
