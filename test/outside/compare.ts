import type { Difference, Program } from './program.js'

// A line of events is `dialled: end, finish, close`: the events of one end of a connection, or of a socket over it. The
// order of events of two connections is random, and so is the order of `finish` and `end` if both ends close: for a socket,
// `finish` says that written data is on its way, for a stream of ours that the other end has read it. Before an error,
// `finish` means nothing.

const WHOLE = 'end, finish, close'
/**
 * Events of a stream that its own user destroyed: it has not seen the other end's `end`, or its own `finish`, where our
 * stream may have.
 */
const DESTROYED = ['end, close', 'finish, close', 'close']

const isEvents = (line: string): boolean => /^(accepted|dialled|client|server): /.test(line)
const ordered = (line: string): string => isEvents(line) ? line.replace('finish, end', 'end, finish').replace('finish, error', 'error') : line

/** The expected differences of a way from its control. */
export const differences = ({ differs = [] }: Program, way: string): readonly Difference[] => differs.filter((one) => one.way.test(way))

/**
 * The events expected on a way: those of the control, except for the expected differences. @throws if a difference no
 * longer occurs
 */
export function expected(lines: readonly string[], differs: readonly Difference[]): string[] {
  const all = lines.map(ordered)
  for (const { line, instead, because } of differs) {
    const at = place(all, line)
    if (at < 0) throw new Error(`the control has no line «${line}», so that this difference is to be taken out: ${because}`)
    all.splice(at, 1, ...instead === undefined ? [] : [instead].flat())
  }
  return [...all.filter((line) => !isEvents(line)), ...all.filter(isEvents).sort()]
}

/** The most complete of several clean ends: a socket that saw fewer events was destroyed by its user. */
const place = (all: readonly string[], line: string): number =>
  [line, ...[WHOLE, ...DESTROYED].map((what) => `${line}: ${what}`)].map((one) => all.indexOf(one)).find((at) => at >= 0) ?? -1

/** The events that occurred, replaced by the expected ones where both mean the same. */
export function alike(lines: readonly string[], wanted: readonly string[]): string[] {
  const all = lines.map(ordered)
  const events = all.filter(isEvents)
  const open = wanted.filter(isEvents)
  const take = (fits: (want: string, line: string) => boolean): void => {
    for (const want of [...open]) {
      const at = events.findIndex((line) => fits(want, line))
      if (at < 0) continue
      open.splice(open.indexOf(want), 1)
      matched.push(want)
      events.splice(at, 1)
    }
  }
  const matched: string[] = []
  take((want, line) => want === line)
  take((want, line) => {
    const [end, what] = want.split(': ') as [string, string]
    return DESTROYED.includes(what) && [WHOLE, ...DESTROYED].some((one) => line === `${end}: ${one}`)
  })
  return [...all.filter((line) => !isEvents(line)), ...[...matched, ...events].sort()]
}
