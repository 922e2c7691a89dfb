/** The store of the local registry: the suite of stores, and processes that are killed and stopped. */
import { execFileSync, spawnSync } from 'node:child_process'
import { access, chmod, constants, mkdtemp, rm, statfs } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import test, { type ExecutionContext } from 'ava'
import { open } from 'lmdb'
import { LocalRegistry } from '../../registries/local/registry.js'
import type { StageError } from '../../src/errors.js'
import type { Fence, Store } from '../../src/types.js'
import { claimOf, commitOf, hold } from '../helpers/claims.js'
import { Child } from '../helpers/printing-child.js'
import { RemoteStore } from '../helpers/remote-store.js'
import { until as within } from '../helpers/until.js'
import { storeSuite } from '../suites/store.js'

const NS = 'suite'
const UNAVAILABLE = { code: 'STORE_UNAVAILABLE' }
const folder = (parent = tmpdir()) => mkdtemp(join(parent, 'stagemesh-test-'))
/** Where much can be written without a disk that others wait for meanwhile, if there is such a place. */
async function roomy(bytes: number): Promise<string> {
  const memory = '/dev/shm'
  const room = await statfs(memory).then(({ bavail, bsize }) => bavail * bsize, () => 0)
  return folder(room > 2 * bytes && await access(memory, constants.W_OK).then(() => true, () => false) ? memory : tmpdir())
}
// the environment is that of the test's own process, so it is not closed where this is used
const raw = (path: string) => open<string>({ path, noSubdir: false, encoding: 'string', useVersions: true })
const until = (done: () => boolean | Promise<boolean>, ms = 30_000) => within(done, ms)
const canLimit = spawnSync('prlimit', ['--version']).status === 0

storeSuite(test, async () => {
  const path = await folder()
  return {
    open: () => new LocalRegistry(path),
    forget: async (namespace, actor) => { await raw(path).remove(['actor', namespace, actor]) },
    empty: () => raw(path).clearAsync(),
    close: () => rm(path, { recursive: true, force: true }),
  }
}, { name: 'local' })

const start = (t: ExecutionContext, ...args: string[]) => Child.start(t, 'store-child', ...args)

async function place(t: ExecutionContext, bytes = 32 * 2 ** 20): Promise<{ path: string, registry: LocalRegistry, store: Store }> {
  const path = await roomy(bytes)
  const registry = new LocalRegistry(path)
  t.teardown(async () => {
    await registry.close()
    await rm(path, { recursive: true, force: true })
  })
  return { path, registry, store: registry.store(NS) }
}

/** The last version that a child was told is committed; each before it was told once, in order. */
function acknowledged(t: ExecutionContext, { lines }: Child, from: number): number {
  const versions = lines.flatMap((line) => line.startsWith('ok ') ? [Number(line.slice(3))] : [])
  t.deepEqual(versions, versions.map((_, i) => from + i + 1))
  return versions.at(-1) ?? from
}

test('P16: nothing that was acknowledged is lost when others open the folder meanwhile', async (t) => {
  const { path } = await place(t)
  const children = [start(t, 'many', path), start(t, 'many', path)]
  await until(() => children.every(({ lines }) => lines.includes('ready')))
  for (let i = 0; i < 100; i++) {
    const other = new LocalRegistry(path)
    await other.store(NS).look('x')
    await other.close()
  }
  for (const child of children) child.say('enough')
  await until(() => children.every(({ lines }) => lines.includes('closed')))
  t.deepEqual(children.flatMap(({ lines }) => lines.filter((line) => line.startsWith('lost'))), [])
  t.true(children.every(({ lines }) => Number(/^acknowledged (\d+)$/m.exec(lines.join('\n'))?.[1]) > 50))
})

test('processes that claim at the same moment share the actors among them', async (t) => {
  const { path, store } = await place(t)
  await store.look('x')
  const crowd = Array.from({ length: 3 }, () => start(t, 'claim', path))
  await until(() => crowd.every(({ lines }) => lines.includes('ready')))
  for (const one of crowd) one.say('go')
  await until(() => crowd.every(({ lines }) => lines.includes('done')))
  const got = crowd.flatMap(({ lines }) => lines.filter((line) => line.startsWith('got')))
  t.is(got.length, 40)
  t.is(new Set(got).size, 40, 'each went to one')
})

test('a process that is killed while it commits has lost nothing that was acknowledged', async (t) => {
  const { path, store } = await place(t)
  let from = 0
  let owner: Fence | undefined
  for (let round = 0; round < 4; round++) {
    if (owner) await store.release('x', owner)
    const child = start(t, 'commit', path)
    await until(() => child.lines.length > 20 + round * 7)
    await child.kill()
    const said = acknowledged(t, child, from)
    owner = await hold(store, 'x', { ...claimOf(), over: /^ready (.*)$/.exec(child.lines[0])![1] })
    const { version, data } = owner as Awaited<ReturnType<typeof hold>>
    t.true(version === said || version === said + 1, `${version} was found, ${said} was acknowledged`)
    t.true(data!.equals(Buffer.alloc(20_000, `${child.process.pid} ${version}`)), 'and it is whole')
    from = version
  }
})

test('a process that is stopped while it commits loses nothing, doubles nothing, and is refused once it was taken over', async (t) => {
  const { path } = await place(t)
  const store = await RemoteStore.start(t, path)
  const child = start(t, 'commit', path)
  await until(() => child.lines.length > 10)
  const others = await hold(store, 'y')
  let mine = 0
  for (let round = 0; round < 12; round++) {
    child.process.kill('SIGSTOP')
    await until(() => child.stopped())
    // if it was stopped inside a write, this is refused in time; and goes on as soon as the process does
    const commit = commitOf(mine + 1)
    const answer = await store.commit('y', others, commit).catch((error: StageError) => error.code)
    child.process.kill('SIGCONT')
    if (answer === 'STORE_UNAVAILABLE') await until(async () => await store.commit('y', others, commit).catch(() => '') === 'ok')
    else t.is(answer, 'ok')
    mine++
    await sleep(5)
  }
  t.is((await store.look('y'))!.version, mine, 'each was made once')
  child.process.kill('SIGSTOP')
  await until(() => child.stopped())
  let owner: Awaited<ReturnType<typeof hold>> | undefined
  const takeover = { ...claimOf(), over: /^ready (.*)$/.exec(child.lines[0])![1] }
  await until(async () => {
    owner = await hold(store, 'x', takeover).catch(() => undefined)
    if (!owner) child.process.kill('SIGCONT') // it held the lock: nobody can take anything over before it goes on
    return owner !== undefined
  })
  child.process.kill('SIGCONT')
  await until(() => child.lines.includes('fenced'))
  const said = acknowledged(t, child, 0)
  t.true(owner!.version === said || owner!.version === said + 1, `${owner!.version} was found, ${said} was acknowledged`)
  const known = (await store.look('x'))!
  t.deepEqual([known.version, known.owner?.activation], [owner!.version, owner!.activation], 'nothing came after')
  const stood = await store.stalls()
  t.true(stood < 2000, `the event loop stood for ${stood} ms`)
})

test('while a process is stopped inside a write nothing is written, nothing waits for long, and nothing is lost or doubled', async (t) => {
  const { path } = await place(t)
  const store = await RemoteStore.start(t, path)
  const owner = await hold(store, 'x')
  t.is(await store.commit('x', owner, commitOf(1, 'first')), 'ok')
  const holder = Child.start(t, 'local-child', 'hold', path)
  await until(() => holder.stopped())
  const commit = commitOf(2, 'second')
  const since = performance.now()
  await Promise.all([
    t.throwsAsync(store.commit('x', owner, commit), { ...UNAVAILABLE, message: /the store local:.*suspended in the middle/ }),
    t.throwsAsync(store.claim('y', claimOf()), UNAVAILABLE),
    t.throwsAsync(store.release('x', owner), UNAVAILABLE),
  ])
  t.true(performance.now() - since < 5000)
  const again = performance.now()
  for (let i = 0; i < 50; i++) await t.throwsAsync(store.commit('x', owner, commit), { ...UNAVAILABLE, message: /suspended in the middle/ })
  t.true(performance.now() - again < 20_000, 'what would only wait behind others is refused at once, and not after 3 s each')
  t.is((await store.look('x'))!.data, 'first', 'reading goes on')
  t.deepEqual(await store.due(1), [])
  await holder.kill()
  await until(async () => await store.claim('z', claimOf()).then(() => true, () => false))
  // the three were under way, and have been done one after the other
  const known = (await store.look('x'))!
  t.deepEqual([known.version, known.data, known.owner], [2, 'second', undefined])
  t.is(await store.commit('x', await hold(store, 'x'), commitOf(3)), 'ok')
  const stood = await store.stalls()
  t.true(stood < 2000, `the event loop stood for ${stood} ms`)
})

test('a commit that could not be made in time, and is made later, is recognised when it is tried again', async (t) => {
  const { path } = await place(t)
  const store = await RemoteStore.start(t, path)
  const owner = await hold(store, 'x')
  const holder = Child.start(t, 'local-child', 'hold', path)
  await until(() => holder.stopped())
  const commit = commitOf(1, 'first')
  await t.throwsAsync(store.commit('x', owner, commit), UNAVAILABLE)
  await holder.kill()
  await until(async () => await store.commit('x', owner, commit).catch(() => '') === 'ok')
  t.is((await store.look('x'))!.version, 1)
  t.is(await store.commit('x', owner, commitOf(2)), 'ok')
})

test('a process that commits a large state and then computes holds nobody up', async (t) => {
  const { path, store } = await place(t)
  const owner = await hold(store, 'y')
  const child = start(t, 'busy', path)
  const meanwhile = new Set<number>()
  for (let version = 1; !child.lines.includes('closed'); version++) {
    const before = child.lines.length
    t.is(await store.commit('y', owner, commitOf(version)), 'ok')
    if (child.lines.at(-1) === 'computing' && child.lines.length === before) meanwhile.add(before)
    await sleep(20)
  }
  t.deepEqual(child.lines, ['ready', 'computing', 'ok', 'computing', 'ok', 'closed'])
  t.is(meanwhile.size, 2, 'each time others have committed while it computed')
})

test('a store grows beyond its first map, also for those who have it open', async (t) => {
  const { path, store } = await place(t, 300 * 2 ** 20)
  const reader = await RemoteStore.start(t, path)
  const data = Buffer.alloc(4 * 2 ** 20)
  for (let i = 1; i <= 70; i++) {
    const owner = await hold(store, `x${i}`)
    data.fill(i)
    t.is(await store.commit(`x${i}`, owner, { id: `commit-${i}`, version: 1, data }), 'ok')
    if (i % 23 !== 0 && i !== 70) continue
    const found = (await reader.look(`x${i}`))!.data!
    t.is(found, String.fromCharCode(i).repeat(data.length))
  }
  t.is((await store.look('x1'))!.data![0], 1)
  const other = new LocalRegistry(path)
  t.is((await other.store(NS).look('x70'))!.data![5], 70)
  await other.close()
})

const limited = canLimit ? test : test.skip
limited(`a full disk is said, ends nobody, and what was refused can be done once there is room${canLimit ? '' : ': prlimit of util-linux is not installed'}`, async (t) => {
  const { path } = await place(t)
  const child = start(t, 'fill', path)
  await until(() => child.lines.includes('ready'))
  const room = (bytes: string) => execFileSync('prlimit', ['--pid', String(child.process.pid), `--fsize=${bytes}:unlimited`])
  const commit = async (): Promise<string> => {
    const { length } = child.lines
    child.say('go on')
    await until(() => child.lines.length > length)
    return child.lines[length]
  }
  room(String(5 * 2 ** 20))
  const answers: string[] = []
  while (answers.length < 20 && !answers.at(-1)?.startsWith('STORE')) answers.push(await commit())
  t.deepEqual(new Set(answers.slice(0, -1)), new Set(['ok']))
  t.regex(answers.at(-1)!, /^STORE_UNAVAILABLE the store local:.*the disk is full.*free some/)
  t.regex(await commit(), /^STORE_UNAVAILABLE/)
  room('unlimited')
  t.is(await commit(), 'ok')
  t.is(await commit(), 'ok')
  const registry = new LocalRegistry(path)
  t.is((await registry.store(NS).look('x'))!.version, answers.length + 1)
  await registry.close()
  child.say('end')
  await child.ended
  t.deepEqual([child.lines.at(-1), child.process.exitCode], ['closed', 0])
})

test('a folder that may not be written to is said, with the path and what to do', async (t) => {
  const { path, registry, store } = await place(t)
  await hold(store, 'x')
  await registry.close()
  for (const one of ['data.mdb', 'lock.mdb']) await chmod(join(path, one), 0o444)
  await chmod(path, 0o555)
  // root may write everywhere, so somebody else has to try
  const somebody = process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : {}
  const child = Child.with(t, somebody, 'store-child', 'look', path)
  await child.ended
  if (child.lines.length === 0) return t.pass('nobody else than root can read these files or run this Node, so nobody else can try')
  t.is(child.lines.length, 3, child.lines.join('\n'))
  t.true(child.lines[1].startsWith(`STORE_UNAVAILABLE the store local:${path} cannot be used: `) && /write to/.test(child.lines[1]), child.lines[1])
})

test('a folder that was deleted under a store is another store', async (t) => {
  const { path, store } = await place(t)
  const owner = await hold(store, 'x')
  await store.commit('x', owner, commitOf(1))
  await rm(path, { recursive: true })
  const [one, two, three] = await Promise.all([store.commit('x', owner, commitOf(2)), store.look('x'), store.claim('x', { ...claimOf(), floor: owner.epoch })])
  t.deepEqual([one, two], ['fenced', undefined])
  t.true('epoch' in three && three.epoch > owner.epoch)
  const other = new LocalRegistry(path)
  t.is((await other.store(NS).look('x'))!.version, 0, 'it is the one that others see')
  await other.close()
})

test('what somebody wrote into the rows by hand is as if there were none', async (t) => {
  const { path, store } = await place(t)
  const owner = await hold(store, 'x')
  for (const text of ['', '{', 'null', '[]', '{}', '{"epoch":"5","version":1,"commit":""}', '{"epoch":1e400,"version":1,"commit":""}', '5']) {
    await raw(path).put(['actor', NS, 'x'], text, 5)
    t.is(await store.look('x'), undefined)
    t.is(await store.commit('x', owner, commitOf(1)), 'fenced')
    t.is((await hold(store, 'x')).version, 0)
  }
  await raw(path).put(['wake', NS, 5, 'nobody'], '', 1)
  t.deepEqual(await store.due(10), [])
})
