import { spawn, spawnSync } from 'node:child_process'
import { chown, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { freePort } from './free-port.js'

export const hasPooler = process.env['STAGEMESH_REQUIRE_SQL'] === '1' || spawnSync('pgbouncer', ['--version']).status === 0
export const NO_POOLER = 'pgbouncer is not installed: install the package pgbouncer to run this test'

/** A PgBouncer in transaction mode with two server connections, in front of the Postgres at that port. @returns its URL */
export async function startPooler(t: { teardown(fn: () => Promise<void>): void }, target: number): Promise<string> {
  const [folder, port] = [await mkdtemp(join((await stat(tmpdir())).mode & 0o001 ? tmpdir() : dirname(tmpdir()), 'stagemesh-pooler-')), await freePort()]
  const settings = [
    '[databases]', `* = host=127.0.0.1 port=${target} user=postgres`,
    '[pgbouncer]', 'listen_addr = 127.0.0.1', `listen_port = ${port}`, 'unix_socket_dir =', 'auth_type = any', 'pool_mode = transaction', 'default_pool_size = 2',
  ]
  await writeFile(join(folder, 'settings.ini'), settings.join('\n'))
  const [, , uid = '', gid = ''] = (await readFile('/etc/passwd', 'utf8')).split('\n').find((line) => line.startsWith('postgres:'))?.split(':') ?? []
  const ids = process.getuid?.() === 0 ? { uid: Number(uid), gid: Number(gid) } : {}
  if (ids.uid !== undefined) for (const path of [folder, join(folder, 'settings.ini')]) await chown(path, ids.uid, ids.gid)
  const child = spawn('pgbouncer', [join(folder, 'settings.ini')], { ...ids, stdio: ['ignore', 'ignore', 'pipe'] })
  const ended = new Promise((resolve) => child.once('exit', resolve).once('error', resolve))
  t.teardown(async () => {
    child.kill('SIGKILL')
    await ended
    await rm(folder, { recursive: true, force: true })
  })
  await new Promise<void>((resolve, reject) => {
    let said = ''
    child.stderr.on('data', (chunk: Buffer) => {
      said += String(chunk)
      if (said.includes('process up')) resolve()
    })
    child.once('error', reject)
    child.once('exit', () => reject(new Error(`pgbouncer did not start:\n${said}`)))
  })
  return `postgres://postgres@127.0.0.1:${port}/postgres`
}
