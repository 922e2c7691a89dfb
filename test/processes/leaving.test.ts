/** Processes that end while their stage is listed. */
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import test, { type ExecutionContext } from 'ava'
import { LocalRegistry, Stage } from '../../src/index.js'
import { journal, type Note } from '../helpers/journal.js'
import { WAYS, leaves, type Way } from '../helpers/leaving.js'
import { listed } from '../helpers/listed.js'
import { compiled } from '../helpers/own-process.js'
import { Child } from '../helpers/printing-child.js'
import { Process, tempFolder } from '../helpers/process.js'
import { onRedis } from '../helpers/redis.js'
import { until } from '../helpers/until.js'
import { Watch } from '../suites/registry.js'

const TTL_MS = 6000
const GRACE_MS = 2000
/** A poll of the local registry, and the delay of a busy machine. */
const POLL_MS = 1000

/** The uncaught exception is intended, and should not appear in the output of the tests. */
const quiet = { stdio: ['ignore', 'inherit', 'ignore', 'ipc'] } satisfies Parameters<typeof Process.start>[1]
const ways = Object.keys(WAYS) as Way[]

/** The events about the end of a peer. */
const ending = (notes: readonly Note[], id: string): string[] =>
  notes.filter(({ of, event }) => of === id && /part|timeout/.test(event)).map(({ event, reason }) => [event, reason].filter(Boolean).join(' '))

/**
 * Processes with a listed stage end in each way at the same time, observed by a stage with links to all of them and by a
 * stage without links.
 * @param expected  for each way, how soon a linked peer and a peer without a link must no longer choose it, and the events
 * that they emit
 */
async function leaving(t: ExecutionContext, registry: string, expected: (way: Way) => { linkedMs: number, othersMs: number, told: string[] }): Promise<void> {
  t.timeout(120_000)
  const options = { ttlMs: TTL_MS }
  const [linked, other] = [new Stage('linked', registry, undefined, options), new Stage('other', registry, undefined, options)] as const
  t.teardown(async () => { await Promise.all([linked.close(), other.close()]) })
  const stages = [linked, other]
  const notes = stages.map(journal)
  await Promise.all(stages.map(listed))
  const leavers = await Promise.all(ways.map(async (way) => {
    const process = Process.start(t, quiet)
    return { way, process, id: await process.ask('open', 'it', { name: `by-${way}`, registry, options }) }
  }))
  await until(() => stages.every((stage) => stage.lookup('by-*').length === ways.length))
  await Promise.all(ways.map((way) => linked.to(`by-${way}`).call('who')))

  await Promise.all(leavers.map(async ({ way, process, id }) => {
    const { linkedMs, othersMs, told } = expected(way)
    const [endedAt, ...at] = await Promise.all([leaves(process, way), ...stages.map(async (stage) => {
      await until(() => stage.lookup(`by-${way}`).length === 0) // the bounds below count from the end of the process
      return performance.now()
    })])
    const after = at.map((one) => Math.round(one - endedAt))
    t.is(process.code, WAYS[way])
    t.true(after[0]! <= linkedMs, `${way}: a linked peer chose it for ${after[0]} ms`)
    t.true(after[1]! <= othersMs, `${way}: another peer chose it for ${after[1]} ms`)
    await until(() => notes.every((one) => ending(one, id).length === told.length), TTL_MS + GRACE_MS + POLL_MS)
    t.deepEqual(notes.map((one) => ending(one, id)), [told, told])
    t.log(`${registry.split(':')[0]}, ${way}: chosen no more after ${after[0]} ms by a linked peer, after ${after[1]} ms by another`)
  }))
}

const SILENT = { linkedMs: 3000, othersMs: TTL_MS + GRACE_MS + POLL_MS, told: ['timeout', 'part timeout'] }
const LEFT = { linkedMs: POLL_MS, othersMs: POLL_MS, told: ['part closed'] }

test('local: a process that ends while its stage is listed has left at once for all stages, unless it is killed', async (t) => {
  await leaving(t, `local:${join(await tempFolder(t), 'registry')}`, (way) => way === 'kill' ? SILENT : LEFT)
})

onRedis('redis: a process that ends while its stage is listed is chosen no more by linked peers within 3 s, and by others when its lease has ended', async (t, { url }) => {
  await leaving(t, url, () => SILENT)
})

/** A registry with a watch, and the views that it yields. */
async function watched(t: ExecutionContext): Promise<{ path: string, watch: Watch }> {
  const path = join(await tempFolder(t), 'registry')
  const registry = new LocalRegistry(path)
  t.teardown(() => registry.close())
  return { path, watch: new Watch(registry, 'default') }
}

test('local: a unique name is free at once for a process that is started again, with no other stage there', async (t) => {
  const registry = `local:${join(await tempFolder(t), 'registry')}`
  const opening = { name: 'one', registry, options: { unique: true, ttlMs: 15_000 } }
  for (const way of ways.filter((one) => one !== 'kill')) {
    const process = Process.start(t, quiet)
    await process.ask('open', 'it', opening) // the process before has left nothing behind
    t.deepEqual((await process.ask('sight', 'it')).peers, [])
    await leaves(process, way)
  }
})

test('local: a process that ends while its stage is about to be listed leaves nothing behind', async (t) => {
  const { path, watch } = await watched(t)
  await until(() => watch.view !== undefined)
  const hasty = [0, 1, 2, 4, 8, 16].map((ms) => Child.start(t, 'local-child', 'hasty', path, `${ms}`))
  await Promise.all(hasty.map(({ ended }) => ended))
  t.deepEqual(hasty.map(({ lines }) => lines.length), hasty.map(() => 1), 'each began to list itself')
  await sleep(POLL_MS)
  t.deepEqual(watch.ids, [])
})

test('local: a worker thread that ends by itself has left at once', async (t) => {
  const { path, watch } = await watched(t)
  for (const way of ['exit', 'throw'] as const) {
    const thread = new Worker(compiled('test/helpers/leaving-thread.js'), { workerData: { registry: `local:${path}`, way }, execArgv: [] })
    t.teardown(async () => { await thread.terminate() })
    const failed: Error[] = []
    thread.on('error', (error: Error) => failed.push(error))
    const id = await new Promise<string>((resolve) => { thread.once('message', resolve) })
    await until(() => watch.ids.includes(id))
    const ended = new Promise<number>((resolve) => { thread.once('exit', resolve) })
    thread.postMessage('go')
    t.is(await ended, WAYS[way])
    t.is(failed.length, way === 'throw' ? 1 : 0)
    await until(() => !watch.ids.includes(id), POLL_MS)
    t.deepEqual(watch.view!.lapsed, [])
  }
})

test('local: a process that is stopped inside a write does not delay the end of another one, which is seen meanwhile', async (t) => {
  const { path, watch } = await watched(t)
  const process = Process.start(t, quiet)
  const id = await process.ask('open', 'it', { name: 'leaving', registry: `local:${path}`, options: { ttlMs: 60_000 } }) // no heartbeat during the test
  await until(() => watch.ids.includes(id))
  const holder = Child.start(t, 'local-child', 'hold', path)
  await until(() => holder.stopped())
  const since = performance.now()
  void leaves(process, 'exit')
  await until(() => process.code !== null, 1000)
  const tookMs = performance.now() - since
  t.is(process.code, WAYS.exit)
  await until(() => !watch.ids.includes(id), POLL_MS)
  t.true(await holder.stopped())
  t.log(`it ended within ${Math.round(tookMs)} ms`)
})
