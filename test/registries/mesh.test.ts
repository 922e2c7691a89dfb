/** A registry that a stage serves: the suites over TCP, and what clients notice when servers go and come. */
import test from 'ava'
import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import { IpcInterface, MemoryInterface, MemoryRegistry, Stage, StageError, TcpInterface, meshRegistry, serveRegistry } from '../../src/index.js'
import { parseAddress } from '../../interfaces/shared/host.js'
import { authorityFor, needingOpenssl } from '../helpers/authority.js'
import { tempFolder } from '../helpers/process.js'
import { until } from '../helpers/until.js'
import { registrySuite } from '../suites/registry.js'
import { storeSuite } from '../suites/store.js'
import type { Assertions } from '../suites/test.js'

let count = 0

/** An empty registry behind a server; `admin` is the registry itself. */
async function served() {
  const name = `served-${++count}`
  const [admin, server] = [new MemoryRegistry(name), await serveRegistry(new MemoryRegistry(name))]
  return {
    admin, url: server.url,
    close: async () => {
      await server.close()
      await admin.close()
    },
  }
}

registrySuite(test, async () => {
  const { admin, url, close } = await served()
  return {
    open: () => meshRegistry({ url }),
    edit: async (namespace, id, text) => admin.edit(namespace, id, text),
    empty: async () => admin.empty(),
    close,
  }
}, { name: 'mesh', ttlMs: 1500 })

storeSuite(test, async () => {
  const { admin, url, close } = await served()
  return {
    open: () => meshRegistry({ url }),
    forget: async (namespace, actor) => admin.forget(namespace, actor),
    empty: async () => admin.empty(),
    fail: async (failing) => admin.fail(failing),
    close,
  }
}, { name: 'mesh store' })

/** A port of 127.0.0.1 may be somebody else's when it is wanted again. */
const OWN = '127.0.0.78'
const port = (url: string): number => parseAddress(url.replace('mesh:', 'tcp:')).port

function stageOn(t: Assertions, registry: string, name: string, secret?: string): Stage {
  const stage = new Stage(name, { registry, secret, interfaces: [new IpcInterface(), new TcpInterface()], ttlMs: 3000 })
  t.teardown(() => stage.close())
  stage.to('*').provide('name', () => name)
  return stage
}

test('stages use it by its URL and their secret; without the secret they are told', async (t) => {
  const secret = 'sixteen bytes or more'
  const server = await serveRegistry('memory:mesh-secret', { secret })
  t.teardown(() => server.close())
  const [a, b] = [stageOn(t, server.url, 'a', secret), stageOn(t, server.url, 'b', secret)]
  await Promise.all([a.ready(), b.ready()])
  t.is(await a.to('b').call('name'), 'b')
  const stranger = stageOn(t, server.url, 'stranger')
  const error = await t.throwsAsync(stranger.ready(), { instanceOf: StageError }) as StageError
  t.is(error.code, 'AUTH_FAILED')
  t.throws(() => new MemoryInterface() && void meshRegistry({ url: 'mesh://nohost' }), { message: /expected mesh:\/\/host:port/ } as never)
  await t.throwsAsync(serveRegistry('memory:mesh-open', { bind: '0.0.0.0' }), { message: /peers are not authenticated/ })
})

test('a server that is killed and comes back empty, under load: nobody notices but new stages', async (t) => {
  t.timeout(120_000)
  let server = await serveRegistry(new MemoryRegistry(`served-${++count}`), { bind: OWN })
  const { url } = server
  const stages = ['a', 'b', 'c'].map((name) => stageOn(t, url, name))
  await Promise.all(stages.map((one) => one.ready()))
  const ids = stages.map((one) => one.id)
  let parts = 0
  let calls = 0
  let going = true
  for (const one of stages) one.on('part', () => parts++)
  const load = Promise.all(stages.map(async (one, i) => {
    while (going) {
      t.is(await one.to('abc'[(i + 1) % 3]).call('name'), 'abc'[(i + 1) % 3])
      calls++
      await new Promise((resolve) => setTimeout(resolve, 2))
    }
  }))
  await server.close()
  const late = stageOn(t, url, 'late')
  await new Promise((resolve) => setTimeout(resolve, 8000)) // longer than a TTL and the grace
  t.is(parts, 0)
  server = await serveRegistry(new MemoryRegistry(`served-${++count}`), { port: port(url), bind: OWN })
  t.teardown(() => server.close())
  await late.ready()
  await until(() => late.peers().length === 3)
  t.is(await late.to('a').call('name'), 'a')
  going = false
  await load
  t.deepEqual(stages.map((one) => one.id), ids)
  t.is(parts, 0)
  t.true(calls > 500, `${calls} calls`)
})

test('of several servers the first that answers is used, and the first of all again once it is back', async (t) => {
  t.timeout(120_000)
  let first = await serveRegistry(new MemoryRegistry(`served-${++count}`), { bind: OWN })
  const second = await serveRegistry(new MemoryRegistry(`served-${++count}`))
  t.teardown(() => second.close())
  const hosts = [first.url, second.url].map((url) => url.slice('mesh://'.length))
  const url = `mesh://${hosts.join(',')}`
  const registry = meshRegistry({ url })
  const [a, b] = ['a', 'b'].map((name) => {
    const stage = new Stage(name, { registry, interfaces: new TcpInterface(), ttlMs: 3000 })
    t.teardown(() => stage.close())
    return stage
  })
  await Promise.all([a.ready(), b.ready()])
  const ids = [a.id, b.id]
  t.is(registry.address, first.url)
  await first.close()
  await until(() => registry.address === second.url)
  const c = stageOn(t, second.url, 'c')
  await c.ready()
  await until(() => c.peers().length === 2)
  first = await serveRegistry(new MemoryRegistry(`served-${++count}`), { port: port(first.url), bind: OWN })
  t.teardown(() => first.close())
  await until(() => registry.address === first.url, 60_000)
  const d = stageOn(t, first.url, 'd')
  await d.ready()
  await until(() => d.peers().length === 2)
  t.deepEqual([a.id, b.id], ids)
})

const check = needingOpenssl(test)
const authority = authorityFor(test)

check('with certificates of both ends: the names of server and client count, and another stage of the mesh is no server', async (t) => {
  t.timeout(60_000)
  const tls = (name: string) => ({ ...authority!.certify(`DNS:${name}`), mutual: true })
  const refused: Error[] = []
  const server = await serveRegistry(new MemoryRegistry(`served-${++count}`), { tls: tls('registry'), onerror: (error) => refused.push(error) })
  t.teardown(() => server.close())
  const of = (certificate: string, name?: string, url = server.url): Stage => {
    const stage = new Stage('api', { registry: meshRegistry({ url, tls: tls(certificate), name }), interfaces: new TcpInterface() })
    t.teardown(() => stage.close())
    return stage
  }
  await of('registry-client').ready()
  await of('api', 'api').ready()
  const error = await t.throwsAsync(of('mallory', 'api').ready(), { instanceOf: StageError }) as StageError
  t.is(error.code, 'AUTH_FAILED')
  t.regex(error.message, /carries DNS:mallory: expected DNS:api/)
  await until(() => refused.length > 0)
  t.regex(refused[0].message, /carries DNS:mallory/)

  const mallory = new Stage('mallory', { registry: 'none:', namespace: 'stagemesh-registry', interfaces: new TcpInterface({ tls: tls('mallory') }) })
  t.teardown(() => mallory.close())
  for (const method of ['about', 'publish', 'renew']) mallory.to('*').provide(method, () => { throw new Error('a call to mallory') })
  const [[[address]]] = await Promise.all([once(mallory, 'listening') as Promise<[[string]]>, mallory.ready()])
  const misled = await t.throwsAsync(of('api', 'api', address.replace('tcps:', 'mesh:')).ready(), { instanceOf: StageError }) as StageError
  t.is(misled.code, 'REGISTRY_UNAVAILABLE')
  t.regex(misled.message, /the stage there is mallory: expected registry/)
})

check('a running stage joins a server that has TLS', async (t) => {
  t.timeout(60_000)
  const files = authority!.certify('IP:127.0.0.1')
  const server = await serveRegistry(new MemoryRegistry(`served-${++count}`), { tls: files })
  t.teardown(() => server.close())
  const stage = new Stage('api', { registry: 'none:', interfaces: new TcpInterface() })
  t.teardown(() => stage.close())
  await stage.ready()
  await stage.join(meshRegistry({ url: server.url, tls: files }))
  t.is(stage.registry.address, server.url)
  // a stage that had no store has one now
  stage.define({ pattern: 'counters.{id}', constructor: class { n = 0; add() { return ++this.n } } })
  t.is(await stage.actor('counters.1').add(), 1)
  await stage.leave()
  t.is(stage.registry.address, 'none:')
})

test('a server with clients closes at once', async (t) => {
  t.timeout(60_000)
  const server = await serveRegistry(new MemoryRegistry(`served-${++count}`))
  const stage = stageOn(t, server.url, 'a')
  await stage.ready()
  const since = performance.now()
  await server.close()
  t.true(performance.now() - since < 4000, `${performance.now() - since} ms`)
})

test('a server that refuses the client, or is silent, does not keep it from the next one', async (t) => {
  t.timeout(60_000)
  const secret = 'sixteen bytes or more'
  const locked = await serveRegistry(new MemoryRegistry(`served-${++count}`), { secret })
  const open = await serveRegistry(new MemoryRegistry(`served-${++count}`))
  const silent = createServer((socket) => void socket.on('error', () => {}))
  await new Promise<void>((resolve) => { silent.listen(0, '127.0.0.1', resolve) })
  t.teardown(async () => void await Promise.all([locked.close(), open.close(), silent.close()]))
  const hosts = [locked.url, `mesh://127.0.0.1:${(silent.address() as AddressInfo).port}`, open.url].map((url) => url.slice('mesh://'.length))
  const stage = stageOn(t, `mesh://${hosts.join(',')}`, 'a')
  await stage.ready()
  t.is(stage.registry.address, open.url)
})

test('stages return with their ids to a first server that comes back with its data', async (t) => {
  t.timeout(120_000)
  const folder = await tempFolder(t)
  let first = await serveRegistry(`local:${folder}`, { bind: OWN })
  const second = await serveRegistry(new MemoryRegistry(`served-${++count}`))
  t.teardown(() => second.close())
  const url = `mesh://${[first.url, second.url].map((one) => one.slice('mesh://'.length)).join(',')}`
  const stages = ['a', 'b'].map((name) => {
    const stage = new Stage(name, { registry: url, interfaces: new TcpInterface(), ttlMs: 3000 })
    t.teardown(() => stage.close())
    stage.to('*').provide('name', () => name)
    return stage
  })
  await Promise.all(stages.map((one) => one.ready()))
  const ids = stages.map(({ id }) => id)
  await first.close()
  await until(() => stages.every((one) => one.registry.address === second.url), 30_000)
  await new Promise((resolve) => setTimeout(resolve, 8000)) // a TTL and the grace
  first = await serveRegistry(`local:${folder}`, { port: port(first.url), bind: OWN })
  t.teardown(() => first.close())
  // a stage that is there at once has the leases of the others judged
  const early = stageOn(t, first.url, 'early')
  await early.ready()
  await until(() => stages.every((one) => one.registry.address === first.url), 60_000)
  await until(() => early.peers().length === 2)
  t.deepEqual(stages.map(({ id }) => id), ids)
  t.is(await stages[0].to('b').call('name'), 'b')
})
