/** Stages of one process that name the same URL share one registry; the last of them to close closes it. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { MemoryInterface, Stage } from '../../src/index.js'
import { NO_REDIS, RedisServer, hasRedis } from '../helpers/redis-server.js'
import { until } from '../helpers/until.js'

const clients = async (server: RedisServer): Promise<number> =>
  String(await server.run(['CLIENT', 'LIST'])).split('\n').filter((line) => line.includes('name=stagemesh')).length

const withRedis = hasRedis ? test : test.skip
withRedis(`ten stages on one Redis use two connections, and none after the last has closed${hasRedis ? '' : ` (${NO_REDIS})`}`, async (t) => {
  const server = await RedisServer.start()
  t.teardown(() => server.close())
  const stages = Array.from({ length: 10 }, (_, i) => new Stage(`s${i}`, { registry: server.url, interfaces: new MemoryInterface() }))
  await Promise.all(stages.map((stage) => stage.ready()))
  await until(() => stages.every((stage) => stage.peers().length === 9))
  t.is(await clients(server), 2)
  await Promise.all(stages.slice(1).map((stage) => stage.close()))
  const late = new Stage('late', { registry: server.url, interfaces: new MemoryInterface() })
  await late.ready()
  t.is(await clients(server), 2)
  await until(() => late.peers().length === 1)
  await Promise.all([stages[0]!.close(), late.close()])
  await until(async () => await clients(server) === 0)
  const next = new Stage('next', { registry: server.url, interfaces: new MemoryInterface() })
  await next.ready()
  await next.close()
})

test('a registry that depends on the environment is shared only where it is the same', async (t) => {
  const folders = await Promise.all(['a', 'b'].map((name) => mkdtemp(join(tmpdir(), `stagemesh-${name}-`))))
  const before = process.env['STAGE_FOLDER']
  t.teardown(async () => {
    if (before === undefined) delete process.env['STAGE_FOLDER']
    else process.env['STAGE_FOLDER'] = before
    await Promise.all(folders.map((folder) => rm(folder, { recursive: true, force: true })))
  })
  const stages = folders.map((folder) => {
    process.env['STAGE_FOLDER'] = folder
    return new Stage('s', { registry: 'local:', interfaces: new MemoryInterface() })
  })
  t.teardown(() => Promise.all(stages.map((stage) => stage.close())).then(() => {}))
  await Promise.all(stages.map((stage) => stage.ready()))
  t.deepEqual(stages.map((stage) => stage.peers().length), [0, 0])
})
