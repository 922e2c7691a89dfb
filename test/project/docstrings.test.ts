/** Every name that a user can import has a docstring, and so has every member of it: editors and the API reference show them. */
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import test from 'ava'
import ts from 'typescript'

const root = join(dirname(fileURLToPath(import.meta.url)), '../../..')
const { exports: paths } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { exports: Record<string, { import?: { types: string } }> }
const declarations = Object.entries(paths).flatMap(([path, { import: door }]) => door ? [{ path, file: join(root, door.types) }] : [])

/** Members whose names say all, in every class that has them: no docstring could add anything. */
const PLAIN = new Set(['constructor', 'close', 'toString'])
/** Steps of a Node stream, and symbols. */
const INNER = /^_/

const program = ts.createProgram(declarations.map(({ file }) => file), {
  module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext, target: ts.ScriptTarget.ES2022, strict: true, types: ['node'], typeRoots: [join(root, 'node_modules/@types')],
})
const checker = program.getTypeChecker()

const isOurs = (symbol: ts.Symbol): boolean => symbol.declarations?.some((one) => one.getSourceFile().fileName.startsWith(join(root, 'dist/lib'))) === true
const isDocumented = (symbol: ts.Symbol): boolean => symbol.getDocumentationComment(checker).length > 0 || symbol.getJsDocTags(checker).length > 0

/** The members of a class, an interface or a literal that are declared here, and not in Node. */
function membersOf(symbol: ts.Symbol): ts.Symbol[] {
  return (symbol.declarations ?? []).flatMap((one) => {
    const holder = ts.isTypeAliasDeclaration(one) ? one.type : one
    if (!ts.isClassDeclaration(holder) && !ts.isInterfaceDeclaration(holder) && !ts.isTypeLiteralNode(holder)) return []
    return holder.members.flatMap((member) => {
      const isPrivate = ts.canHaveModifiers(member) && ts.getModifiers(member)?.some(({ kind }) => kind === ts.SyntaxKind.PrivateKeyword)
      const found = member.name && !isPrivate && !ts.isPrivateIdentifier(member.name) ? checker.getSymbolAtLocation(member.name) : undefined
      return found && !PLAIN.has(found.name) && !INNER.test(found.name) ? [found] : []
    })
  })
}

for (const { path, file } of declarations) {
  test(path, (t) => {
    const source = program.getSourceFile(file)
    const exported = checker.getExportsOfModule(checker.getSymbolAtLocation(source!)!)
    t.true(exported.length > 0)
    const missing = new Set<string>()
    for (const one of exported) {
      const symbol = one.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(one) : one
      if (!isOurs(symbol)) continue
      if (!isDocumented(symbol)) missing.add(one.name)
      for (const member of membersOf(symbol)) if (!isDocumented(member)) missing.add(`${one.name}.${member.name}`)
    }
    t.deepEqual([...missing], [])
  })
}

test('the API reference has each of these paths', (t) => {
  const { entryPoints } = JSON.parse(readFileSync(join(root, 'typedoc.json'), 'utf8')) as { entryPoints: string[] }
  t.deepEqual(entryPoints, declarations.map(({ file }) => file.slice(join(root, 'dist/lib/').length).replace(/\.d\.ts$/, '.ts')))
})
