/** The registry on a Redis whose master is named by sentinels: a master that fails is replaced, and nobody is lost. */
import { spawn } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import test, { type ExecutionContext } from 'ava'
import { Redis } from 'ioredis'
import { MemoryInterface, RedisRegistry, Stage } from '../../src/index.js'
import { freePort } from '../helpers/free-port.js'
import { NO_REDIS, RedisServer, hasRedis } from '../helpers/redis-server.js'
import { until } from '../helpers/until.js'

const MASTER = 'mymaster'

interface Trio { url: string, master: RedisServer, replica: RedisServer, promoted(): Promise<boolean> }

/** A master, its replica, and a sentinel that watches them. */
async function trio(t: ExecutionContext): Promise<Trio> {
  const master = await RedisServer.start()
  t.teardown(() => master.close())
  const replica = await RedisServer.start('--replicaof', '127.0.0.1', String(master.port))
  t.teardown(() => replica.close())
  const folder = await mkdtemp(join(tmpdir(), 'stagemesh-sentinel-'))
  const port = await freePort()
  const config = join(folder, 'sentinel.conf')
  await writeFile(config, [
    `port ${port}`, 'bind 127.0.0.1', `dir ${folder}`, `sentinel monitor ${MASTER} 127.0.0.1 ${master.port} 1`,
    `sentinel down-after-milliseconds ${MASTER} 1000`, `sentinel failover-timeout ${MASTER} 5000`,
  ].join('\n'))
  const process = spawn('redis-server', [config, '--sentinel'], { stdio: 'ignore' })
  const ended = new Promise((resolve) => process.once('exit', resolve))
  t.teardown(async () => {
    process.kill('SIGKILL')
    await ended
    await rm(folder, { recursive: true, force: true })
  })
  const told = new Redis({ port, lazyConnect: true, retryStrategy: () => 100, maxRetriesPerRequest: null })
  told.on('error', () => {})
  t.teardown(() => { told.disconnect() })
  await told.connect().catch(() => {})
  const replicas = async (): Promise<string> => JSON.stringify(await told.call('SENTINEL', 'replicas', MASTER).catch(() => ''))
  await until(async () => (await replicas()).includes(`:${replica.port}"`) && !(await replicas()).includes('"err"'), 20_000)
  const promoted = async (): Promise<boolean> => (await told.call('SENTINEL', 'get-master-addr-by-name', MASTER) as string[])[1] === String(replica.port)
  return { url: `redis+sentinel://127.0.0.1:${port}/${MASTER}`, master, replica, promoted }
}

const onRedis = hasRedis ? test : test.skip
for (const how of ['killed', 'hung'] as const) {
  onRedis(`a master that is ${how} is replaced: ids stay, calls go on, and a new stage sees everybody${hasRedis ? '' : ` (${NO_REDIS})`}`, async (t) => {
    const { url, master, promoted } = await trio(t)
    const make = (name: string): Stage => {
      const stage = new Stage(name, { registry: new RedisRegistry(url), interfaces: new MemoryInterface() })
      t.teardown(() => stage.close())
      stage.on('error', () => {})
      stage.to('*').provide('echo', (value: number) => value)
      return stage
    }
    const stages = ['a', 'b', 'c'].map(make)
    await Promise.all(stages.map((stage) => stage.ready()))
    await until(() => stages.every((stage) => stage.peers().length === 2))
    const ids = stages.map(({ id }) => id)
    const parted: string[] = []
    for (const stage of stages) stage.on('part', ({ name }, reason) => parted.push(`${name} ${reason}`))
    let calling = true
    let calls = 0
    const loop = (async () => {
      for (; calling; calls++) {
        t.is(await stages[calls % 3]!.to('abc'[(calls + 1) % 3]!).call('echo', calls), calls)
        await sleep(20)
      }
    })()
    if (how === 'killed') await master.kill()
    else master.pause()
    await until(promoted, 30_000)
    const late = make('late')
    await until(() => late.ready().then(() => true), 30_000)
    await until(() => late.peers().length === 3 && stages.every((stage) => stage.peers().length === 3), 30_000)
    calling = false
    await loop
    t.true(calls > 50)
    t.deepEqual([stages.map(({ id }) => id), parted], [ids, []])
    master.resume()
  })
}
