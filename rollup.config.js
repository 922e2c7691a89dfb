/**
 * What is published: all that `stagemesh` brings in one file, which loads in half the time of its hundred modules, and
 * for each exported path a small one that takes its names from there. Tests run on the modules (`nodeArguments` of ava).
 */
import { readFileSync, readdirSync } from 'node:fs'

const { exports: paths } = JSON.parse(readFileSync(new URL('package.json', import.meta.url), 'utf8'))
const files = readdirSync('dist', { recursive: true }).map((file) => `dist/${file}`)

/** The modules that a pattern of `exports` stands for. */
const named = (pattern) => {
  const [before, after] = pattern.slice('./'.length).split('*')
  return after === undefined ? [before] : files.filter((file) => file.startsWith(before) && file.endsWith(after) && !file.slice(before.length).includes('/'))
}

export default {
  input: Object.values(paths).flatMap((one) => one['stagemesh-modules'] ? named(one['stagemesh-modules']) : []),
  preserveEntrySignatures: 'strict', // also of a module that exports types only
  external: (id) => !/^[./]/.test(id),
  output: {
    dir: 'dist/lib',
    format: 'es',
    entryFileNames: ({ facadeModuleId }) => facadeModuleId.replace(/^.*?\/dist\//, ''),
    chunkFileNames: '[name].js',
    manualChunks: (id) => id.includes('/dist/test/') ? undefined : 'stagemesh',
  },
}
