/** The store on Redis: the suite of stores, restarts and failovers. */
import { createServer, type AddressInfo, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { inspect } from 'node:util'
import test, { type ExecutionContext } from 'ava'
import { Cluster, Redis } from 'ioredis'
import { ACL_LINE } from '../../registries/redis/failure.js'
import { RedisRegistry } from '../../registries/redis/registry.js'
import type { Script } from '../../registries/redis/script.js'
import * as scripts from '../../registries/redis/store-scripts.js'
import { MAX_STATE_BYTES } from '../../src/store.js'
import type { Store } from '../../src/types.js'
import { claimOf, commitOf, hold } from '../helpers/claims.js'
import { Road } from '../helpers/road.js'
import { NO_REDIS, RedisServer, hasRedis } from '../helpers/redis-server.js'
import { until as within } from '../helpers/until.js'
import { storeSuite } from '../suites/store.js'

const NS = 'suite'
const UNAVAILABLE = { code: 'STORE_UNAVAILABLE' }
const until = (done: () => boolean | Promise<boolean>) => within(done, 20_000)
const key = (actor: string) => scripts.actorKeys(NS).actor(actor)


async function serve(t: ExecutionContext, ...args: string[]): Promise<RedisServer> {
  const server = await RedisServer.start(...args)
  t.teardown(() => server.close())
  return server
}

function connect(t: ExecutionContext, options: ConstructorParameters<typeof RedisRegistry>[0]): Store {
  const registry = new RedisRegistry(options)
  t.teardown(() => registry.close())
  return registry.store(NS)
}

const ours = async (server: RedisServer): Promise<number> => String(await server.run(['CLIENT', 'LIST'])).split('\n').filter((line) => / name=(stagemesh|ioredis)/.test(line)).length

function tests(): void {
  let shared: RedisServer
  let database = 0
  test.before(async () => { shared = await RedisServer.start('--databases', '100') })
  test.after.always(() => shared?.close())

  storeSuite(test, async () => {
    const db = ++database
    return {
      open: () => new RedisRegistry(`${shared.url}/${db}`),
      forget: async (namespace, actor) => { await shared.run(['SELECT', db], ['DEL', scripts.actorKeys(namespace).actor(actor)]) },
      empty: async () => { await shared.run(['SELECT', db], ['FLUSHDB']) },
      close: async () => {},
    }
  }, { name: 'redis' })

  test('what was acknowledged is there after a restart, and the owner goes on', async (t) => {
    const server = await serve(t)
    const store = connect(t, server.url)
    const owner = await hold(store, 'x')
    await store.commit('x', owner, commitOf(1, 'first', 5))
    await server.restart({ keepData: true })
    await until(async () => await store.look('x').then(() => true, () => false))
    t.is(await store.commit('x', owner, commitOf(2, 'second', 5)), 'ok')
    const next = await hold(store, 'x', claimOf({ over: owner.activation }))
    t.deepEqual([next.epoch, next.version, String(next.data)], [owner.epoch + 1, 2, 'second'])
    t.deepEqual((await store.due(1)).map(({ actor }) => actor), ['x'])
  })

  test('after a restart without its data the owner is refused, and the next claim is beyond what is known', async (t) => {
    const server = await serve(t)
    const store = connect(t, server.url)
    const owner = await hold(store, 'x', claimOf({ floor: 2 ** 53 - 10 }))
    t.is(owner.epoch, 2 ** 53 - 9, 'numbers are kept to the last digit')
    await store.commit('x', owner, commitOf(1))
    await server.restart({ keepData: false })
    await until(async () => await store.look('x').then(() => true, () => false))
    t.is(await store.commit('x', owner, commitOf(2)), 'fenced')
    const next = await hold(store, 'x', claimOf({ floor: owner.epoch }))
    t.deepEqual([next.epoch, next.version, next.data], [owner.epoch + 1, 0, undefined])
  })

  test('a server that takes over without the last writes grants an epoch twice, but not its fence', async (t) => {
    const [master, replica] = await Promise.all([serve(t), serve(t)])
    const [store, after] = [connect(t, master.url), connect(t, replica.url)]
    const first = await hold(store, 'x')
    await store.commit('x', first, commitOf(1, 'replicated'))
    await replica.run(['REPLICAOF', '127.0.0.1', master.port])
    await until(async () => String(await replica.run(['HGET', key('x'), 'data'])) === 'replicated')
    await replica.run(['REPLICAOF', 'NO', 'ONE'])
    const lost = await hold(store, 'x', claimOf({ over: first.activation }))
    await store.commit('x', lost, commitOf(2, 'lost'))
    const next = await hold(after, 'x', claimOf({ over: first.activation }))
    t.deepEqual([next.epoch, next.version, String(next.data)], [lost.epoch, 1, 'replicated'])
    t.is(await after.commit('x', lost, commitOf(2, 'of another past')), 'fenced')
    await after.release('x', lost)
    t.is(await after.commit('x', next, commitOf(2, 'mine')), 'ok')
    t.is(await after.commit('x', lost, commitOf(3, 'of another past')), 'fenced')
    t.is(String((await after.look('x'))!.data), 'mine')
  })

  test('what was done although its answer was lost is recognised when it is tried again', async (t) => {
    const server = await serve(t)
    const proxy = await Road.start(t, server.port)
    const store = connect(t, `redis://127.0.0.1:${proxy.port}`)
    const other = await hold(store, 'other') // from now on Redis knows the scripts
    await store.commit('other', other, commitOf(1))
    await store.look('other')
    await store.release('other', other)
    const lost = async <T>(run: () => Promise<T>): Promise<T> => {
      proxy.state = 'losing'
      await t.throwsAsync(run(), { ...UNAVAILABLE, message: /the store redis:.*closed/ })
      proxy.state = 'open'
      return run()
    }
    const commands = async () => Number(/cmdstat_evalsha:calls=(\d+)/.exec(String(await server.run(['INFO', 'commandstats'])))?.[1] ?? 0)
    const before = await commands()
    const claim = claimOf()
    const owner = await lost(() => hold(store, 'x', claim))
    const known = (await store.look('x'))!
    t.deepEqual([known.epoch, known.owner?.activation], [owner.epoch, claim.activation])
    for (const commit of [commitOf(1, 'first'), commitOf(2, 'second')]) t.is(await lost(() => store.commit('x', owner, commit)), 'ok')
    t.is((await store.look('x'))!.version, 2)
    await lost(() => store.release('x', owner))
    t.is((await store.look('x'))!.owner, undefined)
    t.is(await commands() - before, 8 + 3, 'each try went there once: nothing is sent again behind our back')
  })

  test('a full Redis takes no claims and no commits, but actors can be released and looked at', async (t) => {
    const server = await serve(t, '--maxmemory-policy', 'noeviction')
    const store = connect(t, server.url)
    const owner = await hold(store, 'x')
    t.is(await store.commit('x', owner, commitOf(1, 'first', 5)), 'ok')
    await server.run(['CONFIG', 'SET', 'maxmemory', '1'])
    const commit = commitOf(2, 'second')
    await t.throwsAsync(store.commit('x', owner, commit), { ...UNAVAILABLE, message: /OOM.*maxmemory/ })
    await t.throwsAsync(store.claim('y', claimOf()), { ...UNAVAILABLE, message: /OOM.*maxmemory/ })
    t.is(String((await store.look('x'))!.data), 'first')
    t.deepEqual((await store.due(1)).map(({ actor }) => actor), ['x'])
    await store.release('x', owner)
    t.is((await store.look('x'))!.owner, undefined)
    await server.run(['CONFIG', 'SET', 'maxmemory', '0'])
    t.is((await hold(store, 'x')).version, 1)
    t.is(await ours(server), 1, 'a refusal is no reason to connect anew')
  })

  test('a script that Redis has forgotten is sent again', async (t) => {
    const server = await serve(t)
    const store = connect(t, server.url)
    const owner = await hold(store, 'x')
    await server.run(['SCRIPT', 'FLUSH'])
    const data = Buffer.alloc(MAX_STATE_BYTES, 0xff)
    t.is(await store.commit('x', owner, commitOf(1, data)), 'ok')
    await server.run(['SCRIPT', 'FLUSH'])
    t.true((await store.look('x'))!.data!.equals(data))
  })

  test('the scripts run without flags too, as before Redis 7', async (t) => {
    const server = await serve(t)
    const run = (script: Script, keys: string[], ...args: string[]) => server.run(['EVAL', script.plain.text, keys.length, ...keys, ...args]) as Promise<string[]>
    const [what, epoch] = await run(scripts.CLAIM, [key('x'), scripts.actorKeys(NS).allWakes[0]!], 'stage', 'mine', '', '0', 'x')
    t.is(what, 'granted')
    t.is(await run(scripts.COMMIT, [key('x'), scripts.actorKeys(NS).allWakes[0]!], epoch, 'mine', 'id', '1', '5', 'x', 'data') as unknown, 'ok')
    t.deepEqual((await run(scripts.LOOK, [key('x')])).toSpliced(2, 1), [epoch, '1', 'stage', 'mine', 'data'])
    t.deepEqual(await run(scripts.DUE, [scripts.actorKeys(NS).allWakes[0]!], '10'), ['x', '5'])
    t.is(await run(scripts.RELEASE, [key('x')], epoch, 'mine') as unknown, 'ok')
  })

  test('a Cluster client works as well, with any bytes and any address', async (t) => {
    const server = await serve(t, '--cluster-enabled', 'yes', '--cluster-announce-ip', '127.0.0.1')
    const client = new Cluster([{ host: '127.0.0.1', port: server.port }], { lazyConnect: true })
    const store = connect(t, { client })
    await t.throwsAsync(store.claim('x', claimOf()), { ...UNAVAILABLE, message: /cluster/ })
    await server.run(['CLUSTER', 'ADDSLOTSRANGE', 0, 16383])
    await until(async () => String(await server.run(['CLUSTER', 'INFO'])).includes('cluster_state:ok'))
    const data = Buffer.from(Array.from({ length: 256 }, (_, i) => i))
    for (const actor of ['x', '{other}', '}{', '{', 'a}b{c}']) {
      const owner = await hold(store, actor)
      t.is(await store.commit(actor, owner, commitOf(1, data, 5)), 'ok', 'the two keys of a commit are in one slot')
      t.true((await store.look(actor))!.data!.equals(data))
      await store.release(actor, owner)
    }
    t.is((await store.due(10)).length, 5)
    client.disconnect()
  })

  test('a client of one\'s own lends its server and options, and nothing is sent over it', async (t) => {
    const server = await serve(t)
    const client = new Redis({ port: server.port, host: '127.0.0.1', lazyConnect: true, keyPrefix: 'mine:', replyMapping: 'resp3', stringNumbers: true, enableAutoPipelining: true })
    const store = connect(t, { client })
    const owner = await hold(store, 'x')
    const data = Buffer.from([0, 0xff, 0xfe, 0x80])
    t.is(await store.commit('x', owner, commitOf(1, data, 5)), 'ok')
    t.deepEqual([(await store.look('x'))!.data, (await store.due(1))[0]?.actor], [data, 'x'])
    t.deepEqual([client.status, await server.run(['HGET', `mine:${key('x')}`, 'version'])], ['wait', '1'])
    client.disconnect()
  })

  test('the documented ACL is enough, and what is missing is printed', async (t) => {
    const server = await serve(t)
    await server.run(ACL_LINE('stage', NS).split(' '))
    const registry = new RedisRegistry(`redis://stage:password@127.0.0.1:${server.port}`)
    t.teardown(() => registry.close())
    const store = registry.store(NS)
    const owner = await hold(store, 'x')
    t.is(await store.commit('x', owner, commitOf(1, '', 5)), 'ok')
    t.is(await store.commit('x', owner, commitOf(2)), 'ok')
    await server.run(['HSET', key('y'), 'epoch', 'none'])
    await hold(store, 'y')
    t.deepEqual([(await store.look('x'))!.version, await store.due(1)], [2, []])
    await store.release('x', owner)
    const error = await t.throwsAsync(registry.store('other').claim('x', claimOf()), { code: 'AUTH_FAILED', message: /ACL SETUSER/ })
    t.false(inspect(error, { depth: 10, showHidden: true }).includes('password@'))
  })

  test('a server that hangs is noticed, and the store works again when it goes on', async (t) => {
    const server = await serve(t)
    const store = connect(t, server.url)
    const owner = await hold(store, 'x')
    server.pause()
    const since = performance.now()
    const commit = commitOf(1, 'first')
    await t.throwsAsync(store.commit('x', owner, commit), { ...UNAVAILABLE, message: /in time/ })
    t.true(performance.now() - since < 8000)
    server.resume()
    t.is(await store.commit('x', owner, commit), 'ok')
    t.is((await store.look('x'))!.version, 1)
  })

  test('a replica is refused by name', async (t) => {
    const server = await serve(t)
    const store = connect(t, server.url)
    const owner = await hold(store, 'x')
    await server.run(['REPLICAOF', '127.0.0.1', '1'])
    await t.throwsAsync(store.commit('x', owner, commitOf(1)), { ...UNAVAILABLE, message: /READONLY.*master/ })
    await t.throwsAsync(store.look('x'), { ...UNAVAILABLE, message: /replica/ })
    await server.run(['REPLICAOF', 'NO', 'ONE'])
    t.is(await store.commit('x', owner, commitOf(1)), 'ok')
  })

  test('each store has a connection of its own, and leaves none', async (t) => {
    const server = await serve(t)
    const registry = new RedisRegistry(server.url)
    const stores = [registry.store(NS), registry.store(NS), registry.store('other')]
    t.is(await ours(server), 0, 'it is made with the first step')
    for (const store of stores) await store.look('x')
    t.is(await ours(server), 3)
    await stores[0].close()
    await until(async () => await ours(server) === 2)
    await registry.close()
    await until(async () => await ours(server) === 0)
  })

  test('what somebody wrote into the keys by hand is as if there were none', async (t) => {
    const server = await serve(t)
    const store = connect(t, server.url)
    const owner = await hold(store, 'x')
    const fields = ['stage', 'somebody', 'activation', owner.activation, 'commit', 'id', 'data', 'old']
    for (const [epoch, version] of [['', '1'], ['x', '1'], ['-5', '1'], ['nan', '1'], ['1e3', '1'], [String(owner.epoch), 'x'], [String(owner.epoch), '']]) {
      await server.run(['DEL', key('x')], ['HSET', key('x'), 'epoch', epoch, 'version', version, ...fields])
      t.is(await store.look('x'), undefined)
      t.is(await store.commit('x', owner, commitOf(1)), 'fenced')
      const next = await hold(store, 'x')
      t.deepEqual([next.version, next.data], [0, undefined])
    }
    await server.run(['SET', key('y'), 'text'])
    await t.throwsAsync(store.claim('y', claimOf()), { ...UNAVAILABLE, message: /WRONGTYPE.*delete it/ })
  })

  const LOSSES: [title: string, config: string[], warning: RegExp | undefined][] = [
    ['no append-only file', ['--appendonly', 'no'], /^redis:\/\/127\.0\.0\.1:\d+ may lose the last commits when it restarts, because appendonly is no: .*; and when it fails over to a replica/],
    ['a file that is written each second', ['--appendfsync', 'everysec'], /when its machine fails, because appendfsync is everysec/],
    ['a file that is written with each commit', ['--appendfsync', 'always'], undefined],
    ['a server that does not tell', ['--rename-command', 'CONFIG', ''], /when it restarts without appendonly yes and appendfsync always, settings that it does not disclose/],
  ]
  for (const [title, config, warning] of LOSSES) {
    test(`what it may lose: ${title}`, async (t) => {
      const { port } = await serve(t, ...config)
      const said = await connect(t, `redis://127.0.0.1:${port}`).warning?.()
      if (warning) t.regex(said ?? '', warning)
      else t.is(said, undefined)
    })
  }
}

test('closing while a connection is being made ends it', async (t) => {
  const sockets: Socket[] = []
  const server = createServer((socket) => sockets.push(socket.on('error', () => {})))
  await new Promise<void>((resolve) => { server.listen(0, '127.0.0.1', resolve) })
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  const store = connect(t, `redis://127.0.0.1:${(server.address() as AddressInfo).port}`)
  const claiming = t.throwsAsync(store.claim('x', claimOf()), { code: 'CLOSED', message: /the store redis:/ })
  await sleep(100)
  const since = performance.now()
  await store.close()
  await claiming
  t.true(performance.now() - since < 1000)
})

if (hasRedis) tests()
else test.skip(NO_REDIS, () => {})
