import { fileURLToPath } from 'node:url'
import ts from 'typescript'

const options: ts.CompilerOptions = {
  strict: true, noEmit: true, skipLibCheck: true, target: ts.ScriptTarget.ES2022, lib: ['lib.es2023.d.ts', 'lib.esnext.disposable.d.ts'],
  module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext, types: ['node'],
}

/** Checks a program as a strict user would, against what was built. @returns how many types the compiler has instantiated, and what is wrong */
export function checkTypes(text: string): { instantiations: number; errors: string[] } {
  const file = fileURLToPath(new URL('./program-of-a-test.ts', import.meta.url))
  const host = ts.createCompilerHost(options)
  const { fileExists, getSourceFile } = host
  host.fileExists = (name) => name === file || fileExists(name)
  host.getSourceFile = (name, ...rest) => name === file ? ts.createSourceFile(name, text, ts.ScriptTarget.ES2022) : getSourceFile.call(host, name, ...rest)
  const program = ts.createProgram([file], options, host)
  const errors = ts.getPreEmitDiagnostics(program).map(({ start, messageText }) => {
    const line = start === undefined ? '' : `${text.slice(text.lastIndexOf('\n', start) + 1).split('\n')[0].trim()}: `
    return line + ts.flattenDiagnosticMessageText(messageText, '\n')
  })
  return { instantiations: program.getInstantiationCount(), errors }
}

/** The same program for node, without its types. */
export const withoutTypes = (text: string): string => ts.transpile(text, { ...options, module: ts.ModuleKind.ES2022 })
