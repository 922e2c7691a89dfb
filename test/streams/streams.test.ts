/** Streams between stages: the suite of streams on accepted streams and on chains. */
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { promisify } from 'node:util'
import test from 'ava'
import { framing, latency, rpc, tap } from '../../src/index.js'
import { handed, two } from '../helpers/ends.js'
import { realMesh } from '../helpers/mesh.js'
import { compiled } from '../helpers/own-process.js'
import { streamSuite } from '../suites/stream.js'
import type { Assertions } from '../suites/test.js'

streamSuite(test, (t) => handed(...two(t)), { name: 'a stream of a link over tcp' })
streamSuite(test, (t) => handed(...two(t, { chain: [tap(() => {}), latency(1), framing({ maxFrameBytes: 4096 }), rpc()] })), { name: 'a stream of a link through every wrapper' })
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
  t.false(stream.write(Buffer.alloc(200_000)))
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

for (const [carrier, stages] of Object.entries({ tcp: (t: Assertions) => two(t, { chain: [] }), memory: (t: Assertions) => { const { stage } = realMesh(t); return [stage('near', { chain: [] }), stage('far', { chain: [] })] as const } })) {
  test(`chain: [] over ${carrier}: what came with the handshake is told to whoever listens for readable at once`, async (t) => {
    for (let i = 0; i < 10; i++) {
      const [near, far] = stages(t)
      const got = new Promise<string>((resolve) => far.on('stream', (stream) => stream.once('readable', () => { resolve(String(stream.read())) })))
      near.to('far').write('first')
      t.is(await got, 'first')
    }
  })
}
