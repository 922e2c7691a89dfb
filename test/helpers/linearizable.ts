/**
 * Whether what was seen of one actor can have happened in one order that agrees with time: each operation takes effect
 * once, at one moment between its beginning and its end. One whose outcome is not known may take effect at any time
 * after its beginning, or never; one that did not run must not have.
 */
export interface Operation {
  readonly kind: string
  readonly argument?: string
  /** What it answered, if it did. */
  readonly result?: unknown
  /** By one clock for all who call. */
  readonly invoked: number
  /** Infinity: it has not ended, or not with an answer. */
  readonly returned: number
  readonly outcome: 'ok' | 'unknown' | 'no'
}

/** What `read` of a counter answers; `last` is the id of the addition that made it so, undefined where it was not asked for. */
export interface CounterSeen { readonly value: number; readonly last?: string }

/**
 * A counter that keeps the ids of its additions: `add` (an id → the value it made), `read` (→ CounterSeen) and `list`
 * (→ all ids in their order). The last `list` must come when all is over: it is the order, and the rest is held against it.
 * @returns what is wrong, in words
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
  /** Those that take effect at the same place: an addition alone, or the reads behind it. */
  const places: Operation[][] = Array.from({ length: 2 * order.length + 1 }, () => [])
  for (const one of operations) {
    const place = placed(one, order, at)
    if (typeof place === 'string') wrong.push(place)
    else if (place !== undefined) places[place]!.push(one)
  }
  // none that comes later in the order may have ended before one that comes earlier began
  let ended: Operation | undefined
  for (const group of places.reverse()) {
    for (const one of group) if (ended && ended.returned < one.invoked) wrong.push(`${told(one)} began after ${told(ended)} had ended, and comes before it`)
    for (const one of group) if (one.outcome === 'ok' && one.returned < (ended?.returned ?? Infinity)) ended = one
  }
  return wrong
}

/** @returns where an operation stands in the order; undefined: nowhere, as it may; or what is wrong */
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

/** How an object behaves that is called by one after the other. @returns its next state, or undefined: it would not answer so */
export type Model = (state: string, operation: Operation) => string | undefined

/** A register: `write`, `swap` (→ what was there before) and `read`. An outcome that is not known fits whatever it was. */
export const register: Model = (state, { kind, argument = '', result, outcome }) => {
  if (kind !== 'write' && outcome === 'ok' && result !== state) return undefined
  return kind === 'read' ? state : argument
}

/** @returns what is wrong, in words */
export function checkRegister(operations: readonly Operation[]): string[] {
  const written = new Map(operations.filter(({ kind }) => kind !== 'read').map((one) => [one.argument!, one]))
  const seen = new Map(operations.filter(({ kind, outcome }) => kind !== 'write' && outcome === 'ok').map((one) => [one.result as string, one]))
  const wrong = [...seen].flatMap(([value, one]) => {
    const writer = written.get(value)
    if (value === '' || (writer && writer.outcome !== 'no')) return []
    return [`${told(one)} saw ${value}, ${writer ? 'and that write did not run' : 'which nobody wrote'}`]
  })
  if (wrong.length > 0) return wrong
  // what may have been written, and was never seen, makes no difference
  const fault = search(operations.filter((one) => one.outcome === 'ok' || (one.outcome === 'unknown' && seen.has(one.argument ?? ''))), register)
  return fault === undefined ? [] : [fault]
}

interface World { readonly state: string; readonly done: ReadonlySet<number> }

const WORLDS_MAX = 50_000

/**
 * Looks for an order in which the model would have answered as they were answered: goes through beginnings and ends as
 * they came, and keeps every state that is possible, with which of the open operations have taken effect in it. Orders
 * are only tried where one ends that has not taken effect, so that the work grows with how many are open at a time.
 * @returns the first operation that fits nowhere, in words
 */
export function search(operations: readonly Operation[], model: Model, initial = ''): string | undefined {
  const events = operations.flatMap((one, i) => [{ at: one.invoked, i, end: false }, ...(one.outcome === 'ok' ? [{ at: one.returned, i, end: true }] : [])])
  events.sort((a, b) => a.at - b.at || Number(a.end) - Number(b.end))
  const open = new Set<number>()
  let worlds = new Map<string, World>([['', { state: initial, done: new Set() }]])
  for (const { i, end } of events) {
    if (!end) {
      open.add(i)
      continue
    }
    const next = new Map<string, World>()
    const tried = new Set<string>()
    const stack = [...worlds.values()]
    for (let world = stack.pop(); world; world = stack.pop()) {
      if (world.done.has(i)) {
        const left = { state: world.state, done: new Set([...world.done].filter((one) => one !== i)) }
        next.set(keyOf(left), left)
        continue
      }
      for (const other of steps(world, open, operations, model)) {
        const key = keyOf(other)
        if (tried.has(key)) continue
        tried.add(key)
        stack.push(other)
      }
      if (tried.size > WORLDS_MAX) return `it could not be decided: ${open.size} were open at a time at ${told(operations[i]!)}`
    }
    open.delete(i)
    if (next.size === 0) return `${told(operations[i]!)} fits into no order; possible before it was ${[...new Set([...worlds.values()].map(({ state }) => state || 'nothing'))].slice(0, 5).join(' or ')}`
    worlds = settle(next, open, (one) => operations[one]!.outcome === 'unknown')
  }
  return undefined
}

/**
 * Each open operation as the next to take effect. One whose outcome is not known does so only right before one that
 * could not have answered otherwise: before any other it would make no difference that anybody has seen.
 */
function* steps({ state, done }: World, open: ReadonlySet<number>, operations: readonly Operation[], model: Model): Generator<World> {
  const left = [...open].filter((one) => !done.has(one))
  const certain = left.filter((one) => operations[one]!.outcome === 'ok')
  const others = left.filter((one) => operations[one]!.outcome !== 'ok')
  for (const one of certain) {
    const next = model(state, operations[one]!)
    if (next !== undefined) yield { state: next, done: new Set([...done, one]) }
    else for (const first of others) {
      const between = model(state, operations[first]!)
      const after = between === undefined ? undefined : model(between, operations[one]!)
      if (after !== undefined) yield { state: after, done: new Set([...done, first, one]) }
    }
  }
}

/** What never ends, and has taken effect in every possible world, need not be remembered. */
function settle(worlds: Map<string, World>, open: Set<number>, endless: (one: number) => boolean): Map<string, World> {
  const all = [...worlds.values()]
  const certain = [...open].filter((one) => endless(one) && all.every(({ done }) => done.has(one)))
  if (certain.length === 0) return worlds
  for (const one of certain) open.delete(one)
  return new Map(all.map(({ state, done }) => {
    const world = { state, done: new Set([...done].filter((one) => open.has(one))) }
    return [keyOf(world), world]
  }))
}

const keyOf = ({ state, done }: World): string => `${[...done].sort((a, b) => a - b).join(' ')} ${state}`

const told = ({ kind, argument, result, outcome }: Operation): string =>
  `${kind}(${argument ?? ''})${outcome === 'ok' && kind !== 'list' ? ` → ${JSON.stringify(result)}` : outcome === 'unknown' ? ' (outcome not known)' : ''}`
