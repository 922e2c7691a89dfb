import { fork, type ChildProcess } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Figures } from './adapter.js'
import type { Order } from './end.js'
import type { Done, Load } from './load.js'

/** `rate`: calls, bytes or deliveries a second. `cpu`: µs for one of them, of both processes together. */
export interface Measured { rate: number; cpu: number; p50?: number; p99?: number; figures?: Figures }

const program = fileURLToPath(new URL('./end.js', import.meta.url))
const ANSWER_MS = 120_000

class End {
  readonly #child: ChildProcess = fork(program, { serialization: 'advanced', stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })

  ask<T>(order: Order): Promise<T> {
    return new Promise((resolve, reject) => {
      const fail = (why: string): void => { done(); reject(new Error(why)) }
      const ended = (code: number | null): void => fail(`its process ended with ${code}`)
      const timer = setTimeout(() => fail(`no answer within ${ANSWER_MS / 1000} s`), ANSWER_MS)
      const answered = ({ value, error }: { value: T; error?: string }): void => {
        if (error !== undefined) return fail(error)
        done()
        resolve(value)
      }
      const done = (): void => {
        clearTimeout(timer)
        this.#child.off('exit', ended).off('message', answered)
      }
      this.#child.once('exit', ended).on('message', answered)
      this.#child.send(order)
    })
  }

  /** It ends when nobody speaks to it any more, and takes with it what it started. */
  async end(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const gone = new Promise((resolve) => this.#child.once('exit', resolve))
    this.#child.disconnect()
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), 5000)
    await gone
    clearTimeout(timer)
  }
}

/** One adapter under one load: a server and a client process, warmed up, then measured. */
export async function measure(adapter: string, load: Load, { seconds, warmMs = 700 }: { seconds: number; warmMs?: number | undefined }): Promise<Measured> {
  const folder = await mkdtemp(join(tmpdir(), 'stagemesh-bench-'))
  const server = new End()
  const client = new End()
  try {
    const where = await server.ask<string>({ serve: adapter, folder })
    await client.ask({ connect: adapter, where, load, warmMs, ms: seconds * 1000 })
    await server.ask('mark')
    const done = await client.ask<Done & { cpu: number }>('go')
    const spent = await server.ask<number>('spent')
    const { count, seconds: took, cpu, ...times } = done
    return { rate: count / took, cpu: (cpu + spent) / count, ...times }
  } finally {
    await Promise.all([client.end(), server.end()])
    await rm(folder, { recursive: true, force: true })
  }
}
