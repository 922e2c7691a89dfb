/** Stages in processes that are killed. */
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import test, { type ExecutionContext } from 'ava'
import { Stage } from '../../src/index.js'
import { journal } from '../helpers/journal.js'
import { Load, begun } from '../helpers/load.js'
import { listed } from '../helpers/listed.js'
import { Process, tempFolder } from '../helpers/process.js'
import { onRedis } from '../helpers/redis.js'
import { until } from '../helpers/until.js'

const TTL_MS = 3000
const GRACE_MS = 2000

async function killedUnderLoad(t: ExecutionContext, registry: string, folder: string): Promise<void> {
  const files = [join(folder, 'a'), join(folder, 'b')] as const
  const options = { ttlMs: TTL_MS }
  const [victim, survivor] = files.map(() => Process.start(t)) as [Process, Process]
  const [dead, alive] = await Promise.all([victim, survivor].map((one, i) => one.ask('open', 'it', { name: 'worker', registry, file: files[i], options }))) as [string, string]

  const caller = new Stage('caller', registry, undefined, options)
  const bystander = new Stage('bystander', registry, undefined, options) // without links
  t.teardown(async () => { await Promise.all([caller.close(), bystander.close()]) })
  const [told, heard] = [journal(caller), journal(bystander)]
  await Promise.all([caller, bystander].map(listed))
  await until(() => caller.lookup('worker').length === 2 && bystander.lookup('worker').length === 2)

  const load = new Load(caller, 'worker', 64)
  await until(() => load.outcomes.length > 1000 && new Set(load.outcomes.map(({ pid }) => pid)).size === 2, 10_000)
  t.is(load.failed.length, 0)

  const killedAt = Date.now()
  const before = load.outcomes.length
  await victim.kill()
  const sees = (stage: Stage) => stage.peers().some(({ id }) => id === dead)
  await until(() => !sees(caller), 3000)
  const linkedMs = Date.now() - killedAt
  await until(() => !sees(bystander), TTL_MS + GRACE_MS)
  const allMs = Date.now() - killedAt
  await until(() => told.some(({ event, of }) => event === 'part' && of === dead), TTL_MS + GRACE_MS - allMs + 250)
  await sleep(200)
  const outcomes = await load.stop()

  // every call has ended, and `executed` is correct
  const ran = begun(...files)
  const did = new Set(ran) // a Set, because a search through the list would block the event loop, and the other stages would lose their leases
  t.is(did.size, ran.length, 'no call ran twice')
  const failed = load.failed
  t.log(`${registry.split(':')[0]}: gone from linked views after ${linkedMs} ms, from all after ${allMs} ms; ${outcomes.length} calls, ${failed.length} in flight on the dead one`)
  t.true(failed.length > 0 && failed.length <= 64, `${failed.length} were in flight`)
  t.deepEqual([...new Set(failed.map(({ error }) => `${error?.code} ${error?.executed}`))], ['DISCONNECTED unknown'])
  t.true(failed.every(({ at }) => at - killedAt < 1000), 'they ended with the link')
  t.deepEqual(outcomes.filter(({ error, id }) => !error && !did.has(id)), [], 'an answer means that it ran')
  t.deepEqual(outcomes.filter(({ error, id }) => error?.executed === 'no' && did.has(id)), [], 'no means no')
  t.true(outcomes.slice(before + 64).filter(({ pid }) => pid === survivor.pid).length > 1000, 'the other one serves on')

  // each stage was notified once, and with the right reason
  for (const notes of [told, heard]) {
    const about = notes.filter(({ of }) => of === dead).map(({ event, reason }) => [event, reason].filter(Boolean).join(' '))
    t.deepEqual(about.filter((event) => /join|part|timeout/.test(event)), ['join', 'timeout', 'part timeout'])
  }
  t.deepEqual(caller.lookup('worker').map(({ id }) => id), [alive])
}

const title = 'a replica that is killed under load loses only its calls in flight, which say so, and leaves all views in time'

test(`local: ${title}`, async (t) => {
  const folder = await tempFolder(t)
  await killedUnderLoad(t, `local:${join(folder, 'registry')}`, folder)
})

onRedis(`redis: ${title}`, async (t, { url }) => {
  await killedUnderLoad(t, url, await tempFolder(t))
})
