import type { ChildProcess } from 'node:child_process'
import type { Duplex } from 'node:stream'
import { types } from 'node:util'
import { onAbort } from '../src/abort.js'
import { systemClock } from '../src/clock.js'
import { StageError, describe } from '../src/errors.js'
import { knownOptions } from '../src/known-options.js'
import { newId, systemRandom } from '../src/random.js'
import type { Clock, Interface, Random, Timer } from '../src/types.js'
import { PortStream, type Port, type PortMessage } from './shared/port-stream.js'

/** Options of the interface between a process and its children. */
export interface ChildOptions {
  /** Default: this machine's. */
  clock?: Clock | undefined
  /** Default: this machine's. */
  random?: Random | undefined
}

/** The end of a channel between a process and a child: of `fork()`, or this process itself. */
type Channel = Pick<ChildProcess, 'on' | 'off' | 'connected'> & { send?: ChildProcess['send'] | undefined }

/** A message between two interfaces, beside the messages of the application: a dial, or a message of one stream. */
interface Parcel {
  /** The number of the stream; 0 tells whether there is an interface at the end that sends it. */
  stagemesh: number
  /** The address that is dialled. */
  open?: string
  it?: unknown
  /** With a dial, and with its answer: shows whether bytes arrive as bytes. */
  probe?: Uint8Array
}

/** The longest delay of a timer. */
const FOREVER_MS = 2 ** 31 - 1
/** Addresses of ended channels that an interface remembers. */
const GONE_MAX = 1000
const PROBE = new Uint8Array(1)
const [HERE, AWAY] = ['here', 'away']

/** An interface that uses a channel. */
interface User {
  /** Takes a stream that was dialled to the address of the interface. */
  take(port: Port): void
  /** The channel has ended. */
  ended(): void
}

/** The channels of this process; all interfaces of this process share them. */
const channels = new WeakMap<Channel, Channelled>()

/**
 * The streams over one channel. The streams that an end dials have numbers from 1: positive in the messages of this end, and
 * negative in the messages of the other end.
 */
class Channelled {
  /** The interfaces of this end, by their addresses. */
  readonly #users = new Map<string, User>()
  /** By the number in the messages that come in. */
  readonly #ports = new Map<number, { onmessage(message: PortMessage): void; onclose(): void }>()
  /** The numbers of dials without an answer. */
  readonly #unanswered = new Set<number>()
  /** Streams that this end has dialled. It goes on for as long as the channel, since the other end may still hold old ones. */
  #count = 0
  #listens = false
  /** The channel was made with `serialization: 'advanced'`. Without it, bytes travel as text. */
  #bytes = false
  #closed = false
  /** The interfaces at the other end were closed: nobody answers there. */
  away = false

  private constructor(private readonly channel: Channel, public speaks: boolean) {}

  /** @param speaks  false in a child until its parent has spoken: a parent of another kind must not get messages that it does not know */
  static of(channel: Channel, speaks: boolean): Channelled {
    let one = channels.get(channel)
    if (!one) channels.set(channel, one = new Channelled(channel, speaks))
    return one
  }

  get closed(): boolean {
    return this.#closed
  }

  /** An interface of this end uses the channel from now on. */
  use(address: string, user: User): void {
    this.#users.set(address, user)
    this.#listen()
    if (this.#users.size === 1) this.#send({ stagemesh: 0, it: HERE })
  }

  #listen(): void {
    if (this.#listens) return
    this.#listens = true
    this.away = false
    this.channel.on('message', this.#onmessage)
    this.channel.on('disconnect', this.#onend)
    this.channel.on('exit', this.#onend)
  }

  dial(to: string): Port {
    const port = this.#port(-++this.#count)
    this.#unanswered.add(-this.#count)
    this.#send({ stagemesh: this.#count, open: to, probe: PROBE })
    return port
  }

  /** The interface of that address was closed. If no other is left, dials from the other end need not wait for an answer. */
  leave(address: string): void {
    if (!this.#users.delete(address) || this.#users.size > 0) return
    this.#send({ stagemesh: 0, it: AWAY })
    this.#unused()
  }

  /** Stops listening to the channel, which belongs to the application, once nothing here uses it. */
  #unused(): void {
    if (this.#users.size > 0 || this.#ports.size > 0) return
    this.#listens = false
    this.channel.off('message', this.#onmessage)
    this.channel.off('disconnect', this.#onend)
    this.channel.off('exit', this.#onend)
  }

  /** @param id  the number in the messages that come in */
  #port(id: number): Port {
    const early: PortMessage[] = []
    this.#ports.set(id, { onmessage: (message) => early.push(message), onclose: () => {} })
    return {
      post: (message) => this.#send({ stagemesh: -id, it: this.#coded(message), ...(message === 'accepted' ? { probe: PROBE } : {}) }),
      open: (onmessage, onclose) => {
        this.#ports.set(id, { onmessage, onclose })
        for (const message of early) onmessage(message)
        if (this.#closed) process.nextTick(onclose)
      },
      close: () => {
        this.#unanswered.delete(id)
        if (this.#ports.delete(id)) this.#unused()
      },
    }
  }

  #coded(message: PortMessage): unknown {
    if (typeof message !== 'object') return message
    return this.#bytes ? message : { base64: Buffer.from(message.buffer, message.byteOffset, message.byteLength).toString('base64') }
  }

  #send(parcel: Parcel): void {
    // an error means that the other end is gone, which the channel reports itself
    if (this.speaks && this.channel.connected && !this.#closed) this.channel.send?.(parcel, () => {})
  }

  readonly #onmessage = (message: unknown): void => {
    const { stagemesh: id, open, it, probe } = (message ?? {}) as Partial<Record<keyof Parcel, unknown>>
    if (typeof id !== 'number') return
    if (!this.speaks) {
      this.speaks = true
      this.#send({ stagemesh: 0, it: HERE })
    }
    if (id === 0) {
      this.away = it === AWAY
      if (this.away) for (const dialled of this.#unanswered) this.#ports.get(dialled)?.onmessage('refused')
      return
    }
    if (probe !== undefined) this.#bytes = isBytes(probe)
    if (typeof open === 'string') {
      if (id > 0 && !this.#ports.has(id)) this.#onopen(open, this.#port(id))
      return
    }
    const posted = messageOf(it)
    this.#unanswered.delete(id)
    if (posted !== undefined) this.#ports.get(id)?.onmessage(posted)
  }

  #onopen(to: string, port: Port): void {
    const user = this.#users.get(to)
    if (user) return user.take(port)
    port.post('refused')
    port.close()
  }

  readonly #onend = (): void => {
    if (this.#closed) return
    this.#closed = true
    const ports = [...this.#ports.values()]
    this.#ports.clear()
    this.#unanswered.clear()
    for (const { onclose } of ports) onclose()
    const users = [...this.#users.values()]
    this.#users.clear()
    for (const user of users) user.ended()
    this.#unused()
  }
}

const isBytes = (value: unknown): value is Uint8Array => types.isUint8Array(value)

/** A message as it was posted; undefined if it is none. */
function messageOf(it: unknown): PortMessage | undefined {
  if (typeof it === 'number' || typeof it === 'string' || isBytes(it)) return it as PortMessage
  const { base64 } = (it ?? {}) as { base64?: unknown }
  return typeof base64 === 'string' ? Buffer.from(base64, 'base64') : undefined
}

/**
 * Streams between a process and the children that it made by `fork()`, over the channels of these. A child needs no more than
 * `new ChildInterface()`; its parent attaches each child. `fork(…, { serialization: 'advanced' })` carries bytes as they are.
 */
export class ChildInterface implements Interface {
  readonly scheme = 'child'
  readonly cost = 1.5
  readonly #address: string
  readonly #clock: Clock
  readonly #channels = new Set<Channelled>()
  /** The channels over which addresses were found. */
  readonly #known = new Map<string, Channelled>()
  #onstream: ((stream: Duplex) => void) | undefined
  #alive: Timer | undefined
  #closed = false

  constructor(options: ChildOptions = {}) {
    knownOptions('the child interface', options, ['clock', 'random'])
    this.#clock = options.clock ?? systemClock
    this.#address = `child://${newId(options.random ?? systemRandom)}`
    if (process.send) this.#add(process as unknown as Channel, false)
  }

  /**
   * Reaches a child that this process has made by `fork()`, or by `spawn()` with `'ipc'` among its `stdio`.
   * @returns this
   * @throws TypeError it has no channel
   */
  attach(child: ChildProcess): this {
    if (typeof child?.send !== 'function' || !child.connected) {
      throw new TypeError(`${describe(child)} has no channel: expected a child that fork() has made, and that is still connected`)
    }
    this.#add(child, true)
    return this
  }

  #add(channel: Channel, speaks: boolean): void {
    const one = Channelled.of(channel, speaks)
    this.#channels.add(one)
    one.use(this.#address, { take: (port) => this.#take(port), ended: () => this.#forget(one) })
  }

  #forget(one: Channelled): void {
    this.#channels.delete(one)
    // addresses of the last processes that are gone: a dial there is refused, as on any carrier
    const gone = [...this.#known].filter(([, channel]) => channel.closed)
    for (const [address] of gone.slice(0, -GONE_MAX)) this.#known.delete(address)
  }

  #take(port: Port): void {
    if (this.#onstream) {
      port.post('accepted')
      this.#onstream(new PortStream(port))
    } else {
      port.post('refused')
      port.close()
    }
  }

  async listen(onstream: (stream: Duplex) => void): Promise<readonly string[]> {
    if (this.#closed) throw new StageError('CLOSED', 'this interface was closed')
    if (this.#onstream) throw new TypeError('this interface is already listening; use one for each stage')
    this.#onstream = onstream
    this.#stayAlive()
    return [this.#address]
  }

  /** Keeps the process alive: a process that listens does not end by itself, whichever interface it uses. */
  #stayAlive(): void {
    this.#alive = this.#clock.setTimeout(() => this.#stayAlive(), FOREVER_MS, true)
  }

  /** @throws StageError BAD_ARGUMENT for a malformed address · ECONNREFUSED nobody listens there · the signal's reason */
  async connect(address: string, signal: AbortSignal): Promise<Duplex> {
    if (!/^child:\/\/[\w-]{8,64}$/.test(address)) throw new StageError('BAD_ARGUMENT', `${describe(address)} is not an address that can be dialled: expected child:// and an id`)
    signal.throwIfAborted()
    const known = this.#known.get(address)
    if (known?.closed) throw refused(address)
    const asked = known ? [known] : [...this.#channels].filter((one) => one.speaks && !one.away)
    if (asked.length === 0 || known?.away) throw refused(address, known ? undefined : elsewhere())
    const far = new AbortController()
    const dials = asked.map(async (channel) => {
      const stream = await dialled(channel, address, far.signal)
      this.#known.set(address, channel)
      return stream
    })
    const release = onAbort(signal, () => far.abort(signal.reason))
    try {
      return await Promise.any(dials)
    } catch {
      signal.throwIfAborted()
      throw refused(address, known ? undefined : elsewhere())
    } finally {
      release()
      far.abort(new Error('another channel led there'))
    }
  }

  /** Stops listening. Accepted streams belong to their receivers and stay open. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#onstream = undefined
    this.#alive?.cancel()
    for (const one of this.#channels) one.leave(this.#address)
  }
}

function dialled(channel: Channelled, address: string, signal: AbortSignal): Promise<Duplex> {
  return new Promise((resolve, reject) => {
    const release = onAbort(signal, () => stream.destroy(signal.reason as Error))
    const stream = new PortStream(channel.dial(address), {
      onaccepted: (error) => {
        release()
        if (error) reject(error)
        else resolve(stream)
      },
      refusal: () => refused(address),
    })
  })
}

const elsewhere = (): Error => Object.assign(new Error('it is neither the parent nor a child of this process'), { code: 'ENOENT' })

const refused = (address: string, cause?: Error): Error =>
  Object.assign(new Error(`connect ECONNREFUSED ${address}`, cause && { cause }), { code: 'ECONNREFUSED', syscall: 'connect', address })
