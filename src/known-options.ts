import { describe } from './errors.js'

const NONE: readonly string[] = []

/**
 * Refuses options that nothing reads: a misspelt name would silently mean the default.
 * @param where   what the options belong to, for the message: `to()`, `the TCP interface`
 * @param hidden  names that are read too, and not meant for users
 * @throws TypeError
 */
export function knownOptions(where: string, options: unknown, names: readonly string[], hidden = NONE): void {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw new TypeError(`the options of ${where} are ${describe(options)}: expected an object with ${names.join(', ')}`)
  }
  for (const name of Object.keys(options)) {
    if (names.includes(name) || hidden.includes(name)) continue
    throw new TypeError(`${describe(name)} is not an option of ${where}; known options: ${names.join(', ')}`)
  }
}
