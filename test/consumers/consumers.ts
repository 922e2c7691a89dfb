/** Projects that use the package, each with the minimum that its tool needs. */

export interface Consumer {
  readonly name: string
  /** Packages from npm that are installed beside this one. */
  readonly install?: readonly string[]
  readonly files: Readonly<Record<string, string>>
  /** Each command with its arguments; commands in `node_modules/.bin` are found by their names. */
  readonly commands: readonly (readonly string[])[]
  /** Whether the last command prints the greeting. Compilers print nothing. */
  readonly greets?: boolean
}

const PROGRAM = `
const api = new Stage('api', { registry: 'memory:' })
api.to('*').provide('greet', (name) => 'hi there, ' + name)
const web = new Stage('web', { registry: 'memory:' })
console.log(await web.to('api').call('greet', 'bob'))
await Promise.all([web.close(), api.close()])`
const IMPORTS = `import { Stage } from 'stagemesh'\n${PROGRAM}`
const REQUIRES = `const { Stage } = require('stagemesh')\nvoid (async () => {${PROGRAM}\n})()`
/** For tools that bundle for a format without top-level await. */
const IMPORTS_MAIN = `import { Stage } from 'stagemesh'\nvoid (async () => {${PROGRAM}\n})()`

const TEST = `
test('greets', async () => {${PROGRAM.replace(/console\.log\((.*)\)/, "const said = $1\nif (said !== 'hi there, bob') throw new Error(said)\nconsole.log(said)")}
})`

/** The program of a strict user, which uses every kind of public type. */
const TYPED = `
import { Stage, StageError, type Interceptor, type Self } from 'stagemesh'
import { json } from 'stagemesh/wrappers/json'
import { framing } from 'stagemesh/wrappers/framing'
import { rpc } from 'stagemesh/wrappers/rpc'
import { RedisRegistry } from 'stagemesh/registries/redis'
import type { Entry, Registry } from 'stagemesh/types'
import { VirtualClock } from 'stagemesh/testing'

interface Api { greet(name: string): string }
class Player { self!: Self; hp = 100; hit(damage: number): number { return this.hp -= damage } }
const log: Interceptor = async (call, next) => { console.log(call.kind, call.method); return next(call) }

export async function main(): Promise<void> {
  const stage = new Stage('api', { registry: 'memory:', interceptors: [log], clock: new VirtualClock() })
  stage.define({ pattern: 'players.{id}', constructor: Player, durable: ['hp'] })
  stage.to('*').provide('greet', function (name: string) { return \`\${this.peer.name}: \${name}\` })
  const greeting: string = await stage.to('api').as<Api>().greet('bob')
  const hp: number = await stage.actor<Player>('players.1').hit(10)
  for await (const update of stage.observe<Player>('players.1', ['hp'])) { const now: number = update.hp; console.log(now); break }
  const registry: Registry = new RedisRegistry('redis://127.0.0.1:6379')
  const entry: Entry | undefined = undefined
  new Stage('json', { registry, chain: [framing(), rpc({ codec: json() })] })
  try { await stage.close() } catch (error) { if (error instanceof StageError) console.log(error.code, greeting, hp, entry) }
}`

const tsconfig = (options: object): string => JSON.stringify({
  compilerOptions: { strict: true, noEmit: true, target: 'ES2022', lib: ['ES2023', 'ESNext.Disposable'], types: ['node'], skipLibCheck: false, ...options }, include: ['typed.ts'],
})

const compilers = [
  ['5.4', '5.4.5'], ['5.9', '5.9.3'], ['6.0', '6.0.3'], ['7.0', '7.0.2'],
].flatMap(([name, version]) => ([
  ['NodeNext', { module: 'NodeNext', moduleResolution: 'NodeNext' }, 'module'],
  ['a bundler', { module: 'ESNext', moduleResolution: 'bundler' }, 'module'],
  ['commonjs by NodeNext', { module: 'NodeNext', moduleResolution: 'NodeNext' }, 'commonjs'],
  ...name! < '6' ? [['commonjs, as of old', { module: 'CommonJS', moduleResolution: 'node10', esModuleInterop: true }, 'commonjs'] as const] : [],
] as const).map(([what, options, type]): Consumer => ({
  name: `TypeScript ${name} with ${what}`,
  install: [`typescript@${version}`, '@types/node@20.19.43'],
  files: { 'package.json': JSON.stringify({ private: true, type }), 'typed.ts': TYPED, 'tsconfig.json': tsconfig(options) },
  commands: [['tsc', '-p', 'tsconfig.json']],
})))

const nodes = ['20', '22', '24', '26'].flatMap((version): Consumer[] => [
  { name: `Node ${version}, import`, files: { 'main.mjs': IMPORTS }, commands: [['npx', '--yes', '-p', `node@${version}`, 'node', 'main.mjs']], greets: true },
  { name: `Node ${version}, require`, files: { 'main.cjs': REQUIRES }, commands: [['npx', '--yes', '-p', `node@${version}`, 'node', 'main.cjs']], greets: true },
])

const tools: Consumer[] = [
  { name: 'node --test', files: { 'it.test.mjs': `import { test } from 'node:test'\nimport { Stage } from 'stagemesh'\n${TEST}` }, commands: [['node', '--test']], greets: true },
  {
    name: 'jest, as CommonJS', install: ['jest@30.5.2'],
    files: { 'it.test.js': `const { Stage } = require('stagemesh')\n${TEST}` }, commands: [['jest']], greets: true,
  },
  {
    name: 'vitest', install: ['vitest@3.2.4'],
    files: { 'it.test.js': `import { test } from 'vitest'\nimport { Stage } from 'stagemesh'\n${TEST}` }, commands: [['vitest', 'run']], greets: true,
  },
  { name: 'tsx', install: ['tsx@4'], files: { 'main.mts': IMPORTS.replace('(name)', '(name: string)') }, commands: [['tsx', 'main.mts']], greets: true },
  {
    // lmdb is a native module, which no bundler can include: it stays outside
    name: 'esbuild', install: ['esbuild@0.28.2'], files: { 'main.mjs': IMPORTS_MAIN },
    commands: [['esbuild', 'main.mjs', '--bundle', '--platform=node', '--external:lmdb', '--outfile=out.cjs'], ['node', 'out.cjs']], greets: true,
  },
  {
    name: 'vite', install: ['vite@8.4.0'],
    files: { 'main.mjs': IMPORTS, 'vite.config.mjs': "export default { ssr: { noExternal: true, external: ['lmdb'] }, build: { ssr: 'main.mjs' } }" },
    commands: [['vite', 'build'], ['node', 'dist/main.mjs']], greets: true,
  },
  {
    name: 'webpack', install: ['webpack@5.113.0', 'webpack-cli@6'],
    files: { 'main.mjs': IMPORTS_MAIN, 'webpack.config.cjs': "module.exports = { entry: './main.mjs', target: 'node20', mode: 'production', externals: { lmdb: 'commonjs lmdb' } }" },
    commands: [['webpack'], ['node', 'dist/main.js']], greets: true,
  },
  {
    name: 'a single executable of Node', install: ['esbuild@0.28.2', 'postject@1.0.0-alpha.6'],
    files: { 'main.mjs': IMPORTS_MAIN, 'sea.json': JSON.stringify({ main: 'out.cjs', output: 'sea.blob', disableExperimentalSEAWarning: true }) },
    commands: [
      ['esbuild', 'main.mjs', '--bundle', '--platform=node', '--external:lmdb', '--outfile=out.cjs'],
      ['node', '--experimental-sea-config', 'sea.json'], ['cp', process.execPath, 'app'],
      ['postject', 'app', 'NODE_SEA_BLOB', 'sea.blob', '--sentinel-fuse', 'NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2'], ['./app'],
    ],
    greets: true,
  },
]

export const consumers: readonly Consumer[] = [...nodes, ...tools, ...compilers]
