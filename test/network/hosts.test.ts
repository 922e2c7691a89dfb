/** Tests with hosts in network namespaces of their own. */
import { join } from 'node:path'
import test from 'ava'
import { StageError } from '../../src/index.js'
import { Host, Hub, noNamespaces } from '../helpers/namespaces.js'
import { Process, tempFolder } from '../helpers/process.js'
import { redisOn } from '../helpers/redis-on.js'
import { NO_REDIS, hasRedis } from '../helpers/redis-server.js'
import { until } from '../helpers/until.js'

const missing = noNamespaces ?? (hasRedis ? undefined : NO_REDIS)
const secret = 'one secret for all hosts'

function tests(): void {
  test('two hosts find and call each other, and again after one has changed its address', async (t) => {
    const hub = await Hub.make(t)
    const registry = await redisOn(t, hub)
    const [one, two] = await Promise.all([hub.host(t, '10.77.0.11'), hub.host(t, '10.77.0.12')])
    // the hosts share their files, so a unix socket would connect one to the other
    const env = { ...process.env, STAGE_HOST: '10.77.0.11', STAGE_FOLDER: '/dev/null/none' }
    const [a, b, c] = [Process.start(t, one.fork), Process.start(t, two.fork), Process.start(t, { ...one.fork, env })] as const
    const tcp = { bind: '0.0.0.0', secret }
    const [, id] = await Promise.all([
      a.ask('open', 'it', { name: 'a', registry, tcp }),
      b.ask('open', 'it', { name: 'b', registry, tcp }),
      c.ask('open', 'it', { name: 'c', registry, options: { secret } }), // by $STAGE_HOST
    ])
    const addresses = async (process: Process, name: string) => (await process.ask('sight', 'it')).peers.find((peer) => peer.name === name)?.addresses
    await until(async () => (await Promise.all([a, b, c].map((process) => process.ask('sight', 'it')))).every(({ peers }) => peers.length === 2))
    t.regex(String(await addresses(b, 'a')), /^tcp:\/\/10\.77\.0\.11:\d+$/)
    t.regex(String(await addresses(b, 'c')), /^memory:\/\/[^,]*,tcp:\/\/10\.77\.0\.11:\d+$/)
    const before = String(await addresses(a, 'b'))
    t.regex(before, /^tcp:\/\/10\.77\.0\.12:\d+$/)
    for (const [from, to, at] of [[a, 'b', b], [b, 'a', a], [b, 'c', c], [c, 'b', b]] as const) {
      t.like(await from.ask('call', 'it', to, {}, 'who'), { pid: at.pid })
    }

    const movedAt = performance.now()
    await two.move('10.77.0.22')
    await until(async () => String(await addresses(a, 'b')) === before.replace('.12:', '.22:'), 15_000)
    const publishedMs = performance.now() - movedAt
    const answers = (from: Process, to: string, at: Process) =>
      until(() => from.ask('call', 'it', to, { timeoutMs: 1000 }, 'who').then((who) => (who as { pid: number }).pid === at.pid, () => false), 30_000)
    await Promise.all([answers(a, 'b', b), answers(c, 'b', b), answers(b, 'a', a), answers(b, 'c', c)])
    const calledMs = performance.now() - movedAt
    t.log(`the new address was seen after ${Math.round(publishedMs)} ms, and all called each other again after ${Math.round(calledMs)} ms`)

    const sights = await Promise.all([a, b, c].map((process) => process.ask('sight', 'it')))
    t.is(sights[1].id, id)
    for (const { notes, peers } of sights) {
      t.is(peers.length, 2)
      t.deepEqual(notes.filter(({ event }) => /part|timeout/.test(event)), [], 'nobody left')
    }
    t.is(sights[0].peers.find(({ name }) => name === 'b')?.id, id)
  })

  test('an address that nobody can reach is named in the error of the caller', async (t) => {
    const hub = await Hub.make(t)
    const registry = `local:${join(await tempFolder(t), 'registry')}`
    const host = await hub.host(t, '10.77.0.11')
    // one address has no route, and the other never answers
    await host.ip('neigh add 10.77.0.99 lladdr 02:00:00:00:00:99 dev eth0')
    const process = Process.start(t, host.fork)
    await process.ask('open', 'caller', { name: 'caller', registry })
    for (const [name, address] of [['nowhere', '192.0.2.1'], ['silent', '10.77.0.99']] as const) {
      await process.ask('open', name, { name, registry, tcp: { bind: '127.0.0.1', host: address } })
      await until(async () => (await process.ask('sight', 'caller')).peers.some((peer) => peer.name === name))
      const [published] = (await process.ask('sight', 'caller')).peers.find((peer) => peer.name === name)!.addresses
      t.true(published?.startsWith(`tcp://${address}:`))
      const since = performance.now()
      const error = await t.throwsAsync<StageError>(process.ask('call', 'caller', name, { timeoutMs: 1000 }, 'who'))
      t.log(error.message)
      t.like(error, { code: 'TIMEOUT', executed: 'no' })
      t.true(error.message.includes(published), error.message)
      t.true(performance.now() - since < 1500)
    }
  })

  test('a host without any address but loopback says what to pass', async (t) => {
    const registry = `local:${join(await tempFolder(t), 'registry')}`
    const host = await Host.make(t)
    const process = Process.start(t, host.fork)
    const error = await t.throwsAsync<StageError>(process.ask('open', 'it', { name: 'alone', registry, tcp: { bind: '0.0.0.0', secret } }))
    t.is(error.code, 'BAD_ARGUMENT')
    t.regex(error.message, /STAGE_HOST/)
  })
}

if (missing && process.env['STAGEMESH_REQUIRE_NETNS']) test(missing, (t) => t.fail('they are required here'))
else if (missing) test.skip(missing, () => {})
else tests()
