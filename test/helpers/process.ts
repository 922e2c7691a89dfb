import { fork, type ChildProcess, type ForkOptions } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { StageError, type Code, type Executed } from '../../src/errors.js'
import type { Orders as ChildOrders } from '../processes/child.js'
import type { Assertions } from '../suites/test.js'
import type { Orders, Question, Reply } from './answering.js'
import { compiled } from './own-process.js'

type T = Pick<Assertions, 'teardown'>

/** A process with stages in it, and the channel for its orders. */
export class Process<O extends Orders = ChildOrders> {
  readonly ended: Promise<void>
  readonly #waiting = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>()
  #count = 0

  private constructor(private readonly child: ChildProcess) {
    child.on('message', ({ n, value, error }: Reply) => {
      const waiting = this.#waiting.get(n)
      this.#waiting.delete(n)
      if (error) waiting?.reject(error.code === 'none' ? new Error(error.message) : new StageError(error.code as Code, error.message, { executed: error.executed as Executed }))
      else waiting?.resolve(value)
    })
    this.ended = new Promise((resolve) => child.once('exit', () => {
      for (const { reject } of this.#waiting.values()) reject(new Error('the process ended before it answered'))
      this.#waiting.clear()
      resolve()
    }))
  }

  /**
   * The process is killed by its id at the end of the test. @param program  the program in it, which ends with
   * `answering()`
   */
  static start<O extends Orders = ChildOrders>(t: T, options: ForkOptions = {}, program = 'test/processes/child.js'): Process<O> {
    const one = new Process<O>(fork(compiled(program), [], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'], execArgv: [], ...options }))
    t.teardown(() => one.kill())
    return one
  }

  /** How the process ended, if it has. */
  get code(): number | NodeJS.Signals | null {
    return this.child.exitCode ?? this.child.signalCode
  }

  get pid(): number {
    return this.child.pid ?? 0
  }

  ask<K extends keyof O & string>(order: K, ...args: Parameters<O[K]>): ReturnType<O[K]> {
    const n = ++this.#count
    return new Promise<unknown>((resolve, reject) => {
      if (!this.child.connected) return reject(new Error('the process has ended'))
      this.#waiting.set(n, { resolve, reject })
      this.child.send({ n, order, args } satisfies Question)
    }) as ReturnType<O[K]>
  }

  signal(signal: NodeJS.Signals): void {
    this.child.kill(signal)
  }

  /** Kills the process at once, without a goodbye. */
  kill(): Promise<void> {
    if (this.child.exitCode === null && this.child.signalCode === null) this.child.kill('SIGKILL')
    return this.ended
  }
}

/** A folder that exists as long as the test. Make it before the processes that use it, because they then end first. */
export async function tempFolder(t: T): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'stagemesh-test-'))
  t.teardown(() => rm(path, { recursive: true, force: true }))
  return path
}
