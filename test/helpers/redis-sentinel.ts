import { spawn } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import type { Assertions } from '../suites/test.js'
import { freePort } from './free-port.js'
import { RedisServer } from './redis-server.js'
import { until } from './until.js'

const MASTER = 'mymaster'

export interface Trio {
  readonly url: string
  readonly master: RedisServer
  readonly replica: RedisServer
  /** Whether the sentinel names the replica as the master. */
  promoted(): Promise<boolean>
}

/** A master, its replica, and a sentinel that watches them. */
export async function trio(t: Pick<Assertions, 'teardown'>): Promise<Trio> {
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
  t.teardown(async () => { told.disconnect() })
  await told.connect().catch(() => {})
  const replicas = async (): Promise<string> => JSON.stringify(await told.call('SENTINEL', 'replicas', MASTER).catch(() => ''))
  await until(async () => (await replicas()).includes(`:${replica.port}"`) && !(await replicas()).includes('"err"'), 20_000)
  const promoted = async (): Promise<boolean> => (await told.call('SENTINEL', 'get-master-addr-by-name', MASTER) as string[])[1] === String(replica.port)
  return { url: `redis+sentinel://127.0.0.1:${port}/${MASTER}`, master, replica, promoted }
}
