/** The registry that another process serves by `serveRegistry()`: `mesh://10.0.0.5:4444`. */
import { firstOf, onAbort } from '../../src/abort.js'
import { StageError, describe } from '../../src/errors.js'
import type { Clock, Entry, Lease, Registry, Store, View } from '../../src/types.js'
import { Stores } from '../shared/storing.js'
import { Line, type Dialler } from './line.js'
import { MeshStore } from './store.js'
import type { Part } from './wire.js'

export class MeshRegistry implements Registry {
  readonly #line: Line
  readonly #servers: readonly string[]
  readonly #ending = new AbortController()
  readonly #stores = new Stores()
  #used: string

  /**
   * @param open    makes the stage by which the servers are reached
   * @param scheme  of the addresses of the servers
   * @throws StageError BAD_ARGUMENT
   */
  constructor(url: string, clock: Clock, open: () => Dialler, scheme: 'tcp' | 'tcps') {
    const hosts = /^mesh:\/\/([^/?#@]+)\/?$/.exec(url)?.[1].split(',') ?? []
    if (hosts.length === 0 || !hosts.every((host) => /^(\[[\da-fA-F:.]+\]|[\w.-]+):\d{1,5}$/.test(host))) {
      throw new StageError('BAD_ARGUMENT', `${describe(url)} is not the URL of a registry that a stage serves: expected mesh://host:port, or several hosts with ports separated by commas`)
    }
    this.#servers = hosts.map((host) => `${scheme}://${host}`)
    this.#used = hosts[0]
    this.#line = new Line(this.#servers, open, clock, (address) => { this.#used = address.slice(scheme.length + 3) })
  }

  /** The server that is used. */
  get address(): string {
    return `mesh://${this.#used}`
  }

  async publish(entry: Entry, ttlMs: number): Promise<Lease> {
    this.#line.lists(ttlMs)
    const { lost, token } = await this.#line.ask<Published>('publish', entry, ttlMs)
    return new MeshLease(this.#line, entry, ttlMs, lost, token)
  }

  async* watch(namespace: string, signal: AbortSignal): AsyncGenerator<View, void, undefined> {
    if (signal.aborted) return
    const ending = firstOf(signal, this.#ending.signal)
    let parts: AsyncIterator<Part> | undefined
    const stop = onAbort(ending.signal, () => void parts?.return?.())
    try {
      const iterable = await this.#line.call('watch', [namespace], undefined, ending.signal) as AsyncIterable<Part>
      parts = iterable[Symbol.asyncIterator]()
      let entries: Entry[] = []
      for (let next = await parts.next(); !next.done && !ending.signal.aborted; next = await parts.next()) {
        const { view, more } = next.value
        entries.push(...view.entries)
        if (more) continue
        yield { ...view, entries }
        entries = []
      }
    } catch (error) {
      if (!ending.signal.aborted) throw unavailable(error)
    } finally {
      stop()
      ending.release()
      void parts?.return?.()
    }
    if (!ending.signal.aborted) throw new StageError('REGISTRY_UNAVAILABLE', `the server ${this.address} ended the watch of the namespace ${describe(namespace)}`)
  }

  store(namespace: string): Store {
    return this.#stores.open(this.address, namespace, () => new MeshStore(this.#line, namespace))
  }

  async close(): Promise<void> {
    this.#ending.abort()
    await this.#stores.close()
    await this.#line.close()
  }
}

interface Published { lost: boolean; token: number }

class MeshLease implements Lease {
  #closed = false

  constructor(private readonly line: Line, private entry: Entry, private readonly ttlMs: number, readonly lost: boolean, private token: number) {}

  async renew(entry?: Entry): Promise<'ok' | 'late' | 'lost'> {
    if (this.#closed) throw new StageError('CLOSED', `the lease of ${this.entry.id} was closed`)
    const { namespace, id } = this.entry
    if (entry) this.entry = entry
    const found = await this.line.ask<'ok' | 'late' | 'lost' | 'unknown'>('renew', namespace, id, ...(entry ? [entry] : []))
    if (found !== 'unknown') return found
    // the server was restarted, or another one is used now
    const { lost, token } = await this.line.ask<Published>('publish', this.entry, this.ttlMs)
    this.token = token
    return lost ? 'lost' : 'ok'
  }

  async close(): Promise<void> {
    this.#closed = true
    await this.line.ask('withdraw', this.entry.namespace, this.entry.id, this.token)
  }
}

function unavailable(error: unknown): StageError {
  const { code, message } = error as StageError
  if (code === 'REGISTRY_UNAVAILABLE' || code === 'AUTH_FAILED' || code === 'CLOSED') return error as StageError
  return new StageError('REGISTRY_UNAVAILABLE', `the watch of the registry has ended: ${message}`, { cause: error })
}
