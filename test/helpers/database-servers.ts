import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs'
import { chmod, chown, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import mysql from 'mysql2'
import pg from 'pg'
import { freePort } from './free-port.js'

/** With STAGEMESH_REQUIRE_SQL=1 a missing server is a failure. */
const required = process.env['STAGEMESH_REQUIRE_SQL'] === '1'
const POSTGRES = ['', ...[17, 16, 15, 14].map((version) => `/usr/lib/postgresql/${version}/bin/`)].find((folder) => runs(`${folder}initdb`)) ?? ''
const MARIADB = ['mariadbd', '/usr/sbin/mariadbd'].find(runs) ?? 'mariadbd'

export const hasPostgres = required || runs(`${POSTGRES}initdb`)
export const NO_POSTGRES = 'initdb is not installed: install the package postgresql to run these tests'
export const hasMariadb = required || runs(MARIADB)
export const NO_MARIADB = 'mariadbd is not installed: install the package mariadb-server to run these tests'

function runs(program: string): boolean {
  return spawnSync(program, ['--version']).status === 0
}

/** The ids of a user of this system; neither server runs as root. */
function idsOf(user: string): { uid: number, gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined
  const line = readFileSync('/etc/passwd', 'utf8').split('\n').find((one) => one.startsWith(`${user}:`))
  const [, , uid, gid] = line?.split(':') ?? []
  if (uid === undefined || gid === undefined) throw new Error(`there is no user ${user} on this system`)
  return { uid: Number(uid), gid: Number(gid) }
}

type Rows = readonly Record<string, unknown>[]

/** A real database server on a free port, whose folder is removed with it. */
export abstract class DatabaseServer {
  /** A user who may do everything. */
  abstract readonly url: string
  #process: ChildProcess | undefined
  #ended: Promise<unknown> = Promise.resolve()

  protected constructor(readonly port: number, protected readonly folder: string, protected readonly owner: { uid: number, gid: number } | undefined) {}

  /** Runs statements over a separate connection, and returns the rows of the last one. */
  abstract run(...statements: string[]): Promise<Rows>
  protected abstract begin(): ChildProcess
  /** The clients of the library, which are connected now. */
  abstract clients(): Promise<number>

  protected static async folderFor(name: string, ids: { uid: number, gid: number } | undefined): Promise<string> {
    // in CI, the folder for temporary files is closed to other users, of whom the server runs as one
    const base = ids && (statSync(tmpdir()).mode & 0o001) === 0 ? dirname(tmpdir()) : tmpdir()
    const folder = await mkdtemp(join(base, `stagemesh-${name}-`))
    if (ids) await chown(folder, ids.uid, ids.gid)
    await chmod(folder, 0o700)
    return folder
  }

  protected command(program: string, args: readonly string[]): void {
    const { status, stderr, stdout } = spawnSync(program, args, { ...this.owner, cwd: this.folder, env: this.#env(), encoding: 'utf8' })
    if (status !== 0) throw new Error(`${program} failed: ${stderr}${stdout}`)
  }

  protected spawned(program: string, args: readonly string[]): ChildProcess {
    return spawn(program, args, { ...this.owner, cwd: this.folder, env: this.#env(), stdio: ['ignore', 'ignore', 'pipe'] })
  }

  #env(): NodeJS.ProcessEnv {
    return { ...process.env, TMPDIR: this.folder }
  }

  async up(): Promise<void> {
    const child = this.begin()
    this.#process = child
    const lines: string[] = []
    child.stderr!.on('data', (chunk: Buffer) => { if (lines.push(String(chunk)) > 20) lines.shift() })
    let over = false
    this.#ended = new Promise<void>((resolve) => child.once('exit', () => resolve()).once('error', () => resolve())).then(() => { over = true })
    for (const end = performance.now() + 60_000; ;) {
      const said = await this.run('select 1').then(() => undefined, (error: Error) => error.message)
      if (said === undefined) return
      if (over || performance.now() > end) throw new Error(`the server did not start (${said}):\n${lines.join('')}`)
      await new Promise((resolve) => { setTimeout(resolve, 50) })
    }
  }

  async stop(): Promise<void> {
    this.#process?.kill('SIGCONT')
    this.#process?.kill(this instanceof PostgresServer ? 'SIGINT' : 'SIGTERM')
    await this.#ended
  }

  async kill(): Promise<void> {
    this.#process?.kill('SIGKILL')
    await this.#ended
  }

  async restart(): Promise<void> {
    await this.stop()
    await this.up()
  }

  /** Behaves like a machine that hangs, from now on: connections stay open, but nothing is answered. */
  async pause(): Promise<void> {
    const all = this.#pids()
    for (const pid of all) process.kill(pid, 'SIGSTOP')
    const stopped = (pid: number): boolean => readdirSync(`/proc/${pid}/task`).every((id) => / [TZ] /.test(readFileSync(`/proc/${pid}/task/${id}/stat`, 'utf8').replace(/^.*\)/, '')))
    while (!all.every(stopped)) await new Promise((resolve) => { setTimeout(resolve, 10) })
  }

  resume(): void {
    for (const pid of this.#pids()) process.kill(pid, 'SIGCONT')
  }

  /** The server's process, and those that it has started: a Postgres has one for each connection. */
  #pids(): number[] {
    const pid = this.#process?.pid
    if (pid === undefined) return []
    return [pid, ...readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number)]
  }

  async close(): Promise<void> {
    if (this instanceof PostgresServer) await this.stop()
    else await this.kill()
    await rm(this.folder, { recursive: true, force: true, maxRetries: 5 })
  }
}

export class PostgresServer extends DatabaseServer {
  readonly url: string

  private constructor(port: number, folder: string, ids: { uid: number, gid: number } | undefined, private readonly settings: readonly string[]) {
    super(port, folder, ids)
    this.url = `postgres://postgres@127.0.0.1:${port}/postgres`
  }

  /** @param settings  as `name=value`; a password is wanted from everybody but the user postgres */
  static async start(...settings: string[]): Promise<PostgresServer> {
    const ids = idsOf('postgres')
    const folder = await PostgresServer.folderFor('postgres', ids)
    const server = new PostgresServer(await freePort(), folder, ids, settings)
    try {
      server.command(`${POSTGRES}initdb`, ['-D', join(folder, 'data'), '-U', 'postgres', '-A', 'scram-sha-256', '--auth-local=trust', '-E', 'UTF8', '--locale=C', '-N'])
      server.command('sh', ['-c', `printf 'host all,replication postgres 127.0.0.1/32 trust\\nhost all all 127.0.0.1/32 scram-sha-256\\n' > data/pg_hba.conf`])
      await server.up()
      return server
    } catch (error) {
      await server.close()
      throw error
    }
  }

  /** A standby that follows this server, and takes over with `select pg_promote()`. */
  async standby(): Promise<PostgresServer> {
    const folder = await PostgresServer.folderFor('postgres', this.owner)
    const server = new PostgresServer(await freePort(), folder, this.owner, this.settings)
    try {
      server.command(`${POSTGRES}pg_basebackup`, ['-D', join(folder, 'data'), '-h', '127.0.0.1', '-p', String(this.port), '-U', 'postgres', '-R', '-c', 'fast'])
      await server.up()
      return server
    } catch (error) {
      await server.close()
      throw error
    }
  }

  protected begin(): ChildProcess {
    const fixed = ['fsync=off', 'max_connections=1000', 'shared_buffers=64MB', 'listen_addresses=127.0.0.1', `unix_socket_directories=`, `port=${this.port}`]
    return this.spawned(`${POSTGRES}postgres`, ['-D', join(this.folder, 'data'), ...[...fixed, ...this.settings].flatMap((one) => ['-c', one])])
  }

  async run(...statements: string[]): Promise<Rows> {
    const client = new pg.Client({ connectionString: this.url, application_name: 'admin' })
    client.on('error', () => {})
    try {
      await client.connect()
      let rows: Rows = []
      for (const text of statements) rows = (await client.query(text)).rows as Rows
      return rows
    } finally {
      await client.end().catch(() => {})
    }
  }

  async clients(): Promise<number> {
    return Number((await this.run(`select count(*) as n from pg_stat_activity where application_name = 'stagemesh'`))[0]!['n'])
  }
}

export class MariadbServer extends DatabaseServer {
  readonly url: string

  private constructor(port: number, folder: string, ids: { uid: number, gid: number } | undefined, private readonly settings: readonly string[]) {
    super(port, folder, ids)
    this.url = `mariadb://root@127.0.0.1:${port}/test`
  }

  /** @param settings  as `name=value` */
  static async start(...settings: string[]): Promise<MariadbServer> {
    const ids = idsOf('mysql')
    const folder = await MariadbServer.folderFor('mariadb', ids)
    const server = new MariadbServer(await freePort(), folder, ids, settings)
    try {
      const install = ['mariadb-install-db', '/usr/bin/mariadb-install-db'].find((one) => existsSync(one) || runs(one)) ?? 'mariadb-install-db'
      server.command(install, ['--no-defaults', `--datadir=${join(folder, 'data')}`, '--auth-root-authentication-method=normal', '--skip-test-db'])
      await server.up()
      await server.run('create database if not exists test')
      return server
    } catch (error) {
      await server.close()
      throw error
    }
  }

  protected begin(): ChildProcess {
    const fixed = [
      `datadir=${join(this.folder, 'data')}`, `port=${this.port}`, 'bind-address=127.0.0.1', `socket=${join(this.folder, 'socket')}`, `pid-file=${join(this.folder, 'pid')}`,
      'max_connections=1000', 'innodb_flush_log_at_trx_commit=0', 'skip-name-resolve', 'innodb_buffer_pool_size=64M', 'debug-no-sync', 'innodb_flush_method=nosync',
    ]
    return this.spawned(MARIADB, ['--no-defaults', ...[...fixed, ...this.settings].map((one) => `--${one}`)])
  }

  async run(...statements: string[]): Promise<Rows> {
    const connection = mysql.createConnection({ host: '127.0.0.1', port: this.port, user: 'root', connectTimeout: 60_000 })
    connection.on('error', () => {})
    try {
      let rows: Rows = []
      for (const text of statements) {
        rows = await new Promise<Rows>((resolve, reject) => {
          connection.query(text, (error: Error | null, result: unknown) => error ? reject(error) : resolve(Array.isArray(result) ? result as Rows : []))
        })
      }
      return rows
    } finally {
      connection.destroy()
    }
  }

  async clients(): Promise<number> {
    return Number((await this.run(`select count(*) as n from information_schema.processlist where command <> 'Daemon' and id <> connection_id()`))[0]!['n'])
  }
}
