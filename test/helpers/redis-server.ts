import { spawn, spawnSync } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { Redis } from 'ioredis'
import { freePort } from './free-port.js'

/** Whether tests that need a Redis can run here; with STAGEMESH_REQUIRE_REDIS=1 a missing Redis is a failure. */
export const hasRedis = process.env['STAGEMESH_REQUIRE_REDIS'] === '1' || spawnSync('redis-server', ['--version']).status === 0
export const NO_REDIS = 'redis-server is not installed: install the package redis-server to run these tests'

/** A real Redis server on a free port, whose data folder is removed with it. */
export class RedisServer {
  #process: ChildProcess | undefined
  #ended: Promise<unknown> = Promise.resolve()

  private constructor(readonly port: number, private readonly folder: string, private readonly args: readonly string[]) {}

  static async start(...args: string[]): Promise<RedisServer> {
    for (let tries = 0; ; tries++) {
      const server = new RedisServer(await freePort(), await mkdtemp(join(tmpdir(), 'stagemesh-redis-')), args)
      try {
        await server.#run()
        return server
      } catch (error) {
        await server.close()
        if (tries === 3) throw error // another process may have taken the port in between
      }
    }
  }

  /** Starts a server on a port that was chosen before. */
  static async at(port: number, ...args: string[]): Promise<RedisServer> {
    const server = new RedisServer(port, await mkdtemp(join(tmpdir(), 'stagemesh-redis-')), args)
    await server.#run()
    return server
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`
  }

  /** @param args  additional arguments for this run */
  async #run(args: readonly string[] = []): Promise<void> {
    const fixed = ['--port', String(this.port), '--bind', '127.0.0.1', '--dir', this.folder, '--save', '', '--appendonly', 'yes', '--appendfsync', 'always']
    const process = spawn('redis-server', [...fixed, ...this.args, ...args], { stdio: ['ignore', 'pipe', 'ignore'] })
    this.#process = process
    this.#ended = new Promise((resolve) => process.once('exit', resolve).once('error', resolve))
    await new Promise<void>((resolve, reject) => {
      const lines: string[] = []
      createInterface(process.stdout).on('line', (line) => {
        if (lines.push(line) > 50) lines.shift()
        if (/Ready to accept connections|Server initialized/.test(line)) resolve()
      })
      process.once('error', reject)
      process.once('exit', () => reject(new Error(`redis-server did not start:\n${lines.join('\n')}`)))
    })
    if (!args.includes('--key-load-delay')) await this.#answering()
  }

  async #answering(): Promise<void> {
    for (const end = performance.now() + 10_000; ;) {
      const said = await this.run(['PING']).catch((error: Error) => error.message)
      // a refusal because of a missing password counts as an answer too
      if (!/LOADING|ECONN|closed/.test(String(said))) return
      if (performance.now() > end) throw new Error(`redis-server does not answer: ${String(said)}`)
      await new Promise((resolve) => { setTimeout(resolve, 20) })
    }
  }

  /** Runs commands over a separate connection, and returns the answer to the last one. */
  async run(...commands: (string | number | Buffer)[][]): Promise<unknown> {
    return await this.admin(async (client) => {
      let answer: unknown
      for (const [name, ...args] of commands) answer = await client.call(String(name), ...args)
      return answer
    })
  }

  async admin<T>(use: (client: Redis) => Promise<T>): Promise<T> {
    const client = new Redis({ port: this.port, lazyConnect: true, retryStrategy: null, enableReadyCheck: false, maxRetriesPerRequest: 0, connectionName: 'admin' })
    let cause: unknown
    client.on('error', (error: unknown) => { cause = error })
    try {
      await client.connect().catch((error: unknown) => { throw cause ?? error })
      return await use(client)
    } finally {
      client.disconnect()
    }
  }

  async stop(): Promise<void> {
    this.#process?.kill('SIGCONT')
    this.#process?.kill('SIGTERM')
    await this.#ended
  }

  async kill(): Promise<void> {
    this.#process?.kill('SIGKILL')
    await this.#ended
  }

  /** Behaves like a machine that hangs: connections stay open, but nothing is answered. */
  pause(): void {
    this.#process?.kill('SIGSTOP')
  }

  resume(): void {
    this.#process?.kill('SIGCONT')
  }

  async restart({ keepData, args = [] }: { keepData: boolean, args?: readonly string[] }): Promise<void> {
    await this.stop()
    if (!keepData) await rm(join(this.folder, 'appendonlydir'), { recursive: true, force: true })
    await this.#run(args)
  }

  async close(): Promise<void> {
    await this.kill()
    await rm(this.folder, { recursive: true, force: true })
  }
}
