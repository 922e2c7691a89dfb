/** The prose of comments and pages: sentences that hang on a pronoun without a noun near by, and words that are no terms of the field. */
import { readFileSync, readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import test from 'ava'

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..', '..')
const inFolder = (folder: string, ending: string): string[] =>
  (readdirSync(join(root, folder), { recursive: true }) as string[]).filter((file) => file.endsWith(ending)).map((file) => `${folder}/${file.replaceAll('\\', '/')}`)
const sources = ['src', 'registries', 'interfaces', 'wrappers'].flatMap((folder) => inFolder(folder, '.ts'))
const pages = ['README.md', ...['stage', 'calls', 'streams', 'actors', 'registries', 'deployment', 'errors', 'testing'].map((name) => `docs/${name}.md`)]

/** A sentence that begins like this refers to something that stands elsewhere, if anywhere. */
const BEGINS = /^(?:What|Whatever|Whoever|Those|These|They|Them|It|Its|That|One (?:that|of|who|which|whose)|The one|Both|All of|Each of|None of|Some of|Who|Nobody who|Everybody who|Everything that)\b/
/** Words within a sentence that stand for a noun that the reader has to find. */
const WITHIN = /\b(?:those (?:that|of|who|whose|in|which)|(?:the|that|this|such an?|another|a former) one (?:that|which|who|whose)|one (?:that|of them|whose|who)|whoever|whatever)\b/i
/** In the order of `docs/architecture.md` and the README: roll back, deactivate, close, notify, reset. */
const NOT_TERMS = /\b(?:puts? back|put away|given up|another past|cannot mend)\b/i

const commentsOf = (text: string): string[] => [...text.matchAll(/\/\*\*?([^]*?)\*\/|(?:^|\s)\/\/ ?[^\n]*(?:\n\s*\/\/ ?[^\n]*)*/g)]
  .map(([comment]) => comment.trim().replace(/^\/\*\*?|\*\/$/g, '').replace(/^\s*(\*|\/\/) ?/gm, '').replaceAll('\n', ' ').trim())
const paragraphsOf = (text: string): string[] => text.replace(/```[^]*?```|^#.*$/gm, '').split(/\n{2,}|\n(?=[-|#])/).flatMap((one) => one.startsWith('|') ? one.split('|') : [one]).map((one) => one.replaceAll('\n', ' '))
const sentencesOf = (parts: readonly string[]): string[] => parts.flatMap((part) => part.split(/(?<=[.:;!?]) +(?=[A-Z`@])/)).map((one) => one.replace(/^(?:@\w+ |- |#+ |\*\*)+/, '').trim()).filter((one) => one !== '')

/** In a paragraph these follow the sentence that has their noun. */
const FOLLOWS = /^(?:It|Its|They|These|That|Both)\b/

const hanging = (sentences: readonly string[]): string[] => sentences.filter((one) => BEGINS.test(one) || WITHIN.test(one))

test('few sentences of comments hang on a pronoun', (t) => {
  const all = sources.map((file) => [file, sentencesOf(commentsOf(readFileSync(join(root, file), 'utf8')))] as const)
  const found = all.flatMap(([file, sentences]) => hanging(sentences).map((one) => `${file}: ${one}`))
  t.true(all.flatMap(([, sentences]) => sentences).length > 3000)
  t.true(found.length <= 40, `${found.length}:\n${found.join('\n')}`)
})

test('few sentences of the pages for users do', (t) => {
  const found = pages.flatMap((page) => hanging(sentencesOf(paragraphsOf(readFileSync(join(root, page), 'utf8'))).filter((one) => !FOLLOWS.test(one))).map((one) => `${page}: ${one}`))
  t.true(found.length <= 10, `${found.length}:\n${found.join('\n')}`)
})

test('comments and pages use the terms of the field', (t) => {
  const found = [...sources.map((file) => [file, commentsOf(readFileSync(join(root, file), 'utf8'))] as const), ...pages.map((page) => [page, paragraphsOf(readFileSync(join(root, page), 'utf8'))] as const)]
    .flatMap(([file, parts]) => parts.filter((one) => NOT_TERMS.test(one)).map((one) => `${file}: ${one}`))
  t.deepEqual(found, [])
})

test('messages use them, too', (t) => {
  const strings = sources.flatMap((file) => [...readFileSync(join(root, file), 'utf8').matchAll(/`[^`]*`|'[^'\n]*'/g)].map(([text]) => `${file}: ${text}`))
  t.true(strings.length > 3000, `${strings.length}`)
  t.deepEqual(strings.filter((one) => NOT_TERMS.test(one)), [])
})

test('the README fits on a page', (t) => {
  t.true(readFileSync(join(root, 'README.md'), 'utf8').split('\n').length <= 120)
})

test('each section of the page on errors has an example, and says what to do', (t) => {
  const sections = readFileSync(join(root, 'docs/errors.md'), 'utf8').split(/^### /m).slice(1)
  t.true(sections.length >= 25)
  for (const section of sections) t.regex(section.split(/^## /m)[0].trim(), /```[^]*?```\n\n\S[^]{20,}$/, section.split('\n')[0])
})
