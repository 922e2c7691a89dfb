import { StageError, type Code } from '../../src/errors.js'
import type { Claim, Claimed, Commit, Fence, Wake } from '../../src/types.js'
import type { Assertions } from '../suites/test.js'
import { Child } from './printing-child.js'
import { until } from './until.js'

interface Reply { n: number, value?: unknown, code?: Code, message?: string }
/** A commit as it passes through JSON: its data is text. */
type Known = { version: number, data?: string, epoch: number, owner?: { activation: string } } | undefined

/**
 * The store of a local folder in a separate process. If another process is stopped inside a write, each process that wants
 * to write blocks one of its threads, and all tests of this process together have only four of these threads.
 */
export class RemoteStore {
  #count = 0
  #read = 0
  readonly #waiting = new Map<number, (reply: Reply) => void>()

  private constructor(private readonly child: Child) {}

  static async start(t: Pick<Assertions, 'teardown'>, path: string): Promise<RemoteStore> {
    const remote = new RemoteStore(Child.start(t, 'store-child', 'serve', path))
    const { child } = remote
    await until(() => child.lines.includes('ready'), 30_000)
    const timer = setInterval(() => remote.#listen(), 5)
    t.teardown(() => clearInterval(timer))
    return remote
  }

  claim(actor: string, claim: Claim): Promise<Claimed> {
    return this.#ask('claim', actor, claim)
  }

  commit(actor: string, { epoch, activation }: Fence, commit: Commit): Promise<'ok' | 'fenced'> {
    return this.#ask('commit', actor, { epoch, activation }, { ...commit, data: String(commit.data) })
  }

  release(actor: string, fence: Fence): Promise<void> {
    return this.#ask('release', actor, fence)
  }

  look(actor: string): Promise<Known> {
    return this.#ask('look', actor)
  }

  due(limit: number, after?: Wake): Promise<Wake[]> {
    return this.#ask('due', limit, after)
  }

  /** The longest time for which the event loop of its process was blocked. */
  stalls(): Promise<number> {
    return this.#ask('stalls')
  }

  #ask<T>(method: string, ...args: unknown[]): Promise<T> {
    const n = ++this.#count
    return new Promise<T>((resolve, reject) => {
      this.#waiting.set(n, ({ value, code, message = '' }) => {
        if (code) reject(new StageError(code, message))
        else resolve(value as T)
      })
      this.child.say(JSON.stringify([n, method, ...args]))
    })
  }

  #listen(): void {
    for (; this.#read < this.child.lines.length; this.#read++) {
      const line = this.child.lines[this.#read]
      if (!line.startsWith('{')) continue
      const reply = JSON.parse(line) as Reply
      this.#waiting.get(reply.n)?.(reply)
      this.#waiting.delete(reply.n)
    }
  }
}
