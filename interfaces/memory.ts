import type { Duplex } from 'node:stream'
import { onAbort } from '../src/abort.js'
import { systemClock } from '../src/clock.js'
import { StageError } from '../src/errors.js'
import { knownOptions } from '../src/known-options.js'
import { outside } from '../src/outside.js'
import { newId, systemRandom } from '../src/random.js'
import type { Clock, Interface, Random, Timer } from '../src/types.js'
import { MemoryStream, failure, type Carrier } from './memory-stream.js'

/** Selects traffic: an address means all its streams, dialled and accepted; a function is asked for each direction. */
export type Where = string | ((from: string, to: string) => boolean)

/** Options of a network within this process. */
export interface MemoryNetworkOptions {
  /** Default: this machine's. */
  clock?: Clock | undefined
  /** Default: this machine's. */
  random?: Random | undefined
  /** Milliseconds that everything is in flight, or a function of the two addresses; default 0. Order is kept. */
  latencyMs?: number | ((from: string, to: string, random: Random) => number) | undefined
}

/** Values for options that are left out. */
const DEFAULTS = { latencyMs: 0 } as const satisfies MemoryNetworkOptions

/** How many deliveries in a row may keep the event loop from its timers and sockets. */
const BURST = 1000
/** The longest delay of a timer. */
const FOREVER_MS = 2 ** 31 - 1

/** Carries streams between the memory interfaces of one process, and can be slow, silent or broken on demand. */
export class MemoryNetwork implements Carrier {
  /** The clock of delays. */
  readonly clock: Clock
  /** Milliseconds that everything is in flight; may be set at any time. */
  latencyMs: number | ((from: string, to: string, random: Random) => number)
  /** @internal who listens */
  readonly listeners = new Map<string, (stream: Duplex) => void>()
  /** @internal */
  readonly streams = new Set<MemoryStream>()
  readonly #random: Random
  /** Part of every address, so that another process which reads one in a registry does not mistake it for its own. */
  readonly #id: string
  readonly #held = new Set<Where | undefined>()
  readonly #refused = new Set<Where | undefined>()
  #addresses = 0
  #bursts = 0

  constructor(options: MemoryNetworkOptions = {}) {
    knownOptions('a memory network', options, ['clock', 'random', 'latencyMs'])
    this.clock = options.clock ?? systemClock
    this.latencyMs = options.latencyMs ?? DEFAULTS.latencyMs
    this.#random = options.random ?? systemRandom
    this.#id = newId(this.#random)
  }

  /** Keeps bytes, ends and dials in flight, present and future ones; neither end notices. Default: all traffic. */
  hold(where?: Where): void {
    this.#held.add(where)
  }

  /** Undoes the `hold` and `refuse` with the same argument, or every `hold` and `refuse`; held traffic is delivered. */
  release(where?: Where): void {
    for (const faults of [this.#held, this.#refused]) {
      if (where === undefined) faults.clear()
      else faults.delete(where)
    }
    for (const stream of this.streams) stream.schedule()
  }

  /** Resets the existing streams: both ends fail with ECONNRESET, and data in flight is lost. */
  cut(where?: Where): void {
    const hit = [...this.streams].filter(({ from, to }) => matches(where, from, to))
    for (const stream of hit) for (const end of [stream, stream.other]) end.reset()
  }

  /** Makes dials fail with ECONNREFUSED, until `release`. */
  refuse(where?: Where): void {
    this.#refused.add(where)
  }

  /** @internal */
  newAddress(): string {
    return `memory://${this.#id}/${++this.#addresses}`
  }

  /** @internal */
  dial(from: string, to: string): MemoryStream {
    const near = new MemoryStream(this, from, to)
    const far = new MemoryStream(this, to, from)
    near.other = far
    far.other = near
    near.send('dial')
    return near
  }

  /** @internal */
  accept(stream: MemoryStream): void {
    const onstream = this.listeners.get(stream.from)
    if (!onstream || [...this.#refused].some((where) => matches(where, stream.to, stream.from))) {
      // an address of another process or network cannot be found here, whether or not somebody listens there
      const cause = stream.from.startsWith(`memory://${this.#id}/`) ? undefined : failure('ENOENT', 'connect', stream.from)
      stream.send(Object.assign(failure('ECONNREFUSED', 'connect', stream.from), cause && { cause }))
      stream.destroy()
    } else {
      stream.send('accepted')
      onstream(stream)
    }
  }

  /** @internal */
  isHeld(from: string, to: string): boolean {
    return this.#held.size > 0 && [...this.#held].some((where) => matches(where, from, to))
  }

  /** @internal */
  arrival(from: string, to: string): number {
    const { latencyMs, clock } = this
    return clock.now() + (typeof latencyMs === 'number' ? latencyMs : latencyMs(from, to, this.#random))
  }

  /** @internal */
  soon(fn: () => void): void {
    // two ends that answer each other by nextTick alone would starve the event loop; on a virtual clock there is
    // nothing to starve, and delivery order must not depend on a burst count
    if (this.clock === systemClock && ++this.#bursts % BURST === 0) this.clock.setTimeout(fn, 0, true)
    else outside(process.nextTick, undefined, fn) // as with a socket, the reader does not run in the writer's context
  }
}

const matches = (where: Where | undefined, from: string, to: string): boolean =>
  where === undefined || (typeof where === 'string' ? where === from || where === to : where(from, to))

/** The default network, one per process, so that stages find each other without configuration. */
const processNetwork = new MemoryNetwork()

/** An interface to the stages of this process, with one address that is fixed at construction and never reused. */
export class MemoryInterface implements Interface {
  readonly scheme = 'memory'
  readonly cost = 0
  /** The address that others dial. */
  readonly address: string
  readonly #clock: Clock
  #alive: Timer | undefined
  #listened = false
  #closed = false

  constructor(private readonly network: MemoryNetwork = processNetwork, options: { clock?: Clock | undefined } = {}) {
    this.address = network.newAddress()
    knownOptions('the memory interface', options, ['clock'])
    this.#clock = options.clock ?? network.clock
  }

  async listen(onstream: (stream: Duplex) => void): Promise<readonly string[]> {
    if (this.#closed) throw new StageError('CLOSED', 'this interface was closed')
    if (this.#listened) throw new TypeError('this interface is already listening; use one for each stage')
    this.#listened = true
    this.network.listeners.set(this.address, onstream)
    this.#stayAlive()
    return [this.address]
  }

  /** Keeps the process alive: a process that listens does not end by itself, whichever interface it uses. */
  #stayAlive(): void {
    this.#alive = this.#clock.setTimeout(() => this.#stayAlive(), FOREVER_MS, true)
  }

  /** @throws ECONNREFUSED nobody listens there · ECONNRESET it was cut · the signal's reason */
  async connect(address: string, signal: AbortSignal): Promise<Duplex> {
    signal.throwIfAborted()
    const stream = this.network.dial(this.address, address)
    return new Promise((resolve, reject) => {
      const fail = (error: Error) => { release(); reject(error) }
      const release = onAbort(signal, () => {
        stream.off('error', fail)
        reject(signal.reason as Error)
        stream.destroy(new Error('the dial was cancelled', { cause: signal.reason }))
      })
      stream.once('error', fail)
      stream.onaccepted = () => {
        stream.off('error', fail)
        release()
        resolve(stream)
      }
    })
  }

  /** Stops listening. Accepted streams belong to their receivers and stay open. */
  async close(): Promise<void> {
    this.#closed = true
    this.network.listeners.delete(this.address)
    this.#alive?.cancel()
  }
}
