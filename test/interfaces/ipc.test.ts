/** The unix socket: the suite of interfaces, and what is its own. */
import test, { type ExecutionContext } from 'ava'
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, chownSync, existsSync, lstatSync, mkdirSync, readdirSync, renameSync, rmSync, statSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { createServer, Socket } from 'node:net'
import { dirname, join } from 'node:path'
import type { Duplex } from 'node:stream'
import { formatPath, parsePath, removeDead } from '../../interfaces/ipc-place.js'
import { said } from '../../interfaces/shared/said.js'
import { IpcInterface, type IpcOptions } from '../../interfaces/ipc.js'
import { StageError } from '../../src/errors.js'
import { seeded } from '../helpers/mesh.js'
import { compiled, endsByItself } from '../helpers/own-process.js'
import { tempFolder } from '../helpers/process.js'
import { until } from '../helpers/until.js'
import { VirtualClock } from '../helpers/virtual-clock.js'
import { interfaceSuite } from '../suites/interface.js'
import { Told, readAll, readAllOpen, turn } from '../suites/stream.js'
import type { Assertions } from '../suites/test.js'

interfaceSuite(test, () => ({ listener: new IpcInterface(), dialler: new IpcInterface() }), { name: 'ipc' })
interfaceSuite(test, async (t) => ({ listener: new IpcInterface({ path: join(await tempFolder(t), 'x.sock') }), dialler: new IpcInterface() }), { name: 'ipc at a path' })

const never = new AbortController().signal
const unix = process.platform === 'win32' ? test.skip : test
const MAX = process.platform === 'linux' ? 107 : 103

interface Environment { STAGE_FOLDER?: string; XDG_RUNTIME_DIR?: string; TMPDIR?: string }

/** Listens; the environment is only looked at while it begins. */
function listens(t: Assertions, options: IpcOptions = {}, env?: Environment, take: (stream: Duplex) => void = () => {}) {
  t.timeout(120_000)
  const listener = new IpcInterface(options)
  t.teardown(() => listener.close())
  const before = { STAGE_FOLDER: process.env['STAGE_FOLDER'], XDG_RUNTIME_DIR: process.env['XDG_RUNTIME_DIR'], TMPDIR: process.env['TMPDIR'] }
  const set = (values: Record<string, string | undefined>) => {
    for (const [name, value] of Object.entries(values)) if (value === undefined) delete process.env[name]; else process.env[name] = value
  }
  if (env) set({ ...before, STAGE_FOLDER: undefined, ...env })
  const listening = listener.listen((stream) => {
    t.teardown(() => void stream.destroy())
    take(stream)
  })
  set(before)
  return { listener, address: listening.then(([address]) => address as string) }
}

async function ends(t: Assertions) {
  let take: (stream: Duplex) => void = () => {}
  const accepted = new Promise<Duplex>((resolve) => { take = resolve })
  const { address } = listens(t, {}, undefined, (stream) => take(stream))
  const near = await new IpcInterface().connect(await address, never)
  t.teardown(() => void near.destroy())
  return { near, far: await accepted }
}

const badArgument = async (t: ExecutionContext, promise: Promise<unknown>, message: RegExp) => {
  const error = await t.throwsAsync(promise, { instanceOf: StageError }) as StageError
  t.is(error.code, 'BAD_ARGUMENT')
  t.regex(error.message, message)
}

// ── where it lies ───────────────────────────────────────────────────────────────────────────────────────────────

unix('by itself it lies in a folder that only this user can enter, the same in every session', async (t) => {
  const [given, other] = [await tempFolder(t), await tempFolder(t)]
  const usual = `/tmp/stagemesh-${process.getuid?.()}`
  for (const [env, folder] of [
    [{ STAGE_FOLDER: join(given, 'ours') }, join(given, 'ours')],
    [{ STAGE_FOLDER: join(given, 'ours'), XDG_RUNTIME_DIR: other, TMPDIR: other }, join(given, 'ours')],
    [{}, usual],
    [{ STAGE_FOLDER: '' }, usual],
    [{ XDG_RUNTIME_DIR: other }, usual],
    [{ TMPDIR: other }, usual],
  ] as const) {
    const path = parsePath(await listens(t, {}, env).address)
    t.is(dirname(path), folder)
    t.is(statSync(folder).mode & 0o777, 0o700)
    t.is(lstatSync(path).mode & 0o777, 0o600)
  }
  t.deepEqual(readdirSync(other), [])
})

unix('a folder that is of no use is named', async (t) => {
  const temporary = await tempFolder(t)
  writeFileSync(join(temporary, 'file'), '')
  await badArgument(t, listens(t, {}, { STAGE_FOLDER: join(temporary, 'file', 'below') }).address, /cannot use .*file\/below as the folder of a socket: ENOTDIR/)
  await badArgument(t, listens(t, {}, { STAGE_FOLDER: join(temporary, 'x'.repeat(100)) }).address, /at most 10\d printable bytes/)
})

unix('a folder that is open to others, another user\'s, or elsewhere is refused', async (t) => {
  const temporary = await tempFolder(t)
  const folder = join(temporary, 'ours')
  mkdirSync(join(temporary, 'elsewhere'), { mode: 0o700 })
  symlinkSync(join(temporary, 'elsewhere'), folder)
  await badArgument(t, listens(t, {}, { STAGE_FOLDER: folder }).address, /is a link/)
  renameSync(folder, join(temporary, 'link'))
  mkdirSync(folder)
  chmodSync(folder, 0o755)
  await badArgument(t, listens(t, {}, { STAGE_FOLDER: folder }).address, /open to other users; run chmod 700/)
  chmodSync(folder, 0o700)
  if (process.getuid?.() === 0) {
    chownSync(folder, 12345, 0)
    await badArgument(t, listens(t, {}, { STAGE_FOLDER: folder }).address, /belongs to another user \(12345\)/)
    chownSync(folder, 0, 0)
  }
  await listens(t, {}, { STAGE_FOLDER: folder }).address
  t.pass()
})

unix('two of the same chance do not get the same place', async (t) => {
  const folder = { STAGE_FOLDER: await tempFolder(t) }
  const [one, other] = [listens(t, { random: seeded(1) }, folder), listens(t, { random: seeded(1) }, folder)]
  t.not(await one.address, await other.address)
})

unix('a path has a length that the system has room for', async (t) => {
  const folder = await tempFolder(t)
  const long = (bytes: number) => join(folder, 'x'.repeat(bytes - folder.length - 1))
  const path = long(MAX)
  t.is(await listens(t, { path }).address, formatPath(path))
  t.deepEqual(readdirSync(folder), [path.replace(/.*\//, '')])
  const stream = await new IpcInterface().connect(formatPath(path), never)
  stream.destroy()
  await badArgument(t, listens(t, { path: long(MAX + 1) }).address, new RegExp(`\\(${MAX + 1} bytes\\).* at most ${MAX} `))
  await badArgument(t, new IpcInterface().connect(formatPath(long(MAX + 1)), never), new RegExp(`at most ${MAX} bytes`))
  const deep = join(folder, 'd'.repeat(MAX - folder.length - 3))
  mkdirSync(deep)
  await badArgument(t, listens(t, { path: join(deep, 's') }).address, /folder.*is too long/)
  await badArgument(t, listens(t, { path: 'relative.sock' }).address, /an absolute path/)
  await badArgument(t, listens(t, { path: join(folder, 'not/there') }).address, /cannot create a socket at .*; its folder must exist/)
})

unix('a malformed address is not dialled', async (t) => {
  for (const address of ['ipc://', 'ipc://x.sock', 'ipc:///', 'ipc:///tmp/', 'ipc:///tmp/../x', 'ipc:////./pipe/x', 'ipc:///tmp/\0x', 'ipc:///a\nb', 'ipc:/x', 'tcp://127.0.0.1:1', `ipc:///${'ü'.repeat(60)}`]) {
    await badArgument(t, new IpcInterface().connect(address, never), /not an address that can be dialled/)
  }
})

test('misuse is a TypeError', async (t) => {
  t.throws(() => new IpcInterface({ path: '' }), { instanceOf: TypeError })
  t.throws(() => new IpcInterface({ path: 1 as unknown as string }), { instanceOf: TypeError })
  const { listener, address } = listens(t)
  await address
  await t.throwsAsync(listener.listen(() => {}), { instanceOf: TypeError })
  t.true(listener.optional)
  t.false(new IpcInterface({ path: '/x' }).optional)
})

// ── what processes leave behind ─────────────────────────────────────────────────────────────────────────────────

/** A process that is about to listen. */
async function child(t: Assertions, path?: string, env: Environment = {}) {
  const process_ = fork(compiled('test/helpers/ipc-child.js'), path === undefined ? [] : [path], { env: { ...process.env, ...env } })
  const ended = once(process_, 'exit')
  t.teardown(async () => { process_.kill('SIGKILL'); await ended })
  await once(process_, 'message')
  return {
    pid: process_.pid as number,
    async listen(): Promise<{ address?: string; error?: string }> {
      process_.send('go')
      return (await once(process_ as ChildProcess, 'message'))[0] as { address?: string; error?: string }
    },
    async kill() { process_.kill('SIGKILL'); await ended },
  }
}

/** Who listens there. */
async function whoIs(address: string): Promise<number> {
  const stream = await new IpcInterface().connect(address, never)
  const [pid] = await once(stream, 'data') as [Buffer]
  stream.destroy()
  return Number(pid.toString())
}

unix('the file of a process that was killed is replaced, that of a living one is not', async (t) => {
  const path = join(await tempFolder(t), 'x.sock')
  const dead = await child(t, path)
  await dead.listen()
  await badArgument(t, listens(t, { path }).address, /another process listens at/)
  t.is(await whoIs(formatPath(path)), dead.pid)
  await dead.kill()
  t.true(existsSync(path))
  await t.throwsAsync(new IpcInterface().connect(formatPath(path), never), { code: 'ECONNREFUSED' })
  const next = await child(t, path)
  t.deepEqual(await next.listen(), { address: formatPath(path) })
  t.is(await whoIs(formatPath(path)), next.pid)
  t.deepEqual(readdirSync(join(path, '..')), ['x.sock'])
})

unix('of many that start at once where a dead one lay, one gets the place and keeps it', async (t) => {
  t.timeout(120_000)
  const folder = await tempFolder(t)
  for (let round = 0; round < 3; round++) {
    const path = join(folder, `${round}.sock`)
    const dead = await child(t, path)
    await dead.listen()
    await dead.kill()
    const all = await Promise.all(Array.from({ length: 8 }, () => child(t, path)))
    const answers = await Promise.all(all.map((one) => one.listen()))
    const winners = all.filter((_, i) => answers[i]?.address)
    t.is(winners.length, 1, JSON.stringify(answers))
    t.is(await whoIs(formatPath(path)), winners[0]?.pid)
    await Promise.all(all.map((one) => one.kill()))
  }
  t.deepEqual(readdirSync(folder).sort(), ['0.sock', '1.sock', '2.sock'])
})

unix('who found a dead one and comes too late to delete it does no harm to whoever lies there now', async (t) => {
  const path = join(await tempFolder(t), 'x.sock')
  const dead = await child(t, path)
  await dead.listen()
  await dead.kill()
  const found = lstatSync(path, { bigint: true })
  const next = await child(t, path)
  await next.listen()
  removeDead(path, found, `${path}~`)
  t.is(await whoIs(formatPath(path)), next.pid)
  t.deepEqual(readdirSync(join(path, '..')), ['x.sock'])
})

unix('what is no socket stays', async (t) => {
  const folder = await tempFolder(t)
  writeFileSync(join(folder, 'file'), '')
  mkdirSync(join(folder, 'folder'))
  for (const name of ['file', 'folder']) {
    const path = join(folder, name)
    await badArgument(t, listens(t, { path }).address, /exists and is not a socket/)
    t.true(existsSync(path))
  }
  symlinkSync('/nowhere', join(folder, 'link'))
  await badArgument(t, listens(t, { path: join(folder, 'link') }).address, /exists and is not a socket/)
  t.deepEqual(readdirSync(folder).sort(), ['file', 'folder', 'link'])
})

unix('a later start deletes what the dead have left in the folder, and nothing else', async (t) => {
  const env = { STAGE_FOLDER: await tempFolder(t) }
  const [dead, alive] = await Promise.all([child(t, undefined, env), child(t, undefined, env)])
  const left = parsePath((await dead.listen()).address ?? '')
  const living = (await alive.listen()).address ?? ''
  const folder = join(left, '..')
  writeFileSync(join(folder, 'data.mdb'), '')
  writeFileSync(join(folder, `${dead.pid}-1-12345678.sock`), '') // no socket
  await dead.kill()
  const first = listens(t, {}, env)
  await first.address
  await first.listener.close()
  const refusal = await t.throwsAsync<NodeJS.ErrnoException>(new IpcInterface().connect(formatPath(left), never))
  t.deepEqual([refusal.code, refusal.cause], ['ECONNREFUSED', undefined])
  utimesSync(left, Date.now() / 1000 - 200, Date.now() / 1000 - 200)
  utimesSync(parsePath(living), 1, 1)
  const own = parsePath(await listens(t, {}, env).address)
  t.false(existsSync(left), 'it refused for long enough to be noticed')
  t.deepEqual(readdirSync(folder).sort(), [own, parsePath(living), 'data.mdb', `${dead.pid}-1-12345678.sock`].map((one) => one.replace(/.*\//, '')).sort())
  t.is(await whoIs(living), alive.pid)
})

unix('close() takes its name back, but not where it is another\'s by now', async (t) => {
  const path = join(await tempFolder(t), 'x.sock')
  const first = listens(t, { path })
  await first.address
  renameSync(path, `${path}.moved`)
  const second = listens(t, { path }, undefined, (stream) => stream.write('2'))
  await second.address
  await first.listener.close()
  t.is(await whoIs(formatPath(path)), 2)
  await second.listener.close()
  t.false(existsSync(path))
})

// ── what cleaners delete ────────────────────────────────────────────────────────────────────────────────────────

for (const [what, remove] of [
  ['its file', (path: string) => rmSync(path)],
  ['its folder', (path: string) => rmSync(dirname(path), { recursive: true })],
] as const) {
  for (const [where, at] of [['in the folder of this user', (folder: string) => [{}, { STAGE_FOLDER: folder }]], ['at a path', (folder: string) => [{ path: join(folder, 'x.sock') }]]] as const) {
    unix(`${what} was deleted, ${where}: it is made anew at the same address, and streams go on`, async (t) => {
      const clock = new VirtualClock()
      const folder = join(await tempFolder(t), 'ours')
      mkdirSync(folder, { mode: 0o700 })
      const [options, env] = at(folder) as [IpcOptions, Environment?]
      const accepted: Duplex[] = []
      const { address, listener } = listens(t, { ...options, clock }, env, (stream) => accepted.push(stream))
      const path = parsePath(await address)
      const before = await new IpcInterface().connect(await address, never)
      t.teardown(() => void before.destroy())
      for (let i = 0; i < 2; i++) {
        remove(path)
        await t.throwsAsync(new IpcInterface().connect(await address, never), { code: 'ECONNREFUSED' })
        await clock.advance(2000)
        await until(() => existsSync(path))
        t.is(lstatSync(path).mode & 0o777, 0o600)
        t.is(statSync(folder).mode & 0o777, 0o700)
        const later = await new IpcInterface().connect(await address, never)
        later.destroy()
        t.deepEqual(readdirSync(folder), [path.replace(/.*\//, '')])
      }
      await until(() => accepted.length === 3)
      accepted[0]!.write('still there')
      t.is(String((await once(before, 'data'))[0]), 'still there')
      await listener.close()
      t.false(existsSync(path))
      t.is(clock.pending, 0)
    })
  }
}

unix('what took its place meanwhile is left alone', async (t) => {
  const clock = new VirtualClock()
  const path = join(await tempFolder(t), 'x.sock')
  const { address, listener } = listens(t, { path, clock })
  await address
  renameSync(path, `${path}.moved`)
  const next = await child(t, path)
  await next.listen()
  await clock.advance(10_000)
  t.is(await whoIs(formatPath(path)), next.pid)
  await listener.close()
  t.is(await whoIs(formatPath(path)), next.pid)
})

unix('it is touched each minute, so that no cleaner takes it for an old one, and is still its own', async (t) => {
  const clock = new VirtualClock()
  const path = join(await tempFolder(t), 'x.sock')
  const { address, listener } = listens(t, { path, clock })
  await address
  const other = new IpcInterface({ path: `${path}.2`, clock })
  t.teardown(() => other.close())
  await other.listen(() => {})
  await clock.advance(130_000)
  for (const one of [path, `${path}.2`]) t.true(Math.abs(statSync(one).mtimeMs - clock.wall()) < 62_000)
  await other.close()
  t.false(existsSync(`${path}.2`))
  await listener.close()
})

unix('it can be closed while it is made anew', async (t) => {
  const clock = new VirtualClock()
  const path = join(await tempFolder(t), 'x.sock')
  const { address, listener } = listens(t, { path, clock })
  await address
  rmSync(path)
  const advanced = clock.advance(2000)
  await listener.close()
  await advanced
  t.false(existsSync(path))
  t.is(clock.pending, 0)
})

unix('it can be closed while it begins to listen', async (t) => {
  const { listener, address } = listens(t)
  await listener.close()
  t.false(existsSync(parsePath(await address)))
})

// ── how a stream ends ───────────────────────────────────────────────────────────────────────────────────────────

unix('the stream of a process that was killed does not look complete', async (t) => {
  const one = await child(t, join(await tempFolder(t), 'x.sock'))
  const stream = await new IpcInterface().connect((await one.listen()).address ?? '', never)
  const told = new Told(stream)
  stream.resume()
  await once(stream, 'data')
  await one.kill()
  await told.failed(t)
  t.is((told.error as NodeJS.ErrnoException).code, 'ECONNRESET')
})

test('what was said goodbye to is complete, though the system calls it a reset', async (t) => {
  const { near, far } = await ends(t)
  await new Promise((resolve) => near.write('never read', resolve))
  far.end('all of it')
  await once(far, 'finish')
  far.destroy()
  await once(far, 'close')
  const told = new Told(near)
  t.is(Buffer.concat(await readAllOpen(near)).toString(), 'all of it')
  await turn()
  t.is(told.error, undefined)
})

test('a bare destroy that throws away what was written is no end', async (t) => {
  const { near, far } = await ends(t)
  const told = new Told(far)
  far.pause()
  while (near.write(Buffer.alloc(64 * 1024))) { /* until it has to keep some back */ }
  near.destroy()
  await once(near, 'close')
  far.resume()
  await told.failed(t)
})

test('destroy(error) just after end() closes, and delivers what was ended', async (t) => {
  const { near, far } = await ends(t)
  const told = new Told(near)
  const read = readAllOpen(far)
  near.end('complete')
  near.destroy(new Error('on purpose'))
  await told.failed(t)
  t.is(Buffer.concat(await read).toString(), 'complete')
})

test('texts in any encoding, and nothing at all, can be written', async (t) => {
  const { near, far } = await ends(t)
  near.cork()
  near.write('grün ')
  near.write('')
  near.write(Buffer.alloc(0))
  near.write('ff00', 'hex')
  near.uncork()
  near.write('')
  near.end('Zg==', 'base64')
  t.is(Buffer.concat(await readAll(far)).toString('hex'), Buffer.from('grün \xff\x00f', 'latin1').toString('hex').replace('fc', 'c3bc'))
})

/** As Bun's does: it writes by whatever `_write` the socket has. */
class Rewriting extends Socket {
  override _writev(chunks: { chunk: Buffer }[], done: (error?: Error | null) => void): void {
    this._write(Buffer.concat(chunks.map(({ chunk }) => chunk)), 'buffer' as BufferEncoding, done)
  }
}

unix('a socket whose _writev calls its _write gives each piece one head', async (t) => {
  for (const size of [1, 8192, 8193, 100_000, 1_000_000]) {
    const accepted = new Promise<Duplex>((resolve) => {
      const { address } = listens(t, {}, undefined, resolve)
      void address.then((found) => {
        const socket = said(new Rewriting({ allowHalfOpen: true }))
        socket.connect(parsePath(found), () => {
          socket.cork()
          socket.write(Buffer.alloc(size))
          socket.write(Buffer.alloc(size))
          socket.uncork()
          socket.end(Buffer.alloc(size))
        })
      })
    })
    t.is(Buffer.concat(await readAll(await accepted)).length, 3 * size)
  }
})

unix('whatever a stranger sends, an end that he did not say is an error', async (t) => {
  const path = join(await tempFolder(t), 'x.sock')
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(path, resolve))
  t.teardown(() => void server.close())
  const piece = (text: string) => Buffer.concat([Buffer.from([0, 0, 0, 0, 0, text.length]), Buffer.from(text)])
  const goodbye = Buffer.alloc(6)
  const scene = async (sent: readonly Buffer[]) => {
    const accepted = once(server, 'connection') as Promise<[Socket]>
    const stream = await new IpcInterface().connect(formatPath(path), never)
    const [socket] = await accepted
    const all = readAll(stream).then((chunks) => Buffer.concat(chunks).toString(), () => 'failed')
    for (const bytes of sent) {
      await new Promise((resolve) => socket.write(bytes, resolve))
      await turn() // so that they come one by one
    }
    socket.destroy()
    return all
  }
  t.is(await scene([...Buffer.concat([piece('a'), piece('bc'), goodbye])].map((byte) => Buffer.from([byte]))), 'abc')
  t.is(await scene([Buffer.concat([piece('a'), goodbye, piece('later')])]), 'a')
  for (const sent of [[], [piece('a')], [piece('abc').subarray(0, 7), goodbye.subarray(0, 1)], [piece('a'), goodbye.subarray(0, 5)], [Buffer.alloc(100, 0xff)]]) t.is(await scene(sent), 'failed')
})

test('it keeps its process alive while it listens, and no longer', async (t) => {
  await endsByItself(t, 'interfaces/ipc.js', ({ IpcInterface }: { IpcInterface: new () => IpcInterface }) => new IpcInterface())
})
