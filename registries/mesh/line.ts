/** The connection of a client to one of the servers that its URL names. */
import { StageError, asError } from '../../src/errors.js'
import { log } from '../../src/log.js'
import type { Clock, Peer, Timer } from '../../src/types.js'
import { answered, type Answer } from './wire.js'

/** A stage without a registry, as far as a client needs it: the public door makes it. */
export interface Dialler {
  connect(address: string): Promise<Peer>
  disconnect(peer: Peer): Promise<void>
  call(peer: Peer, method: string, args: readonly unknown[], timeoutMs: number, signal?: AbortSignal): Promise<unknown>
  /** @param gone  called with each peer whose link has ended */
  onunlink(gone: (peer: Peer) => void): void
  close(): Promise<void>
}

/** How often a client that is not at the first server looks whether that is back, at most. */
const RETURN_MS = 20_000
/** How often in a TTL: a server that comes back with its entries takes out those that are not renewed within their TTL. */
const RETURNS_IN_TTL = 4
const CALL_MS = 3000
/** A watch has answered by then. */
const WATCH_MS = 10_000

export class Line {
  #dialler: Dialler | undefined
  #server: { peer: Peer; index: number } | undefined
  #connecting: Promise<Peer> | undefined
  #returning: Timer | undefined
  #returnMs = RETURN_MS
  #closed = false

  /**
   * @param addresses  of the servers, the preferred one first
   * @param onmove     another server is used now
   */
  constructor(
    private readonly addresses: readonly string[], private readonly open: () => Dialler, private readonly clock: Clock,
    private readonly onmove: (address: string) => void,
  ) {}

  /** @throws StageError REGISTRY_UNAVAILABLE, or the error of the registry behind the server */
  async ask<T>(method: string, ...args: readonly unknown[]): Promise<T> {
    return answered(await this.call(method, args, CALL_MS) as Answer<T>)
  }

  /** @throws StageError REGISTRY_UNAVAILABLE */
  async call(method: string, args: readonly unknown[], timeoutMs = WATCH_MS, signal?: AbortSignal): Promise<unknown> {
    const peer = await this.#connected()
    try {
      return await this.#dialler?.call(peer, method, args, timeoutMs, signal)
    } catch (error) {
      throw this.#unavailable(error)
    }
  }

  /** An entry with that TTL is listed over the line. */
  lists(ttlMs: number): void {
    this.#returnMs = Math.min(this.#returnMs, ttlMs / RETURNS_IN_TTL)
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#returning?.cancel()
    await this.#dialler?.close()
    await this.#connecting?.catch(() => {})
  }

  #connected(): Promise<Peer> {
    if (this.#closed) return Promise.reject(closed())
    if (this.#server) return Promise.resolve(this.#server.peer)
    this.#connecting ??= this.#connect(this.addresses.length).finally(() => { this.#connecting = undefined })
    return this.#connecting
  }

  /** @param count  how many of the addresses to try */
  async #connect(count: number): Promise<Peer> {
    const dialler = this.#dialler ??= this.#dial()
    const errors: StageError[] = []
    for (const [index, address] of this.addresses.slice(0, count).entries()) {
      if (this.#closed) throw closed()
      try {
        const peer = await dialler.connect(address)
        const before = this.#server
        this.#server = { peer, index }
        if (before && before.peer.id !== peer.id) await dialler.disconnect(before.peer)
        this.#preferFirst()
        this.onmove(address)
        return peer
      } catch (error) {
        errors.push(error as StageError)
      }
    }
    if (this.#closed) throw closed()
    const refusal = errors.find(({ code }) => code === 'AUTH_FAILED')
    if (refusal && errors.length === 1) throw refusal
    throw new StageError(refusal?.code ?? 'REGISTRY_UNAVAILABLE', `no server of the registry answers: ${errors.map(({ message }) => message).join('; ')}`)
  }

  #dial(): Dialler {
    const dialler = this.open()
    dialler.onunlink((peer) => { if (this.#server?.peer.id === peer.id) this.#server = undefined })
    return dialler
  }

  /** Servers are registries of their own, so the stages of a mesh belong at one and the same. */
  #preferFirst(): void {
    this.#returning?.cancel()
    this.#returning = undefined
    const index = this.#server?.index ?? 0
    if (index === 0 || this.#closed) return
    this.#returning = this.clock.setTimeout(() => {
      this.#connect(index).catch((error: unknown) => {
        log('mesh', `the preferred server of the registry is still away: ${asError(error).message}`)
        this.#preferFirst()
      })
    }, this.#returnMs)
  }

  #unavailable(thrown: unknown): StageError {
    const { code, message } = asError(thrown) as StageError
    if (this.#closed) return closed()
    if (code === 'CLOSED' || code === 'CANCELLED') return thrown as StageError
    return new StageError('REGISTRY_UNAVAILABLE', `the server of the registry did not answer: ${message}`, { cause: thrown })
  }
}

const closed = (): StageError => new StageError('CLOSED', 'this registry was closed')
