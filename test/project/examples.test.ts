/** Every example and the demo, each as the process that a reader would start. */
import { fork, spawn, type ChildProcess } from 'node:child_process'
import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import test, { type ExecutionContext } from 'ava'
import { DetourInterface } from '../../examples/own-interface.js'
import { FileRegistry } from '../../examples/own-registry.js'
import { mixed } from '../../examples/own-wrapper.js'
import { hasOpenssl } from '../helpers/authority.js'
import { MariadbServer, NO_MARIADB, NO_POSTGRES, PostgresServer, hasMariadb, hasPostgres } from '../helpers/database-servers.js'
import { NO_REDIS, RedisServer, hasRedis } from '../helpers/redis-server.js'
import { interfaceSuite } from 'stagemesh/test/suites/interface'
import { registrySuite } from 'stagemesh/test/suites/registry'
import { wrapperSuite } from 'stagemesh/test/suites/wrapper'

interface Ended { code: number | null; signal: NodeJS.Signals | null; output: string; tookMs: number; left: string[] }
interface RunOptions {
  args?: string[]
  env?: NodeJS.ProcessEnv
  /** Called with all that was printed so far, whenever there is more. */
  onoutput?: (output: string, child: ChildProcess) => void
}

const LIMIT_MS = 30_000
/** The demo is a handful of processes and promises to be quick: one at a time. */
let turn: Promise<unknown> = Promise.resolve()

/** Runs an example with a folder for temporary files of its own, so that what it leaves there can be seen. */
function run(t: ExecutionContext, name: string, options: RunOptions = {}): Promise<Ended> {
  t.timeout(110_000)
  const result = turn.then(() => runNow(t, name, options))
  turn = result.catch(() => {})
  return result
}

async function runNow(t: ExecutionContext, name: string, { args = [], env = {}, onoutput }: RunOptions): Promise<Ended> {
  const tmp = await mkdtemp(join(tmpdir(), 'stagemesh-example-'))
  const unset = { NODE_ENV: undefined, STAGE_REGISTRY: undefined, STAGE_NAMESPACE: undefined, STAGE_HOST: undefined }
  const started = performance.now()
  const child = fork(fileURLToPath(new URL(`../../examples/${name}.js`, import.meta.url)), args, { env: { ...process.env, ...unset, TMPDIR: tmp, ...env }, silent: true, execArgv: [] })
  t.teardown(async () => {
    child.kill('SIGKILL')
    await rm(tmp, { recursive: true, force: true })
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (text: string) => {
      output += text
      onoutput?.(output, child)
    })
  }
  const limit = setTimeout(() => child.kill('SIGKILL'), LIMIT_MS)
  const [code, signal] = await new Promise<[number | null, NodeJS.Signals | null]>((resolve) => child.once('close', (...end) => resolve(end)))
  clearTimeout(limit)
  t.log(output)
  return { code, signal, output, tookMs: performance.now() - started, left: await leftIn(tmp) }
}

/** The folder for sockets stays, as it is the user's and not the program's. */
const leftIn = async (tmp: string): Promise<string[]> => (await readdir(tmp, { recursive: true })).filter((path) => path !== `stagemesh-${process.getuid?.()}`)

/** It ended well, printed these lines in this order, and left nothing behind. */
function ended(t: ExecutionContext, { code, signal, output, left }: Ended, ...lines: (string | RegExp)[]): void {
  t.deepEqual({ code, signal }, { code: 0, signal: null })
  let rest = output.split('\n')
  for (const line of lines) {
    const at = rest.findIndex((one) => typeof line === 'string' ? one === line : line.test(one))
    t.true(at >= 0, `${line} was expected in:\n${rest.join('\n')}`)
    rest = rest.slice(at + 1)
  }
  t.deepEqual(left, [])
}

const demo = [
  /^1\. /, /ok: three peers/, /^2\. /, /ok: the calls were spread over both replicas/, /^3\. /, /ok: all four answered/, /^4\. /,
  /ok: the receiver computed the same sha256/, /^5\. /, /ok: every call ended in an answer/, /ok: \d+ calls that began after the kill were answered/,
  /^6\. /, /ok: the player lives in another process/, /ok: every attack counted once: dead after 100/, /ok: it saw them in order and to the end/,
  /^7\. /, /ok: its peers are: neighbour/, /ok: a call to greeter ends in NO_SUCH_PEER/, /^All as expected/,
]

test('demo', async (t) => {
  const result = await run(t, 'demo/main')
  ended(t, result, ...demo)
  t.true(result.tookMs < 20_000, `it took ${Math.round(result.tookMs)} ms`)
})

test('demo: told to stop in the middle, it takes all of its processes with it', async (t) => {
  const pids = new Set<number>()
  const { code, output, left } = await run(t, 'demo/main', {
    onoutput: (printed, child) => {
      for (const [, pid] of printed.matchAll(/process (\d+) answered/g)) pids.add(Number(pid))
      if (/^4\. /m.test(printed)) child.kill('SIGTERM')
    },
  })
  t.is(code, 1)
  t.regex(output, /The demo failed: stopped by SIGTERM/)
  t.is(pids.size, 2)
  for (const pid of pids) t.throws(() => process.kill(pid, 0), { code: 'ESRCH' })
  t.deepEqual(left, [])
})

const cart = ['total 100', 'REMOTE_ERROR: -5 of apple', 'total 100', 'its stage has closed', 'total 100, apples 2', 'on another stage: true, commits so far: 2']

const redisTest = hasRedis ? test : test.skip
redisTest(`demo on Redis${hasRedis ? '' : `: ${NO_REDIS}`}`, async (t) => {
  const server = await RedisServer.start()
  t.teardown(() => server.close())
  ended(t, await run(t, 'demo/main', { args: ['--registry', server.url] }), ...demo)
  t.is(await server.run(['DBSIZE']), 0, 'nothing of the run is left there')
  ended(t, await run(t, 'swap-registry', { args: [server.url] }), 'hi there, bob', /^found on redis:/)
  ended(t, await run(t, 'cart', { args: [server.url] }), ...cart)
})

for (const [name, missing, start] of [
  ['Postgres', hasPostgres ? '' : NO_POSTGRES, () => PostgresServer.start()],
  ['MariaDB', hasMariadb ? '' : NO_MARIADB, () => MariadbServer.start()],
] as const) {
  (missing ? test.skip : test)(`demo on ${name}${missing && `: ${missing}`}`, async (t) => {
    const server = await start()
    t.teardown(() => server.close())
    ended(t, await run(t, 'demo/main', { args: ['--registry', server.url] }), ...demo)
    ended(t, await run(t, 'cart', { args: [server.url] }), ...cart)
  })
}

test('demo: a registry that is not there ends it with what to do, and everything is cleaned up', async (t) => {
  const { code, output, left } = await run(t, 'demo/main', { args: ['--registry', 'redis://127.0.0.1:1'] })
  t.is(code, 1)
  t.regex(output, /The demo failed: .*redis:\/\/127\.0\.0\.1:1 .*local:/)
  t.deepEqual(left, [])
})

test('demo: an argument that it does not know is refused before anything is started', async (t) => {
  for (const args of [['--registri', 'local:'], ['--registry', 'memory:']]) {
    const { code, output, left } = await run(t, 'demo/main', { args })
    t.is(code, 2)
    t.regex(output, /usage: npm run demo/)
    t.deepEqual(left, [])
  }
})

test('namespaces', async (t) => {
  ended(t, await run(t, 'namespaces'), 'dev: rows of dev', 'peers: dev/db-server-1', 'production://db-server-1/query: WRONG_NAMESPACE')
  ended(t, await run(t, 'namespaces', { env: { NODE_ENV: 'production' } }), 'production: rows of production', 'peers: production/db-server-1', 'dev://db-server-1/query: WRONG_NAMESPACE')
  ended(t, await run(t, 'namespaces', { env: { NODE_ENV: 'staging' } }), 'staging: NO_SUCH_PEER')
})

test('swap-registry', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'stagemesh-example-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  ended(t, await run(t, 'swap-registry'), 'hi there, bob', /^found on memory: at memory:\/\//)
  ended(t, await run(t, 'swap-registry', { args: [`local:${folder}`] }), 'hi there, bob', /^found on local:.* at memory:\/\/.*, ipc:\/\/\/.*, tcp:\/\/127\.0\.0\.1:\d+$/)
})

test('own-registry', async (t) => {
  ended(t, await run(t, 'own-registry'), 'hi there, bob', 'listed: api, web')
})

registrySuite(test, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'stagemesh-example-'))
  return {
    open: () => new FileRegistry(folder),
    empty: async () => {
      for (const namespace of await readdir(folder)) await rm(join(folder, namespace), { recursive: true, force: true, maxRetries: 5 })
    },
    close: () => rm(folder, { recursive: true, force: true }),
  }
}, { name: 'own-registry', ttlMs: 2000 })

test('own-interface', async (t) => {
  ended(t, await run(t, 'own-interface'), 'hi there, bob', 'it lists tcp://api.invalid:…')
})

interfaceSuite(test, () => ({ listener: new DetourInterface(), dialler: new DetourInterface() }), { name: 'own-interface' })

test('own-wrapper', async (t) => {
  ended(t, await run(t, 'own-wrapper'), 'hi there, bob')
})

wrapperSuite(test, () => mixed(42), { name: 'own-wrapper' })

test('own-layer', async (t) => {
  ended(t, await run(t, 'own-layer'), 'api: linked', 'db: not linked')
})

test('own-chain', async (t) => {
  ended(t, await run(t, 'own-chain'), 'my-server-app says: hi there, friend', 'my-server-app says: hi there, bob')
})

test('graceful', async (t) => {
  ended(t, await run(t, 'graceful'), 'the call is being served: SIGTERM', 'answered: the whole answer', 'the server ended with 0', 'the next call: NO_SUCH_PEER')
})

test('player', async (t) => {
  ended(t, await run(t, 'player'), '42 has 100 hp', 'hp 100', /^hp -?\d+$/, /^hp -?\d+, dead$/)
})

test('chat-room', async (t) => {
  const result = await run(t, 'chat-room')
  ended(t, result, 'room: alice joins', 'room: bob joins', 'alice: is anybody here?', 'alice: goodbye', 'bob, who came later, saw the same: true', '3 lines for whoever comes next', 'eve: eve is not in lobby')
  t.regex(result.output, /^bob: I am$/m)
})

test('cart', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'stagemesh-example-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  for (const args of [[], [`local:${folder}`]]) ended(t, await run(t, 'cart', { args }), ...cart)
})

test('towtruck', async (t) => {
  const twice = (line: string): string[] => [line, line]
  ended(t, await run(t, 'towtruck'), ...twice('invoke/1/hello: {"hello":"from actor 1"}'), ...twice('invoke/2/bar: {"hello from bar":{"farewell":true}}'), ...twice('invoke/1/bar: {"hello from bar":{"farewell":true}}'),
    ...twice('invoke/1/constructor: {"error":"no /invoke/1/constructor: expected /invoke/id/method"}'))
})

test('game-loop', async (t) => {
  ended(t, await run(t, 'game-loop'), 'I took 10 damage from the bomb', 'I took 90 damage from the bomb', 'the game sees 0 hp; the enemy reads 0', 'taken away again: NO_SUCH_ACTOR')
})

test('trace', async (t) => {
  ended(t, await run(t, 'trace'), 'caller api list', '  callee api list', '    caller db rows', '      callee db rows', '        caller api function n', '          callee api function n',
    '    caller carts.1 fill', '      callee carts.1 fill', '        caller db rows', '            caller db function n', '1 trace of 16 spans')
})

test('connect', async (t) => {
  ended(t, await run(t, 'connect'), 'left has 0 from right', 'left has 100 from right', 'left has 300 from right')
})

test('worker-pool', async (t) => {
  ended(t, await run(t, 'worker-pool'), '17984 primes below 200000', 'more than one thread took part: true')
})

;(hasOpenssl ? test : test.skip)('tls', async (t) => {
  ended(t, await run(t, 'tls'), 'hello web, proven by certificate DNS:web', 'AUTH_FAILED: the certificate of db carries DNS:guest: expected DNS:db, or a SPIFFE URI that ends with /db')
})

test('three-machines', async (t) => {
  ended(t, await run(t, 'three-machines'), 'red is there', 'blue is there', '2 visits, counted on one of them', '3 visits, counted on another: true')
})

test('positions', async (t) => {
  ended(t, await run(t, 'positions'), 'hit the target', '120 datagrams were sent, ann is beyond 10: true')
})

/** The root of the package, from where this file lies once compiled. */
const root = new URL('../../../', import.meta.url)

for (const name of ['own-registry', 'own-interface', 'own-wrapper', 'own-layer']) {
  test(`docs/extending.md shows ${name} as it runs`, async (t) => {
    const source = await readFile(new URL(`examples/${name}.ts`, root), 'utf8')
    const page = source.slice(source.indexOf('import'), source.indexOf('\n// ── ')).trim()
    t.true((await readFile(new URL('docs/extending.md', root), 'utf8')).includes(page), `copy examples/${name}.ts into docs/extending.md`)
  })
}

test('both ends of the example in the README run as they are written', async (t) => {
  t.timeout(110_000)
  const text = await readFile(new URL('README.md', root), 'utf8')
  const end = (name: string): string => new RegExp(`\`\`\`js\n// ${name}\n([^]*?)\`\`\``).exec(text)?.[1] ?? ''
  const folder = await mkdtemp(join(tmpdir(), 'stagemesh-example-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  const start = (name: string): ChildProcess => {
    const child = spawn(process.execPath, ['--input-type=module', '-e', end(name)], { cwd: fileURLToPath(root), env: { ...process.env, STAGE_FOLDER: folder, STAGE_HOST: '' }, stdio: ['ignore', 'pipe', 'inherit'] })
    t.teardown(() => void child.kill('SIGKILL'))
    return child
  }
  const web = start('web.js')
  start('api.js')
  let output = ''
  web.stdout?.on('data', (chunk: Buffer) => { output += chunk.toString() })
  t.is(await new Promise((resolve) => web.once('close', resolve)), 0)
  t.is(output, 'hi there, bob\n')
})
