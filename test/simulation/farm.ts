import { fork } from 'node:child_process'
import type { Outcome } from './run.js'
import type { Range, Told } from './worker.js'

export interface FarmOptions {
  /** The file of the worker: that of this library, or that of a mutant. */
  readonly worker: string
  readonly from: number
  readonly seeds: number
  readonly jobs: number
  /** Ends after the first world that is broken. */
  readonly first?: boolean
  onoutcome?: (outcome: Outcome, done: number) => void
}

const ROW = 20
/** Rows of worlds for one process: objects of crashed stages are never freed, and a full heap makes further worlds slow. */
const ROWS_MAX = 15
/** A world takes a tenth of a second; a world that takes this long never ends. */
const STUCK_MS = 60_000
/** The exit code of a process that has reported its cause of death. */
export const TOLD = 7

/** Runs worlds in child processes. @returns the broken ones, in the order of their seeds */
export async function farm({ worker, from, seeds, jobs, first = false, onoutcome }: FarmOptions): Promise<Outcome[]> {
  const broken: Outcome[] = []
  /** The rest of the rows of processes that died. */
  const left: Range[] = []
  let next = from
  let done = 0
  let over = false

  const take = (): Range | undefined => {
    if (over) return undefined
    if (left.length > 0 || next >= from + seeds) return left.pop()
    const row = { from: next, to: Math.min(from + seeds, next + ROW) }
    next = row.to
    return row
  }

  /** Runs one process, until there is no more work or a world kills it. */
  const work = (): Promise<void> => new Promise((resolve) => {
    let row = take()
    if (!row) return resolve()
    const child = fork(worker, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'], execArgv: ['--max-semi-space-size=64', '--stack-trace-limit=4'] }) // worlds soon become garbage, and contain many errors
    let watch: NodeJS.Timeout | undefined
    let rows = 1
    let stuck = false
    const finish = (outcome: Outcome): void => {
      if (over || !row) return
      row = { from: outcome.seed + 1, to: row.to }
      if (outcome.broken.length > 0) broken.push(outcome)
      over = first && broken.length > 0
      onoutcome?.(outcome, ++done)
    }
    const guard = (): void => {
      clearTimeout(watch)
      watch = setTimeout(() => {
        stuck = true
        finish({ seed: row?.from ?? 0, broken: [`it has no end: ${STUCK_MS / 1000} s of real time`], hash: '', events: 0 })
        child.kill('SIGKILL')
      }, STUCK_MS)
    }
    child.on('message', (told: Told) => {
      guard()
      if ('done' in told) finish(told.done)
      else if (row && row.from >= row.to) row = rows++ < ROWS_MAX ? take() : undefined
      if (!child.connected) return // this message came from a process that has already been released
      if (over || !row) child.disconnect()
      else if ('ready' in told) child.send(row)
    })
    child.on('exit', (code, signal) => {
      clearTimeout(watch)
      if (row && row.from < row.to && code !== 0 && code !== TOLD && !stuck) finish({ seed: row.from, broken: [`its process ended with ${signal ?? code}`], hash: '', events: 0 })
      if (row && row.from < row.to) left.push(row)
      resolve(work())
    })
  })

  await Promise.all(Array.from({ length: jobs }, work))
  return broken.sort((a, b) => a.seed - b.seed)
}
