/** The package as it is published: its paths, names, drivers and sizes. */
import { execFile } from 'node:child_process'
import { mkdirSync, readFileSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import test from 'ava'
import { publint } from 'publint'
import { tempFolder } from '../helpers/process.js'

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..', '..')
const node = (...args: string[]): Promise<{ stdout: string }> => promisify(execFile)(process.execPath, args, { cwd: root })
const { exports: paths } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { exports: Record<string, unknown> }
const EXPORTED = Object.keys(paths).filter((path) => path !== './package.json' && path !== './types') // that one has types only

/** @returns the archive that would be published, in that folder */
async function packed(folder: string): Promise<string> {
  await promisify(execFile)('npm', ['pack', '--ignore-scripts', '--silent', '--pack-destination', folder], { cwd: root })
  return join(folder, readdirSync(folder)[0] as string)
}

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
  t.deepEqual(readdirSync(join(root, 'dist/lib')).filter((file) => /\.c?js$/.test(file)), ['stagemesh.cjs'])
})

test('who imports and who requires it have the same things', async (t) => {
  const { stdout } = await node('--input-type=module', '-e', `
    import { createRequire } from 'node:module'
    const [imported, required] = [await import('stagemesh'), createRequire(process.cwd() + '/x.cjs')('stagemesh')]
    console.log(Object.keys(required).every((name) => imported[name] === required[name]))
  `)
  t.is(stdout.trim(), 'true')
})

test('what is no exported path is refused, and not looked for', async (t) => {
  for (const path of ['wrappers/rpc/wire', 'wrappers/actors/mailbox', 'registries/redis/registry', 'src/stage', 'interfaces/shared/host']) {
    await t.throwsAsync(node('--input-type=module', '-e', `await import('stagemesh/${path}')`), { message: /ERR_PACKAGE_PATH_NOT_EXPORTED/ }, path)
  }
})

test('importing the package loads no driver', async (t) => {
  const { stdout } = await node('--input-type=module', '-e', `
    import { createRequire } from 'node:module'
    await import('stagemesh')
    const modules = Object.keys(createRequire(process.cwd() + '/x.js').cache)
    const native = process.report.getReport().sharedObjects
    console.log([...modules, ...native].filter((file) => /node_modules.(ioredis|lmdb|@lmdb|kysely|pg|mysql2)/.test(file)).length)
  `)
  t.is(stdout.trim(), '0')
})

test('publint and attw find nothing in what is published', async (t) => {
  t.timeout(120_000)
  const folder = await tempFolder(t)
  const archive = await packed(folder)
  const { messages } = await publint({ pkgDir: root, strict: true, pack: false })
  t.deepEqual(messages, [])
  const { stdout } = await node('node_modules/@arethetypeswrong/cli/dist/index.js', archive, '--format', 'json')
  const { problems } = JSON.parse(stdout) as { problems: object }
  t.deepEqual(problems, {})
})

test('of Standard Schema only types are used', (t) => {
  t.false(readFileSync(join(root, 'dist/lib/stagemesh.cjs'), 'utf8').includes('@standard-schema'))
  t.true(readFileSync(join(root, 'dist/lib/stagemesh.d.cts'), 'utf8').includes("from '@standard-schema/spec'"))
})

test('where lmdb could not be built everything else works, and local: says what it needs', async (t) => {
  t.timeout(120_000)
  const folder = await tempFolder(t)
  const { dependencies, optionalDependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Record<string, Record<string, string>>
  t.deepEqual(Object.keys(optionalDependencies ?? {}), ['lmdb'])
  const archive = await packed(folder)
  const modules = join(folder, 'node_modules')
  mkdirSync(join(modules, 'stagemesh'), { recursive: true })
  await promisify(execFile)('tar', ['-xzf', archive, '-C', join(modules, 'stagemesh'), '--strip-components=1'])
  // as npm leaves it where an optional dependency failed; these links lead to where their own dependencies are
  for (const name of Object.keys(dependencies ?? {})) {
    mkdirSync(dirname(join(modules, name)), { recursive: true }) // of a scope
    symlinkSync(join(root, 'node_modules', name), join(modules, name))
  }
  const run = async (lmdb: string | undefined): Promise<string> => {
    if (lmdb !== undefined) {
      mkdirSync(join(modules, 'lmdb'))
      writeFileSync(join(modules, 'lmdb', 'package.json'), JSON.stringify({ name: 'lmdb', type: 'module', main: 'index.js' }))
      writeFileSync(join(modules, 'lmdb', 'index.js'), lmdb)
    }
    const program = `
      import { RedisRegistry, Stage } from 'stagemesh'
      const api = new Stage('api', 'memory:')
      api.to('*').provide('greet', (name) => 'hi there, ' + name)
      console.log(await new Stage('web', 'memory:').to('api').call('greet', 'bob'))
      console.log((await new RedisRegistry('redis://127.0.0.1:1').publish({ id: 'x', name: 'x', namespace: 'x', addresses: [], ttlMs: 1000, announces: {}, unique: false, draining: false, meta: {} }, 1000).catch((error) => error)).message)
      console.log((await new Stage('there', ${JSON.stringify(`local:${join(folder, 'registry')}`)}).ready().catch((error) => error)).message)
      process.exit()`
    return (await promisify(execFile)(process.execPath, ['--input-type=module', '-e', program], { cwd: folder })).stdout
  }
  for (const lmdb of [undefined, 'throw new Error("No native build was found for platform=plan9")']) {
    const [memory, redis, local, ...more] = (await run(lmdb)).trim().split('\n')
    t.is(memory, 'hi there, bob')
    t.regex(redis, /ECONNREFUSED/)
    t.regex(local, lmdb ? /^the registry local:.* needs the package lmdb, which cannot be loaded here \(No native build.*\): .*npm install lmdb.* redis:$/ : /^the registry local:.* needs the package lmdb, .*npm install lmdb.* redis:$/)
    t.notRegex(local, /folder/)
    t.deepEqual(more, [])
  }
})

test('the public names are few enough to know', async (t) => {
  const door = readFileSync(join(root, 'dist/src/index.d.ts'), 'utf8')
  t.notRegex(door, /export (type )?\*/, 'each name stands there by itself')
  const named = [...door.matchAll(/export (?:type )?\{([^}]*)\}/g)].flatMap(([, list]) => (list).split(',').map((one) => one.trim()).filter(Boolean))
  const declared = [...door.matchAll(/export (?:declare )?(?:interface|type|class|const|function) (\w+)/g)].map(([, name]) => name)
  const all = new Set([...named.map((name) => name.replace(/^type /, '')), ...declared])
  // 60, and the two that serve a registry and use it
  t.true(all.size <= 62, `${all.size}: ${[...all].join(' ')}`)
})

test('the members of Stage are few enough to know', async (t) => {
  const { Stage } = await import('../../src/index.js')
  const own = new Set<string>()
  for (let proto: object = Stage.prototype; proto !== Object.getPrototypeOf((await import('node:events')).EventEmitter.prototype) && proto.constructor.name !== 'EventEmitter'; proto = Object.getPrototypeOf(proto) as object) {
    for (const name of Object.getOwnPropertyNames(proto)) if (name !== 'constructor') own.add(name)
  }
  own.add('name')
  // five of them are for stages that find each other without a registry of somebody else's
  t.true(own.size <= 30, `${own.size}: ${[...own].join(' ')}`)
})
