/** Stages on a Redis that is restarted, stopped, or unavailable for a long time. */
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ExecutionContext } from 'ava'
import { RedisRegistry, Stage } from '../../src/index.js'
import type { View } from '../../src/types.js'
import { journal, type Sight } from '../helpers/journal.js'
import { begun } from '../helpers/load.js'
import { listed } from '../helpers/listed.js'
import { Process, tempFolder } from '../helpers/process.js'
import { onRedis } from '../helpers/redis.js'
import type { RedisServer } from '../helpers/redis-server.js'
import { until } from '../helpers/until.js'

const GRACE_MS = 2000

/** The list in Redis itself, as seen by a new client. */
async function inRedis(server: RedisServer): Promise<string[]> {
  const registry = new RedisRegistry(server.url)
  const ending = new AbortController()
  try {
    for await (const view of registry.watch('default', ending.signal) as AsyncIterable<View>) return view.entries.map(({ id }) => id).sort()
    return []
  } catch {
    return []
  } finally {
    ending.abort()
    await registry.close()
  }
}

/** Two processes with three stages each, which call each other all the time while `away` affects their Redis. */
async function outage(t: ExecutionContext, server: RedisServer, ttlMs: number, away: () => Promise<void>): Promise<{ listedMs: number; calls: number }> {
  const folder = await tempFolder(t)
  const processes = [0, 1].map(() => Process.start(t))
  const all = processes.flatMap((process, i) => ['x', 'y', 'z'].map((key) => ({ process, key, file: join(folder, `${i}${key}`) })))
  const ids = await Promise.all(all.map(({ process, key, file }) => process.ask('open', key, { name: `worker-${key}`, registry: server.url, file, options: { ttlMs } })))
  const sights = (): Promise<Sight[]> => Promise.all(all.map(({ process, key }) => process.ask('sight', key)))
  await until(async () => (await sights()).every(({ peers }) => peers.length === 5))
  await Promise.all(all.map(({ process, key }, i) => process.ask('load', key, i % 2 ? 'worker-*' : 'worker-x', 4, 100)))
  await until(async () => (await sights()).every(({ links }, i) => links.length === (i % 2 || i === 0 ? 5 : 4)))
  const before = await sights()

  await away()
  const backAt = performance.now()
  await until(async () => (await inRedis(server)).join() === [...ids].sort().join(), ttlMs)
  const listedMs = performance.now() - backAt
  await sleep(ttlMs + GRACE_MS) // a stage that is wrongly declared dead would be declared dead by now
  const after = await sights()

  t.deepEqual(after.map(({ id }) => id), ids, 'the same ids')
  t.deepEqual(await inRedis(server), [...ids].sort())
  for (const [i, { links, peers, notes }] of after.entries()) {
    t.deepEqual(links.map(({ id }) => id).sort(), before[i].links.map(({ id }) => id).sort(), 'the same links')
    t.is(peers.length, 5)
    t.deepEqual(notes.filter(({ event }) => /part|timeout|unlink/.test(event)), [], 'nobody was declared dead, no link dropped')
  }
  const outcomes = (await Promise.all(all.map(({ process, key }) => process.ask('outcomes', key)))).flat()
  t.deepEqual(outcomes.filter(({ error }) => error), [], 'no call failed')
  t.true(Math.max(...outcomes.map(({ tookMs }) => tookMs)) < 2000, 'nor waited')
  t.true(outcomes.length > 1000)
  const ran = begun(...all.map(({ file }) => file))
  t.is(new Set(ran).size, outcomes.length)

  // and stages can join and leave it again
  const late = new Stage('late', server.url, undefined, { ttlMs })
  t.teardown(() => late.close())
  await listed(late)
  await until(() => late.peers().length === 6)
  await until(async () => (await sights()).every(({ peers }) => peers.some(({ name }) => name === 'late')))
  return { listedMs, calls: outcomes.length }
}

const TTL_MS = 4000
/** A stage that noticed the outage retries at least each second, any other stage renews every third of its TTL ± 10 %. */
const HEARTBEAT_MS = TTL_MS / 3 * 1.1 + 500

for (const keepData of [true, false]) {
  const how = keepData ? 'with its data' : 'empty'
  onRedis(`Redis that is restarted ${how} under load lists every stage again within a heartbeat, and causes no other event`, async (t, server) => {
    const { listedMs, calls } = await outage(t, server, TTL_MS, () => server.restart({ keepData }))
    t.log(`restarted ${how}: all listed again after ${Math.round(listedMs)} ms, ${calls} calls`)
    t.true(listedMs < HEARTBEAT_MS, `${listedMs} ms`)
  })
}

for (const keepData of [true, false]) {
  const how = keepData ? 'with its data' : 'empty'
  onRedis(`Redis that is unavailable for longer than any lease, and comes back ${how}, makes no stage be declared dead`, async (t, server) => {
    const ttlMs = 2000
    const { listedMs } = await outage(t, server, ttlMs, async () => {
      await server.stop()
      await sleep(ttlMs + GRACE_MS + 1500)
      await server.restart({ keepData })
    })
    t.log(`away for 5.5 s, back ${how}: all listed again after ${Math.round(listedMs)} ms`)
  })
}

onRedis('Redis that is stopped for longer than any lease makes no stage be declared dead', async (t, server) => {
  const ttlMs = 2000
  const { listedMs } = await outage(t, server, ttlMs, async () => {
    server.pause()
    await sleep(ttlMs + GRACE_MS + 1500)
    server.resume()
  })
  t.log(`stood still for 5.5 s: all listed again after ${Math.round(listedMs)} ms`)
})

onRedis('a stage that closes leaves every view within a second', async (t, server) => {
  const processes = [0, 1, 2, 3].map(() => Process.start(t))
  const options = { ttlMs: 15_000 }
  await Promise.all(processes.map((process) => process.ask('open', 'watcher', { name: 'watcher', registry: server.url, options })))
  const leaving = await processes[0].ask('open', 'it', { name: 'leaving', registry: server.url, options })
  const sights = () => Promise.all(processes.map((process) => process.ask('sight', 'watcher')))
  await until(async () => (await sights()).every(({ peers }) => peers.some(({ id }) => id === leaving)))
  const closedAt = Date.now()
  const tookMs = await processes[0].ask('close', 'it')
  t.false((await inRedis(server)).includes(leaving))
  await until(async () => (await sights()).every(({ peers }) => peers.every(({ id }) => id !== leaving)))
  const parts = (await sights()).map(({ notes }) => notes.filter(({ event, of }) => event === 'part' && of === leaving))
  t.deepEqual(parts.map((one) => one.map(({ reason }) => reason)), parts.map(() => ['closed']))
  const lastMs = Math.max(...parts.flat().map(({ at }) => at - closedAt))
  t.log(`closed in ${Math.round(tookMs)} ms, out of all views after ${lastMs} ms`)
  t.true(lastMs < 1000, `${lastMs} ms`)
})

onRedis('twenty stages in four processes see each other, and after stages have come and gone all views are the same', async (t, server) => {
  const options = { ttlMs: 2000 }
  const alive = new Map<string, { process: Process; key: string }>()
  const processes = [0, 1, 2, 3].map(() => Process.start(t))
  let count = 0
  const open = async (process: Process) => {
    const key = `s${count++}`
    alive.set(await process.ask('open', key, { name: `stage-${count % 7}`, registry: server.url, options }), { process, key })
  }
  const agree = async (): Promise<boolean> => {
    const ids = [...alive.keys()].sort().join()
    const sights = await Promise.all([...alive.values()].map(({ process, key }) => process.ask('sight', key)))
    return sights.every(({ id, peers }) => [id, ...peers.map((peer) => peer.id)].sort().join() === ids)
  }
  await Promise.all(processes.flatMap((process) => Array.from({ length: 5 }, () => open(process))))
  await until(agree)

  // a process is killed, another one starts, and in all processes stages come and go
  await processes[3].kill()
  for (const [id, { process }] of alive) if (process === processes[3]) alive.delete(id)
  processes[3] = Process.start(t)
  const end = performance.now() + 3000
  await Promise.all(processes.map(async (process) => {
    while (performance.now() < end) {
      const own = [...alive].filter(([, one]) => one.process === process)
      if (own.length < 3 || Math.random() < 0.5) await open(process)
      else {
        const [id, { key }] = own[Math.floor(Math.random() * own.length)]
        alive.delete(id)
        await process.ask('close', key)
      }
    }
  }))
  const since = performance.now()
  await until(agree, options.ttlMs + GRACE_MS + 1000)
  t.log(`${count} stages came, ${alive.size} are left; all agreed ${Math.round(performance.now() - since)} ms after the last change`)
  t.deepEqual(await inRedis(server), [...alive.keys()].sort())
  const sights = await Promise.all([...alive.values()].map(({ process, key }) => process.ask('sight', key)))
  for (const { notes } of sights) {
    const joined = notes.filter(({ event }) => event === 'join').map(({ of }) => of)
    t.is(new Set(joined).size, joined.length, 'nobody came twice')
  }
})

onRedis('an idle stage asks Redis no more than once in two seconds', async (t, server) => {
  const stages = Array.from({ length: 5 }, (_, i) => new Stage(`idle-${i}`, server.url))
  t.teardown(async () => { await Promise.all(stages.map((stage) => stage.close())) })
  const notes = stages.map(journal)
  await Promise.all(stages.map(listed))
  await until(() => stages.every((stage) => stage.peers().length === 4))
  const reads = async () => Number(/total_reads_processed:(\d+)/.exec(String(await server.run(['INFO', 'stats'])))?.[1])
  await sleep(1000)
  const seen = notes.map((one) => one.length)
  const before = await reads()
  const since = performance.now()
  await sleep(20_000)
  const perSecond = (await reads() - before) / stages.length / ((performance.now() - since) / 1000)
  t.log(`${perSecond.toFixed(2)} requests a second for each of ${stages.length} stages`)
  t.true(perSecond <= 0.5, String(perSecond))
  t.deepEqual(notes.flatMap((one, i) => one.slice(seen[i])), [])
})
