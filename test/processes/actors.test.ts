/** Actors in processes that are killed and stopped under load. */
import { setTimeout as sleep } from 'node:timers/promises'
import test, { type ExecutionContext } from 'ava'
import { judge } from '../stress/judge.js'
import { stress } from '../stress/stress.js'
import type { Tampering } from '../stress/tampered.js'
import { World, type Kind } from '../stress/world.js'
import { RedisRegistry } from '../../src/index.js'
import { onRedis } from '../helpers/redis.js'
import { stop } from '../helpers/stopping.js'
import { until } from '../helpers/until.js'

/** A short form of `npm run actors:stress`. */
async function short(t: ExecutionContext, store: Kind): Promise<void> {
  t.timeout(180_000)
  const { wrong, acknowledged, failed, faults, updates, resets, seconds } = await stress(t, {
    store, operations: 2000, actors: 200, hosts: 3, ttlMs: 1000, rate: 300, faultMs: 1000, faults: store === 'redis' ? 4 : 3, seconds: 80, say: () => {},
  })
  t.log(`${store}: ${acknowledged} acknowledged in ${seconds} s, failed ${JSON.stringify(failed)}, faults ${JSON.stringify(faults)}, ${updates} updates, ${resets} resets`)
  t.deepEqual(wrong.slice(0, 20), [])
}

const title = 'hosts are killed, stopped and closed, the store is restarted: no acknowledged change is lost or applied twice, each actor has one history'

test(`local: ${title}`, (t) => short(t, 'local'))

onRedis(`redis: ${title}`, (t) => short(t, 'redis'))

/**
 * An owner is stopped while the commits of its turns are under way, and other stages take over and continue; then the owner
 * resumes, and its commits arrive.
 */
async function woken(t: ExecutionContext, tampering: Tampering): Promise<{ answers: readonly string[]; wrong: readonly string[] }> {
  const world = await World.make(t, 'local', 1000, { tampering, idleMs: 60_000 })
  const hosts = await Promise.all([world.addHost(), world.addHost()])
  await world.addCallers({ actors: 40, lanes: 1, rate: 1, timeoutMs: 5000, slow: { part: 0, ms: 0 } })
  const caller = world.callers[0]!
  const all = Array.from({ length: 20 }, (_, i) => `counters.${i}`)
  for (const address of all) t.is(await caller.ask('add', address, `first of ${address}`, 0), 1)
  // if a busy machine kept a host from renewing its lease, the other host owns its actors
  const owns = await Promise.all(hosts.map((host) => host.ask('hosted')))
  const [first, second] = owns.map(({ length }) => length)
  const most = first! >= second! ? 0 : 1
  const owner = hosts[most]!
  const owned = owns[most]!
  t.true(owned.length >= 10, `the hosts own ${first} and ${second} of them`)

  await owner.ask('hold')
  const begun = owned.map((address) => caller.ask('add', address, `last of ${address}`, 0))
  await until(async () => await owner.ask('held') === owned.length)
  await stop(owner, world.place.registry)
  await Promise.all(owned.map((address) => {
    let n = 0
    return until(async () => await caller.ask('add', address, `later ${++n} of ${address}`, 0) !== undefined, 20_000)
  }))
  owner.signal('SIGCONT')
  t.deepEqual(await Promise.all(begun), begun.map(() => undefined), 'nobody was told that they were done')
  const answers = await owner.ask('release')

  await Promise.all(world.hosts.splice(0).map((one) => one.ask('close')))
  await world.addHost()
  const last = await caller.ask('last', all)
  return { answers, wrong: judge((await caller.ask('noted')).operations, [], last) }
}

test('P15: what an owner that was taken over from still has to say is refused', async (t) => {
  const { answers, wrong } = await woken(t, 'held')
  t.deepEqual(new Set(answers), new Set(['fenced']))
  t.deepEqual(wrong, [])
})

test('a store that accepts such commits is detected', async (t) => {
  const { answers, wrong } = await woken(t, 'unfenced')
  t.deepEqual(new Set(answers), new Set(['ok']))
  t.regex(wrong.join('\n'), /was acknowledged, and is lost/)
})

onRedis('many commits that fail because the server is gone leave a single connection behind to close', async (t, server) => {
  const warnings: string[] = []
  const warned = ({ message }: Error): void => { warnings.push(message) }
  process.on('warning', warned)
  t.teardown(() => { process.off('warning', warned) })
  const registry = new RedisRegistry(server.url)
  t.teardown(() => registry.close())
  const store = registry.store('default')
  const claimed = await store.claim('counters.1', { stage: 'a', activation: 'a' })
  if (claimed.owner) return t.fail('somebody else has it')
  server.pause()
  const fence = { epoch: claimed.epoch, activation: 'a' }
  const commits = Array.from({ length: 50 }, (_, i) => store.commit('counters.1', fence, { id: `${i}`, version: 1, data: Buffer.from('x') }).then(() => 'ok', () => 'failed'))
  t.deepEqual(new Set(await Promise.all(commits)), new Set(['failed']))
  server.resume()
  await sleep(10)
  t.deepEqual(warnings, [])
})
