/**
 * What is published: all that `stagemesh` brings in one file, which loads in half the time of its hundred modules, and
 * for each exported path a small one that takes its names from there. Tests run on the modules (`nodeArguments` of ava).
 */
import { readFileSync, readdirSync } from 'node:fs'
import { isAbsolute, relative } from 'node:path'

const CONDITION = 'stagemesh-modules'
const { exports: paths } = JSON.parse(readFileSync('package.json', 'utf8'))
const slashes = (path) => path.replaceAll('\\', '/')
const files = readdirSync('dist', { recursive: true }).map((file) => `./dist/${slashes(file)}`)
/** Where a module lies within `dist`. */
const place = (id) => slashes(relative('dist', id))

/** The modules that a pattern of `exports` stands for. */
function named(pattern) {
  const [before, after] = pattern.split('*')
  return after === undefined ? [before] : files.filter((file) => file.startsWith(before) && file.endsWith(after) && !file.slice(before.length).includes('/'))
}

export default {
  input: Object.values(paths).flatMap((one) => one?.[CONDITION] ? named(one[CONDITION]) : []),
  preserveEntrySignatures: 'strict', // also of a module that exports types only
  external: (id) => !id.startsWith('.') && !isAbsolute(id),
  output: {
    dir: 'dist/lib',
    format: 'es',
    entryFileNames: ({ facadeModuleId }) => place(facadeModuleId),
    chunkFileNames: '[name].js',
    manualChunks: (id) => place(id).startsWith('test/') ? undefined : 'stagemesh',
  },
}
