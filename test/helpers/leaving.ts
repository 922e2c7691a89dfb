/**
 * The ways in which a process can end without closing its stages; `signal` is `process.exit()` in a signal handler of its
 * own.
 */
export const WAYS = { exit: 7, throw: 1, signal: 7, kill: 'SIGKILL' } as const
export type Way = keyof typeof WAYS

/** Called in the process that ends: it ends at once, or on SIGTERM. */
export function leave(way: Exclude<Way, 'kill'>): void {
  if (way === 'signal') process.once('SIGTERM', () => process.exit(WAYS.signal))
  else setImmediate(() => {
    if (way === 'exit') process.exit(WAYS.exit)
    throw new Error('the process was told to end by this')
  })
}

interface Leaver {
  readonly ended: Promise<void>
  ask(order: 'leave', way: Exclude<Way, 'kill'>): Promise<void>
  signal(signal: NodeJS.Signals): void
  kill(): Promise<void>
}

/** Called in the parent. @returns  when the process has ended, in milliseconds of `performance` */
export async function leaves(process: Leaver, way: Way): Promise<number> {
  if (way === 'kill') void process.kill()
  else if (way !== 'signal') process.ask('leave', way).catch(() => {}) // the process may be gone before its answer
  else {
    await process.ask('leave', way)
    process.signal('SIGTERM')
  }
  await process.ended
  return performance.now()
}
