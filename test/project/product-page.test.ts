/** The lines of `product-page.md`, as they stand there: checked by the compiler, and run on each registry by a process of their own. */
import { spawn } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import test, { type ExecutionContext } from 'ava'
import { checkTypes, withoutTypes } from '../helpers/check-types.js'
import { NO_REDIS, RedisServer, hasRedis } from '../helpers/redis-server.js'

const root = new URL('../../../', import.meta.url)
const page = await readFile(new URL('test/product-page.md', root), 'utf8')
const [calls, parts, actors] = [...page.matchAll(/```ts\n([^]*?)```/g)].map(([, lines]) => lines)

/** The names that the page uses, and checks between its lines. */
const program = `
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { PassThrough, Readable, Writable, type Duplex } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import pump from 'pump'
import { RedisRegistry, TcpInterface, frame } from 'stagemesh'

interface Api { greet(name: string): string }
const shown: [string, string][] = []
const show = (name: string, value: string): void => void shown.push([name, value])
const warn = (name: string, error: Error): void => { throw new Error(name, { cause: error }) }
const bytes = randomBytes(1_000_000)
const source = Readable.from([bytes.subarray(0, 400_000), bytes.subarray(400_000)])
const received: Buffer[] = []
const sink = new Writable({ write: (chunk: Buffer, _encoding, next) => { received.push(chunk); next() } })
let ended = 0
const done = (error?: Error): void => { assert.ifError(error); ended++ }
const { signal } = new AbortController()
const secret = 'of sixteen bytes or more'
const client = new Redis({ lazyConnect: true })
class Rpc extends PassThrough { constructor(readonly stream: Duplex) { super() } }
const until = async (what: () => boolean): Promise<void> => { while (!what()) await sleep(10) }

const db = new Stage('db')
db.to('*').provide('query', (n: number) => n * n)
const log = new Stage('log-1')
const lines: string[] = []
log.to('*').provide('line', (text: string) => { lines.push(text) })
await log.ready()

${calls.replace('await api.ready()', `
const greeting: string = await web.to('api').as<Api>().greet('bob')
assert.equal(greeting, 'hi there, bob')
assert.equal(await web.to('api').call('greet', 'bob'), greeting)
assert.deepEqual(shown, [['api', 'hi there, all']])
assert.equal(await web.to('api').call('slow', 4), 16)
await until(() => lines.length > 0 && ended === 2)
assert.deepEqual(lines, ['one way, encoded once, to all'])
assert.ok(Buffer.concat(received).equals(bytes))
await once(new Stage('late-1'), 'stream')
await api.ready()`)}
{
const stage = new Stage('parts')
${parts}
}

const stage = new Stage('game')
const other = new Stage('other')
${actors.replace(/^for await .*$/m, (line) => `const watching = (async () => {
${line}
})()`)}
assert.equal(await player.hp, 95)
for await (const { hp, isDead, version } of other.observe(player, ['hp', 'isDead'], { mode: 'every' })) {
  const seen: [number, boolean, number] = [hp, isDead, version]
  assert.deepEqual(seen, [95, false, 1])
  break
}
assert.equal(other.actor('players.42')._secret, undefined)
const { owner, fence, queue, turn } = await other.explain('players.42')
assert.deepEqual([owner, queue, turn], [{ id: stage.id, name: 'game' }, 0, []])
assert.ok(fence?.epoch && fence.activation)
await Promise.all([assert.rejects(watching, { code: 'CLOSED' }), other.close()])
console.log('all of it')
process.exit()
`

test('the types of the page', (t) => {
  t.deepEqual(checkTypes(program).errors, [])
})

async function runs(t: ExecutionContext, registry: (folder: string) => string): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'stagemesh-page-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  const env = { ...process.env, STAGE_REGISTRY: registry(folder), STAGE_NAMESPACE: undefined, STAGE_HOST: undefined, NODE_ENV: undefined, STAGE_FOLDER: folder }
  const child = spawn(process.execPath, ['--input-type=module', '-e', withoutTypes(program)], { cwd: fileURLToPath(root), env, stdio: ['ignore', 'pipe', 'pipe'] })
  t.teardown(() => void child.kill('SIGKILL'))
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => { output += chunk.toString() })
  const late = setTimeout(() => child.kill('SIGKILL'), 60_000)
  await new Promise((resolve) => child.once('close', resolve))
  clearTimeout(late)
  // once, of a store that may lose something
  const warnings = /^\(node:\d+\) StagemeshWarning: redis:.* may lose .*\n.*--trace-warnings.*\n/gm
  t.is(output.match(warnings)?.length ?? 0, env.STAGE_REGISTRY.startsWith('redis:') ? 1 : 0)
  t.is(output.replace(warnings, ''), 'all of it\n')
  t.is(child.exitCode, 0)
}

test('the page runs on the registry within a process', (t) => runs(t, () => 'memory:'))
test('the page runs on the embedded registry', (t) => runs(t, (folder) => `local:${join(folder, 'registry')}`))

const redisTest = hasRedis ? test : test.skip
redisTest(`the page runs on Redis${hasRedis ? '' : `: ${NO_REDIS}`}`, async (t) => {
  const server = await RedisServer.start('--appendonly', 'no')
  t.teardown(() => server.close())
  await runs(t, () => server.url)
})
