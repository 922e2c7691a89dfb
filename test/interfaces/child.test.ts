/** A process and its children: the suite of interfaces over real channels, and stages in real children. */
import test from 'ava'
import { fork, spawn, type ChildProcess, type ForkOptions } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { ChildInterface } from '../../interfaces/child.js'
import { LocalRegistry, Stage, StageError } from '../../src/index.js'
import { compiled } from '../helpers/own-process.js'
import { tempFolder } from '../helpers/process.js'
import { until } from '../helpers/until.js'
import { interfaceSuite } from '../suites/interface.js'
import type { Assertions } from '../suites/test.js'

/** Two children whose channels are joined: what is sent to one comes out of the other. */
async function joined(t: Assertions, options: ForkOptions): Promise<[ChildProcess, ChildProcess]> {
  const sockets: Socket[] = []
  const server = createServer((socket) => {
    sockets.push(socket.on('error', () => {}))
    if (sockets.length === 2) sockets[0].pipe(sockets[1]).pipe(sockets[0])
  })
  await new Promise<void>((resolve) => { server.listen(0, '127.0.0.1', resolve) })
  const relay = (): ChildProcess => {
    const child = fork(compiled('test/helpers/channel-relay.js'), [String((server.address() as AddressInfo).port)], options)
    t.teardown(() => void child.kill('SIGKILL'))
    return child
  }
  const children: [ChildProcess, ChildProcess] = [relay(), relay()]
  await until(() => sockets.length === 2)
  server.close()
  return children
}

for (const serialization of ['advanced', 'json'] as const) {
  interfaceSuite(test, async (t) => {
    const [one, other] = await joined(t, { serialization })
    const [listener, dialler] = [new ChildInterface().attach(one), new ChildInterface().attach(other)]
    return { listener, dialler }
  }, { name: `child, ${serialization}` })
}

/** A parent, and a stage in a child for each name. */
async function family(t: Assertions, serialization: 'advanced' | 'json', ...names: string[]): Promise<{ stage: Stage, children: ChildProcess[] }> {
  const folder = await tempFolder(t)
  const interfaces = new ChildInterface()
  const children = names.map((name) => {
    const child = fork(compiled('test/helpers/forked-stage.js'), [name, folder], { serialization })
    t.teardown(() => void child.kill('SIGKILL'))
    interfaces.attach(child)
    return child
  })
  const stage = new Stage('parent', new LocalRegistry(folder), interfaces, { timeoutMs: 20_000 })
  t.teardown(() => stage.close())
  stage.to('*').provide('pid', () => process.pid)
  return { stage, children }
}

for (const serialization of ['advanced', 'json'] as const) {
  test(`a parent and its children find each other by name, ${serialization}`, async (t) => {
    t.timeout(60_000)
    const { stage, children: [a, b] } = await family(t, serialization, 'a', 'b')
    t.is(await stage.to('a').call('pid'), a.pid)
    t.is(await stage.to('b').call('pid'), b.pid)
    t.is(await stage.to('a').call('ask', 'parent'), process.pid)
    const bytes = Buffer.alloc(1_000_000, 'x')
    t.deepEqual(await stage.to('b').call('echo', bytes), bytes)
    const answer = once(a, 'message')
    a.send('mine')
    let [message] = await answer as [unknown]
    while (message !== 'yours') [message] = await once(a, 'message') as [unknown]
    t.pass('messages of the application pass beside those of the streams')
  })
}

test('a child that is killed is gone at once', async (t) => {
  t.timeout(60_000)
  const { stage, children: [a] } = await family(t, 'advanced', 'a')
  await stage.to('a').call('pid')
  const unlinked = once(stage, 'unlink')
  const ended = stage.to('a').call('end')
  t.is((await t.throwsAsync(ended, { instanceOf: StageError }) as StageError).code, 'DISCONNECTED')
  await unlinked
  const since = performance.now()
  await until(() => stage.peers('a').length === 0)
  t.true(performance.now() - since < 6000, 'long before its TTL')
  if (a.exitCode === null) await once(a, 'exit')
})

test('a parent of another kind gets no messages', async (t) => {
  const folder = await tempFolder(t)
  const child = fork(compiled('test/helpers/forked-stage.js'), ['a', folder])
  t.teardown(() => void child.kill('SIGKILL'))
  const got: unknown[] = []
  child.on('message', (message) => got.push(message))
  const stage = new Stage('other', new LocalRegistry(folder))
  t.teardown(() => stage.close())
  await stage.ready()
  await until(() => stage.peers('a').length === 1)
  child.send('mine')
  await until(() => got.length > 0)
  t.deepEqual(got, ['yours'])
})

test('an address that no channel leads to is refused, as of another process; a child without a channel is told', async (t) => {
  const error = await t.throwsAsync(new ChildInterface().connect('child://nobody-0001', new AbortController().signal)) as NodeJS.ErrnoException
  t.is(error.code, 'ECONNREFUSED')
  t.is((error.cause as NodeJS.ErrnoException).code, 'ENOENT')
  t.is((await t.throwsAsync(new ChildInterface().connect('child://x', new AbortController().signal)) as StageError).code, 'BAD_ARGUMENT')
  const child = spawn(process.execPath, ['-e', ''])
  t.throws(() => new ChildInterface().attach(child), { instanceOf: TypeError, message: /no channel/ })
})

test('several stages of each end share a channel', async (t) => {
  t.timeout(60_000)
  const [one, other] = await joined(t, { serialization: 'advanced' })
  const registry = `memory:child-${process.pid}`
  const stages = [['a', one], ['b', one], ['c', other], ['d', other]].map(([name, channel]) => {
    const stage = new Stage(name as string, { registry, interfaces: new ChildInterface().attach(channel as ChildProcess) })
    t.teardown(() => stage.close())
    stage.to('*').provide('name', () => stage.name)
    return stage
  })
  const [a, b, c, d] = stages
  await Promise.all(stages.map((stage) => stage.ready()))
  await until(() => stages.every((stage) => stage.peers().length === 3))
  for (const [from, to] of [[a, 'c'], [b, 'c'], [a, 'd'], [d, 'b'], [c, 'b']] as const) t.is(await from.to(to).call('name'), to)
  await a.close()
  t.is(await b.to('d').call('name'), 'd')
  t.is(await c.to('b').call('name'), 'b')
})

/** What the other end sends on a stream that it holds open does not reach a later one. */
test('interfaces that come and go on a channel: each stream has its own bytes, and dials are answered', async (t) => {
  t.timeout(60_000)
  const [one, other] = await joined(t, { serialization: 'advanced' })
  const listener = new ChildInterface().attach(other)
  t.teardown(() => listener.close())
  const taken: Duplex[] = []
  const [address] = await listener.listen((stream) => void taken.push(stream.on('error', () => {}).resume()))
  for (const word of ['first', 'second', 'third']) {
    const dialler = new ChildInterface().attach(one)
    const stream = await dialler.connect(address, AbortSignal.timeout(3000))
    const got: string[] = []
    stream.on('error', () => {}).on('data', (chunk: Buffer) => got.push(String(chunk)))
    await until(() => taken.length > 0 && !taken.at(-1)!.destroyed)
    for (const held of taken) if (!held.destroyed) held.write(held === taken.at(-1) ? word : 'old')
    await until(() => got.length > 0)
    t.deepEqual(got, [word])
    stream.end()
    stream.destroy()
    await dialler.close()
  }
})

test('a child that opens another stage in place of a closed one is reached', async (t) => {
  t.timeout(60_000)
  const [one, other] = await joined(t, { serialization: 'advanced' })
  const registry = `memory:child-again-${process.pid}`
  const made = (name: string, channel: ChildProcess): Stage => {
    const stage = new Stage(name, { registry, interfaces: new ChildInterface().attach(channel) })
    t.teardown(() => stage.close())
    stage.to('*').provide('name', () => name)
    return stage
  }
  const [a, c1] = [made('a', one), made('c1', other)]
  t.is(await a.to('c1').call('name'), 'c1')
  await c1.close()
  const c2 = made('c2', other)
  t.is(await a.to('c2').call('name'), 'c2')
  t.is(await c2.to('a').call('name'), 'a')
})
