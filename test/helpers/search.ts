import { told, type Operation } from './linearizable.js'

/**
 * The behaviour of an object whose operations run one after the other. @returns its next state, or undefined if it would
 * not answer so
 */
export type Model = (state: string, operation: Operation) => string | undefined

/** A register: `write`, `swap` (→ the value before) and `read`. An unknown outcome fits every state. */
export const register: Model = (state, { kind, argument = '', result, outcome }) => {
  if (kind !== 'write' && outcome === 'ok' && result !== state) return undefined
  return kind === 'read' ? state : argument
}

interface World { readonly state: string; readonly done: ReadonlySet<number> }

const WORLDS_MAX = 50_000

/**
 * Looks for an order in which the model would have given the same answers. It goes through beginnings and ends in the order
 * in which they came, and keeps every possible state with the set of open operations that have taken effect in it. Orders
 * are tried only when an operation ends that has not taken effect, so the work grows with the number of operations that are
 * open at a time.
 * @returns the first operation that fits into no order, in words
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
 * Yields each open operation as the next to take effect. An operation of unknown outcome takes effect only right before an
 * operation that could not have answered otherwise: before any other operation it would make no visible difference.
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

/** An operation that never ends, and has taken effect in every possible world, need not be remembered. */
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
