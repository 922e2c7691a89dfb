/**
 * Checks that the package works for its users: `npm run consumers`, or `npm run consumers -- jest` for the consumers whose
 * names contain that text. Each consumer is a separate folder outside of the repository, with the package as it would be
 * published.
 */
import { execFile } from 'node:child_process'
import { mkdtemp, mkdir, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { consumers, type Consumer } from './consumers.js'

const LIMIT_MS = 180_000
const root = fileURLToPath(new URL('../../../', import.meta.url))
const execute = promisify(execFile)

/** @returns the failure; undefined if the package works */
async function wrong(consumer: Consumer, folder: string, archive: string): Promise<string | undefined> {
  const { files, install = [], commands, greets } = consumer
  await mkdir(folder)
  for (const [name, text] of Object.entries({ 'package.json': '{"private":true}', ...files })) await writeFile(join(folder, name), text)
  const env = { ...process.env, NODE_OPTIONS: '', PATH: `${join(folder, 'node_modules', '.bin')}${delimiter}${process.env['PATH'] ?? ''}` }
  const run = async ([command, ...args]: readonly string[]): Promise<string> => {
    const { stdout, stderr } = await execute(command as string, args, { cwd: folder, env, timeout: LIMIT_MS, maxBuffer: 1 << 26 })
    return stdout + stderr
  }
  try {
    await run(['npm', 'install', '--no-audit', '--no-fund', '--silent', archive, ...install])
    let said = ''
    for (const command of commands) said = await run(command)
    return greets && !said.includes('hi there, bob') ? `it said: ${said.slice(-500)}` : undefined
  } catch (error) {
    const { stdout = '', stderr = '', message } = error as Error & { stdout?: string; stderr?: string }
    return `${message.split('\n')[0]}\n${(stdout + stderr).slice(0, 2000)}`
  }
}

const place = await mkdtemp(join(tmpdir(), 'stagemesh-consumers-'))
const only = process.argv[2] ?? ''
let failures = 0
try {
  await execute('npm', ['pack', '--ignore-scripts', '--silent', '--pack-destination', place], { cwd: root })
  const archive = join(place, (await readdir(place))[0] as string)
  for (const [i, consumer] of consumers.entries()) {
    if (!consumer.name.includes(only)) continue
    const why = await wrong(consumer, join(place, String(i)), archive)
    if (why !== undefined) failures++
    console.log(why === undefined ? `good: ${consumer.name}` : `${consumer.name}: ${why}`)
    await rm(join(place, String(i)), { recursive: true, force: true })
  }
} finally {
  await rm(place, { recursive: true, force: true })
}
process.exit(failures > 0 ? 1 : 0)
