/** TCP: the suite of interfaces, and what is its own. */
import test from 'ava'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { networkInterfaces } from 'node:os'
import type { Duplex } from 'node:stream'
import { parseAddress, type Machine } from '../../interfaces/shared/host.js'
import { TcpInterface, type TcpOptions } from '../../interfaces/tcp.js'
import { StageError } from '../../src/errors.js'
import { compiled, endsByItself } from '../helpers/own-process.js'
import { VirtualClock } from '../helpers/virtual-clock.js'
import { interfaceSuite } from '../suites/interface.js'
import { Told, readAllOpen } from '../suites/stream.js'
import type { Assertions } from '../suites/test.js'

interfaceSuite(test, () => ({ listener: new TcpInterface({ host: '127.0.0.1' }), dialler: new TcpInterface() }), { name: 'tcp' })

const ipv6 = Object.values(networkInterfaces()).flat().some((one) => one?.address === '::1')
if (ipv6) interfaceSuite(test, () => ({ listener: new TcpInterface({ host: '::1' }), dialler: new TcpInterface() }), { name: 'tcp over IPv6' })

const never = new AbortController().signal
const machine = (...addresses: string[]): Machine => ({ eth0: addresses.map((address) => ({ address, internal: false }) as never) })

/** Listens; `accepted` is the first stream. */
async function listening(t: Assertions, options: TcpOptions = {}) {
  t.timeout(120_000)
  const listener = new TcpInterface(options)
  t.teardown(() => listener.close())
  let take: (stream: Duplex) => void = () => {}
  const accepted = new Promise<Duplex>((resolve) => { take = resolve })
  const [address] = await listener.listen((stream) => {
    t.teardown(() => void stream.destroy())
    take(stream)
  })
  return { listener, accepted, address: address as string }
}

async function ends(t: Assertions) {
  const { accepted, address, listener } = await listening(t, { host: '127.0.0.1' })
  const near = await new TcpInterface().connect(address, never)
  t.teardown(() => void near.destroy())
  return { near, far: await accepted, listener }
}

test('it binds and publishes loopback unless told otherwise', async (t) => {
  const { listener, address } = await listening(t)
  t.regex(address, /^tcp:\/\/127\.0\.0\.1:[1-9]\d*$/)
  t.false(listener.exposed)
})

test('what is published is what was given, also by the environment', async (t) => {
  process.env.STAGE_HOST = 'by-environment.example'
  const [byEnvironment, byCode] = [listening(t, { bind: '127.0.0.1' }), listening(t, { bind: '127.0.0.1', host: 'by-code.example' })]
  delete process.env.STAGE_HOST
  t.regex((await byEnvironment).address, /^tcp:\/\/by-environment\.example:\d+$/)
  t.regex((await byCode).address, /^tcp:\/\/by-code\.example:\d+$/)
})

test('one address that was bound is published', async (t) => {
  t.is(parseAddress((await listening(t, { bind: '127.0.0.2' })).address).host, '127.0.0.2')
})

test('it is exposed where it is bound beyond loopback, unless that is meant', (t) => {
  for (const options of [{ host: '10.0.0.5' }, { bind: '0.0.0.0' }, { bind: '::' }, { host: 'api.example' }, { host: '127.0.0.1', bind: '0.0.0.0' }]) {
    t.true(new TcpInterface(options).exposed, JSON.stringify(options))
    t.false(new TcpInterface({ ...options, insecure: true }).exposed)
  }
  for (const options of [{}, { host: 'localhost' }, { host: '[::1]' }, { host: 'api.example', bind: '127.0.0.1' }]) t.false(new TcpInterface(options).exposed, JSON.stringify(options))
})

test('misuse is a TypeError', (t) => {
  const secret = 'fifteen bytes..'
  const wrong: TcpOptions[] = [{ port: -1 }, { port: 65536 }, { port: 1.5 }, { port: '80' as unknown as number }, { secret }, { host: '10.0.0.5:4000' }, { host: 'tcp://x' }, { bind: 'a b' }, { host: '0.0.0.0' }]
  for (const options of wrong) t.throws(() => new TcpInterface(options), { instanceOf: TypeError }, JSON.stringify(options))
  t.is(new TcpInterface({ secret: `${secret}.` }).secret, `${secret}.`)
})

test('where every address was bound the machine\'s own is published, and followed', async (t) => {
  const clock = new VirtualClock()
  let now = machine('10.0.0.5')
  const listener = new TcpInterface({ bind: '0.0.0.0', clock, machine: () => now })
  t.teardown(() => listener.close())
  const changes: (readonly string[])[] = []
  const [address] = await listener.listen((stream) => stream.destroy(), (addresses) => changes.push(addresses))
  const { host, port } = parseAddress(address as string)
  t.is(host, '10.0.0.5')
  await clock.advance(10_000)
  t.deepEqual(changes, [])
  now = machine()
  await clock.advance(2000)
  now = machine('10.0.0.5', '10.0.0.6')
  await clock.advance(2000)
  t.deepEqual(changes, [])
  now = machine('10.0.0.6')
  await clock.advance(2000)
  await clock.advance(2000)
  t.deepEqual(changes, [[`tcp://10.0.0.6:${port}`]])
  await listener.close()
  t.is(clock.pending, 0)
})

test('the host may come from a function, which is asked again', async (t) => {
  const clock = new VirtualClock()
  let now: unknown = '10.0.0.5'
  const listener = new TcpInterface({ host: async () => now as string, clock })
  t.true(listener.exposed, 'every address is bound')
  t.teardown(() => listener.close())
  const changes: (readonly string[])[] = []
  const [address] = await listener.listen((stream) => stream.destroy(), (addresses) => changes.push(addresses))
  const { host, port } = parseAddress(address)
  t.is(host, '10.0.0.5')
  now = 'api.example'
  await clock.advance(2000)
  now = undefined
  await clock.advance(2000)
  now = '[::1'
  await clock.advance(2000)
  t.deepEqual(changes, [[`tcp://api.example:${port}`]])
  for (const [returns, told] of [['0.0.0.0', /returned "0\.0\.0\.0"/], ['a:1', /returned "a:1"/], [7, /returned 7/]] as const) {
    await t.throwsAsync(new TcpInterface({ host: () => returns as string }).listen(() => {}), { instanceOf: StageError, message: told })
  }
  await t.throwsAsync(new TcpInterface({ host: () => { throw new Error('no metadata service') } }).listen(() => {}), { instanceOf: StageError, message: /no metadata service/ })
})

test('where that is unclear it says what it found', async (t) => {
  const listener = new TcpInterface({ bind: '0.0.0.0', machine: () => machine('10.0.0.5', '10.0.0.6') })
  const error = await t.throwsAsync(listener.listen(() => {}), { instanceOf: StageError })
  t.is((error as StageError).code, 'BAD_ARGUMENT')
  t.regex(error.message, /10\.0\.0\.5.*10\.0\.0\.6.*host/)
})

test('a port that is taken is named', async (t) => {
  const { port } = parseAddress((await listening(t, { host: '127.0.0.1' })).address)
  const error = await t.throwsAsync(new TcpInterface({ port, host: '127.0.0.1' }).listen(() => {}), { instanceOf: StageError }) as StageError
  t.is(error.code, 'BAD_ARGUMENT')
  t.true(error.message.includes(String(port)))
  t.is((error.cause as NodeJS.ErrnoException).code, 'EADDRINUSE')
})

test('an address of another machine cannot be bound', async (t) => {
  const error = await t.throwsAsync(new TcpInterface({ bind: '192.0.2.1' }).listen(() => {}), { instanceOf: StageError }) as StageError
  t.is(error.code, 'BAD_ARGUMENT')
})

test('a malformed address is not dialled', async (t) => {
  for (const address of ['tcp://127.0.0.1:99999', 'tcp://:4000', 'memory://1']) {
    const error = await t.throwsAsync(new TcpInterface().connect(address, never), { instanceOf: StageError }) as StageError
    t.is(error.code, 'BAD_ARGUMENT')
    t.true(error.message.includes(address))
  }
})

test('a host that nobody knows is named, and leaves nothing behind', async (t) => {
  const error = await t.throwsAsync(new TcpInterface().connect('tcp://nowhere.invalid:1', never)) as NodeJS.ErrnoException
  t.regex(error.message, /(ENOTFOUND|EAI_AGAIN) nowhere\.invalid/)
})

test('it can be closed while it begins to listen', async (t) => {
  const listener = new TcpInterface({ host: '127.0.0.1' })
  const begun = listener.listen((stream) => stream.destroy())
  await listener.close()
  const [address] = await begun
  await t.throwsAsync(new TcpInterface().connect(address as string, never), { code: 'ECONNREFUSED' })
})

test('a reset behind unread bytes is not an end, also where we had said goodbye before', async (t) => {
  for (const goodbye of [false, true]) {
    const { near, far } = await ends(t)
    const told = new Told(far)
    if (goodbye) await Promise.all([once(near.resume(), 'end'), far.end()])
    far.pause()
    while (near.write(Buffer.alloc(64 * 1024))) { /* until the kernel has enough */ }
    near.destroy(new Error('on purpose'))
    await once(near, 'close').catch(() => {})
    far.resume()
    await told.failed(t)
    t.is((told.error as NodeJS.ErrnoException).code, 'ECONNRESET')
  }
})

test('a real end is believed, whatever state our own direction is in', async (t) => {
  const { near, far } = await ends(t)
  const told = [new Told(near), new Told(far)]
  near.end('all of it')
  far.end('all of that')
  t.deepEqual((await Promise.all([readAllOpen(far), readAllOpen(near)])).map((one) => Buffer.concat(one).toString()), ['all of it', 'all of that'])
  for (const one of told) await one.parted(t)
})

test('destroy(error) just after end() closes, and delivers what was ended', async (t) => {
  const { near, far } = await ends(t)
  const told = new Told(near)
  const read = readAllOpen(far)
  near.end('complete')
  near.destroy(new Error('on purpose'))
  await told.failed(t)
  t.is(told.error?.message, 'on purpose')
  t.is(Buffer.concat(await read).toString(), 'complete')
})

test('a bare destroy that throws away what was written is a reset', async (t) => {
  const { near, far } = await ends(t)
  const told = new Told(far)
  far.pause()
  while (near.write(Buffer.alloc(64 * 1024))) { /* until it has to keep some back */ }
  near.destroy()
  await once(near, 'close')
  far.resume()
  await told.failed(t)
})

test('it accepts again after it had run out of descriptors', async (t) => {
  const script = `
    const { TcpInterface } = await import(${JSON.stringify(compiled('interfaces/tcp.js'))})
    process.stdin.resume().on('end', () => process.exit())
    let most = 0, open = 0
    const [address] = await new TcpInterface({ host: '127.0.0.1' }).listen((stream) => {
      most = Math.max(most, ++open)
      stream.on('close', () => open--)
      stream.on('data', () => stream.end(String(most)))
      stream.on('end', () => stream.end())
    })
    console.log(address)`
  const child = spawn('sh', ['-c', 'ulimit -n 48 && exec "$0" "$@"', process.execPath, '--input-type=module', '-e', script], { stdio: ['pipe', 'pipe', 'inherit'] })
  t.teardown(() => void child.kill('SIGKILL'))
  const [line] = await once(child.stdout, 'data') as [Buffer]
  const address = line.toString().trim()
  const dialler = new TcpInterface()
  const streams = await Promise.all(Array.from({ length: 100 }, () => dialler.connect(address, never)))
  // those that it has no descriptor for it can only drop
  await Promise.race(streams.map((stream) => new Promise((resolve) => stream.resume().on('close', resolve).on('end', resolve))))
  const closed = streams.map((stream) => new Promise((resolve) => stream.on('close', resolve)))
  for (const stream of streams) stream.destroy()
  await Promise.all(closed)
  let answer = ''
  while (answer === '') {
    const stream = await dialler.connect(address, never)
    stream.write('how many at most?')
    answer = Buffer.concat(await readAllOpen(stream).catch(() => [])).toString()
    stream.destroy()
  }
  t.true(Number(answer) < 48, answer)
  t.is(child.exitCode, null)
})

test('an error while accepting harms nobody', async (t) => {
  const { far } = await ends(t)
  const { server } = far as Duplex & { server: NodeJS.EventEmitter }
  t.true(server.emit('error', new Error('accept ENFILE')))
})

test('it keeps its process alive while it listens, and no longer', async (t) => {
  await endsByItself(t, 'interfaces/tcp.js', ({ TcpInterface }: { TcpInterface: new () => TcpInterface }) => new TcpInterface())
})
