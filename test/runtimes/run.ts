/**
 * Checks that the library works on Bun and Deno: `npm run runtimes`, or `npm run runtimes -- <folder>` if both are already
 * in the `node_modules` of that folder. Otherwise both are installed from npm, into a folder that is deleted afterwards.
 */
import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { RedisServer, hasRedis } from '../helpers/redis-server.js'

const LIMIT_MS = 60_000
const CASES = ['memory', 'local', 'ipc', 'tcp', 'redis'] as const
const part = fileURLToPath(new URL('part.js', import.meta.url))

type Command = readonly [string, ...string[]]
type Case = typeof CASES[number]

const node: Command = [process.execPath]
const folder = await mkdtemp(join(tmpdir(), 'stagemesh-runtimes-'))
const children = new Set<ChildProcess>()

/** Runs a process. @returns its output line by line, and how it ended */
async function run([command, ...before]: Command, args: readonly string[], onready: () => void): Promise<string> {
  const child = spawn(command, [...before, part, ...args], { stdio: ['pipe', 'pipe', 'pipe'], env: { ...process.env, STAGE_FOLDER: join(folder, 'stages') } })
  children.add(child)
  const lines: string[] = []
  for (const stream of [child.stdout, child.stderr]) {
    createInterface(stream).on('line', (line) => {
      if (line === 'ready') onready()
      else lines.push(line)
    })
  }
  let late = false
  const timer = setTimeout(() => { late = child.kill('SIGKILL') }, LIMIT_MS)
  await new Promise((resolve) => child.once('close', resolve).once('error', resolve))
  clearTimeout(timer)
  children.delete(child)
  return lines.at(-1) === 'good' ? 'good' : late ? `nothing for ${LIMIT_MS / 1000} s` : lines.find((line) => /error/i.test(line)) ?? lines.at(-1) ?? 'ended'
}

async function pair(api: Command, web: Command, what: Case, registry: string): Promise<string> {
  let ready = (): void => {}
  const listening = new Promise<void>((resolve) => { ready = resolve })
  const before = new Set(children)
  const served = run(api, ['api', what, registry], ready)
  const early = await Promise.race([listening, served])
  if (early !== undefined) return `the other end: ${early}`
  const outcome = await run(web, ['web', what, registry], () => {})
  for (const child of children) if (!before.has(child)) child.kill('SIGKILL')
  await served
  return outcome
}

async function runtime(name: string): Promise<Command | undefined> {
  const place = process.argv[2] ?? folder
  const file = join(place, 'node_modules', '.bin', name)
  if (!existsSync(file)) await promisify(execFile)('npm', ['install', '--prefix', place, '--no-audit', '--no-fund', name]).catch((error: Error) => console.log(`${name} cannot be installed here: ${error.message.split('\n')[0]}`))
  const version = await promisify(execFile)(file, ['--version']).catch(() => undefined)
  if (!version) return undefined
  console.log(`${name} ${version.stdout.split('\n')[0]}`)
  return name === 'deno' ? [file, 'run', '--allow-all', '--quiet'] : [file]
}

await writeFile(join(folder, 'package.json'), '{"private":true}')
const redis = hasRedis ? await RedisServer.start() : undefined
let failures = 0
try {
  for (const name of ['bun', 'deno']) {
    const command = await runtime(name)
    for (const what of command ? CASES : []) {
      const registry = what === 'memory' ? 'memory:' : what === 'redis' ? redis?.url : `local:${join(folder, `${name}-${what}`)}`
      if (registry === undefined) continue
      const ends: (readonly [string, () => Promise<string>])[] = what === 'memory'
        ? [[name, () => run(command!, ['both', what, registry], () => {})]]
        : [[`${name} and ${name}`, () => pair(command!, command!, what, registry)], [`${name} and node`, () => pair(command!, node, what, registry)], [`node and ${name}`, () => pair(node, command!, what, registry)]]
      for (const [who, begin] of ends) {
        const outcome = await begin()
        if (outcome !== 'good') failures++
        console.log(`  ${what}, ${who}: ${outcome}`)
      }
    }
  }
} finally {
  for (const child of children) child.kill('SIGKILL')
  await redis?.close()
  await rm(folder, { recursive: true, force: true })
}
process.exit(failures > 0 ? 1 : 0)
