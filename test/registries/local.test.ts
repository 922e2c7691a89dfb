/** The local registry: the suite of registries, and processes that are killed and stopped. */
import { spawnSync } from 'node:child_process'
import { chmod, copyFile, mkdir, mkdtemp, readFile, readdir, rm, symlink, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import test from 'ava'
import type { ExecutionContext } from 'ava'
import { open } from 'lmdb'
import { Alive } from '../../registries/local/alive.js'
import { LocalRegistry } from '../../registries/local/registry.js'
import { makeFolder } from '../../registries/local/folder.js'
import { Child, stallMeter } from '../helpers/printing-child.js'
import { until as within } from '../helpers/until.js'
import { registrySuite, sampleEntry, Watch } from '../suites/registry.js'

const NS = sampleEntry().namespace
const folder = () => mkdtemp(join(tmpdir(), 'stagemesh-test-'))

registrySuite(test, async () => {
  const path = await folder()
  const raw = async (run: (rows: ReturnType<typeof open<string>>) => Promise<void>) => run(open<string>({ path, noSubdir: false, encoding: 'string', useVersions: true }))
  return {
    open: () => new LocalRegistry(path),
    // the environment stays the test's process's own, so it is not closed here
    edit: (namespace, id, text) => raw(async (rows) => {
      await rows.put(['peer', namespace, id], text, 1)
      await rows.put(['lease', namespace, id], String(Date.now() + 60_000), 1)
    }),
    empty: () => raw(async (rows) => rows.clearAsync()),
    close: () => rm(path, { recursive: true, force: true }),
  }
}, { name: 'local', ttlMs: 2000 })

const start = (t: ExecutionContext, ...args: string[]) => Child.start(t, 'local-child', ...args)
const until = (done: () => boolean | Promise<boolean>, ms = 15_000) => within(done, ms)

async function place(t: ExecutionContext): Promise<{ path: string, registry: LocalRegistry }> {
  const path = await folder()
  const registry = new LocalRegistry(path)
  t.teardown(async () => {
    await registry.close()
    await rm(path, { recursive: true, force: true })
  })
  return { path, registry }
}

/** Keeps an entry of ours listed, so that somebody sweeps. */
async function beating(t: ExecutionContext, registry: LocalRegistry, ttlMs: number): Promise<void> {
  const lease = await registry.publish(sampleEntry({ name: 'beating' }), ttlMs)
  const timer = setInterval(() => void lease.renew().catch(() => {}), ttlMs / 4)
  t.teardown(() => clearInterval(timer))
}

test('a killed process is gone from the view of another within TTL and grace', async (t) => {
  const { path, registry } = await place(t)
  await beating(t, registry, 1000)
  const watch = new Watch(registry, NS)
  const child = start(t, 'stage', path, '1000')
  await until(() => watch.ids.length === 2 && child.lines.includes('ok'))
  await child.kill()
  const id = child.lines[0]
  await until(() => watch.view!.lapsed.includes(id), 1000 + 2000 + 2000)
  t.false(watch.ids.includes(id))
})

test('a stage that shows signs of life is not taken for dead, although none of its heartbeats could be written', async (t) => {
  const { path, registry } = await place(t)
  await beating(t, registry, 1000)
  const watch = new Watch(registry, NS)
  const signs = new Alive(path)
  const entries = [sampleEntry({ name: 'busy', ttlMs: 1000 }), sampleEntry({ name: 'dead', ttlMs: 1000 })]
  const leases = await Promise.all(entries.map((entry) => registry.publish(entry, 1000)))
  const ids = entries.map(({ id }) => id) as [string, string]
  const showing = setInterval(() => void signs.show(ids[0], Date.now() + 1000), 200)
  t.teardown(() => clearInterval(showing))
  await until(() => watch.view?.lapsed.includes(ids[1]) === true)
  await sleep(500)
  t.deepEqual([watch.ids.includes(ids[0]), watch.view?.lapsed], [true, [ids[1]]])
  t.is(await leases[0]!.renew(), 'late')
  const since = performance.now()
  // signs count for a few TTLs only: a stage that can never write again holds its name and its actors no longer
  await until(() => watch.view?.lapsed.includes(ids[0]) === true)
  t.true(performance.now() - since > 4000, `${performance.now() - since} ms`)
  t.is(await leases[0]!.renew(), 'lost')
})

test('signs of life are left by heartbeats, and removed with the entry', async (t) => {
  const { path, registry } = await place(t)
  const signs = new Alive(path)
  const entry = sampleEntry()
  t.is(signs.until(entry.id), 0)
  const lease = await registry.publish(entry, 20_000)
  await lease.renew()
  const end = signs.until(entry.id)
  t.true(Math.abs(end - Date.now() - 20_000) < 10_000, String(end))
  await lease.close()
  t.is(signs.until(entry.id), 0)
  await signs.show('old', Date.now() - 2 * 3_600_000)
  await signs.show('new', Date.now())
  await signs.tidy(Date.now())
  t.deepEqual([signs.until('old') > 0, signs.until('new') > 0], [false, true])
})

test('a process that stood still for longer than its lease is told so', async (t) => {
  const { path, registry } = await place(t)
  const watch = new Watch(registry, NS)
  const child = start(t, 'stage', path, '1000')
  await until(() => child.lines.includes('ok'))
  child.process.kill('SIGSTOP')
  await sleep(1500)
  child.process.kill('SIGCONT')
  await until(() => child.lines.includes('late') && child.lines.at(-1) === 'ok')
  await until(() => watch.ids.length === 1)
  await beating(t, registry, 1000)
  child.process.kill('SIGSTOP')
  await until(() => watch.view!.lapsed.includes(child.lines[0]))
  child.process.kill('SIGCONT')
  await until(() => child.lines.at(-1) === 'lost')
  t.is(watch.ids.length, 1)
})

test('processes that write at the same moment do not undo each other', async (t) => {
  const { path, registry } = await place(t)
  const watch = new Watch(registry, NS)
  const crowd = Array.from({ length: 3 }, () => start(t, 'crowd', path))
  await until(() => crowd.every(({ lines }) => lines.includes('ready')))
  for (let i = 0; i < 40; i++) {
    for (const one of crowd) one.say(`unique-${i}`)
    await until(() => crowd.every(({ lines }) => lines.at(-1)!.endsWith(` unique-${i}`)))
    t.is(crowd.filter(({ lines }) => lines.at(-1)!.startsWith('got ')).length, 1, `unique-${i} went to one`)
  }
  await until(() => watch.ids.length === 43)
})

test('while a process is stopped inside a write the registry is away for others, who run on and recover when it ends', async (t) => {
  const { path, registry } = await place(t)
  const entry = sampleEntry()
  const lease = await registry.publish(entry, 5000)
  const watch = new Watch(registry, NS)
  await until(() => watch.ids.length === 1)
  const holder = start(t, 'hold', path)
  await until(() => holder.stopped())
  const stalls = stallMeter(t)
  await t.throwsAsync(lease.renew(), { code: 'REGISTRY_UNAVAILABLE', message: /suspended in the middle/ })
  await t.throwsAsync(lease.renew(), { code: 'REGISTRY_UNAVAILABLE' })
  t.is(watch.error, undefined, 'reading goes on')
  // neither does a new process wait on its event loop while it opens the folder
  const child = start(t, 'stage', path, '5000')
  await sleep(1000)
  t.true(stalls() < 500, `the event loop stood for ${stalls()} ms`)
  await holder.kill()
  await until(async () => await lease.renew().catch(() => '') === 'ok')
  await until(() => child.lines.includes('ok') && watch.ids.length === 2)
  const stood = Number(/\d+$/.exec(child.lines[1])![0])
  t.true(stood < 700, `the event loop of a process that opened the folder stood for ${stood} ms`)
})

test('a registry closes in time although a process is stopped inside a write', async (t) => {
  const { path, registry } = await place(t)
  const lease = await registry.publish(sampleEntry(), 5000)
  const holder = start(t, 'hold', path)
  await until(() => holder.stopped())
  await t.throwsAsync(lease.renew(), { code: 'REGISTRY_UNAVAILABLE' })
  const since = performance.now()
  await registry.close()
  t.true(performance.now() - since < 5000)
  await holder.kill()
})

test('instances of one process share the environment of a path, however it is spelled', async (t) => {
  const { path, registry } = await place(t)
  const link = `${path}-link`
  await symlink(path, link)
  const second = new LocalRegistry(link)
  const entry = sampleEntry()
  await registry.publish(entry, 15_000)
  const watch = new Watch(second, NS)
  await until(() => watch.ids.length === 1)
  const maps = await readFile('/proc/self/maps', 'utf8')
  t.is(new Set(maps.split('\n').filter((line) => line.includes(path) && line.includes('data.mdb'))).size, 1)
  await registry.close()
  await second.publish(sampleEntry(), 15_000)
  await until(() => watch.ids.length === 2)
  await second.close()
  const after = await readFile('/proc/self/maps', 'utf8')
  t.false(after.includes(path), 'the last one closes it')
  await rm(link)
})

test('a folder that was deleted under its processes is made anew and everybody listed in it', async (t) => {
  const { path, registry } = await place(t)
  const entry = sampleEntry()
  const lease = await registry.publish(entry, 15_000)
  const watch = new Watch(registry, NS)
  await until(() => watch.ids.length === 1)
  const { generation } = watch.view!
  await rm(path, { recursive: true })
  t.is(await lease.renew(), 'ok')
  const other = new LocalRegistry(path)
  const fresh = new Watch(other, NS)
  await until(() => fresh.ids.length === 1 && watch.view!.generation !== generation)
  t.deepEqual([fresh.ids, watch.ids], [[entry.id], [entry.id]])
  await other.close()
})

test('a file put back from a copy is a new generation', async (t) => {
  const { path, registry } = await place(t)
  const watch = new Watch(registry, NS)
  const [a, b] = [sampleEntry(), sampleEntry()]
  const first = await registry.publish(a, 15_000)
  const copy = await readFile(join(path, 'data.mdb'))
  const second = await registry.publish(b, 15_000)
  await until(() => watch.ids.length === 2)
  const { generation } = watch.view!
  await rm(join(path, 'data.mdb'))
  await rm(join(path, 'lock.mdb'))
  await writeFile(join(path, 'data.mdb'), copy)
  await until(() => watch.view!.generation !== generation)
  t.deepEqual([await second.renew(), await first.renew()], ['ok', 'ok'])
  await until(() => watch.ids.length === 2)
})

test('what cannot be opened is said with the path and what to try', async (t) => {
  const path = await folder()
  t.teardown(() => rm(path, { recursive: true, force: true }))
  const refused = async (at: string, hint: RegExp) => {
    const registry = new LocalRegistry(at)
    const error = await t.throwsAsync(registry.publish(sampleEntry(), 5000), { code: 'REGISTRY_UNAVAILABLE' })
    t.true(error.message.includes(at) && hint.test(error.message), error.message)
    await registry.close()
  }
  await writeFile(join(path, 'file'), 'x')
  await refused(join(path, 'file'), /pass/)
  await refused(join(path, 'file', 'below'), /pass/)
  await mkdir(join(path, 'other'))
  await writeFile(join(path, 'other', 'data.mdb'), 'this is no database, '.repeat(1000))
  await refused(join(path, 'other'), /delete/)
  const whole = new LocalRegistry(join(path, 'whole'))
  for (let i = 0; i < 20; i++) await whole.publish(sampleEntry({ announces: { much: 'x'.repeat(4000) } }), 5000)
  await whole.close()
  await mkdir(join(path, 'cut'))
  await copyFile(join(path, 'whole', 'data.mdb'), join(path, 'cut', 'data.mdb'))
  await truncate(join(path, 'cut', 'data.mdb'), 20_480)
  await refused(join(path, 'cut'), /truncated.*delete/)
  if (process.getuid?.() === 0) return // root may write everywhere
  await mkdir(join(path, 'readonly'), { mode: 0o500 })
  await refused(join(path, 'readonly'), /write/)
})

test('the default folder is made for this user alone, and one that others could have made is refused', async (t) => {
  const path = await folder()
  t.teardown(() => rm(path, { recursive: true, force: true }))
  await makeFolder(join(path, 'a', 'b'), true)
  t.deepEqual(await readdir(join(path, 'a')), ['b'])
  await chmod(join(path, 'a'), 0o777)
  await t.throwsAsync(makeFolder(join(path, 'a'), true), { code: 'REGISTRY_UNAVAILABLE', message: /chmod 700/ })
  await symlink(join(path, 'a', 'b'), join(path, 'link'))
  await t.throwsAsync(makeFolder(join(path, 'link'), true), { code: 'REGISTRY_UNAVAILABLE', message: /link/ })
  await makeFolder(join(path, 'link'), false)
})

test('importing it loads no database', (t) => {
  const source = new URL('../../registries/local/registry.js', import.meta.url).href
  const script = `await import(${JSON.stringify(source)}); process.exit(process.report.getReport().sharedObjects.some((so) => so.includes('lmdb')) ? 1 : 0)`
  t.is(spawnSync(process.execPath, ['--input-type=module', '-e', script]).status, 0)
})
