import { createHash } from 'node:crypto'
import { readlinkSync } from 'node:fs'
import { hostname } from 'node:os'
import type { Duplex } from 'node:stream'
import { MessageChannel, postMessageToThread, threadId, type MessagePort } from 'node:worker_threads'
import { onAbort } from '../src/abort.js'
import { systemClock } from '../src/clock.js'
import { StageError, describe } from '../src/errors.js'
import { knownOptions } from '../src/known-options.js'
import type { Clock, Interface, Timer } from '../src/types.js'
import { PIECE, PortStream, WINDOW, type Port, type PortMessage } from './shared/port-stream.js'

/** Options of the interface between the threads of one process. */
export interface WorkerOptions {
  /** Default: this machine's. */
  clock?: Clock | undefined
}

/** A dial, as it reaches another thread: the port, and the memory for the bytes of the dialler and of the other end. */
interface Dial { stagemesh: 'dial'; to: string; port: MessagePort; rings: Rings }
type Rings = readonly [dialler: SharedArrayBuffer, listener: SharedArrayBuffer]

/** The longest delay of a timer. */
const FOREVER_MS = 2 ** 31 - 1
/** The most bytes of a stream that may be under way. */
const RING_BYTES = WINDOW + PIECE

/** The same in all threads of this process, and different in any other, also in another container on the same machine. */
const PROCESS = createHash('sha256').update(`${hostname()} ${process.pid} ${pidSpace()}`).digest('base64url').slice(0, 16)

function pidSpace(): string {
  try {
    return readlinkSync('/proc/self/ns/pid')
  } catch {
    return ''
  }
}

/** The listeners of this thread, by address. */
const listeners = new Map<string, (stream: Duplex) => void>()
let count = 0

/** Takes the dials of other threads. The event is the process's own, so messages of others pass by. */
function ondial(message: unknown): void {
  const { stagemesh, to, port, rings } = (message ?? {}) as Partial<Dial>
  if (stagemesh === 'dial' && typeof to === 'string' && port && rings) take(to, port, rings)
}

function take(to: string, port: MessagePort, [theirs, ours]: Rings): void {
  const onstream = listeners.get(to)
  if (!onstream) {
    port.postMessage('refused' satisfies PortMessage)
    return port.close()
  }
  port.postMessage('accepted' satisfies PortMessage)
  onstream(new PortStream(portOf(port, ours, theirs)))
}

/**
 * Bytes go through a ring of memory that both threads have, and the port carries the negative number of them. A buffer for each
 * message, transferred or cloned, would have V8 mark the heaps of both threads each 64 MiB. The ring never overflows, because a
 * stream has at most RING_BYTES under way. `fill` copies like memcpy; `set` and `copy` take shared memory word by word, which takes
 * three times as long.
 */
function portOf(port: MessagePort, ours: SharedArrayBuffer, theirs: SharedArrayBuffer): Port {
  const [out, incoming] = [Buffer.from(ours), Buffer.from(theirs)]
  let [written, read] = [0, 0]
  const put = (bytes: Uint8Array): void => {
    const first = Math.min(bytes.length, RING_BYTES - written)
    out.fill(first < bytes.length ? bytes.subarray(0, first) : bytes, written, written + first)
    if (first < bytes.length) out.fill(bytes.subarray(first), 0, bytes.length - first)
    written = (written + bytes.length) % RING_BYTES
    port.postMessage(-bytes.length)
  }
  const got = (length: number): Buffer => {
    const bytes = Buffer.allocUnsafe(length)
    const first = Math.min(length, RING_BYTES - read)
    bytes.fill(incoming.subarray(read, read + first), 0, first)
    if (first < length) bytes.fill(incoming.subarray(0, length - first), first)
    read = (read + length) % RING_BYTES
    return bytes
  }
  return {
    post: (message) => { if (typeof message === 'object') put(message); else port.postMessage(message) },
    open: (onmessage, onclose) => void port.on('message', (message: PortMessage) => {
      onmessage(typeof message === 'number' && message < 0 ? got(-message) : message)
    }).on('close', onclose),
    close: () => port.close(),
  }
}

/** Streams between the threads of one process, over MessagePorts. */
export class WorkerInterface implements Interface {
  readonly scheme = 'worker'
  readonly cost = 0.5
  readonly #address = `worker://${PROCESS}/${threadId}/${++count}`
  readonly #clock: Clock
  #alive: Timer | undefined
  #listened = false
  #closed = false

  constructor(options: WorkerOptions = {}) {
    knownOptions('the worker interface', options, ['clock'])
    this.#clock = options.clock ?? systemClock
  }

  async listen(onstream: (stream: Duplex) => void): Promise<readonly string[]> {
    if (this.#closed) throw new StageError('CLOSED', 'this interface was closed')
    if (this.#listened) throw new TypeError('this interface is already listening; use one for each stage')
    this.#listened = true
    if (listeners.size === 0) process.on('workerMessage', ondial)
    listeners.set(this.#address, onstream)
    this.#stayAlive()
    return [this.#address]
  }

  /** Keeps the thread alive: a thread that listens does not end by itself, whichever interface it uses. */
  #stayAlive(): void {
    this.#alive = this.#clock.setTimeout(() => this.#stayAlive(), FOREVER_MS, true)
  }

  /** @throws StageError BAD_ARGUMENT for a malformed address · ECONNREFUSED nobody listens there · the signal's reason */
  async connect(address: string, signal: AbortSignal): Promise<Duplex> {
    const [, host, thread] = /^worker:\/\/([\w-]{16})\/(\d{1,9})\/\d{1,9}$/.exec(address) ?? []
    if (thread === undefined) throw new StageError('BAD_ARGUMENT', `${describe(address)} is not an address that can be dialled: expected worker://process/thread/number`)
    signal.throwIfAborted()
    if (host !== PROCESS) throw refused(address, Object.assign(new Error('the address is of another process'), { code: 'ENOENT' }))
    const { port1, port2 } = new MessageChannel()
    const rings: Rings = [new SharedArrayBuffer(RING_BYTES), new SharedArrayBuffer(RING_BYTES)]
    return new Promise((resolve, reject) => {
      const release = onAbort(signal, () => stream.destroy(signal.reason as Error))
      const stream = new PortStream(portOf(port1, ...rings), {
        onaccepted: (error) => {
          release()
          if (error) reject(error)
          else resolve(stream)
        },
        refusal: () => refused(address),
      })
      if (Number(thread) === threadId) return take(address, port2, rings)
      const dial: Dial = { stagemesh: 'dial', to: address, port: port2, rings }
      // resolves when the other thread has it, which the port tells too
      postMessageToThread(Number(thread), dial, [port2]).catch((error: NodeJS.ErrnoException) => {
        stream.destroy(error.code === 'ERR_WORKER_MESSAGING_FAILED' ? refused(address) : error)
      })
    })
  }

  /** Stops listening. Accepted streams belong to their receivers and stay open. */
  async close(): Promise<void> {
    this.#closed = true
    listeners.delete(this.#address)
    if (listeners.size === 0) process.off('workerMessage', ondial)
    this.#alive?.cancel()
  }
}

const refused = (address: string, cause?: Error): Error =>
  Object.assign(new Error(`connect ECONNREFUSED ${address}`, cause && { cause }), { code: 'ECONNREFUSED', syscall: 'connect', address })
