/** Compares the observations of callers and watchers of each actor with each other. */
import { checkCounter, checkRegister } from '../helpers/linearizable.js'
import { waits, type Noted } from './caller.js'
import { isCounter } from './things.js'
import type { Sighting } from './watcher.js'

/** @param last  the last answer of each actor @returns the errors, in words */
export function judge(operations: readonly Noted[], sightings: readonly Sighting[], last: Readonly<Record<string, unknown>>): string[] {
  const wrong: string[] = []
  const byAddress = grouped(operations)
  for (const [address, all] of byAddress) {
    wrong.push(...(isCounter(address) ? checkCounter(all) : checkRegister(all)).map((one) => `${address}: ${one}`))
  }
  for (const [address, ids] of Object.entries(last)) {
    const lost = isCounter(address) ? waits(ids as string[]) : undefined
    if (lost !== undefined) wrong.push(`${address}: the reminder of ${lost} has not rung`)
  }
  for (const [address, all] of grouped(sightings)) {
    wrong.push(...all.flatMap((one) => steps(one)), ...together(address, all, byAddress.get(address) ?? [], last[address]))
  }
  return wrong
}

/** In mode every, each version comes once; in both modes, versions never go back. */
function steps({ address, mode, seen, wrong }: Sighting): string[] {
  const found = [...wrong]
  for (const [i, [version, text, reset]] of seen.entries()) {
    const before = seen[i - 1]
    const what = `${address}, watched in mode ${mode}: version ${version} (${text}${reset ? ', reset' : ''})`
    if (!before) {
      if (reset) found.push(`${what} came first`)
    } else if (version < before[0]) found.push(`${what} came after ${before[0]} (${before[1]})`)
    else if (mode === 'every' && !reset && version !== before[0] + 1) found.push(`${what} came after ${before[0]} (${before[1]}): a gap, or one twice`)
  }
  return found
}

/**
 * All watchers of an actor see the same state at the same version, the state that the actor itself remembers, and its last
 * state.
 */
function together(address: string, all: readonly Sighting[], operations: readonly Noted[], last: unknown): string[] {
  const found: string[] = []
  const order = isCounter(address) ? last as readonly string[] : undefined
  const end = order ? order.at(-1) ?? '' : last as string
  const refused = new Set(operations.filter(({ outcome }) => outcome === 'no').map(({ argument }) => argument))
  const known = new Map<number, string>()
  for (const { mode, seen } of all) {
    for (const [version, text] of seen) {
      const other = order ? order[version - 1] ?? '' : known.get(version) ?? text
      if (other !== text) found.push(`${address}, watched in mode ${mode}: version ${version} was ${text}, and is ${other || 'nothing'} elsewhere`)
      if (refused.has(text)) found.push(`${address}, watched in mode ${mode}: ${text} was seen, and did not run`)
      known.set(version, text)
    }
    if (seen.at(-1)?.[1] !== end) found.push(`${address}, watched in mode ${mode}: the last seen was ${seen.at(-1)?.slice(0, 2).join(' ') ?? 'nothing'}, and the end is ${end || 'nothing'}`)
  }
  return found
}

function grouped<One extends { readonly address: string }>(all: readonly One[]): Map<string, One[]> {
  const groups = new Map<string, One[]>()
  for (const one of all) {
    const group = groups.get(one.address)
    if (group) group.push(one)
    else groups.set(one.address, [one])
  }
  return groups
}
