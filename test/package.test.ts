import { execFile } from 'node:child_process'
import { readFileSync, readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import test from 'ava'

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..')
const node = (...args: string[]): Promise<{ stdout: string }> => promisify(execFile)(process.execPath, args, { cwd: root })
const EXPORTED = ['.', './registries/memory', './registries/local', './registries/redis', './registries/redis/scripts', './registries/redis/store-scripts', './interfaces/memory', './interfaces/ipc', './interfaces/tcp', './wrappers/framing', './wrappers/codec', './wrappers/json', './wrappers/rpc', './wrappers/actors', './wrappers/tap', './wrappers/latency', './test/suites/registry', './test/suites/store', './test/suites/interface', './test/suites/wrapper', './test/suites/codec', './test/suites/stream']

test('every exported path can be imported, and required', async (t) => {
  const names = JSON.stringify(EXPORTED.map((path) => path.replace('.', 'stagemesh')))
  const imported = await node('--input-type=module', '-e', `for (const name of ${names}) console.log(name, Object.keys(await import(name)).length > 0)`)
  const required = await node('--no-warnings', '--input-type=commonjs', '-e', `for (const name of ${names}) console.log(name, Object.keys(require(name)).length > 0)`)
  t.is(imported.stdout, required.stdout)
  t.false(imported.stdout.includes('false'))
})

test('what several paths export is one thing, loaded from one file', async (t) => {
  const { stdout } = await node('--input-type=module', '-e', `
    const all = await import('stagemesh')
    const paths = { framing: 'wrappers/framing', rpc: 'wrappers/rpc', actors: 'wrappers/actors', TcpInterface: 'interfaces/tcp', RedisRegistry: 'registries/redis', LocalRegistry: 'registries/local' }
    for (const [name, path] of Object.entries(paths)) console.log((await import('stagemesh/' + path))[name] === all[name] && all[name] !== undefined)
  `)
  t.deepEqual(new Set(stdout.trim().split('\n')), new Set(['true']))
  t.deepEqual(readdirSync(join(root, 'dist/lib')).filter((file) => file.endsWith('.js')), ['stagemesh.js'])
})

test('what is no exported path is refused, and not looked for', async (t) => {
  for (const path of ['wrappers/rpc/wire', 'wrappers/actors/turns', 'registries/redis/registry', 'src/stage']) {
    await t.throwsAsync(node('--input-type=module', '-e', `await import('stagemesh/${path}')`), { message: /ERR_PACKAGE_PATH_NOT_EXPORTED/ }, path)
  }
})

test('importing the package loads no driver', async (t) => {
  const { stdout } = await node('--input-type=module', '-e', `
    import { createRequire } from 'node:module'
    await import('stagemesh')
    const modules = Object.keys(createRequire(process.cwd() + '/x.js').cache)
    const native = process.report.getReport().sharedObjects
    console.log([...modules, ...native].filter((file) => /node_modules.(ioredis|lmdb|@lmdb)/.test(file)).length)
  `)
  t.is(stdout.trim(), '0')
})

test('the public names are few enough to know', async (t) => {
  const door = readFileSync(join(root, 'dist/src/index.d.ts'), 'utf8')
  t.notRegex(door, /export (type )?\*/, 'each name stands there by itself')
  const named = [...door.matchAll(/export (?:type )?\{([^}]*)\}/g)].flatMap(([, list]) => (list).split(',').map((one) => one.trim()).filter(Boolean))
  const declared = [...door.matchAll(/export (?:declare )?(?:interface|type|class|const|function) (\w+)/g)].map(([, name]) => name)
  const all = new Set([...named.map((name) => name.replace(/^type /, '')), ...declared])
  t.true(all.size <= 60, `${all.size}: ${[...all].join(' ')}`)
})

test('the members of Stage are few enough to know', async (t) => {
  const { Stage } = await import('../src/index.js')
  const own = new Set<string>()
  for (let proto: object = Stage.prototype; proto !== Object.getPrototypeOf((await import('node:events')).EventEmitter.prototype) && proto.constructor.name !== 'EventEmitter'; proto = Object.getPrototypeOf(proto) as object) {
    for (const name of Object.getOwnPropertyNames(proto)) if (name !== 'constructor') own.add(name)
  }
  own.add('name')
  t.true(own.size <= 25, `${own.size}: ${[...own].join(' ')}`)
})
