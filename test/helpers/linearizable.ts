/**
 * Checks whether the history of one actor is linearizable: each operation takes effect once, at one moment between its
 * beginning and its end. An operation whose outcome is not known may take effect at any time after its beginning, or never;
 * an operation that did not run must have no effect.
 */
export interface Operation {
  readonly kind: string
  readonly argument?: string
  /** The answer of the operation, if there was one. */
  readonly result?: unknown
  /** By one clock for all callers. */
  readonly invoked: number
  /** Infinity: the operation has not ended, or not with an answer. */
  readonly returned: number
  readonly outcome: 'ok' | 'unknown' | 'no'
}

/**
 * The answer of `read` of a counter; `last` is the id of the addition that produced the value, undefined if it was not
 * requested.
 */
export interface CounterSeen { readonly value: number; readonly last?: string }

/**
 * A counter that keeps the ids of its additions: `add` (an id → the resulting value), `read` (→ CounterSeen) and `list` (→
 * all ids in their order). The last `list` must come after all other operations: it is the order that the others are
 * checked against.
 * @returns the errors, in words
 */
export function checkCounter(operations: readonly Operation[]): string[] {
  const wrong: string[] = []
  const lists = operations.filter((one) => one.kind === 'list' && one.outcome === 'ok')
  const order = lists.reduce<readonly string[]>((longest, { result }) => (result as string[]).length > longest.length ? result as string[] : longest, [])
  if (lists.length === 0) return ['it was not listed in the end']
  const at = new Map<string, number>()
  for (const [i, id] of order.entries()) {
    if (at.has(id)) wrong.push(`${id} was applied twice: as number ${at.get(id)! + 1} and ${i + 1}`)
    else at.set(id, i)
  }
  const added = new Map(operations.filter(({ kind }) => kind === 'add').map((one) => [one.argument!, one]))
  for (const id of at.keys()) if (!added.has(id)) wrong.push(`${id} was applied, and nobody asked for it`)
  /** The operations that take effect at the same place: an addition alone, or the reads after it. */
  const places: Operation[][] = Array.from({ length: 2 * order.length + 1 }, () => [])
  for (const one of operations) {
    const place = placed(one, order, at)
    if (typeof place === 'string') wrong.push(place)
    else if (place !== undefined) places[place]!.push(one)
  }
  return [...wrong, ...misplaced(places)]
}

/** @returns the place of an operation in the order; undefined: it has none, and needs none; or the error */
function placed(one: Operation, order: readonly string[], at: ReadonlyMap<string, number>): number | string | undefined {
  const { kind, argument = '', result, outcome } = one
  if (kind === 'add') {
    const i = at.get(argument)
    if (outcome === 'no') return i === undefined ? undefined : `${told(one)} did not run, and is number ${i + 1}`
    if (outcome === 'unknown') return i === undefined ? undefined : 2 * i + 1
    if (order[Number(result) - 1] !== argument) return `${told(one)} was acknowledged, and ${i === undefined ? 'is lost' : `is number ${i + 1}`}; in its place is ${order[Number(result) - 1] ?? 'nothing'}`
    return 2 * Number(result) - 1
  }
  if (outcome !== 'ok') return undefined
  if (kind === 'list') {
    const ids = result as readonly string[]
    const off = ids.findIndex((id, i) => id !== order[i])
    return off < 0 ? 2 * ids.length : `a list had ${ids[off]} as number ${off + 1}, where another has ${order[off] ?? 'nothing'}`
  }
  const { value, last } = result as CounterSeen
  if (value > order.length) return `${told(one)}: there were only ${order.length} in the end`
  if (last !== undefined && (order[value - 1] ?? '') !== last) return `${told(one)}: number ${value} is ${order[value - 1] ?? 'nothing'}`
  return 2 * value
}

/**
 * A register in which no value is written twice: `write`, `swap` (→ the value before) and `read`. The value that was read
 * says which write the read follows, and a swap follows a write immediately. So all operations form blocks whose inner
 * order is known, and no other operation can lie within a block. No two blocks may have to come before each other.
 * @returns the errors, in words
 */
export function checkRegister(operations: readonly Operation[]): string[] {
  const start: Operation = { kind: 'write', argument: '', invoked: -Infinity, returned: -Infinity, outcome: 'ok' }
  const writers = new Map([start, ...operations.filter(({ kind }) => kind !== 'read')].map((one) => [one.argument!, one]))
  const readers = new Map<string, Operation[]>()
  const swaps = new Map<string, Operation>()
  const wrong: string[] = []
  for (const one of operations) {
    if (one.kind === 'write' || one.outcome !== 'ok') continue
    const value = one.result as string
    const writer = writers.get(value)
    if (!writer || writer.outcome === 'no') wrong.push(`${told(one)} saw ${value}, ${writer ? 'and that write did not run' : 'which nobody wrote'}`)
    else if (one.kind === 'read') readers.set(value, [...readers.get(value) ?? [], one])
    else if (swaps.has(value)) wrong.push(`${told(one)} found what ${told(swaps.get(value)!)} had found`)
    else swaps.set(value, one)
  }
  if (wrong.length > 0) return wrong
  const taken = new Set<Operation>()
  const blocks: Block[] = []
  for (const writer of writers.values()) {
    const { argument, outcome, kind } = writer
    // an operation that may have run, and whose effect was never seen, makes no difference
    if (outcome === 'no' || (outcome === 'unknown' && !readers.has(argument!) && !swaps.has(argument!)) || (kind === 'swap' && outcome === 'ok')) continue
    const places: Operation[][] = []
    for (let next: Operation | undefined = writer; next && !taken.has(next); next = swaps.get(next.argument!)) {
      taken.add(next)
      places.push([next], readers.get(next.argument!) ?? [])
    }
    wrong.push(...misplaced(places))
    const all = places.flat()
    blocks.push({ first: all.reduce((a, b) => b.returned < a.returned ? b : a), last: all.reduce((a, b) => b.invoked > a.invoked ? b : a) })
  }
  for (const one of operations) if (one.kind === 'swap' && one.outcome === 'ok' && !taken.has(one)) wrong.push(`${told(one)} is in a circle of swaps`)
  for (const [i, one] of blocks.entries()) {
    const other = blocks.slice(i + 1).find((each) => one.first.returned < each.last.invoked && each.first.returned < one.last.invoked)
    if (other) wrong.push(`${told(one.last)} began after ${told(other.first)} had ended, and ${told(other.last)} after ${told(one.first)}: neither can come first`)
  }
  return wrong
}

/** Operations that follow each other immediately: the one that ended first, and the one that began last. */
interface Block { readonly first: Operation; readonly last: Operation }

/** @param places  operations in the order of their effects; several operations at one place change nothing */
function misplaced(places: readonly (readonly Operation[])[]): string[] {
  const wrong: string[] = []
  let ended: Operation | undefined
  for (const group of [...places].reverse()) {
    for (const one of group) if (ended && ended.returned < one.invoked) wrong.push(`${told(one)} began after ${told(ended)} had ended, and comes before it`)
    for (const one of group) if (one.outcome === 'ok' && one.returned < (ended?.returned ?? Infinity)) ended = one
  }
  return wrong
}

export const told = ({ kind, argument, result, outcome }: Operation): string =>
  `${kind}(${argument ?? ''})${outcome === 'ok' && kind !== 'list' && result !== undefined ? ` → ${JSON.stringify(result)}` : outcome === 'unknown' ? ' (outcome not known)' : ''}`
