import type { Chance } from './chance.js'

/** The actors of a world, and their options. */
export interface Play {
  /** The names whose stages host the actors; all stages of such a name do. */
  readonly hosts: ReadonlySet<string>
  /** Empty if there are no actors. */
  readonly addresses: readonly string[]
  readonly idleMs: number
  readonly maxActors: number | undefined
  readonly mailbox: number | undefined
  /** The placement of the type that has no state in the store. */
  readonly placement: 'local' | 'any'
  /** The store is a separate server, with faults of its own. */
  readonly apart: boolean
}

/** Counters keep all of their state, registers some of it, drafts save it explicitly, and flats keep nothing. */
export type Kind = 'counters' | 'registers' | 'drafts' | 'flats'
export const kindOf = (address: string): Kind => address.slice(0, address.indexOf('.')) as Kind
export const isKept = (address: string): boolean => kindOf(address) !== 'flats'

/** The values of the watchable properties before the first commit. */
export const BEFORE: Record<Kind, Readonly<Record<string, unknown>>> = {
  counters: { total: 0, twin: 0 },
  registers: { value: 0, by: '', draft: 0 },
  drafts: { size: 0 },
  flats: { count: 0 },
}

export function choosePlay(chance: Chance, names: readonly string[]): Play {
  const some = (kind: Kind, most: number): string[] => Array.from({ length: chance.between(0, most + 1) }, (_, i) => `${kind}.${i + 1}`)
  const hosts = names.filter(() => chance.odds(0.7))
  const addresses = chance.odds(0.1) ? [] : ['counters.1', ...some('counters', 2).map((one) => `${one}0`), ...some('registers', 2), ...some('drafts', 1), ...some('flats', 1)]
  return {
    hosts: new Set(hosts.length >= 2 ? hosts : names.slice(0, 2)),
    addresses,
    idleMs: chance.one([1000, 6000, 30_000]),
    maxActors: chance.odds(0.15) ? 2 : undefined,
    mailbox: chance.odds(0.2) ? 10 : undefined,
    placement: chance.odds(0.3) ? 'local' : 'any',
    apart: chance.odds(0.4),
  }
}
