import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The folder of the sources, seen from the compiled file. */
export const folder = join(fileURLToPath(new URL('../../../', import.meta.url)), 'test', 'fuzz', 'corpus')

const read = new Map<string, readonly Buffer[]>()

/** The stored inputs of a subject: one file each, whose name describes it. */
export function corpusOf(subject: string): readonly Buffer[] {
  let list = read.get(subject)
  if (!list) read.set(subject, list = readdirSync(join(folder, subject)).sort().map((file) => readFileSync(join(folder, subject, file))))
  return list
}
