/**
 * One process of the smoke test: `<runtime> part.js api|web|both <case> <registry>`. It uses only the library and modules
 * that Node, Bun and Deno have in common.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { Readable } from 'node:stream'
import { IpcInterface, Stage, TcpInterface, type Interface } from 'stagemesh'

const [role = '', what = '', registry = ''] = process.argv.slice(2)
const SIZES = [0, 1, 10_000, 100_000, 1_000_000, 3_000_000]

class Counter {
  n = 0
  add(by: number) { return this.n += by }
}

const carriers = (): Interface | undefined => what === 'tcp' ? new TcpInterface() : what === 'ipc' ? new IpcInterface() : undefined

async function api(): Promise<void> {
  const stage = new Stage('api', registry, carriers())
  stage.to('*').provide('greet', (name: string) => `hi there, ${name}`)
  stage.to('*').provide('size', async (stream: AsyncIterable<Buffer>) => {
    let size = 0
    for await (const chunk of stream) size += chunk.length
    return size
  })
  stage.to('*').provide('give', (size: number) => Readable.from([Buffer.alloc(size)], { objectMode: false }))
  stage.to('*').provide('fail', () => { throw new Error('on purpose') })
  stage.to('*').provide('hang', () => new Promise(() => {}))
  stage.to('*').provide('twice', async (f: (n: number) => Promise<number>) => await f(1) + await f(2))
  stage.on('stream', (stream) => stream.pipe(stream))
  stage.define({ pattern: 'counters.{id}', constructor: Counter, durable: true })
  await stage.ready()
  console.log('ready')
}

async function total(stream: AsyncIterable<Uint8Array>): Promise<number> {
  let size = 0
  for await (const chunk of stream) size += chunk.length
  return size
}

async function web(): Promise<void> {
  const stage = new Stage('web', registry, carriers(), { timeoutMs: 5000 })
  await stage.ready()
  const to = stage.to('api')
  assert.equal(await to.call('greet', 'bob'), 'hi there, bob')
  await assert.rejects(to.call('fail'), { code: 'REMOTE_ERROR' })
  await assert.rejects(stage.to('api', { timeoutMs: 200 }).call('hang'), { code: 'TIMEOUT' })
  await assert.rejects(stage.to('nobody', { timeoutMs: 200 }).call('greet'), { code: 'NO_SUCH_PEER' })
  assert.equal(await to.call('twice', (n: number) => n * 2), 6)
  for (const size of SIZES) {
    assert.equal(await to.call('size', Readable.from([Buffer.alloc(size)], { objectMode: false })), size, `a stream of ${size} as an argument`)
    assert.equal(await total(await to.call<AsyncIterable<Buffer>>('give', size)), size, `a stream of ${size} as a result`)
    const stream = stage.to('api')
    stream.end(Buffer.alloc(size))
    assert.equal(await total(stream), size, `${size} there and back`)
  }
  const counter = stage.actor<Counter>('counters.1')
  const before = await counter.n
  assert.equal(await counter.add(2), before + 2)
  for await (const { n } of stage.observe(counter, ['n'])) {
    assert.equal(n, before + 2)
    break
  }
  await stage.close()
  console.log('good')
}

if (role !== 'web') await api()
if (role !== 'api') {
  await web()
  process.exit()
}
await once(process.stdin.resume(), 'end') // the parent has ended
process.exit()
