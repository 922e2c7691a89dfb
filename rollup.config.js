/**
 * What is published: all that `stagemesh` brings in one CommonJS file, which loads in half the time of its hundred modules,
 * and for each exported path a small one that takes its names from there. ES modules pass on the names of these, so a process
 * that has both kinds of modules has one library, and loaders that cannot `require` ES modules have it too. The same holds for
 * the declarations. Tests run on the modules that `tsc` leaves in `dist`, all that imports `stagemesh` by name on these files.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { isAbsolute, relative } from 'node:path'
import { dts } from 'rollup-plugin-dts'

const { exports: paths } = JSON.parse(readFileSync('package.json', 'utf8'))
/** Where a module lies within `dist`, without its ending. */
const place = (id) => relative('dist', id).replaceAll('\\', '/').replace(/(\.d)?\.[jt]s$/, '')

/** The modules that the paths of `exports` stand for. */
const input = Object.values(paths).flatMap((one) => one.import ? [one.import.default.replace('./dist/lib/', './dist/')] : [])
const external = (id) => !id.startsWith('.') && !isAbsolute(id)
const chunks = (id) => place(id).startsWith('test/') ? undefined : 'stagemesh'

/** `tsc` has left a map beside each module: without it the published one would end there. */
const maps = {
  name: 'maps',
  load: (id) => {
    const map = JSON.parse(readFileSync(`${id}.map`, 'utf8'))
    return { code: readFileSync(id, 'utf8'), map: { ...map, sourcesContent: map.sources.map((source) => readFileSync(new URL(source, `file://${id}`), 'utf8')) } }
  },
}

/** For each entry the ES module that passes its names on. */
const modulesOf = (ending, text) => ({
  name: 'modules',
  writeBundle: (_, bundle) => {
    for (const { isEntry, fileName, exports } of Object.values(bundle)) {
      if (isEntry) writeFileSync(`dist/lib/${fileName.replace(/\.cjs$|\.cts$/, ending)}`, text(fileName.split('/').at(-1).replace('.d.cts', '.cjs'), exports))
    }
  },
})

const output = { dir: 'dist/lib', exports: 'named', manualChunks: chunks }

export default [{
  input, external,
  preserveEntrySignatures: 'strict', // also of a module that exports types only
  plugins: [maps, modulesOf('.js', (from, names) => names.length > 0 ? `export { ${names.join(', ')} } from './${from}'\n` : 'export {}\n')],
  output: {
    ...output, format: 'cjs', interop: 'default', dynamicImportInCjs: false, sourcemap: true,
    entryFileNames: ({ facadeModuleId }) => `${place(facadeModuleId)}.cjs`, chunkFileNames: '[name].cjs',
  },
}, {
  input: input.map((file) => file.replace(/\.js$/, '.d.ts')), external,
  plugins: [dts(), modulesOf('.ts', (from) => `export * from './${from}'\n`)],
  output: { ...output, entryFileNames: ({ facadeModuleId }) => `${place(facadeModuleId)}.d.cts`, chunkFileNames: '[name].d.cts' },
}]
