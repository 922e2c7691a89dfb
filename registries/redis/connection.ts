import { StageError, asError } from '../../src/errors.js'
import { log } from '../../src/log.js'
import { outside } from '../../src/outside.js'
import { isError } from '../../src/realm.js'
import type { Clock } from '../../src/types.js'
import { warnOnce } from '../../src/warn-once.js'
import { within } from '../../src/within.js'
import { failure } from './failure.js'
import { isCluster } from './target.js'
import type { Client, Target } from './target.js'
import type { Script } from './script.js'

/** Time limit for connecting, and again for checking the server, in milliseconds. */
const CONNECT_MS = 3000

/**
 * One connection, opened on first use and replaced after it broke; ioredis never reconnects it. Every failure is passed to
 * the caller, who decides when to retry.
 */
export class Connection {
  #client: Promise<Client> | undefined
  /** The commands in flight on each client, and whether it is closed after the last of them. */
  readonly #open = new Map<Client, { running: number, dropped: boolean }>()
  #closed = false
  /** True for a Redis before 7.0, which does not support script flags. */
  #plain = false

  /**
   * @param commandMs  how long a command may stay unanswered before the connection counts as dead
   * @param what       the owner of the connection, which its errors name
   */
  constructor(
    private readonly target: Target, private readonly clock: Clock, private readonly commandMs: number,
    private readonly what: 'registry' | 'store' = 'registry',
  ) {}

  /** @throws StageError REGISTRY_UNAVAILABLE or STORE_UNAVAILABLE · AUTH_FAILED · CLOSED */
  async run<T>(command: (client: Client) => Promise<T>): Promise<T> {
    if (this.#closed) throw this.#over()
    const connecting = this.#client ??= outside(() => this.#connect())
    let client: Client | undefined
    try {
      client = await connecting
      this.#ran(client, 1)
      return await within(this.clock, this.commandMs, command(client), () => new Error(`a command timed out after ${this.commandMs} ms`))
    } catch (error) {
      if (this.#closed) throw this.#over()
      // an error reply leaves the connection usable, except for replies that depend on which server it leads to
      if (!client || !isReply(error) || /^(READONLY|LOADING|MASTERDOWN|NOAUTH|CLUSTERDOWN)/.test(error.message)) {
        this.#drop(connecting, client)
      }
      throw failure(this.target, error, this.what)
    } finally {
      if (client) this.#ran(client, -1)
    }
  }

  /**
   * Runs a script by its hash, or by its text if Redis does not (or no longer) have the hash in its cache.
   * @param as  the type of the strings in its answer
   */
  script(script: Script, keys: readonly string[], args: readonly (string | Buffer)[], as: 'text' | 'bytes' = 'text'): Promise<unknown> {
    return this.run(async (client) => {
      const call = (name: string, what: string) => client[as === 'text' ? 'call' : 'callBuffer'](name, what, keys.length, ...keys, ...args)
      const run = async ({ sha, text }: { sha: string, text: string }) => {
        try {
          return await call('evalsha', sha)
        } catch (error) {
          if (!isError(error) || !error.message.includes('NOSCRIPT')) throw error
          return await call('eval', text)
        }
      }
      if (this.#plain) return run(script.plain)
      try {
        return await run(script)
      } catch (error) {
        if (!isError(error) || !error.message.includes("near '#'")) throw error
        this.#plain = true
        return await run(script.plain)
      }
    })
  }

  close(): void {
    this.#closed = true
    this.#client = undefined
    for (const client of [...this.#open.keys()]) this.#destroy(client)
  }

  async #connect(): Promise<Client> {
    let cause: unknown
    let client: Client | undefined
    try {
      client = await this.target.make()
      // the listener stays for the client's lifetime: an emitter without one throws
      client.on('error', (error: unknown) => { cause = error })
      if (this.#closed) throw new Error('Connection is closed.')
      this.#open.set(client, { running: 0, dropped: false })
      const what = isCluster(client) ? 'no node of the cluster could be used' : 'a connection timed out'
      const slow = () => new Error(`${what} after ${CONNECT_MS} ms`)
      await within(this.clock, CONNECT_MS, client.connect(), slow)
      if (cause !== undefined) throw asError(cause) // such as for a missing database, where the client would use another
      await within(this.clock, CONNECT_MS, this.#check(client), slow)
      const made = this.#client
      client.once('end', () => this.#drop(made, client))
      return client
    } catch (error) {
      if (client) this.#destroy(client)
      this.#client = undefined
      // connect() rejects only with "Connection is closed."; the reason comes as an `error` event
      throw failure(this.target, cause ?? error, this.what)
    }
  }

  /** Rejects a server on which commands would fail later, and warns of settings that may lose data. */
  async #check(client: Client): Promise<void> {
    if (isCluster(client)) return // each command goes to its own node, whose reply reports any of these problems
    let text: string
    try {
      text = await client.info()
    } catch (error) {
      if (isReply(error) && error.message.startsWith('NOPERM')) return
      throw error
    }
    const info = new Map(text.split('\r\n').map((line) => [line.split(':')[0], line.slice(line.indexOf(':') + 1)]))
    if (info.get('loading') === '1') throw new Error('LOADING Redis is loading the dataset in memory')
    if (info.get('role') === 'slave') throw new Error('READONLY this Redis is a replica')
    const [major = 0, minor = 0] = (info.get('redis_version') ?? '7.0').split('.').map(Number)
    const version = info.get('redis_version')
    if (major < 6 || (major === 6 && minor < 2)) throw new Error(`Redis ${version} is older than 6.2`)
    if (major < 7) {
      this.#plain = true
      log(this.target.address, `runs Redis ${version}; before 7.0, a server that is out of memory refuses renewals too`)
    }
    const policy = info.get('maxmemory_policy')
    if (policy !== undefined && policy !== 'noeviction') {
      const loss = 'when it is full, it may delete listed stages and the state of actors'
      warnOnce(`${this.target.address} has the maxmemory-policy ${policy}: ${loss}. Set maxmemory-policy noeviction there`)
    }
  }

  #over(): StageError {
    return new StageError('CLOSED', `the ${this.what} ${this.target.address} was closed`)
  }

  #drop(connecting: Promise<Client> | undefined, client: Client | undefined): void {
    if (this.#client === connecting) this.#client = undefined
    const state = client && this.#open.get(client)
    if (!client || !state) return // once, however many commands failed on it
    // the other nodes of a cluster may still answer the commands that are under way there
    if (isCluster(client) && state.running > 1) state.dropped = true
    else this.#destroy(client)
  }

  /** A command begins or ends. */
  #ran(client: Client, change: 1 | -1): void {
    const state = this.#open.get(client)
    if (!state) return
    state.running += change
    if (state.dropped && state.running === 0) this.#destroy(client)
  }

  /** Closes the socket at once, without a QUIT to a server that may not answer. */
  #destroy(client: Client): void {
    this.#open.delete(client)
    const { stream } = client as { stream?: { destroy(): void } }
    client.disconnect()
    stream?.destroy()
  }
}

/** True for an error reply of Redis, as opposed to a connection error. */
export const isReply = (error: unknown): error is Error => isError(error) && error.name === 'ReplyError'
