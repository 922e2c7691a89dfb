import { readFileSync, readdirSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'
import test from 'ava'

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..')
const FOLDERS = ['src', 'registries', 'interfaces', 'wrappers'] as const
const DOOR = 'src/index.ts'

interface Arrow { from: string; to: string; type: boolean }

const files = FOLDERS.flatMap((folder) => (readdirSync(join(root, folder), { recursive: true }) as string[]).filter((file) => file.endsWith('.ts')).map((file) => `${folder}/${file.replaceAll('\\', '/')}`))

/** Every import between files of ours, as it stands in the source. */
const arrows: Arrow[] = files.flatMap((from) => {
  const source = readFileSync(join(root, from), 'utf8')
  const found = source.matchAll(/(?:^|\n)\s*(?:import|export)\s+(type\s)?[^'"`;]*?from\s+['"](\.[^'"]+)['"]|import\(\s*['"](\.[^'"]+)['"]\s*\)/g)
  return [...found].map(([, type, fixed, dynamic]) => ({
    from,
    to: normalize(join(dirname(from), (fixed ?? dynamic))).replace(/\.js$/, '.ts'),
    type: type !== undefined,
  }))
})

const folder = (file: string): string => file.split('/')[0]
/** The part of a folder that is one registry, interface or wrapper: a file, or a folder of files and the file of its name. */
const part = (file: string): string => (file.split('/')[1]).replace(/\.ts$/, '')

test('the sources were read', (t) => {
  t.true(files.length > 40 && arrows.length > 100, `${files.length} files, ${arrows.length} imports`)
  for (const { from, to } of arrows) t.true(files.includes(to), `${from} imports ${to}`)
})

test('src imports no registry, interface or wrapper, but for the public door', (t) => {
  t.deepEqual(arrows.filter(({ from, to }) => folder(from) === 'src' && folder(to) !== 'src' && from !== DOOR), [])
})

test('nothing imports the public door', (t) => {
  t.deepEqual(arrows.filter(({ to }) => to === DOOR), [])
})

test('the contracts import nothing of ours but a type', (t) => {
  t.deepEqual(arrows.filter(({ from }) => from === 'src/types.ts'), [{ from: 'src/types.ts', to: 'src/errors.ts', type: true }])
})

test('the plug-in folders do not import each other', (t) => {
  t.deepEqual(arrows.filter(({ from, to }) => folder(from) !== 'src' && folder(to) !== 'src' && folder(from) !== folder(to)), [])
})

test('siblings do not import each other, save a wrapper the type that the one below returns, and its codec', (t) => {
  const allowed = new Set(['codec msgpack', 'msgpack codec', 'rpc codec', 'actors codec', 'json codec', 'memory memory-stream', 'memory-stream memory', 'tcp host', 'tcp socket', 'ipc socket', 'ipc ipc-stream', 'ipc ipc-place', 'ipc-stream socket', 'ipc-place socket'])
  // what a call carries, what stands around it, and the options of a method are the same for calls of peers and of actors
  const shared = new Set(['wrappers/rpc/context.ts', 'wrappers/rpc/interception.ts', 'wrappers/rpc/provisions.ts'])
  const crossed = arrows.filter(({ from, to, type }) => folder(from) !== 'src' && folder(from) === folder(to) && part(from) !== part(to) && !type && !shared.has(to) && !allowed.has(`${part(from)} ${part(to)}`))
  t.deepEqual(crossed, [])
})

test('src has no circle of imports that run', (t) => {
  const graph = new Map<string, string[]>()
  for (const { from, to, type } of arrows) if (!type) graph.set(from, [...(graph.get(from) ?? []), to])
  const done = new Set<string>()
  const visit = (file: string, path: string[]): void => {
    if (path.includes(file)) t.fail(`${[...path, file].join(' → ')}`)
    if (done.has(file)) return
    for (const next of graph.get(file) ?? []) visit(next, [...path, file])
    done.add(file)
  }
  for (const file of files) visit(file, [])
  t.pass()
})
