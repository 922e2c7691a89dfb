import { fork, type ChildProcess } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Figures } from './adapter.js'
import type { Order, Spent } from './end.js'
import type { Done, Load } from './load.js'

/** `rate`: calls, bytes or deliveries a second. `cpu`: µs for each, `heap`: bytes for each, of both processes together. */
export interface Measured { rate: number; cpu: number; heap: number; p50?: number; p99?: number; figures?: Figures }

const program = fileURLToPath(new URL('./end.js', import.meta.url))
const ANSWER_MS = 120_000

/** Sizes in MiB, large enough that objects made within a second are not collected before they are counted. */
const NEVER_COLLECTED = ['--min-semi-space-size=1024', '--max-semi-space-size=1024', '--expose-gc']

class End {
  readonly #child: ChildProcess
  /** Rejects when the process has ended. */
  readonly gone: Promise<never>

  constructor(options: readonly string[]) {
    const child = this.#child = fork(program, { serialization: 'advanced', stdio: ['ignore', 'ignore', 'inherit', 'ipc'], execArgv: [...process.execArgv, ...options] })
    this.gone = new Promise((_, reject) => {
      child.once('error', reject)
      child.once('exit', (code, signal) => reject(new Error(`a process ended with ${code ?? signal}`)))
    })
    this.gone.catch(() => {}) // the process ends in any case
  }

  ask<T>(order: Order): Promise<T> {
    return new Promise((resolve, reject) => {
      const fail = (why: string): void => { done(); reject(new Error(why)) }
      const timer = setTimeout(() => fail(`no answer within ${ANSWER_MS / 1000} s`), ANSWER_MS)
      const answered = ({ value, error }: { value: T; error?: string }): void => {
        if (error !== undefined) return fail(error)
        done()
        resolve(value)
      }
      const done = (): void => {
        clearTimeout(timer)
        this.#child.off('message', answered)
      }
      this.gone.catch((error: Error) => fail(error.message))
      this.#child.on('message', answered)
      this.#child.send(order, (error) => { if (error) fail(error.message) })
    })
  }

  /** The process ends when its channel is closed, and ends the processes that it started. */
  async end(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const gone = new Promise((resolve) => this.#child.once('exit', resolve))
    this.#child.disconnect()
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), 5000)
    await gone
    clearTimeout(timer)
  }
}

/**
 * One adapter under one load: a server and a client process, warmed up, then measured.
 * @param heap  also counts the bytes made on the heap; nothing is collected meanwhile, so the measurement must be short
 */
export async function measure(adapter: string, load: Load, { seconds, warmMs = 700, heap = false }: { seconds: number; warmMs?: number | undefined; heap?: boolean }): Promise<Measured> {
  const folder = await mkdtemp(join(tmpdir(), 'stagemesh-bench-'))
  const [server, client] = [0, 1].map(() => new End(heap ? NEVER_COLLECTED : [])) as [End, End]
  try {
    const where = await server.ask<string>({ serve: adapter, folder })
    await client.ask({ connect: adapter, where, load, warmMs, ms: seconds * 1000 })
    await server.ask('mark')
    const { count, seconds: took, cpu, heap: made, ...times } = await Promise.race([client.ask<Done & Spent>('go'), server.gone])
    const spent = await server.ask<Spent>('spent')
    return { rate: count / took, cpu: (cpu + spent.cpu) / count, heap: (made + spent.heap) / count, ...times }
  } finally {
    await Promise.all([client.end(), server.end()])
    await rm(folder, { recursive: true, force: true, maxRetries: 10 }) // a child that ends with its parent still writes there
  }
}
