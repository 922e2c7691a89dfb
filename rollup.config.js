/**
 * Makes the published files: one CommonJS file with the whole of `stagemesh`, which loads in half the time of its hundred
 * modules, and for each exported path a small file that takes its names from there. ES modules re-export the names of the
 * small files, so a process with both kinds of modules has one copy of the library, and loaders that cannot `require` ES
 * modules work too. Declarations are made the same way. Tests run on the modules that `tsc` leaves in `dist`; all code that
 * imports `stagemesh` by name runs on these files.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { isAbsolute, relative } from 'node:path'
import { dts } from 'rollup-plugin-dts'

const { exports: paths } = JSON.parse(readFileSync('package.json', 'utf8'))
/** The path of a module within `dist`, without its extension. */
const place = (id) => relative('dist', id).replaceAll('\\', '/').replace(/(\.d)?\.[jt]s$/, '')

/** The modules behind the paths of `exports`. */
const input = Object.values(paths).flatMap((one) => one.import ? [one.import.default.replace('./dist/lib/', './dist/')] : [])
const external = (id) => !id.startsWith('.') && !isAbsolute(id)
const chunks = (id) => place(id).startsWith('test/') ? undefined : 'stagemesh'

/** Loads the source map that `tsc` has left beside each module: without it, published maps would end at the modules. */
const maps = {
  name: 'maps',
  load: (id) => {
    const map = JSON.parse(readFileSync(`${id}.map`, 'utf8'))
    return { code: readFileSync(id, 'utf8'), map: { ...map, sourcesContent: map.sources.map((source) => readFileSync(new URL(source, `file://${id}`), 'utf8')) } }
  },
}

/** Writes, for each entry, the ES module that re-exports its names. */
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
  preserveEntrySignatures: 'strict', // also for a module that exports only types
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
