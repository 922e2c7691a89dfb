/** The registries whose load is measured, each on a server of its own that tells what it has spent. */
import { execFile, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync } from 'node:fs'
import { chmod, chown } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { Redis } from 'ioredis'
import { RedisRegistry, type Registry, type Stage } from 'stagemesh'
import { SqlRegistry } from 'stagemesh/registries/sql'
import { freePort } from './free-port.js'
import { startRedis } from './redis.js'

/** What a server has spent since it started. */
export interface Spent {
  /** Requests that it has answered; statements, on Postgres. */
  readonly requests: number
  /** Of Redis, the bytes that it has sent; of Postgres, those on the network in both directions, with their headers. */
  readonly bytes: number
  /** Seconds of processor time. */
  readonly cpu: number
}

export interface Kind {
  readonly title: string
  /** @param folder  for its data @returns its URL */
  start(folder: string): Promise<string>
  registry(url: string): Registry
  /** Reads the counters, whenever the function that it resolves with is called. */
  meter(url: string): Promise<() => Promise<Spent>>
}

export const wait = (ms: number): Promise<void> => new Promise((resolve) => { setTimeout(resolve, ms) })

/** Stages on one registry that all know each other. @param make  makes one, with a registry of its own as in a process of its own */
export async function crowd(count: number, make: (name: string) => Stage): Promise<Stage[]> {
  const stages: Stage[] = []
  while (stages.length < count) {
    const some = Array.from({ length: Math.min(20, count - stages.length) }, (_, i) => make(`stage-${stages.length + i}`))
    stages.push(...some)
    await Promise.all(some.map((stage) => stage.ready()))
  }
  await known(stages, count - 1)
  return stages
}

/** Resolves when each of the stages knows that many peers. */
export async function known(stages: readonly Stage[], peers: number): Promise<void> {
  while (!stages.every((stage) => stage.peers().length === peers)) await wait(2)
}

const run = promisify(execFile)
const numberIn = (text: string, name: string): number => Number(new RegExp(`${name}:([\\d.]+)`).exec(text)?.[1])

export const redis: Kind = {
  title: 'Redis',
  start: startRedis,
  registry: (url) => new RedisRegistry(url),
  async meter(url) {
    const client = new Redis(url)
    let asked = 0
    return async () => {
      const text = await client.info()
      return {
        requests: numberIn(text, 'total_reads_processed') - asked++,
        bytes: numberIn(text, 'total_net_output_bytes'),
        cpu: numberIn(text, 'used_cpu_user') + numberIn(text, 'used_cpu_sys'),
      }
    }
  },
}

const BIN = ['', ...[17, 16, 15, 14].map((version) => `/usr/lib/postgresql/${version}/bin/`)].find((path) => path !== '' && existsSync(`${path}initdb`)) ?? ''

export const postgres: Kind = {
  title: 'Postgres',
  // not in the folder of the run, which the user of Postgres may not enter
  async start() {
    const [port, data] = [await freePort(), join(mkdtempSync('/tmp/stagemesh-bench-'), 'data')]
    const ids = await owner()
    if (ids) {
      await chown(join(data, '..'), ids.uid, ids.gid)
      await chmod(join(data, '..'), 0o700)
    }
    const at = { ...ids, cwd: '/tmp' }
    await run(`${BIN}initdb`, ['-D', data, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--locale=C', '-N'], at)
    const settings = [`port=${port}`, 'listen_addresses=127.0.0.1', 'unix_socket_directories=', 'max_connections=2500', 'shared_buffers=128MB', 'shared_preload_libraries=pg_stat_statements']
    const server = spawn(`${BIN}postgres`, ['-D', data, ...settings.flatMap((one) => ['-c', one])], { ...at, stdio: 'ignore' })
    process.once('exit', () => {
      server.kill('SIGKILL')
      spawn('rm', ['-rf', join(data, '..')], { detached: true, stdio: 'ignore' }).unref()
    })
    const url = `postgres://postgres@127.0.0.1:${port}/postgres?pid=${server.pid}`
    while (!await ask(url, 'create extension if not exists pg_stat_statements').then(() => true, () => false)) await wait(50)
    return url
  },
  registry: (url) => new SqlRegistry({ url: url.replace(/\?.*/, '') }),
  async meter(url) {
    const pid = Number(new URL(url).searchParams.get('pid'))
    return async () => {
      const requests = Number(await ask(url, `select sum(calls) from pg_stat_statements where query not like '%pg_stat_statements%'`))
      const [, received = ''] = /lo:\s*(\d+)/.exec(readFileSync('/proc/net/dev', 'utf8')) ?? []
      return { requests, bytes: Number(received), cpu: cpuOf(pid) }
    }
  },
}

const ask = async (url: string, sql: string): Promise<string> => (await run('psql', ['-XAt', url.replace(/\?.*/, ''), '-c', sql])).stdout.trim()

/** The user that Postgres runs as, because it refuses to run as root. */
async function owner(): Promise<{ uid: number, gid: number } | undefined> {
  if (process.getuid?.() !== 0) return undefined
  const id = async (flag: string): Promise<number> => Number((await run('id', [flag, 'postgres'])).stdout)
  return { uid: await id('-u'), gid: await id('-g') }
}

/** The seconds of processor time of a process and of those that it started, also of those that have ended. */
function cpuOf(pid: number): number {
  const times = (one: number): number[] => readFileSync(`/proc/${one}/stat`, 'utf8').replace(/^.*\) /, '').split(' ').slice(11, 15).map(Number)
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number)
  const all = children.flatMap((one) => { try { return times(one) } catch { return [] } })
  return [...times(pid), ...all].reduce((sum, ticks) => sum + ticks, 0) / 100
}
