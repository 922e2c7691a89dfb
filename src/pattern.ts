import { StageError, describe } from './errors.js'

const NAME = /^[A-Za-z][\w.:-]{0,127}$/

export const isName = (value: unknown): value is string => typeof value === 'string' && NAME.test(value)

/** @throws StageError BAD_NAME */
export function checkName(value: unknown, what: string): string {
  if (isName(value)) return value
  throw new StageError('BAD_NAME', `${what} ${describe(value)} is not a name: expected a letter, then up to 127 letters, digits or one of "_ . : -"`)
}

/** @throws StageError BAD_NAME */
export function checkPattern(value: unknown): string {
  if (typeof value === 'string' && value.length > 0 && value.length <= 256 && /^[\w.:*?-]+$/.test(value)) return value
  throw new StageError('BAD_NAME', `${describe(value)} is not a name or a pattern: expected letters, digits and "_ . : -", with "*" for any run and "?" for any one of them`)
}

export const isPattern = (value: string): boolean => value.includes('*') || value.includes('?')

/**
 * Whether `name` matches `pattern`: `*` stands for any run of characters, `?` for exactly one.
 * Two pointers and one point to fall back to, so a hostile pattern costs at most |pattern| × |name| steps.
 */
export function matches(pattern: string, name: string): boolean {
  let p = 0
  let n = 0
  let star = -1
  let resume = 0
  while (n < name.length) {
    if (p < pattern.length && pattern[p] === '*') {
      star = p++
      resume = n
    } else if (p < pattern.length && (pattern[p] === '?' || pattern[p] === name[n])) {
      p++
      n++
    } else if (star >= 0) {
      p = star + 1
      n = ++resume
    } else return false
  }
  while (pattern[p] === '*') p++
  return p === pattern.length
}
