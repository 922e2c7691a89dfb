import { readSync } from 'node:fs'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { networkInterfaces } from 'node:os'
import type { Duplex } from 'node:stream'
import { systemClock } from '../src/clock.js'
import { knownOptions } from '../src/known-options.js'
import { checkSecret } from '../src/secret.js'
import { log } from '../src/log.js'
import { StageError, asError, describe } from '../src/errors.js'
import type { Clock, Interface, Timer } from '../src/types.js'
import { bindError, checkPort, formatAddress, isHost, isLoopback, isWildcard, parseAddress, placeOf, publicHost, type Machine } from './shared/host.js'
import { Once } from './shared/once.js'
import { bound, cutOff, dialled, ending, ignore, proto } from './shared/socket.js'
import type { TlsOptions } from './shared/certificates.js'
import { Tls } from './shared/tls.js'

/** Options of the TCP interface. */
export interface TcpOptions {
  /** The port to listen on; default 0: any free port. */
  port?: number | undefined
  /** The address to bind; default 127.0.0.1; with `host`: the same address if it is loopback, else every address. */
  bind?: string | undefined
  /**
   * The host to publish, or a function that finds it out, such as from a metadata service, and is asked again every two seconds;
   * default $STAGE_HOST, else the bound address, else the one private address of the machine.
   */
  host?: string | (() => string | Promise<string>) | undefined
  /** Encrypts all streams by TLS 1.3, under addresses of the form `tcps://host:port`; default none. */
  tls?: TlsOptions | undefined
  /** Secret by which both ends authenticate each other, or several while it is replaced, the newest first; at least 16 bytes; default the stage's own. */
  secret?: string | readonly string[] | undefined
  /** Allows binding beyond loopback without a secret and without `tls.mutual`; default false. */
  insecure?: boolean | undefined
  /** Default: this machine's. */
  clock?: Clock | undefined
  /** @internal the machine's addresses, for tests */
  machine?: (() => Machine) | undefined
}

/** Values for options that are left out. */
const DEFAULTS = {
  port: 0,
  bind: '127.0.0.1',
  insecure: false,
} as const satisfies TcpOptions

const WATCH_MS = 2000
const streamOptions = { noDelay: true, keepAlive: true, allowHalfOpen: true }

/** Streams over TCP, as plain Node sockets. Without `tls` the traffic is not encrypted: use it within networks that you trust. */
export class TcpInterface implements Interface {
  /** `tcp`; with TLS `tcps`. */
  readonly scheme: string
  readonly secret: string | readonly string[] | undefined
  /** True if bound beyond loopback without `insecure: true` and without `tls.mutual`, so that a secret is required. */
  readonly exposed: boolean
  readonly #port: number
  readonly #bind: string
  /** Undefined when a wildcard is bound: then the host to publish is read from the machine's addresses. */
  readonly #host: string | undefined
  readonly #asked: (() => string | Promise<string>) | undefined
  readonly #clock: Clock
  readonly #machine: () => Machine
  readonly #tls: Tls | undefined
  #server: Server | undefined
  readonly #once = new Once()
  #watch: Timer | undefined

  /** @throws TypeError for an invalid port, host or secret · StageError BAD_ARGUMENT for files of `tls` that cannot be used */
  constructor(options: TcpOptions = {}) {
    knownOptions('the TCP interface', options, ['port', 'bind', 'host', 'tls', 'secret', 'insecure', 'clock'], ['machine'])
    const { port = DEFAULTS.port, secret, insecure = DEFAULTS.insecure, clock = systemClock, machine = networkInterfaces } = options
    const { bind, host } = placeOf(options, DEFAULTS.bind, true)
    checkPort(port)
    checkSecret(secret)
    this.#tls = options.tls && new Tls(options.tls, clock)
    this.scheme = this.#tls ? 'tcps' : 'tcp'
    this.secret = secret
    this.exposed = !insecure && !isLoopback(bind) && !this.#tls?.mutual
    this.#port = port
    this.#bind = bind
    this.#asked = typeof options.host === 'function' ? options.host : undefined
    this.#host = host
    this.#clock = clock
    this.#machine = machine
  }

  /** @throws StageError BAD_ARGUMENT the port is taken, the address is not this machine's, or which to publish is unclear */
  listen(
    onstream: (stream: Duplex) => void, onaddresses: (addresses: readonly string[]) => void = ignore, ontrouble: (error: Error) => void = ignore,
  ): Promise<readonly string[]> {
    return this.#once.listen(() => this.#listen(onstream, onaddresses, ontrouble))
  }

  async #listen(
    onstream: (stream: Duplex) => void, onaddresses: (addresses: readonly string[]) => void, ontrouble: (error: Error) => void,
  ): Promise<readonly string[]> {
    let host = await this.#find()
    const server = createServer(streamOptions, this.#tls?.listen(onstream, ontrouble) ?? ((socket) => onstream(honest(socket))))
    await bound(server, { port: this.#port, host: this.#bind }).catch((error: NodeJS.ErrnoException) => { throw bindError(error, this.#port, this.#bind) })
    this.#server = server
    if (!isLoopback(this.#bind)) log('tcp', `listens on ${this.#bind}, which other machines can reach${this.#tls ? '' : '; its traffic is not encrypted'}`)
    const { port } = server.address() as AddressInfo
    if (this.#host === undefined) {
      this.#follow((now) => {
        if (now === host) return
        host = now
        onaddresses([formatAddress(host, port, this.scheme)])
      })
    }
    return [formatAddress(host, port, this.scheme)]
  }

  /** The host to publish now. @throws StageError BAD_ARGUMENT */
  async #find(): Promise<string> {
    if (!this.#asked) return this.#host ?? publicHost(this.#machine(), this.#bind)
    let found: string
    try {
      found = await this.#asked()
    } catch (thrown) {
      throw new StageError('BAD_ARGUMENT', `the function \`host\` failed: ${asError(thrown).message}`, { cause: thrown })
    }
    if (typeof found === 'string' && isHost(found) && !isWildcard(found)) return found
    throw new StageError('BAD_ARGUMENT', `the function \`host\` returned ${describe(found)}: expected a host name or an IP address that peers can dial`)
  }

  /** Checks every two seconds whether the address has changed: laptops change networks, containers get an address late. */
  #follow(look: (host: string) => void): void {
    if (this.#once.closed) return
    this.#watch = this.#clock.setTimeout(() => {
      // between two networks there is no address, or two for a moment: the published one stays until the choice is clear
      void this.#find().then((host) => { if (!this.#once.closed) look(host) }, ignore).finally(() => this.#follow(look))
    }, WATCH_MS)
  }

  /**
   * @throws StageError BAD_ARGUMENT for a malformed address · AUTH_FAILED what is wrong with the certificate of the other end ·
   *   PROTOCOL_ERROR it does not speak TLS · the socket's own error · the signal's reason
   */
  async connect(address: string, signal: AbortSignal): Promise<Duplex> {
    const target = parseAddress(address, this.scheme)
    signal.throwIfAborted()
    if (this.#tls) return this.#tls.connect(target, signal)
    return dialled(() => honest(connect({ ...target, ...streamOptions })), signal)
  }

  /** Stops listening. Accepted streams belong to their receivers and stay open. */
  close(): Promise<void> {
    return this.#once.close(() => this.#close())
  }

  #close(): void {
    this.#watch?.cancel()
    this.#tls?.close()
    // the port is free when `close` returns; its callback would wait for the end of every stream
    this.#server?.close()
  }
}

/**
 * Makes the socket report its end truthfully. By default Node makes a broken stream look complete in two ways, so that a
 * reader cannot tell it from a regular end:
 *   - `destroy(error)` closes like a regular end. Here it resets, and so does a destroy that discards data which
 *     `write` had accepted.
 *   - A reset that arrives behind unread bytes is reported as an end (libuv: POLLHUP after a partial read). Here the
 *     end is trusted only after one more read of the descriptor confirms it.
 */
function honest(socket: Socket): Socket {
  // an error before the owner adds its own listener must not end the process
  socket.on('error', ignore)
  // a socket that was never connected, such as after a failed look-up of its host, has nothing to reset, and the attempt fails with EBADF
  let connected = !socket.connecting
  if (!connected) socket.once('connect', () => { connected = true })
  socket._destroy = function (error, done) {
    // an end that is being sent cannot be turned into a reset (EINVAL), and no data is left to lose
    const saying = ending(socket) && !socket.writableFinished
    // the flag that `resetAndDestroy()` sets before it waits for pending writes, for which there is no time here
    if (connected && (error ?? socket.writableLength > 0) && !saying) (socket as Resettable).resetAndClosing = true
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

/** The error pending behind the last bytes; undefined if the stream really ended, or the platform has no descriptors. */
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
