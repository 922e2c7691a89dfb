/** Requests that the library itself makes of an actor; each is a turn like any call. */
import { StageError, describe } from '../../src/errors.js'
import type { Changes } from './watching/changes.js'
import type { Cursor } from './watching/history.js'
import type { Inspected, Turn } from './hosting/turn.js'

export const GET = '@get'
export const WATCH = '@watch'
/** Activates the actor and does nothing else. */
export const WAKE = '@wake'

const WATCHED_MAX = 100

/** Gives a turn of the library's own the task that its name stands for. @param changes  the stream that notifies a watch */
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

/** The answer only confirms the watch. Notices come over the stream, possibly before the answer. */
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
