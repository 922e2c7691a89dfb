/** Hosts and callers in separate processes, the store that they share, and the faults. */
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Process, tempFolder } from '../helpers/process.js'
import { RedisServer } from '../helpers/redis-server.js'
import type { Assertions } from '../suites/test.js'
import type { Calling } from './caller.js'
import type { Counts, Orders, Place } from './child.js'
import type { Tampering } from './tampered.js'

export const kinds = ['redis', 'local', 'postgres', 'mariadb', 'sqlite'] as const
export type Kind = (typeof kinds)[number]

/** A server that is stopped and killed, and goes on with its data. */
interface Server {
  readonly url: string
  stop(): Promise<void>
  kill(): Promise<void>
  restart(how: { keepData: boolean }): Promise<void>
  close(): Promise<void>
}

async function serverOf(kind: Kind): Promise<Server | undefined> {
  if (kind === 'local' || kind === 'sqlite') return undefined
  if (kind === 'redis') return RedisServer.start()
  const { MariadbServer, PostgresServer } = await import('../helpers/database-servers.js')
  // a commit is with the system before it is acknowledged, so that it outlives the server's process
  return kind === 'postgres' ? PostgresServer.start() : MariadbServer.start('innodb_flush_log_at_trx_commit=2')
}
export type T = Pick<Assertions, 'teardown'>
type One = Process<Orders>

const GRACE_MS = 2000
const CALLERS = 8
const CALLING_PROCESSES = 3

const any = <One>(all: readonly One[]): One => all[Math.floor(Math.random() * all.length)]!

const start = (t: T): One => Process.start<Orders>(t, { serialization: 'advanced' }, 'test/stress/child.js')

export class World {
  readonly hosts: One[] = []
  readonly callers: One[] = []
  readonly faults: Record<string, number> = {}
  #deck: ('kill' | 'close' | 'stop' | 'restart')[] = []
  #count = 0

  private constructor(private readonly t: T, readonly place: Place, readonly server: Server | undefined, private readonly idleMs: number) {}

  static async make(t: T, kind: Kind, ttlMs: number, { tampering, idleMs = 1000 }: { tampering?: Tampering | undefined; idleMs?: number } = {}): Promise<World> {
    const server = await serverOf(kind)
    if (server) t.teardown(() => server.close())
    const registry = server ? server.url : `${kind}:${join(await tempFolder(t), 'registry')}`
    return new World(t, { registry, ttlMs, tampering }, server, idleMs)
  }

  async addHost(): Promise<One> {
    const one = start(this.t)
    this.hosts.push(one)
    await one.ask('host', `host-${++this.#count}`, this.place, this.idleMs)
    return one
  }

  async addCallers(calling: Calling): Promise<void> {
    const names = Array.from({ length: CALLERS }, (_, i) => `c${i}`)
    for (let i = 0; i < CALLING_PROCESSES; i++) this.callers.push(start(this.t))
    const share = { ...calling, rate: calling.rate / CALLERS, lanes: Math.ceil(calling.lanes / CALLERS) }
    await Promise.all(this.callers.map((one, i) => one.ask('callers', names.filter((_, n) => n % CALLING_PROCESSES === i), this.place, share)))
  }

  async counts(): Promise<Counts> {
    const sum: Counts = { acknowledged: 0, failed: {}, samples: {} }
    for (const { acknowledged, failed, samples } of await Promise.all(this.callers.map((one) => one.ask('counts')))) {
      sum.acknowledged += acknowledged
      Object.assign(sum.samples, samples)
      for (const [key, count] of Object.entries(failed)) sum.failed[key] = (sum.failed[key] ?? 0) + count
    }
    return sum
  }

  /** Applies the next fault, to one of the hosts or to the server, in random order and each kind equally often. */
  async fault(): Promise<void> {
    const host = any(this.hosts)
    if (this.#deck.length === 0) this.#deck = ['kill', 'close', 'stop', ...(this.server ? ['restart' as const] : [])]
    const next = any(this.#deck)
    this.#deck.splice(this.#deck.indexOf(next), 1)
    if (next === 'restart') await this.restart(this.server!)
    else await this[next](host)
  }

  async kill(host: One): Promise<void> {
    this.#noteFault('kill -9')
    await host.kill()
    await this.#replace(host)
  }

  async close(host: One): Promise<void> {
    this.#noteFault('close')
    await host.ask('close')
    await host.kill()
    await this.#replace(host)
  }

  /**
   * Stops a host for longer than its lease; in half of the cases until others may have taken over. Sometimes another host
   * is killed meanwhile.
   */
  async stop(host: One): Promise<void> {
    const { ttlMs } = this.place
    this.#noteFault('SIGSTOP')
    host.signal('SIGSTOP')
    try {
      await sleep(ttlMs * 1.2)
      const other = this.hosts.find((one) => one !== host)
      if (other && this.server && Math.random() < 0.3) await this.kill(other)
      if (Math.random() < 0.7) await sleep(GRACE_MS + Math.random() * ttlMs)
    } finally {
      host.signal('SIGCONT')
    }
  }

  async restart(server: Server): Promise<void> {
    const hard = Math.random() < 0.5
    this.#noteFault(`store ${hard ? 'killed' : 'stopped'} and started`)
    if (hard) await server.kill()
    else await server.stop()
    await sleep(Math.random() * 500)
    // processes of a killed server may need a moment to notice
    for (let tries = 0; ; tries++) {
      const error = await server.restart({ keepData: true }).then(() => undefined, (thrown: Error) => thrown)
      if (!error) break
      if (tries === 20) throw error
      await sleep(250)
    }
  }

  async #replace(host: One): Promise<void> {
    this.hosts.splice(this.hosts.indexOf(host), 1)
    await this.addHost()
  }

  /** The number of faults so far. */
  get happened(): number {
    return Object.values(this.faults).reduce((sum, count) => sum + count, 0)
  }

  #noteFault(name: string): void {
    this.faults[name] = (this.faults[name] ?? 0) + 1
  }
}
