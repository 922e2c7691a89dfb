import type { Duplex } from 'node:stream'
import { asError } from './errors.js'
import type { Clock, Interface, Timer } from './types.js'

export interface ListeningOptions {
  clock: Clock
  interfaces: readonly Interface[]
  accept(stream: Duplex, through: Interface): void
  /** The addresses that peers should dial: first when every interface was tried, then after each change. */
  onaddresses(addresses: readonly string[]): void
  /** An interface could not listen; it is tried again, and the same reason is not reported again. */
  onerror(error: Error): void
}

const RETRY_MS = 1000
const RETRY_MAX_MS = 10_000

/** Keeps a stage's interfaces listening: an interface whose port is taken, or that has no address yet, is tried again. */
export class Listening {
  readonly #addresses: (readonly string[])[]
  readonly #errors = new Map<Interface, Error>()
  readonly #timers = new Set<Timer>()
  #untried: number
  #waiting: (() => void)[] = []
  #closed = false

  constructor(private readonly options: ListeningOptions) {
    this.#addresses = options.interfaces.map(() => [])
    this.#untried = options.interfaces.length
  }

  start(): void {
    if (this.#untried === 0) this.options.onaddresses([])
    this.options.interfaces.forEach((one, index) => void this.#try(one, index, RETRY_MS))
  }

  /** Resolves when every interface listens that must. @throws the error of an interface that does not */
  async ready(): Promise<void> {
    if (this.#untried > 0 && !this.#closed) await new Promise<void>((resolve) => this.#waiting.push(resolve))
    const nobody = this.#errors.size === this.options.interfaces.length
    for (const [one, error] of this.#errors) if (nobody || !one.optional) throw error
  }

  close(): void {
    this.#closed = true
    for (const timer of this.#timers) timer.cancel()
    this.#tell()
  }

  async #try(one: Interface, index: number, retryMs: number, first = true): Promise<void> {
    const { clock, accept, onerror } = this.options
    try {
      const addresses = await one.listen((stream) => accept(stream, one), (changed) => this.#set(index, changed), onerror)
      this.#errors.delete(one)
      this.#addresses[index] = addresses
    } catch (thrown) {
      const error = asError(thrown)
      const before = this.#errors.get(one)
      this.#errors.set(one, error)
      if (!this.#closed) {
        if (before?.message !== error.message) onerror(error)
        const timer = clock.setTimeout(() => {
          this.#timers.delete(timer)
          void this.#try(one, index, Math.min(retryMs * 2, RETRY_MAX_MS), false)
        }, retryMs)
        this.#timers.add(timer)
      }
    }
    if (first) this.#untried--
    if (this.#untried === 0 && (first || !this.#errors.has(one))) this.#tell()
  }

  #set(index: number, addresses: readonly string[]): void {
    this.#addresses[index] = addresses
    if (this.#untried === 0) this.#tell()
  }

  #tell(): void {
    for (const done of this.#waiting.splice(0)) done()
    const listens = this.#errors.size < this.options.interfaces.length
    if (!this.#closed && listens) this.options.onaddresses(this.#addresses.flat())
  }
}
