/** A unique name has one holder, even if processes are killed. */
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { Stage, type StageError } from '../../src/index.js'
import { listed } from '../helpers/listed.js'
import { Process, tempFolder } from '../helpers/process.js'
import { onRedis } from '../helpers/redis.js'
import { until } from '../helpers/until.js'

const TTL_MS = 1500
const GRACE_MS = 2000

async function oneAtATime(t: ExecutionContext, registry: string): Promise<void> {
  const bystander = new Stage('bystander', registry, undefined, { ttlMs: TTL_MS }) // the stage that sweeps
  t.teardown(() => bystander.close())
  await listed(bystander)
  const opening = { name: 'one', registry, options: { unique: true, ttlMs: TTL_MS } }
  const [first, second, third] = [Process.start(t), Process.start(t), Process.start(t)] as const
  const id = await first.ask('open', 'it', opening)
  const error = await t.throwsAsync<StageError>(second.ask('open', 'it', opening))
  t.is(error.code, 'NAME_TAKEN')
  t.true(error.message.includes('one') && error.message.includes(id), error.message)
  await t.throwsAsync(second.ask('open', 'other', { ...opening, options: { ttlMs: TTL_MS } }), { code: 'NAME_TAKEN' }, 'nor shares it with one that would')

  // closed: the name is free at once, and the stage that was refused keeps trying by itself
  await second.ask('close', 'other')
  const closing = performance.now()
  await first.ask('close', 'it')
  await until(() => second.ask('ready', 'it').then(() => true, () => false), 2000)
  const closedMs = performance.now() - closing
  await t.throwsAsync(third.ask('open', 'it', opening), { code: 'NAME_TAKEN' })

  // killed: the name is free after the lease and the grace period, and not while the lease holds
  const killedAt = performance.now()
  await second.kill()
  const freeMs = async () => {
    await until(() => third.ask('ready', 'it').then(() => true, () => false), TTL_MS + GRACE_MS + 1500)
    return performance.now() - killedAt
  }
  const killedMs = await freeMs()
  t.log(`${registry.split(':')[0]}: the name was taken over ${Math.round(closedMs)} ms after close, ${Math.round(killedMs)} ms after kill -9`)
  t.true(killedMs > TTL_MS * 0.6 && killedMs < TTL_MS + GRACE_MS + 1500, `${killedMs} ms`)
}

const title = 'a unique name is taken while its stage lives, free once the stage closed, and free after lease and grace if it was killed'

test(`local: ${title}`, async (t) => {
  await oneAtATime(t, `local:${join(await tempFolder(t), 'registry')}`)
})

onRedis(`redis: ${title}`, async (t, { url }) => {
  await oneAtATime(t, url)
})

const alone = 'the name of a stage that was killed is free after another lease although nobody else is listed'

async function leftAlone(t: ExecutionContext, registry: string): Promise<void> {
  const opening = { name: 'one', registry, options: { unique: true, ttlMs: TTL_MS } }
  const [first, second] = [Process.start(t), Process.start(t)] as const
  await first.ask('open', 'it', opening)
  await first.kill()
  await t.throwsAsync(second.ask('open', 'it', opening), { code: 'NAME_TAKEN' })
  await until(() => second.ask('ready', 'it').then(() => true, () => false), 2 * TTL_MS + GRACE_MS + 1500)
}

test(`local: ${alone}`, async (t) => {
  await leftAlone(t, `local:${join(await tempFolder(t), 'registry')}`)
})

onRedis(`redis: ${alone}`, async (t, { url }) => {
  await leftAlone(t, url)
})
