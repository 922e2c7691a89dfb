/** Every block of code in the README and in docs: checked by the compiler in strict mode, and run by a process of its own. */
import { spawn } from 'node:child_process'
import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import test from 'ava'
import { isCode } from '../../src/errors.js'
import * as stagemesh from '../../src/index.js'
import { checkAllTypes, withoutTypes } from '../helpers/check-types.js'
import { examplesOfErrors, surroundings, type Surroundings } from './code-blocks.js'

const root = new URL('../../../', import.meta.url)
const AT_ONCE = 3
const LIMIT_MS = 60_000

interface Block extends Surroundings {
  readonly page: string
  readonly code: string
}

/** Names that a block may use without an import, and where they come from. */
const imports: [from: string, names: string[]][] = [
  ['stagemesh', [...Object.keys(stagemesh), 'type Interceptor', 'type Self', 'type Actor']],
  ['node:assert/strict', ['default as assert']],
  ['node:events', ['once', 'EventEmitter']],
  ['node:fs', ['createReadStream', 'createWriteStream', 'writeFileSync', 'readFileSync']],
  ['node:stream', ['PassThrough', 'Readable', 'Writable', 'type Duplex']],
  ['node:stream/promises', ['pipeline']],
  ['node:timers/promises', ['setTimeout as sleep']],
  ['pump', ['default as pump']],
  ['ioredis', ['Redis']],
  ['zod', ['z']],
]

/** The imports that a program needs beside its own. */
function missing(program: string): string {
  const own = [...program.matchAll(/^import .*$/gm)].join('\n')
  const uses = (name: string): boolean => {
    const local = name.replace(/^type /, '').split(' as ').at(-1)!
    return new RegExp(`(?<![.\\w'"])${local}\\b(?!['":])`).test(program) && !new RegExp(`\\b${local}\\b`).test(own)
  }
  return imports.map(([from, names]) => [from, names.filter(uses)] as const)
    .filter(([, names]) => names.length > 0).map(([from, names]) => `import { ${names.join(', ')} } from '${from}'`).join('\n')
}

/** What surrounds a block keeps its names apart from those of the block; only `after` sees these. */
function programOf({ code, before = '', after = '', throws, ends = false }: Block): string {
  const own = [...code.matchAll(/^import .*$/gm)].map(([line]) => line).join('\n')
  const rest = `${withoutImports(code)}\n${after}`
  const body = throws
    ? `await assert.rejects(async () => {\n${rest}\n}, { code: '${throws}' })`
    : `await (async () => {\n${rest}\n})()`
  const program = `${own}\n${before}\n${body}\nconsole.log('all of it')\n${ends ? '' : 'process.exit()\n'}`
  return `${missing(program)}\n${program}`
}

const withoutImports = (code: string): string => code.replace(/^import .*$/gm, '')

/** Sources that other tests run, for blocks that stand in them; the files of the README do too (`examples.test.ts`). */
const examples = (await readdir(new URL('examples/', root))).filter((name) => name.endsWith('.ts')).map((name) => `examples/${name}`)
const ran = await Promise.all([...examples, 'test/project/examples.test.ts', 'test/wrappers/json.test.ts'].map((file) => readFile(new URL(file, root), 'utf8')))

async function blocksOf(page: string): Promise<Block[]> {
  const text = await readFile(new URL(page, root), 'utf8')
  return [...text.matchAll(/^```(?:ts|js)\n([^]*?)^```$/gm)].map(({ 1: code, index }) => ({ code, heading: text.slice(0, index).split(/^#+ /m).at(-1)!.split('\n')[0] }))
    .filter(({ code }) => !/^\/\/ \w+\.js\n/.test(code) && !ran.some((source) => source.includes(code.trim()) || source.includes(withoutImports(code).trim())))
    .map(({ code, heading }) => {
      const found = surroundings.filter((one) => one.page === page && code.includes(one.has))
      if (found.length > 1) throw new Error(`${page}: several surroundings are meant for the block\n${code}`)
      if (found.length === 0 && isCode(heading)) return { before: examplesOfErrors, throws: heading, page, code }
      return { ...found[0], page, code }
    })
}

const pages = ['README.md', ...(await readdir(new URL('docs/', root))).filter((name) => name.endsWith('.md')).map((name) => `docs/${name}`)]
const blocks = (await Promise.all(pages.map(blocksOf))).flat()

/** @returns what it printed beside the last line, or what went wrong */
async function run(block: Block, folder: string): Promise<string> {
  const env = { ...process.env, STAGE_REGISTRY: 'memory:', STAGE_FOLDER: folder, STAGE_NAMESPACE: undefined, STAGE_HOST: undefined, NODE_ENV: undefined, MESH_SECRET: 'sixteen bytes or more', FOLDER: folder }
  const child = spawn(process.execPath, ['--input-type=module', '-e', withoutTypes(programOf(block))], { cwd: fileURLToPath(root), env, stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => { output += chunk.toString() })
  const late = setTimeout(() => child.kill('SIGKILL'), LIMIT_MS)
  const code = await new Promise((resolve) => child.once('close', resolve))
  clearTimeout(late)
  if (code !== 0 || !output.includes('all of it\n')) throw new Error(`${block.page}: ended with ${code}\n${block.code}\n${output}`)
  return output.replace('all of it\n', '')
}

test('each block has the types that a strict user would see', (t) => {
  t.deepEqual(checkAllTypes(blocks.map(programOf)).errors, [])
  t.true(blocks.length > 40, `${blocks.length} blocks`)
})

test('each block runs', async (t) => {
  t.timeout(300_000)
  const left = [...blocks]
  await Promise.all(Array.from({ length: AT_ONCE }, async () => {
    for (let block = left.shift(); block; block = left.shift()) {
      const folder = await mkdtemp(join(tmpdir(), 'stagemesh-block-'))
      try {
        await writeFile(join(folder, 'photo.jpg'), 'not really a photo')
        const printed = await run(block, folder)
        if (block.prints !== undefined) t.is(printed, block.prints, block.code)
        else t.pass()
      } catch (error) {
        t.fail((error as Error).message)
      } finally {
        await rm(folder, { recursive: true, force: true })
      }
    }
  }))
})

test('all surroundings are used', (t) => {
  t.deepEqual(surroundings.filter((one) => !blocks.some(({ page, code }) => one.page === page && code.includes(one.has))).map(({ page, has }) => `${page}: ${has}`), [])
})
