/** Which of the addresses of an entry stages use to reach each other. */
import { mkdirSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { IpcInterface, MemoryInterface, Stage, TcpInterface, type Interface } from '../../src/index.js'
import { listed } from '../helpers/listed.js'
import { Process, tempFolder } from '../helpers/process.js'
import { until } from '../helpers/until.js'

/** Interfaces that record the addresses that they have reached. */
function noted(interfaces: readonly Interface[]): { interfaces: readonly Interface[]; reached: string[] } {
  const reached: string[] = []
  for (const one of interfaces) {
    const connect = one.connect.bind(one)
    one.connect = async (address, signal) => {
      const stream = await connect(address, signal)
      reached.push(one.scheme)
      return stream
    }
  }
  return { interfaces, reached }
}

async function stage(t: ExecutionContext, name: string, registry: string, interfaces?: readonly Interface[]): Promise<Stage> {
  const one = new Stage(name, registry, interfaces)
  t.teardown(() => one.close())
  await listed(one)
  return one
}

const ways = () => noted([new TcpInterface(), new IpcInterface(), new MemoryInterface()])
const schemes = (stage: Stage, name: string) => stage.lookup(name)[0]?.addresses.map((address) => address.split(':')[0])
const socketOf = (stage: Stage, name: string) => stage.lookup(name)[0]?.addresses.find((one) => one.startsWith('ipc:'))?.slice('ipc://'.length) ?? ''

test('a stage of this process is reached through memory, a stage of this machine through its socket, and by TCP if the socket is gone', async (t) => {
  const registry = `local:${join(await tempFolder(t), 'registry')}`
  const far = Process.start(t)
  await far.ask('open', 'it', { name: 'far', registry })
  const near = await stage(t, 'near', registry)
  near.to('*').provide('who', () => ({ pid: process.pid }))
  const call = async ({ interfaces, reached }: ReturnType<typeof ways>, to: string) => {
    const caller = await stage(t, 'caller', registry, interfaces)
    await until(() => caller.lookup('near').length + caller.lookup('far').length === 2)
    t.deepEqual(schemes(caller, to), ['memory', 'ipc', 'tcp'])
    t.like(await caller.to(to).call('who'), { pid: to === 'far' ? far.pid : process.pid })
    return { caller, reached }
  }
  t.deepEqual((await call(ways(), 'near')).reached, ['memory'])
  const { caller, reached } = await call(ways(), 'far')
  t.deepEqual(reached, ['ipc'])
  const socket = socketOf(caller, 'far')
  rmSync(socket)
  t.teardown(() => rmSync(socket, { recursive: true, force: true }))
  mkdirSync(socket) // otherwise the owner makes the socket again within two seconds
  t.like(await caller.to('far').call('who'), { pid: far.pid })
  t.deepEqual(reached, ['ipc'], 'the link that stands does not need the file')
  t.deepEqual((await call(ways(), 'far')).reached, ['tcp'])
})

test('if another stage has the socket by now, or a program that does not speak, TCP leads to the right stage', async (t) => {
  const folder = await tempFolder(t)
  const registry = `local:${join(folder, 'registry')}`
  const path = join(folder, 'x.sock')
  const right = await stage(t, 'right', registry, [new IpcInterface({ path }), new TcpInterface()])
  right.to('*').provide('who', () => 'right')
  renameSync(path, `${path}.moved`)
  const wrong = await stage(t, 'wrong', registry, [new IpcInterface({ path })])
  wrong.to('*').provide('who', () => 'wrong')
  const first = noted([new TcpInterface(), new IpcInterface()])
  const caller = await stage(t, 'caller', registry, first.interfaces)
  t.is(await caller.to('right').call('who'), 'right')
  t.is(await caller.to('wrong').call('who'), 'wrong')
  t.deepEqual(first.reached, ['ipc', 'tcp', 'ipc'])

  await wrong.close()
  const silent = new IpcInterface({ path })
  t.teardown(() => silent.close())
  await silent.listen((stream) => void stream.on('error', () => {}))
  const second = noted([new TcpInterface(), new IpcInterface()])
  const late = await stage(t, 'late', registry, second.interfaces)
  t.is(await late.to('right').call('who'), 'right')
  t.deepEqual(second.reached, ['ipc', 'tcp'])
})

test('a process without a place for a socket works over its other interfaces, and says so once', async (t) => {
  const registry = `local:${join(await tempFolder(t), 'registry')}`
  const far = Process.start(t, { env: { ...process.env, STAGE_FOLDER: '/dev/null/none' } })
  await far.ask('open', 'it', { name: 'far', registry })
  const caller = await stage(t, 'caller', registry)
  await until(() => caller.lookup('far').length === 1)
  t.deepEqual(schemes(caller, 'far'), ['memory', 'tcp'])
  t.like(await caller.to('far').call('who'), { pid: far.pid })
  const { notes } = await far.ask('sight', 'it')
  t.deepEqual(notes.filter(({ event }) => event === 'error').map(({ of }) => of.replace(/ \/.*? as /, ' … as ').replace(/:.*/, '')), ['cannot use … as the folder of a socket'])
})
