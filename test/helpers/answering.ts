import { StageError, asError } from '../../src/errors.js'

/** The orders that a process obeys when its parent sends them, by name. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- each process has its own
export type Orders = Record<string, (...args: any[]) => Promise<unknown>>

export interface Failure {
  code: string
  executed: string
  message: string
}
export interface Question {
  n: number
  order: string
  args: unknown[]
}
export interface Reply {
  n: number
  value?: unknown
  error?: Failure
}

export function failureOf(thrown: unknown): Failure {
  const { message } = asError(thrown)
  return thrown instanceof StageError ? { code: thrown.code, executed: thrown.executed, message } : { code: 'none', executed: 'none', message }
}

/** Obeys the orders of the parent over IPC, with one answer to each; the process ends with its parent. */
export function answering(orders: Orders): void {
  process.once('disconnect', () => process.exit())
  process.on('message', ({ n, order, args }: Question) => {
    const reply = (rest: Omit<Reply, 'n'>) => void process.send?.({ n, ...rest })
    orders[order]!(...args).then((value) => reply({ value }), (thrown: unknown) => reply({ error: failureOf(thrown) }))
  })
}
