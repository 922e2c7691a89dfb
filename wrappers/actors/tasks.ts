/** What the library itself asks of an actor, as turns among the others. */
import { StageError, describe } from '../../src/errors.js'
import type { Changes } from './watching/changes.js'
import type { Cursor } from './watching/history.js'
import type { Inspected, Turn } from './hosting/turn.js'

export const GET = '@get'
export const WATCH = '@watch'
/** Makes it active, and nothing else. */
export const WAKE = '@wake'

const WATCHED_MAX = 100

/** Makes a turn of the library's own run what its name says. @param changes  where a watch is told of them */
export function prepare(turn: Turn, changes?: Changes): void {
  if (turn.method[0] !== '@') return
  const { args } = turn
  turn.own = turn.shared = true
  switch (turn.method) {
    case GET: turn.task = (actor) => actor.read(args[0]); break
    case WATCH: turn.task = (actor) => watch(actor, args, changes); break
    case WAKE: turn.task = () => undefined; break
  }
}

/** The answer is only that it stands: what it is told comes by the stream, and may come before. */
function watch(actor: Inspected, [names, mode, seen, number]: readonly unknown[], changes: Changes | undefined): void {
  if (!Array.isArray(names) || names.length === 0 || names.length > WATCHED_MAX || (mode !== 'latest' && mode !== 'every')) {
    throw new StageError('BAD_ARGUMENT', `${describe(names)} cannot be watched: expected 1 to ${WATCHED_MAX} names of properties`)
  }
  actor.watch({ number: number as number, names: names as string[], mode, seen: isCursor(seen) ? seen : undefined }, changes)
}

function isCursor(value: unknown): value is Cursor {
  if (typeof value !== 'object' || value === null) return false
  return typeof (value as Cursor).activation === 'string' && Number.isSafeInteger((value as Cursor).seq)
}

export const EXPLAIN = '@explain'
