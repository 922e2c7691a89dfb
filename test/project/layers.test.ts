/** Imports point one way, and in no circle. */
import { readFileSync, readdirSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'
import test from 'ava'

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..', '..')
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

test('the contracts import nothing of ours but each other and the type of the error class', (t) => {
  const contracts = ['types', 'carrier', 'closable', 'peer', 'registry', 'store'].map((name) => `src/${name}.ts`)
  const leans = arrows.filter(({ from, to }) => contracts.includes(from) && !contracts.includes(to))
  t.deepEqual(leans, [{ from: 'src/types.ts', to: 'src/errors.ts', type: true }])
  t.true(arrows.every(({ from, type }) => type || !contracts.includes(from)), 'they are types')
})

test('the plug-in folders do not import each other', (t) => {
  t.deepEqual(arrows.filter(({ from, to }) => folder(from) !== 'src' && folder(to) !== 'src' && folder(from) !== folder(to)), [])
})

test('siblings do not import each other, save a wrapper the type that the one below returns, and its codec', (t) => {
  const allowed = new Set(['codec msgpack', 'msgpack codec', 'rpc codec', 'actors codec', 'json codec', 'memory shared', 'none memory', 'mesh shared', 'redis shared', 'local shared', 'sql shared', 'memory memory-stream', 'memory-stream memory', 'tcp shared', 'ipc shared', 'ipc ipc-place', 'ipc-place shared', 'websocket shared', 'websocket websocket-stream', 'websocket-stream shared', 'worker shared', 'child shared', 'udp shared', 'udp udx', 'udp udp-port', 'udp-port shared', 'udp-port udx'])
  // what a call carries, what stands around it, the options of a method, and which functions of an object are methods are the same for calls of peers and of actors
  const shared = new Set(['wrappers/rpc/context.ts', 'wrappers/rpc/interception.ts', 'wrappers/rpc/serving/provisions.ts', 'wrappers/rpc/serving/public-methods.ts', 'wrappers/rpc/calling/retries.ts'])
  const crossed = arrows.filter(({ from, to, type }) => folder(from) !== 'src' && folder(from) === folder(to) && part(from) !== part(to) && !type && !shared.has(to) && !allowed.has(`${part(from)} ${part(to)}`))
  t.deepEqual(crossed, [])
})

test('rpc imports nothing of actors, not even a type', (t) => {
  t.deepEqual(arrows.filter(({ from, to }) => from.startsWith('wrappers/rpc/') && to.startsWith('wrappers/actors/')), [])
})

/** The groups of files that can all be reached from each other (Tarjan), each sorted. */
function circles(all: readonly Arrow[]): string[][] {
  const graph = new Map<string, string[]>()
  for (const { from, to } of all) graph.set(from, [...graph.get(from) ?? [], to])
  const order = new Map<string, number>()
  const least = new Map<string, number>()
  const path: string[] = []
  const found: string[][] = []
  const visit = (file: string): number => {
    let low = order.size
    order.set(file, low)
    least.set(file, low)
    path.push(file)
    const own = low
    for (const next of graph.get(file) ?? []) {
      if (!order.has(next)) low = Math.min(low, visit(next))
      else if (path.includes(next)) low = Math.min(low, least.get(next)!)
      least.set(file, low)
    }
    if (low === own) {
      const circle = path.splice(path.indexOf(file))
      if (circle.length > 1 || graph.get(file)?.includes(file)) found.push(circle.sort())
    }
    return low
  }
  for (const file of graph.keys()) if (!order.has(file)) visit(file)
  return found
}

const arrow = (from: string, to: string): Arrow => ({ from, to, type: true })

test('a circle of imports is found, however long it is, and nothing that only leads to one', (t) => {
  const made = [arrow('a', 'b'), arrow('b', 'c'), arrow('c', 'd'), arrow('d', 'b'), arrow('d', 'e'), arrow('f', 'g'), arrow('g', 'f'), arrow('c', 'g'), arrow('h', 'h')]
  t.deepEqual(circles(made).sort(), [['b', 'c', 'd'], ['f', 'g'], ['h']])
  t.deepEqual(circles([arrow('a', 'b'), arrow('a', 'c'), arrow('b', 'd'), arrow('c', 'd')]), [])
})

test('no imports go in a circle, those of types among them', (t) => {
  t.deepEqual(circles(arrows), [], 'a part says in a small interface of its own file what it may see of the whole')
})
