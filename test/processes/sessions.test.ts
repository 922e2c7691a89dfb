/** One folder for each user, in every session that the process may run in. */
import { join } from 'node:path'
import test from 'ava'
import type { StageError } from '../../src/errors.js'
import { Process, tempFolder } from '../helpers/process.js'

const unix = process.platform === 'win32' ? test.skip : test
const folder = `/tmp/stagemesh-${process.getuid?.()}`

// all processes of this user share the folder: a namespace separates the tests
const namespaceOf = (title: string): string => `${title}-${process.pid}`

unix('processes of one user find each other on local:, in every session', async (t) => {
  t.timeout(120_000)
  const other = await tempFolder(t)
  const environments: Record<string, Record<string, string | undefined>> = {
    login: { XDG_RUNTIME_DIR: other, TMPDIR: undefined, STAGE_FOLDER: undefined },
    cron: { XDG_RUNTIME_DIR: undefined, TMPDIR: undefined, STAGE_FOLDER: undefined, HOME: undefined },
    shell: { XDG_RUNTIME_DIR: undefined, TMPDIR: other, TMP: other, TEMP: other, STAGE_FOLDER: '' },
    sudo: { XDG_RUNTIME_DIR: '/run/user/12345', TMPDIR: undefined, STAGE_FOLDER: undefined },
  }
  const all = Object.entries(environments).map(([name, env]) => ({ name, process: Process.start(t, { env: { ...process.env, ...env } }) }))
  await Promise.all(all.map(({ name, process }) => process.ask('open', 'it', { name, registry: 'local:', options: { namespace: namespaceOf('sessions') } })))
  for (const from of all) for (const to of all) if (from !== to) t.like(await from.process.ask('call', 'it', to.name, {}, 'who'), { pid: to.process.pid })
  for (const { process } of all) t.is(await process.ask('close', 'it').then((ms) => ms < 15_000), true)
})

unix('NO_SUCH_PEER names the folder of the registry', async (t) => {
  const place = join(await tempFolder(t), 'ours')
  for (const [env, registry, expected] of [
    [{ STAGE_FOLDER: undefined }, 'local:', folder],
    [{ STAGE_FOLDER: place }, 'local:', place],
    [{ STAGE_FOLDER: undefined }, `local:${place}2`, `${place}2`],
  ] as const) {
    const one = Process.start(t, { env: { ...process.env, ...env } })
    await one.ask('open', 'it', { name: 'one', registry, options: { namespace: namespaceOf('nobody') } })
    for (const [to, options] of [['two', {}], ['one', { self: false }]] as const) {
      const error = await t.throwsAsync<StageError>(one.ask('call', 'it', to, { timeoutMs: 300, ...options }, 'who'))
      t.is(error.code, 'NO_SUCH_PEER')
      t.true(error.message.includes(`(local:${expected})`), error.message)
    }
    await one.ask('close', 'it')
  }
})
