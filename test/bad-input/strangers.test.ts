/** Those without the secret who keep connections open: whoever belongs here gets in all the same. */
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { IpcInterface, MemoryInterface, MemoryNetwork, MemoryRegistry, Stage, TcpInterface, type Interface } from '../../src/index.js'
import { listed } from '../helpers/listed.js'
import { Process } from '../helpers/process.js'
import { nothingUnhandled } from '../helpers/unhandled.js'
import { until } from '../helpers/until.js'
import type { Attack, StrangerOrders } from '../processes/strangers.js'

nothingUnhandled(test)

const SECRET = 'correct horse battery staple'
/** As many as a few connections cannot fill, and more than a burst is. */
const MANY = 400
let count = 0

const carriers: Record<string, () => Interface> = {
  tcp: () => new TcpInterface(),
  ipc: () => new IpcInterface({ path: join(tmpdir(), `stagemesh-strangers-${process.pid}-${++count}.sock`) }),
}

const attacks: [title: string, over: 'tcp' | 'ipc', attack: Omit<Attack, 'address' | 'ids'>, claims?: boolean][] = [
  ['80 silent ones', 'tcp', { says: 'nothing', count: 80, places: 1 }],
  ['80 silent ones', 'ipc', { says: 'nothing', count: 80, places: 1 }],
  ['many silent ones', 'tcp', { says: 'nothing', count: MANY, places: 1 }],
  ['many silent ones', 'ipc', { says: 'nothing', count: MANY, places: 1 }],
  ['silent ones of many addresses', 'tcp', { says: 'nothing', count: MANY, places: 100 }],
  ['halves of a HELLO', 'tcp', { says: 'half', count: MANY, places: 1 }],
  ['a byte now and then', 'tcp', { says: 'drip', count: 200, places: 1 }],
  ['HELLOs under new ids', 'tcp', { says: 'hello', count: 200, places: 1 }],
  ['HELLOs under ids of the registry', 'tcp', { says: 'hello', count: 200, places: 1 }, true],
  ['HELLOs under ids of the registry', 'ipc', { says: 'hello', count: 200, places: 1 }, true],
  ['HELLOs under ids of the registry, from many addresses', 'tcp', { says: 'hello', count: 200, places: 100 }, true],
]

for (const [title, over, attack, claims] of attacks) {
  test.serial(`new stages get in within 2 s beside ${title}, over ${over}`, async (t) => {
    const room = `strangers-${process.pid}-${++count}`
    const stages: Stage[] = []
    t.teardown(() => Promise.all(stages.map((one) => one.close())))
    const stage = async (name: string): Promise<Stage & { address: string }> => {
      const one = Object.assign(new Stage(name, new MemoryRegistry(room), carriers[over](), { secret: SECRET }), { address: '' })
      one.on('listening', ([first]) => { one.address = first })
      stages.push(one)
      await listed(one)
      return one
    }
    const api = await stage('api')
    api.to('*').provide('greet', () => 'hi')
    const old = await stage('old')
    t.is(await old.to('api').call('greet'), 'hi')
    const child = Process.start<StrangerOrders>(t, {}, 'test/processes/strangers.js')
    await child.ask('attack', { ...attack, address: api.address, ids: claims ? [[old.id, 'old']] : [] })
    await until(async () => await child.ask('made') > attack.count)
    t.true(Number(api.stats()['handshakes']) <= 256)
    for (let i = 0; i < 5; i++) {
      const late = await stage(`late-${i}`)
      const began = performance.now()
      t.is(await late.to('api').call('greet'), 'hi')
      const took = performance.now() - began
      t.log(`in after ${Math.round(took)} ms`)
      t.true(took < 2000, `${took} ms`)
    }
    t.is(await old.to('api').call('greet'), 'hi', 'who was linked before does not notice')
    const before = await child.ask('made')
    await child.kill()
    await until(() => api.stats()['handshakes'] === 0, 8000)
    t.log(`${before} connections`)
  })
}

test('the same within one process, over memory', async (t) => {
  const network = new MemoryNetwork()
  const room = `strangers-${process.pid}-${++count}`
  const stages: Stage[] = []
  t.teardown(() => Promise.all(stages.map((one) => one.close())))
  let address = ''
  const stage = async (name: string): Promise<Stage> => {
    const one = new Stage(name, new MemoryRegistry(room), new MemoryInterface(network), { secret: SECRET })
    if (name === 'api') one.on('listening', ([first]) => { address = first })
    stages.push(one)
    await listed(one)
    return one
  }
  const api = await stage('api')
  api.to('*').provide('greet', () => 'hi')
  const mallory = new MemoryInterface(network)
  let going = true
  const open = async (): Promise<void> => {
    const stream = await mallory.connect(address, new AbortController().signal)
    stream.on('error', () => {})
    stream.on('close', () => { if (going) setImmediate(() => void open().catch(() => {})) }) // the stage may close meanwhile
    stream.resume()
  }
  await Promise.all(Array.from({ length: 100 }, open))
  for (let i = 0; i < 3; i++) {
    const began = performance.now()
    t.is(await (await stage(`late-${i}`)).to('api').call('greet'), 'hi')
    t.true(performance.now() - began < 2000)
  }
  going = false
})
