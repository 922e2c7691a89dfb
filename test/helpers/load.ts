import { appendFileSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { asError, StageError } from '../../src/errors.js'
import type { Stage } from '../../src/index.js'

/** The outcome of one call. */
export interface Outcome {
  id: string
  /** When the call ended, and how long it took, in milliseconds of this machine. */
  at: number
  tookMs: number
  /** The id of the process that answered. */
  pid?: number
  error?: { code: string; executed: string; message: string }
}

/**
 * Provides `work(id, ms)`: writes the id to the file before anything else, waits, and answers with the id of the process.
 */
export function serveWork(stage: Stage, file: string): void {
  stage.to('*').provide('work', async (id: string, ms: number) => {
    appendFileSync(file, `${id}\n`) // the kernel has the id then, even if this process is killed
    await sleep(ms)
    return process.pid
  })
}

/** The ids of all calls that were begun, each as often as it was begun. */
export const begun = (...files: readonly string[]): string[] =>
  files.flatMap((file) => readFileSync(file, { encoding: 'utf8', flag: 'a+' }).split('\n').filter(Boolean))

/** Keeps a number of calls of `work` in flight and records how each of them ends. */
export class Load {
  readonly outcomes: Outcome[] = []
  readonly #lanes: Promise<void>[]
  #stopped = false
  #count = 0

  /** The load ends with its stage. @param workMs  how long a handler takes at most */
  constructor(private readonly stage: Stage, private readonly to: string, inFlight: number, private readonly workMs = 20, private readonly timeoutMs = 10_000) {
    this.#lanes = Array.from({ length: inFlight }, () => this.#lane())
  }

  get failed(): Outcome[] {
    return this.outcomes.filter(({ error }) => error)
  }

  /** Begins no new calls; resolves when all calls have ended. */
  async stop(): Promise<readonly Outcome[]> {
    this.#stopped = true
    await Promise.all(this.#lanes)
    return this.outcomes
  }

  async #lane(): Promise<void> {
    while (!this.#stopped) {
      const id = `${this.stage.id}-${this.#count++}`
      const since = performance.now()
      const end = (rest: Pick<Outcome, 'pid' | 'error'>) => void this.outcomes.push({ id, at: Date.now(), tookMs: performance.now() - since, ...rest })
      try {
        end({ pid: await this.stage.to(this.to, { timeoutMs: this.timeoutMs }).call<number>('work', id, Math.random() * this.workMs) })
      } catch (thrown) {
        const { message } = asError(thrown)
        end({ error: thrown instanceof StageError ? { code: thrown.code, executed: thrown.executed, message } : { code: 'none', executed: 'none', message } })
        if (thrown instanceof StageError && thrown.code === 'CLOSED') return
        await sleep(5) // a call that fails at once must not lead to a busy loop
      }
    }
  }
}
