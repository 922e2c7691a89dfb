/** Threads of one process: the suite of interfaces, and stages in real worker threads. */
import test from 'ava'
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { WorkerInterface } from '../../interfaces/worker.js'
import { LocalRegistry, Stage, StageError } from '../../src/index.js'
import { compiled, endsByItself } from '../helpers/own-process.js'
import { tempFolder } from '../helpers/process.js'
import { until } from '../helpers/until.js'
import { interfaceSuite } from '../suites/interface.js'
import type { Assertions } from '../suites/test.js'

interfaceSuite(test, () => ({ listener: new WorkerInterface(), dialler: new WorkerInterface() }), { name: 'worker' })

const never = new AbortController().signal

/** A thread that runs a stage of that name, and the number of its link's scheme for who asks. */
function thread(t: Assertions, folder: string, name: string): Worker {
  const script = `
    const { workerData } = require('node:worker_threads')
    const run = async () => {
      const { LocalRegistry, Stage } = await import(workerData.library)
      const { WorkerInterface } = await import(workerData.interfaces)
      const stage = new Stage(workerData.name, new LocalRegistry(workerData.folder), new WorkerInterface())
      stage.to('*').provide({
        where: () => require('node:worker_threads').threadId,
        echo: (value) => value,
        ask: async (peer) => stage.to(peer).call('where'),
        block: (ms) => { Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms) },
        end: () => process.exit(),
      })
      stage.on('stream', (stream) => stream.pipe(stream))
      await stage.ready()
    }
    run().catch((error) => { console.error(error); process.exit(1) })`
  const library = compiled('src/index.js')
  const interfaces = compiled('interfaces/worker.js')
  const worker = new Worker(script, { eval: true, workerData: { library, interfaces, folder, name } })
  t.teardown(async () => void await worker.terminate())
  return worker
}

function stageOf(t: Assertions, folder: string): Stage {
  const stage = new Stage('main', new LocalRegistry(folder), new WorkerInterface(), { timeoutMs: 20_000 })
  t.teardown(() => stage.close())
  return stage
}

test('stages in threads find each other by name, also thread to thread', async (t) => {
  t.timeout(60_000)
  const folder = await tempFolder(t)
  const [a, b] = [thread(t, folder, 'a'), thread(t, folder, 'b')]
  const stage = stageOf(t, folder)
  stage.to('*').provide('where', () => 0)
  t.is(await stage.to('a').call('where'), a.threadId)
  t.is(await stage.to('a').call('ask', 'b'), b.threadId)
  t.is(await stage.to('b').call('ask', 'main'), 0)
  const bytes = Buffer.alloc(3_000_000, 'x')
  t.deepEqual(await stage.to('a').call('echo', bytes), bytes)
  const stream = stage.to('b')
  stream.end(bytes)
  let size = 0
  for await (const chunk of stream) size += (chunk as Buffer).length
  t.is(size, bytes.length)
})

test('a thread that ends is gone at once, and one that blocks is waited for', async (t) => {
  t.timeout(60_000)
  const folder = await tempFolder(t)
  const a = thread(t, folder, 'a')
  const stage = stageOf(t, folder)
  await stage.to('a').call('where')
  const blocked = stage.to('a').call('block', 1000)
  t.is(await stage.to('a').call('echo', 'after it'), 'after it')
  await blocked
  const unlinked = Promise.all([once(stage, 'unlink'), once(a, 'exit')])
  const ended = stage.to('a').call('end')
  const error = await t.throwsAsync(ended, { instanceOf: StageError }) as StageError
  t.is(error.code, 'DISCONNECTED')
  await unlinked
  await until(() => stage.links().length === 0)
})

test('an address of another process, of a thread that has ended, or of nobody is refused', async (t) => {
  const listener = new WorkerInterface()
  t.teardown(() => listener.close())
  const [address] = await listener.listen((stream) => stream.destroy())
  const [, , process, thread] = address.split('/')
  const own = `worker://${process}`
  for (const [where, place] of [[`worker://${'x'.repeat(16)}/0/1`, 'ENOENT'], [`${own}/123456/1`, undefined], [`${own}/${thread}/999999`, undefined]] as const) {
    const error = await t.throwsAsync(new WorkerInterface().connect(where, never)) as NodeJS.ErrnoException
    t.is(error.code, 'ECONNREFUSED', where)
    t.is((error.cause as NodeJS.ErrnoException | undefined)?.code, place, where)
  }
  for (const malformed of ['worker://x/0/1', 'worker://', 'worker:1', `${own}/0/x`]) {
    const error = await t.throwsAsync(new WorkerInterface().connect(malformed, never)) as StageError
    t.is(error.code, 'BAD_ARGUMENT', malformed)
  }
})

test('it keeps its process alive while it listens, and no longer', async (t) => {
  await endsByItself(t, 'interfaces/worker.js', (module: { WorkerInterface: new () => WorkerInterface }) => new module.WorkerInterface())
})
