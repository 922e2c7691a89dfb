import { readSync } from 'node:fs'
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { networkInterfaces } from 'node:os'
import type { Duplex } from 'node:stream'
import { systemClock } from '../src/clock.js'
import { log } from '../src/log.js'
import { StageError } from '../src/errors.js'
import type { Clock, Interface, Timer } from '../src/types.js'
import { bindFor, formatAddress, isHost, isLoopback, isWildcard, parseAddress, publicHost, type Machine } from './host.js'
import { bound, cutOff, dialled, ending, ignore, proto } from './socket.js'

export interface TcpOptions {
  /** Where to listen; default 0: any that is free. */
  port?: number | undefined
  /** What is bound; default 127.0.0.1, or what `host` asks for: itself within loopback, every address beyond. */
  bind?: string | undefined
  /** What is published; default $STAGE_HOST, else what is bound, else the one private address of the machine. */
  host?: string | undefined
  /** Proves both ends to each other; at least 16 bytes; default the stage's own. */
  secret?: string | undefined
  /** Knowingly without secret beyond loopback; default false. */
  insecure?: boolean | undefined
  /** Default: this machine's. */
  clock?: Clock | undefined
  /** @internal the machine's addresses, for tests */
  machine?: (() => Machine) | undefined
}

/** Of an interface that does not say. */
const DEFAULTS = {
  port: 0,
  bind: '127.0.0.1',
  insecure: false,
} as const satisfies TcpOptions

const WATCH_MS = 2000
const streamOptions = { noDelay: true, keepAlive: true, allowHalfOpen: true }

/** Streams over TCP: sockets as Node makes them. Plain text, so use it within networks that you trust. */
export class TcpInterface implements Interface {
  readonly scheme = 'tcp'
  readonly secret: string | undefined
  /** Bound beyond loopback, and nobody said that this is meant to be so without a secret. */
  readonly exposed: boolean
  readonly #port: number
  readonly #bind: string
  /** Undefined: every address was bound, so what to publish is read off the machine. */
  readonly #host: string | undefined
  readonly #clock: Clock
  readonly #machine: () => Machine
  #server: Server | undefined
  #listening: Promise<readonly string[]> | undefined
  #closing: Promise<void> | undefined
  #watch: Timer | undefined

  /** @throws TypeError for a port, host or secret that cannot be one */
  constructor(options: TcpOptions = {}) {
    const { port = DEFAULTS.port, secret, insecure = DEFAULTS.insecure, clock = systemClock, machine = networkInterfaces } = options
    const host = checkedHost('host', options.host ?? (process.env.STAGE_HOST || undefined))
    const bind = checkedHost('bind', options.bind) ?? (host === undefined ? DEFAULTS.bind : bindFor(host))
    if (!Number.isInteger(port) || port < 0 || port > 65535) throw new TypeError(`port must be an integer of 0 to 65535, not ${String(port)}`)
    if (secret !== undefined && (typeof secret !== 'string' || Buffer.byteLength(secret) < 16)) throw new TypeError('secret must be a string of at least 16 bytes')
    if (host !== undefined && isWildcard(host)) throw new TypeError(`host is what peers dial, and nobody can dial ${host}: pass it as \`bind\``)
    this.secret = secret
    this.exposed = !insecure && !isLoopback(bind)
    this.#port = port
    this.#bind = bind
    this.#host = host ?? (isWildcard(bind) ? undefined : bind)
    this.#clock = clock
    this.#machine = machine
  }

  /** @throws StageError BAD_ARGUMENT the port is taken, the address is not this machine's, or which to publish is unclear */
  listen(onstream: (stream: Duplex) => void, onaddresses: (addresses: readonly string[]) => void = ignore): Promise<readonly string[]> {
    if (this.#closing) return Promise.reject(new StageError('CLOSED', 'this interface was closed'))
    if (this.#listening) return Promise.reject(new TypeError('this interface listens already; use one for each stage'))
    this.#listening = this.#listen(onstream, onaddresses)
    this.#listening.catch(() => { this.#listening = undefined }) // it may be tried again
    return this.#listening
  }

  async #listen(onstream: (stream: Duplex) => void, onaddresses: (addresses: readonly string[]) => void): Promise<readonly string[]> {
    let host = this.#host ?? publicHost(this.#machine(), this.#bind)
    const server = createServer(streamOptions, (socket) => onstream(honest(socket)))
    await bound(server, { port: this.#port, host: this.#bind }).catch((error: NodeJS.ErrnoException) => { throw bindError(error, this.#port, this.#bind) })
    this.#server = server
    if (!isLoopback(this.#bind)) log('tcp', `listens on ${this.#bind}, beyond this machine; what travels there is not encrypted`)
    const { port } = server.address() as AddressInfo
    if (this.#host === undefined) {
      this.#follow((now) => {
        if (now === host) return
        host = now
        onaddresses([formatAddress(host, port)])
      })
    }
    return [formatAddress(host, port)]
  }

  /** Looks every two seconds whether the machine has moved: a laptop changes networks, a container gets its address late. */
  #follow(look: (host: string) => void): void {
    if (this.#closing) return
    this.#watch = this.#clock.setTimeout(() => {
      let host: string | undefined
      try {
        host = publicHost(this.#machine(), this.#bind)
      } catch {
        // between two networks there is none, and for a moment two: what was published stays until it is clear again
      }
      this.#follow(look)
      if (host !== undefined) look(host)
    }, WATCH_MS)
  }

  /** @throws StageError BAD_ARGUMENT for a malformed address · the socket's own error · the signal's reason */
  async connect(address: string, signal: AbortSignal): Promise<Duplex> {
    const target = parseAddress(address)
    signal.throwIfAborted()
    return dialled({ ...target, ...streamOptions }, honest, signal)
  }

  /** Stops listening. Streams that were accepted belong to whoever got them, and stay. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    await this.#listening?.catch(ignore)
    this.#watch?.cancel()
    // the port is free when this returns; its callback would wait for the end of every stream
    this.#server?.close()
  }
}

function checkedHost(option: string, host: string | undefined): string | undefined {
  const bare = host?.replace(/^\[(.*)\]$/, '$1')
  if (bare === undefined || isHost(bare)) return bare
  throw new TypeError(`${option} must be a host name or an IP address without scheme and port, not ${JSON.stringify(host)}`)
}

function bindError(cause: NodeJS.ErrnoException, port: number, host: string): Error {
  if (cause.code === 'EADDRINUSE') {
    return new StageError('BAD_ARGUMENT', `port ${port} of ${host} is taken by another process; pass another, or 0 for any that is free`, { cause })
  }
  if (cause.code === 'EADDRNOTAVAIL') {
    return new StageError('BAD_ARGUMENT', `cannot bind ${host}: it is not an address of this machine; pass what peers dial as \`host\``, { cause })
  }
  return cause
}

/**
 * The socket itself, made to tell the truth about its end. Left alone, Node makes a broken stream look complete in two
 * ways, which a reader cannot tell from a goodbye:
 *   - `destroy(error)` closes like a good end does. Here it resets, and so does a destroy that throws away what
 *     `write` had accepted.
 *   - A reset that arrives behind unread bytes is reported as an end (libuv: POLLHUP after a partial read). Here the
 *     end is believed only after one more read of the descriptor said so too.
 */
function honest(socket: Socket): Socket {
  // errors between now and the owner's own listener must not end the process
  socket.on('error', ignore)
  socket._destroy = function (error, done) {
    // an end that is just being sent cannot be turned into a reset (EINVAL), and has nothing left to lose
    const saying = ending(socket) && !socket.writableFinished
    // what `resetAndDestroy()` sets before it waits for pending writes, for which there is no time here
    if ((error ?? socket.writableLength > 0) && !saying) (socket as Resettable).resetAndClosing = true
    proto(socket)._destroy.call(socket, error, done)
  }
  socket.push = function (chunk: unknown, encoding?: BufferEncoding) {
    const error = chunk === null ? pendingError(socket) : undefined
    if (!error) return proto(socket).push.call(socket, chunk, encoding)
    socket.destroy(error)
    return false
  }
  return Object.assign(socket, { givesBack: true })
}

type Resettable = Socket & { resetAndClosing: boolean; _handle: { fd?: number } | null }

/** The error that waits behind the last bytes; undefined where the stream really ended, or the platform has no descriptors. */
function pendingError(socket: Socket): Error | undefined {
  const fd = (socket as Resettable)._handle?.fd
  if (fd === undefined || fd < 0) return undefined
  try {
    readSync(fd, Buffer.allocUnsafe(1))
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code !== 'EAGAIN') return cutOff(code, error)
  }
  return undefined
}
