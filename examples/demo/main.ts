/**
 * The demo: `npm run demo`, or `npm run demo -- --registry redis://127.0.0.1:6379`.
 *
 * Starts each role as a separate process and supervises them. The roles share only the registry and the namespace,
 * passed in the environment, and find each other by name.
 */
import { fork, type ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { keysOf } from 'stagemesh/registries/redis/scripts'
import { actorKeys } from 'stagemesh/registries/redis/store-scripts'
import type { Message } from './role.js'

const LIMIT_MS = 19_000
const LEAVE_MS = 3000

const started = performance.now()
const wanted = wantedRegistry()
const folder = await mkdtemp(join(tmpdir(), 'stagemesh-demo-'))
const registry = wanted ?? `local:${join(folder, 'registry')}`
const namespace = `demo-${randomBytes(4).toString('hex')}`

const children = new Set<ChildProcess>()
const killed = new Set<ChildProcess>()
let leaving = false
let fail: (why: Error) => void = () => {}
const failed = new Promise<never>((_, reject) => { fail = reject })
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => fail(new Error(`stopped by ${signal}`)))
const limit = setTimeout(() => fail(new Error(`it did not end within ${LIMIT_MS / 1000} s`)), LIMIT_MS)

try {
  await Promise.race([run(), failed])
  await leave()
  console.log(`\nAll as expected, in ${((performance.now() - started) / 1000).toFixed(1)} s.`)
} catch (error) {
  console.error(`\nThe demo failed: ${error instanceof Error ? error.message : String(error)}`)
  process.exitCode = 1
  await leave()
} finally {
  clearTimeout(limit)
  await forget().catch(() => {}) // an unreachable Redis has no data of this run
  await rm(folder, { recursive: true, force: true })
}

/** The registry from the command line; undefined for the embedded registry in a folder that lasts as long as the demo. */
function wantedRegistry(): string | undefined {
  try {
    const { registry } = parseArgs({ options: { registry: { type: 'string' } } }).values
    if (registry === undefined || /^(rediss?(\+(sentinel|cluster))?|local|postgres|mysql|mariadb|sqlite):/.test(registry)) return registry
  } catch {}
  console.error('usage: npm run demo [-- --registry redis://127.0.0.1:6379 | rediss://… | postgres://… | mariadb://… | sqlite:/path | local:/path]')
  return process.exit(2)
}

async function run(): Promise<void> {
  console.log(`stagemesh demo\n   registry  ${registry.replace(/\/\/[^@/]*@/, '//')}\n   namespace ${namespace}`)
  for (const role of ['greeter', 'greeter', 'receiver']) start(role)
  await done(armed(start('caller')))
  for (const role of ['arena', 'arena', 'watcher']) start(role)
  await done(armed(start('attacker')))
  await done(start('outsider', { STAGE_NAMESPACE: `${namespace}-other` }))
}

function start(role: string, more: NodeJS.ProcessEnv = {}): ChildProcess {
  const env = { ...process.env, STAGE_REGISTRY: registry, STAGE_NAMESPACE: namespace, STAGE_HOST: '', DEMO_FOLDER: folder, ...more }
  const child = fork(fileURLToPath(new URL(`./${role}.js`, import.meta.url)), { env })
  children.add(child)
  child.on('message', (message: Message) => {
    if ('failed' in message) fail(new Error(`${role} (process ${child.pid}): ${message.failed}`))
  })
  child.once('error', fail)
  child.once('exit', (code, signal) => {
    children.delete(child)
    if (!leaving && !killed.has(child)) fail(new Error(`${role} (process ${child.pid}) ended with ${signal ?? code}`))
  })
  return child
}

/** Lets a role have other roles killed, by process id. */
function armed(child: ChildProcess): ChildProcess {
  child.on('message', (message: Message) => {
    const victim = 'kill' in message ? [...children].find((one) => one.pid === message.kill) : undefined
    if (!victim) return
    killed.add(victim)
    victim.once('exit', () => child.send({ killed: victim.pid }))
    victim.kill('SIGKILL')
  })
  return child
}

async function done(child: ChildProcess): Promise<void> {
  for (;;) {
    const [message] = await once(child, 'message') as [Message]
    if ('done' in message) return
  }
}

/** Disconnects the roles, upon which each closes its stage; a role that takes too long is killed. */
async function leave(): Promise<void> {
  if (leaving) return
  leaving = true
  const gone = [...children].map(async (child) => {
    const exit = once(child, 'exit')
    const late = setTimeout(() => child.kill('SIGKILL'), LEAVE_MS)
    if (child.connected) child.disconnect()
    await exit
    clearTimeout(late)
  })
  await Promise.all(gone)
}

/** Deletes the keys of this run from a Redis, which would keep them: both namespaces, and the player. */
async function forget(): Promise<void> {
  if (!/^rediss?:/.test(registry)) return // sentinels and clusters keep the keys, under the namespace of this run
  const { Redis } = await import('ioredis')
  const redis = new Redis(registry, { lazyConnect: true, maxRetriesPerRequest: 0, retryStrategy: null })
  redis.on('error', () => {})
  try {
    await redis.connect()
    const actors = actorKeys(namespace)
    for (const key of [...keysOf(namespace), ...keysOf(`${namespace}-other`), actors.actor('players.42'), actors.store]) await redis.del(key)
  } finally {
    redis.disconnect()
  }
}
