import { fileURLToPath } from 'node:url'
import ts from 'typescript'

const options: ts.CompilerOptions = {
  strict: true, noEmit: true, skipLibCheck: true, target: ts.ScriptTarget.ES2022, lib: ['lib.es2023.d.ts', 'lib.esnext.disposable.d.ts'],
  module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext, types: ['node'],
}

/**
 * Checks a program as a strict user would, against the built package. @returns the number of types that the compiler has
 * instantiated, and the errors
 */
export const checkTypes = (text: string): { instantiations: number; errors: string[] } => checkAllTypes([text])

/** Checks several programs at a time, which is faster. */
export function checkAllTypes(texts: readonly string[]): { instantiations: number; errors: string[] } {
  const files = new Map(texts.map((text, i) => [fileURLToPath(new URL(`./program-of-a-test-${i}.ts`, import.meta.url)), text]))
  const host = ts.createCompilerHost(options)
  const { fileExists, getSourceFile } = host
  host.fileExists = (name) => files.has(name) || fileExists(name)
  host.getSourceFile = (name, ...rest) => {
    const text = files.get(name)
    return text === undefined ? getSourceFile.call(host, name, ...rest) : ts.createSourceFile(name, text, ts.ScriptTarget.ES2022)
  }
  const program = ts.createProgram([...files.keys()], options, host)
  const errors = ts.getPreEmitDiagnostics(program).map(({ file, start, messageText }) => {
    const text = file && files.get(file.fileName)
    const line = start === undefined || text === undefined ? '' : `${text.slice(text.lastIndexOf('\n', start) + 1).split('\n')[0].trim()}: `
    return line + ts.flattenDiagnosticMessageText(messageText, '\n')
  })
  return { instantiations: program.getInstantiationCount(), errors }
}

/** The same program without its types, for node to run. */
export const withoutTypes = (text: string): string => ts.transpile(text, { ...options, module: ts.ModuleKind.ES2022 })
