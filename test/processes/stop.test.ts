/** Stages in processes that are stopped and resumed. */
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { Stage, StageError } from '../../src/index.js'
import { journal, type Note } from '../helpers/journal.js'
import { listed } from '../helpers/listed.js'
import { Process, tempFolder } from '../helpers/process.js'
import { onRedis } from '../helpers/redis.js'
import { stop } from '../helpers/stopping.js'
import { until } from '../helpers/until.js'

const GRACE_MS = 2000

interface Ended {
  atMs: number
  error: unknown
}

/**
 * A stage in a separate process, a stage here that calls it and is called by it all the time, and a stage here without
 * calls.
 */
async function sleeper(t: ExecutionContext, registry: string, ttlMs: number) {
  const file = join(await tempFolder(t), 'work')
  const process = Process.start(t)
  const options = { ttlMs }
  const caller = new Stage('caller', registry, undefined, options)
  const bystander = new Stage('bystander', registry, undefined, options)
  t.teardown(async () => { await Promise.all([caller.close(), bystander.close()]) })
  const notes = [journal(caller), journal(bystander)] as const
  const calledBy: { id: string; at: number }[] = []
  for (const stage of [caller, bystander]) {
    stage.to('*').provide('work', async function () { calledBy.push({ id: this.peer.id, at: Date.now() }) })
  }
  await Promise.all([caller, bystander].map(listed))
  const id = await process.ask('open', 'it', { name: 'sleeper', registry, file, options })
  await until(() => [caller, bystander].every((stage) => stage.lookup('sleeper').length === 1))
  await process.ask('load', 'it', 'caller', 4)
  await until(() => calledBy.length > 100)
  const since = performance.now()
  /** Calls that only the end of the link can end. */
  const inFlight = Array.from({ length: 16 }, async (): Promise<Ended> => {
    const error: unknown = await caller.to('sleeper', { timeoutMs: 60_000 }).call('hang').then(() => undefined, (thrown: unknown) => thrown)
    return { atMs: performance.now() - since, error }
  })
  await until(() => caller.stats()['calls'] === 16)
  return { process, caller, bystander, notes, calledBy, id, inFlight }
}

const about = (notes: readonly Note[], id: string): string[] =>
  notes.filter(({ of, event }) => of === id && /join|part|timeout/.test(event)).map(({ event, reason }) => [event, reason].filter(Boolean).join(' '))

async function beyondItsLease(t: ExecutionContext, registry: string): Promise<void> {
  const ttlMs = 3000
  const { process, caller, bystander, notes, calledBy, id, inFlight } = await sleeper(t, registry, ttlMs)
  const stoppedAt = Date.now()
  await stop(process, registry)
  await until(() => notes.every((one) => one.some(({ event, of }) => event === 'part' && of === id)), ttlMs + GRACE_MS)
  const partMs = Date.now() - stoppedAt
  const ends = await Promise.all(inFlight)
  const settledMs = Math.max(...ends.map(({ atMs }) => atMs))
  t.true(settledMs < 15_000)
  for (const { error } of ends) {
    t.true(error instanceof StageError && error.code === 'DISCONNECTED' && error.executed === 'unknown', String(error))
  }
  t.deepEqual(caller.links().filter(({ peer }) => peer.id === id), [])

  const continuedAt = Date.now()
  process.signal('SIGCONT')
  const back = (stage: Stage) => stage.lookup('sleeper').find((peer) => peer.id !== id)
  await until(() => [caller, bystander].every(back), ttlMs)
  const backMs = Date.now() - continuedAt
  const now = back(caller)!.id
  for (const stage of [caller, bystander]) t.like(await stage.to('sleeper').call('who'), { id: now, pid: process.pid })
  const callsBefore = calledBy.length
  await until(() => calledBy.slice(callsBefore).filter((call) => call.id === now).length > 100)

  t.log(`${registry.split(':')[0]}: parted after ${partMs} ms, calls settled after ${Math.round(settledMs)} ms, back ${backMs} ms after SIGCONT`)
  for (const one of notes) {
    t.deepEqual(about(one, id), ['join', 'timeout', 'part timeout'], 'the old id is told once and never comes back')
    t.deepEqual(about(one, now), ['join'])
    const parted = one.findIndex(({ event, of }) => event === 'part' && of === id)
    t.like(one.slice(parted).filter(({ event, of }) => event === 'link' && of === id), { length: 0 })
  }
  const partedAt = notes[0].find(({ event, of }) => event === 'part' && of === id)!.at
  t.deepEqual(calledBy.filter((call) => call.id === id && call.at > partedAt), [], 'nothing was done for an id that was reported gone')
  const itself = await process.ask('sight', 'it')
  t.is(itself.id, now)
  t.true(itself.notes.some(({ event, of }) => event === 'error' && of.includes(id)), 'it was told that it had been taken out')
  const outcomes = await process.ask('outcomes', 'it')
  t.deepEqual([...new Set(outcomes.map(({ error }) => error && `${error.code} ${error.executed}`))].filter(Boolean), ['DISCONNECTED unknown'])
}

const title = 'a stage that is stopped for longer than its lease parts, comes back under a new id, and never under the old one'

test(`local: ${title}`, async (t) => {
  await beyondItsLease(t, `local:${join(await tempFolder(t), 'registry')}`)
})

onRedis(`redis: ${title}`, async (t, { url }) => {
  await beyondItsLease(t, url)
})

test('a silent peer is detected by the link before its lease ends, and keeps its id when it resumes', async (t) => {
  const registry = `local:${join(await tempFolder(t), 'registry')}`
  const { process, caller, bystander, notes, id, inFlight } = await sleeper(t, registry, 60_000)
  const stoppedAt = performance.now()
  await stop(process, registry)
  const ends = await Promise.all(inFlight)
  const settledMs = performance.now() - stoppedAt
  t.true(settledMs < 15_500, `${settledMs} ms`)
  for (const { error } of ends) {
    t.true(error instanceof StageError && error.code === 'DISCONNECTED' && error.executed === 'unknown' && error.message.includes('ping'), String(error))
  }
  process.signal('SIGCONT')
  t.like(await caller.to('sleeper').call('who'), { id, pid: process.pid })
  t.like(await bystander.to('sleeper').call('who'), { id })
  for (const one of notes) t.deepEqual(about(one, id), ['join'], 'its lease holds, so nobody was told that it is gone')
  t.is(caller.links().filter(({ peer }) => peer.id === id).length, 1)
  t.log(`calls to a silent peer settled after ${Math.round(settledMs)} ms`)
})
