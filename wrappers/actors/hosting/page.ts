/** A page of a long list of addresses. */
import { describe } from '../../../src/errors.js'
import { knownOptions } from '../../../src/known-options.js'
import type { ActorsOptions } from '../types.js'

/**
 * The addresses in the order of their UTF-16 code units, or the first `limit` behind `after`. Reads all addresses once,
 * without sorting them all.
 * @throws TypeError for options that are not right
 */
export function page(addresses: Iterable<string>, options: ActorsOptions): string[] {
  knownOptions('actors()', options, ['limit', 'after'])
  const { limit = Infinity, after } = options
  if (limit !== Infinity && !(Number.isInteger(limit) && limit > 0)) {
    throw new TypeError(`the limit of actors() is ${describe(limit)}: expected a whole number above 0`)
  }
  if (after !== undefined && typeof after !== 'string') {
    throw new TypeError(`after of actors() is ${describe(after)}: expected the address of the last actor of the page before`)
  }
  const found: string[] = []
  /** The last address of the page, as far as it is known: what is behind it is not on the page. */
  let last: string | undefined
  for (const address of addresses) {
    if (after !== undefined && address <= after) continue
    if (last !== undefined && address > last) continue
    found.push(address)
    // sorting now and then keeps the list short, at the price of two comparisons for each address
    if (found.length < 2 * limit + SLACK) continue
    cut(found, limit)
    last = found.at(-1)
  }
  cut(found, limit)
  return found
}

const SLACK = 1000

function cut(found: string[], limit: number): void {
  found.sort((a, b) => a < b ? -1 : a > b ? 1 : 0)
  if (found.length > limit) found.length = limit
}
