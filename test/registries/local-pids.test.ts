/** Containers that share a folder of the local registry. */
import { mkdir, readFile, readdir, stat, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'ava'
import { Environment } from '../../registries/local/environment.js'
import { Pids, pidsOf } from '../../registries/local/pids.js'
import { systemClock } from '../../src/clock.js'
import { inContainer, noContainers } from '../helpers/namespaces.js'
import { Process, tempFolder } from '../helpers/process.js'
import { until } from '../helpers/until.js'

const ELSEWHERE = /another container or machine.*pid namespace.*--pid=host.*shareProcessNamespace.*redis:/

function tests(): void {
  // a program that is pid 1, and one behind a shell, whose pids differ
  for (const [what, pids] of [['pid 1', [0, 0, 0]], ['different pids', [3, 6, 9]]] as const) {
    test(`of three containers on one folder, in which the program has ${what}, one works and two say why they do not`, async (t) => {
      t.timeout(120_000)
      const registry = `local:${join(await tempFolder(t), 'registry')}`
      const all = pids.map((before) => Process.start(t, inContainer(before)))
      const outcomes = await Promise.all(all.map((one, i) => one.ask('open', 'it', { name: `c${i}`, registry }).then(() => '', (error: Error) => error.message)))
      t.is(outcomes.filter((one) => one === '').length, 1, outcomes.join('\n'))
      for (const one of outcomes) if (one) t.regex(one, ELSEWHERE)
      // the other two may have it as soon as the first has let go
      const first = outcomes.indexOf('')
      t.truthy(await all[first]!.ask('call', 'it', `c${first}`, {}, 'who'))
      await all[first]!.kill()
      await until(async () => (await Promise.all(all.map((one, i) => i === first ? false : one.ask('ready', 'it').then(() => true, () => false)))).some(Boolean), 20_000)
    })
  }

  test('a container that was killed and started again has the folder at once', async (t) => {
    const registry = `local:${join(await tempFolder(t), 'registry')}`
    for (let i = 0; i < 3; i++) {
      const one = Process.start(t, inContainer())
      await one.ask('open', 'it', { name: `again-${i}`, registry })
      await one.kill()
    }
    t.pass()
  })

  test('processes of one container share the folder', async (t) => {
    const path = join(await tempFolder(t), 'registry')
    const [a, b] = [Process.start(t), Process.start(t)]
    await Promise.all([a.ask('open', 'it', { name: 'a', registry: `local:${path}` }), b.ask('open', 'it', { name: 'b', registry: `local:${path}` })])
    t.like(await a.ask('call', 'it', 'b', {}, 'who'), { pid: b.pid })
    t.deepEqual((await readdir(join(path, 'pids'))).sort(), [a.pid, b.pid].map(String).sort())
  })
}

const NOBODY: ReadonlySet<number> = new Set()
const own = new Set([process.pid])

test('whose a pid is', async (t) => {
  if (process.platform !== 'linux') return t.pass()
  const path = await tempFolder(t)
  const pids = new Pids(path)
  const file = join(path, 'pids', String(process.pid))
  t.is(pids.claim(NOBODY, Date.now()), 'free')
  const space = await readFile(file, 'utf8')
  t.is(pids.claim(own, Date.now()), 'free', 'another thread has it open')
  pids.settle()
  t.is(await readFile(file, 'utf8'), `${space} open`)
  t.is(pids.claim(own, Date.now()), 'free')
  for (const [text, alive, laterMs, expected] of [
    ['pid:[1] elsewhere open', own, 0, 'taken'],
    ['pid:[1] elsewhere', own, 0, 'taken'],
    ['pid:[1] elsewhere', NOBODY, 0, 'both'],
    ['', NOBODY, 0, 'both'], // it is being written
    ['pid:[1] elsewhere', NOBODY, 3000, 'free'], // it ended before it had opened it
    ['pid:[1] elsewhere open', NOBODY, 0, 'free'],
  ] as const) {
    await writeFile(file, text)
    const first = pids.claim(alive, Date.now() + laterMs)
    t.is(first === 'both' ? pids.claim(alive, Date.now() + laterMs) : first, expected, text)
  }
  for (const [text, expected] of [[`${space}`, 'free'], [`${space} open`, 'free'], ['pid:[1] elsewhere open', 'taken'], ['pid:[0]', 'taken'], ['zid', 'both'], ['', 'both']] as const) {
    await writeFile(join(path, 'pids', '123'), text)
    t.is(await pids.look(new Set([123, 456])), expected, text)
  }
  pids.leave()
  await t.throwsAsync(readFile(file), { code: 'ENOENT' })
})

test('files of processes that have ended are deleted after a minute', async (t) => {
  const path = await tempFolder(t)
  await mkdir(join(path, 'pids'))
  for (const name of ['1', '2', '3.4026531836']) await writeFile(join(path, 'pids', name), '')
  await new Pids(path).tidy(new Set([1]), Date.now())
  t.is((await readdir(join(path, 'pids'))).length, 3)
  await new Pids(path).tidy(new Set([1]), Date.now() + 61_000)
  t.deepEqual(await readdir(join(path, 'pids')), ['1'])
})

test('files in use are touched each minute, so that cleaners leave them alone', async (t) => {
  const path = await tempFolder(t)
  const environment = Environment.enter(path, systemClock)
  t.teardown(() => environment.leave())
  await environment.open()
  const files = ['data.mdb', 'lock.mdb', ...process.platform === 'linux' ? [`pids/${process.pid}`] : []].map((file) => join(path, file))
  for (const [afterMs, touched] of [[0, true], [30_000, false], [61_000, true]] as const) {
    for (const file of files) await utimes(file, 1, 1)
    await environment.tidy(1e12 + afterMs)
    for (const file of files) t.is((await stat(file)).mtimeMs, touched ? 1e12 + afterMs : 1000, file)
  }
})

test('the readers that lmdb lists', (t) => {
  t.deepEqual([...pidsOf('\t\tpid\t\t thread\t\t txnid\n         1 7f2e8a7fc640 -\n     45678 7f2e8a7fc640 12\n')], [1, 45678])
  t.deepEqual([...pidsOf('(no active readers)\n')], [])
})

if (noContainers && process.env['STAGEMESH_REQUIRE_NETNS']) test(noContainers, (t) => t.fail('they are required here'))
else if (noContainers) test.skip(noContainers, () => {})
else tests()
