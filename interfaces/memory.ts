import type { Duplex } from 'node:stream'
import { onAbort } from '../src/abort.js'
import { systemClock } from '../src/clock.js'
import { StageError } from '../src/errors.js'
import { outside } from '../src/outside.js'
import { newId, systemRandom } from '../src/random.js'
import type { Clock, Interface, Random, Timer } from '../src/types.js'
import { MemoryStream, failure, type Carrier } from './memory-stream.js'

/** Which traffic: an address means all of its streams, those it dialled and those it accepted; a function sees each direction. */
export type Where = string | ((from: string, to: string) => boolean)

export interface MemoryNetworkOptions {
  /** Default: this machine's. */
  clock?: Clock | undefined
  /** Default: this machine's. */
  random?: Random | undefined
  /** Milliseconds that everything is under way, or a function of the two addresses; default 0. Nothing is overtaken. */
  latencyMs?: number | ((from: string, to: string, random: Random) => number) | undefined
}

/** Of a network that does not say. */
const DEFAULTS = { latencyMs: 0 } as const satisfies MemoryNetworkOptions

/** So many deliveries in a row may keep the event loop from its timers and sockets. */
const BURST = 1000
/** The longest that a timer can wait. */
const FOREVER_MS = 2 ** 31 - 1

/** Carries streams between the memory interfaces of one process, and can be slow, silent or broken on demand. */
export class MemoryNetwork implements Carrier {
  readonly clock: Clock
  latencyMs: number | ((from: string, to: string, random: Random) => number)
  /** @internal who listens */
  readonly listeners = new Map<string, (stream: Duplex) => void>()
  /** @internal */
  readonly streams = new Set<MemoryStream>()
  readonly #random: Random
  /** Whoever reads an address in a registry may be another process, and must not take it for one of his own. */
  readonly #id: string
  readonly #held = new Set<Where | undefined>()
  readonly #refused = new Set<Where | undefined>()
  #addresses = 0
  #bursts = 0

  constructor(options: MemoryNetworkOptions = {}) {
    this.clock = options.clock ?? systemClock
    this.latencyMs = options.latencyMs ?? DEFAULTS.latencyMs
    this.#random = options.random ?? systemRandom
    this.#id = newId(this.#random)
  }

  /** Keeps bytes, ends and dials in flight, those to come as well; neither end notices. Default: all traffic. */
  hold(where?: Where): void {
    this.#held.add(where)
  }

  /** Takes back the `hold` and `refuse` of the same argument, or all of them; what was in flight goes on. */
  release(where?: Where): void {
    for (const faults of [this.#held, this.#refused]) {
      if (where === undefined) faults.clear()
      else faults.delete(where)
    }
    for (const stream of this.streams) stream.schedule()
  }

  /** Resets the streams that are there: both ends fail with ECONNRESET, and what was in flight is lost. */
  cut(where?: Where): void {
    const hit = [...this.streams].filter(({ from, to }) => matches(where, from, to))
    for (const stream of hit) for (const end of [stream, stream.other]) end.reset()
  }

  /** Lets dials fail with ECONNREFUSED, until `release`. */
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
      // what is another process's, or another network's, cannot be found here, whether or not somebody listens there
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
    // two ends that answer each other by nextTick alone would starve the process; on a virtual clock there is
    // nothing to starve, and the order must not depend on anything else
    if (this.clock === systemClock && ++this.#bursts % BURST === 0) this.clock.setTimeout(fn, 0, true)
    else outside(process.nextTick, undefined, fn) // as a socket's reader is not called by the writer
  }
}

const matches = (where: Where | undefined, from: string, to: string): boolean =>
  where === undefined || (typeof where === 'string' ? where === from || where === to : where(from, to))

/** One per process, so that stages find each other without being told of a network. */
const processNetwork = new MemoryNetwork()

/** An interface to the stages of this process; its one address is its own from the beginning, and no other's ever. */
export class MemoryInterface implements Interface {
  readonly scheme = 'memory'
  readonly cost = 0
  readonly address: string
  readonly #clock: Clock
  #alive: Timer | undefined
  #listened = false
  #closed = false

  constructor(private readonly network: MemoryNetwork = processNetwork, options: { clock?: Clock | undefined } = {}) {
    this.address = network.newAddress()
    this.#clock = options.clock ?? network.clock
  }

  async listen(onstream: (stream: Duplex) => void): Promise<readonly string[]> {
    if (this.#closed) throw new StageError('CLOSED', 'this interface was closed')
    if (this.#listened) throw new TypeError('this interface listens already; use one for each stage')
    this.#listened = true
    this.network.listeners.set(this.address, onstream)
    this.#stayAlive()
    return [this.address]
  }

  /** A process that listens does not end by itself, whatever carries the bytes. */
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
        stream.destroy(new Error('the dial was given up', { cause: signal.reason }))
      })
      stream.once('error', fail)
      stream.onaccepted = () => {
        stream.off('error', fail)
        release()
        resolve(stream)
      }
    })
  }

  /** Stops listening. Streams that were accepted belong to whoever got them, and stay. */
  async close(): Promise<void> {
    this.#closed = true
    this.network.listeners.delete(this.address)
    this.#alive?.cancel()
  }
}
