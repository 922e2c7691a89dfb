/** docs/promises.md, against the sources: every number is explained there, and what is said to guard it exists. */
import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import test from 'ava'

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..', '..')
const PAGE = 'docs/promises.md'
const NOT_KEPT = '**Not kept yet.**'

interface Promised {
  readonly number: number
  readonly kept: boolean
  readonly guards: readonly { readonly file: string; readonly title: string }[]
}

const read = (file: string): string => readFileSync(join(root, file), 'utf8')
const page = read(PAGE)

/** A section of the page: its number is the heading, each line of its list a file and the titles of tests in it. */
const promises: Promised[] = page.split(/^### /m).slice(1).map((section) => ({
  number: Number(/^P(\d+)$/m.exec(section)?.[1]),
  kept: !section.includes(NOT_KEPT),
  guards: [...section.matchAll(/^- `([^`]+)`: (.+)$/gm)].flatMap(([, file, titles]) => [...titles.matchAll(/"([^"]+)"/g)].map(([, title]) => ({ file, title }))),
}))

const inFolders = (...folders: string[]): string[] =>
  folders.flatMap((folder) => (readdirSync(join(root, folder), { recursive: true }) as string[]).map((file) => `${folder}/${file.replaceAll('\\', '/')}`)).filter((file) => /\.(ts|md)$/.test(file))
const files = ['README.md', 'CHANGELOG.md', ...inFolders('src', 'registries', 'interfaces', 'wrappers', 'test', 'examples', 'docs')]
/** Promises that a text speaks of. */
const numbersIn = (text: string): number[] => [...text.matchAll(/\bP(\d{1,2})\b/g)].map(([, number]) => Number(number))

/** Titles of tests as they stand in a source, with `…` for what is put in. */
const titlesIn = (file: string): string[] =>
  [...read(file).matchAll(/\b(?:test|test\.serial|check)\(\s*(?:'((?:\\.|[^'\\])*)'|"((?:\\.|[^"\\])*)"|`((?:\\.|[^`\\])*)`)/g)]
    .map(([, single, double, template]) => (single ?? double ?? template.replace(/\$\{[^}]*\}/g, '…')).replace(/\\(.)/g, '$1'))
const titled = /^((?:P\d+, )*P\d+): (.*)$/s

test('the numbers of the page are consecutive, and each stands there once', (t) => {
  t.deepEqual(promises.map(({ number }) => number).sort((a, b) => a - b), promises.map((_, i) => i + 1))
})

test('every number that a source, a test or a page uses is one of the page', (t) => {
  const known = new Set(promises.map(({ number }) => number))
  const unknown = files.flatMap((file) => numbersIn(read(file)).filter((number) => !known.has(number)).map((number) => `P${number} in ${file}`))
  t.deepEqual(unknown, [])
  t.true(files.length > 200, `${files.length} files`)
})

test('every promise names a test that guards it, or says that it is not kept yet', (t) => {
  for (const { number, kept, guards } of promises) t.is(guards.length > 0, kept, `P${number} of ${PAGE} has ${guards.length} tests, and is said to be ${kept ? 'kept' : 'not kept yet'}`)
})

test('the tests that the page names exist, and have the number in their titles', (t) => {
  for (const { number, guards } of promises) {
    for (const { file, title } of guards) {
      if (!existsSync(join(root, file))) {
        t.fail(`P${number}: there is no ${file}`)
        continue
      }
      const found = titlesIn(file).some((one) => {
        const [, numbers, rest] = titled.exec(one) ?? []
        return numbers?.split(', ').includes(`P${number}`) && rest.startsWith(title)
      })
      t.true(found, `P${number}: no test in ${file} is called "P${number}: ${title}"`)
    }
  }
})

test('what is not kept yet is guarded by no test', (t) => {
  const pending = new Set(promises.filter(({ kept }) => !kept).map(({ number }) => number))
  const early = files.filter((file) => file.startsWith('test/') && file.endsWith('.ts'))
    .flatMap((file) => titlesIn(file).flatMap((title) => numbersIn(titled.exec(title)?.[1] ?? '')).filter((number) => pending.has(number)).map((number) => `P${number} in ${file}`))
  t.deepEqual(early, [], `name the test in ${PAGE} in place of "${NOT_KEPT}"`)
})
