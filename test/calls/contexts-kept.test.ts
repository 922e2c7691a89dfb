/** P26: a context belongs to whoever made it, and is collected when its request is over. */
import { AsyncLocalStorage } from 'node:async_hooks'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import test, { type ExecutionContext } from 'ava'
import { IpcInterface, LocalRegistry, MemoryInterface, MemoryRegistry, RedisRegistry, Stage, TcpInterface, type Interface, type Registry, type Self } from '../../src/index.js'
import { hasRedis, RedisServer } from '../helpers/redis-server.js'

interface Context { readonly name: string }
const als = new AsyncLocalStorage<Context>()

const carriers: readonly [name: string, make: () => Interface][] = [
  ['memory', () => new MemoryInterface()],
  ['ipc', () => new IpcInterface()],
  ['tcp', () => new TcpInterface()],
]

let names = 0

setFlagsFromString('--expose-gc')
const gc = runInNewContext('gc') as () => void

const registries: readonly [name: string, make: (t: ExecutionContext) => Promise<() => Registry>][] = [
  ['memory', async () => { const name = `contexts-kept-${process.pid}-${++names}`; return () => new MemoryRegistry(name) }],
  ['local', async (t) => {
    const folder = await mkdtemp(join(tmpdir(), 'stagemesh-contexts-'))
    t.teardown(() => rm(folder, { recursive: true, force: true }))
    return () => new LocalRegistry(folder)
  }],
  ...hasRedis ? [['redis', async (t) => {
    const server = await RedisServer.start()
    t.teardown(() => server.close())
    return () => new RedisRegistry(server.url)
  }] as (typeof registries)[number]] : [],
]

for (const [registry, open] of registries) {
  test(`P26: nothing keeps the context of the request that made a ${registry} registry, a stage, a link, an actor or a watch`, async (t) => {
    const make = await open(t)
    const held: [string, WeakRef<Context>][] = []
    /** Runs a request whose context is to be collected when it is over. */
    const request = <T>(name: string, fn: () => T): T => {
      const store = { name }
      held.push([name, new WeakRef(store)])
      return als.run(store, fn)
    }
    const direct = request('maker of the registry', make)
    await request('user of the registry', () => direct.store?.('default').look('nobody.1'))
    t.teardown(() => direct.close())
    const used = registry === 'memory' ? carriers : carriers.slice(0, 1)
    const stages = used.flatMap(([carrier, interfaces]) => ['a', 'b'].map((end) => request(`maker of ${carrier}`, () => new Stage(`${carrier}-${end}`, make(), interfaces(), { store: make() }))))
    t.teardown(() => Promise.all(stages.map((one) => one.close())))
    for (const one of stages) {
      request('provider', () => { one.to('*').provide('hello', () => 1) })
      await request('ready', () => one.ready())
      request('definer', () => { one.define({ pattern: `${one.name}.{id}`, durable: true, create: (_, self: Self) => ({ n: 0, add() { this.n++; if (this.n === 1) self.every(3_600_000, () => {}); self.remind('later', 'add', { afterMs: 3_600_000 }) } }) }) })
    }
    const loops: AsyncIterableIterator<unknown>[] = []
    for (const one of stages) {
      const [carrier] = one.name.split('-')
      const other = one.name.endsWith('a') ? `${carrier}-b` : `${carrier}-a`
      await request('dialler', () => one.to(other).call('hello'))
      await request('caller of itself', () => one.to(one.name).call('hello'))
      await request('meta', () => one.setMeta({ zone: 'a' }))
      request('keeper', () => { one.keep(other) })
      for (const address of [`${one.name}.1`, `${other}.2`]) {
        await request('activator', () => (one.actor(address)['add'] as () => Promise<void>)())
        await request('first loop', async () => { const loop = one.observe(address, ['n']); await loop.next(); await loop.return?.() })
        await request('loop that goes on', async () => { const loop = one.observe(address, ['n']); await loop.next(); loops.push(loop) })
        await request('caller', () => (one.actor(address)['add'] as () => Promise<void>)())
        await request('explainer', () => one.explain(address))
      }
    }
    const left = (): string[] => held.filter(([, store]) => store.deref()).map(([name]) => name)
    for (let tries = 0; tries < 50 && left().length > 0; tries++) {
      await new Promise((resolve) => { setTimeout(resolve, 20) })
      gc()
    }
    t.deepEqual([...new Set(left())], [])
    for (const loop of loops) t.false((await loop.next()).done) // they go on, and the first one had more to tell
  })
}
