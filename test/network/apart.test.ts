/** Hosts in network namespaces of their own, between which the network fails: wholly, in one direction, or a little. */
import { setTimeout as sleep } from 'node:timers/promises'
import test, { type ExecutionContext } from 'ava'
import { Hub, noNamespaces, type Host } from '../helpers/namespaces.js'
import { Process } from '../helpers/process.js'
import { redisOn } from '../helpers/redis-on.js'
import { NO_REDIS, hasRedis } from '../helpers/redis-server.js'
import { until } from '../helpers/until.js'

const missing = noNamespaces ?? (hasRedis ? undefined : NO_REDIS)
const secret = 'one secret for all hosts'
const REGISTRY = '10.77.0.1'
const TTL_MS = 3000

interface Scene {
  readonly hosts: readonly [Host, Host, Host]
  readonly processes: readonly [Process, Process, Process]
  readonly ids: readonly string[]
  /** Calls a stage by its name. @returns `ok`, or the code of the error */
  call(from: number, to: string, timeoutMs?: number): Promise<string>
  parts(of: number): Promise<readonly string[]>
}

/** Three hosts, each with a stage (a, b, c), and a machine with the registry. */
async function scene(t: ExecutionContext): Promise<Scene> {
  const hub = await Hub.make(t)
  const registry = await redisOn(t, hub)
  const hosts = await Promise.all(['11', '12', '13'].map((end) => hub.host(t, `10.77.0.${end}`))) as [Host, Host, Host]
  const processes = hosts.map((host) => Process.start(t, host.fork)) as [Process, Process, Process]
  const tcp = { bind: '0.0.0.0', secret }
  const ids = await Promise.all(processes.map((one, i) => one.ask('open', 'it', { name: 'abc'[i]!, registry, tcp, options: { ttlMs: TTL_MS } })))
  const sight = (i: number) => processes[i]!.ask('sight', 'it')
  await until(async () => (await Promise.all([0, 1, 2].map(sight))).every(({ peers }) => peers.length === 2))
  const call = (from: number, to: string, timeoutMs = 2000): Promise<string> =>
    processes[from]!.ask('call', 'it', to, { timeoutMs }, 'who').then(() => 'ok', (error: { code?: string }) => error.code ?? 'none')
  for (const [from, to] of [[0, 'b'], [1, 'c'], [2, 'a']] as const) await until(async () => await call(from, to) === 'ok')
  return {
    hosts, processes, ids, call,
    parts: async (of) => (await sight(of)).notes.filter(({ event }) => event.startsWith('part')).map((note) => JSON.stringify(note)),
  }
}

function tests(): void {
  test('all stages are cut off from the registry for three times their TTL: calls go on, and nobody is declared dead', async (t) => {
    const { hosts, call, parts, processes, ids } = await scene(t)
    const undo = await Promise.all(hosts.map((host) => host.rule(`OUTPUT -d ${REGISTRY} -j DROP`)))
    for (const end = performance.now() + 3 * TTL_MS; performance.now() < end; await sleep(100)) {
      for (const [from, to] of [[0, 'b'], [1, 'c'], [2, 'a']] as const) t.is(await call(from, to), 'ok')
    }
    for (const away of undo) await away()
    await sleep(2 * TTL_MS)
    for (const i of [0, 1, 2]) t.deepEqual(await parts(i), [])
    t.deepEqual(await Promise.all(processes.map(async (one) => (await one.ask('sight', 'it')).id)), ids)
  })

  test('one stage is cut off from the registry for longer than its lease: it leaves, and comes back by itself', async (t) => {
    const { hosts, call, processes, ids } = await scene(t)
    const undo = await hosts[0].rule(`OUTPUT -d ${REGISTRY} -j DROP`)
    const knows = async (of: number, name: string) => (await processes[of]!.ask('sight', 'it')).peers.some((peer) => peer.name === name)
    await until(async () => !await knows(1, 'a') && !await knows(2, 'a'))
    t.is(await call(1, 'c'), 'ok')
    await undo()
    await until(async () => await knows(1, 'a') && await knows(2, 'a') && (await processes[0].ask('sight', 'it')).id !== ids[0])
    await until(async () => await call(0, 'b') === 'ok' && await call(1, 'a') === 'ok')
  })

  for (const [how, rules] of [['both directions', ['INPUT', 'OUTPUT']], ['one direction', ['INPUT']]] as const) {
    test(`two stages are cut off from each other in ${how}: their calls fail in time, all others go on, and both find each other again`, async (t) => {
      const { hosts, call, parts } = await scene(t)
      const undo = await Promise.all(rules.map((chain) => hosts[0].rule(`${chain} -${chain === 'INPUT' ? 's' : 'd'} 10.77.0.12 -j DROP`)))
      for (const end = performance.now() + 2 * TTL_MS; performance.now() < end;) {
        const since = performance.now()
        t.not(await call(0, 'b', 1000), 'ok')
        t.true(performance.now() - since < 2000)
        for (const [from, to] of [[0, 'c'], [1, 'c'], [2, 'a'], [2, 'b']] as const) t.is(await call(from, to), 'ok')
      }
      for (const away of undo) await away()
      const since = performance.now()
      await until(async () => await call(0, 'b') === 'ok' && await call(1, 'a') === 'ok')
      t.log(`they reached each other ${Math.round(performance.now() - since)} ms later`)
      for (const i of [0, 1, 2]) t.deepEqual(await parts(i), [])
    })
  }

  test('one packet in twenty is lost: every call succeeds, and nobody leaves', async (t) => {
    const { hosts, call, parts } = await scene(t)
    for (const host of hosts) await host.rule('INPUT -m statistic --mode random --probability 0.05 -j DROP')
    let calls = 0
    for (const end = performance.now() + 3 * TTL_MS; performance.now() < end; calls++) {
      for (const [from, to] of [[0, 'b'], [1, 'c'], [2, 'a']] as const) t.is(await call(from, to, 10_000), 'ok')
    }
    t.log(`${3 * calls} calls`)
    for (const i of [0, 1, 2]) t.deepEqual(await parts(i), [])
  })
}

if (missing && process.env['STAGEMESH_REQUIRE_NETNS']) test(missing, (t) => t.fail('they are required here'))
else if (missing) test.skip(missing, () => {})
else tests()
