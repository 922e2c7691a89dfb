import { createServer as createHttp, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { createServer as createHttps, type Server as HttpsServer } from 'node:https'
import { networkInterfaces } from 'node:os'
import type { Duplex } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import type { ClientOptions, WebSocketServer } from 'ws'
import { onAbort } from '../src/abort.js'
import { systemClock } from '../src/clock.js'
import { StageError, describe } from '../src/errors.js'
import { knownOptions } from '../src/known-options.js'
import { checkSecret } from '../src/secret.js'
import { Strangers, place } from '../src/strangers.js'
import type { Clock, Interface } from '../src/types.js'
import { Certificates, type TlsOptions } from './shared/certificates.js'
import { bindError, checkPort, formatAddress, isLoopback, isWildcard, placeOf, publicHost } from './shared/host.js'
import { Once } from './shared/once.js'
import { bound, ignore } from './shared/socket.js'
import { SERVER, explained, securityOf } from './shared/tls.js'
import { MESSAGE_BYTES, WebSocketStream } from './websocket-stream.js'

/** Options of the WebSocket interface. */
export interface WebSocketOptions {
  /**
   * An HTTP server of your own: the stage takes its upgrades under `path`, and leaves the rest to you, closing included. A
   * WebSocketServer of ws on the same server must be made with `noServer`, as otherwise it ends all upgrades but its own.
   */
  server?: Server | undefined
  /** The path of the WebSocket; default `/stagemesh`. */
  path?: string | undefined
  /** The address to publish, such as that of a load balancer in front: `wss://mesh.example/stagemesh`; default the bound one. */
  url?: string | undefined
  /** Without `server`: the port to listen on; default 0: any free port. */
  port?: number | undefined
  /** Without `server`: the address to bind; default 127.0.0.1; with `host`: the same address if it is loopback, else every address. */
  bind?: string | undefined
  /** The host to publish; default $STAGE_HOST, else the bound address, else the one private address of the machine. */
  host?: string | undefined
  /** Encrypts by TLS 1.3 on a port of one's own (`wss:`); its `ca` counts for every `wss:` address that is dialled. */
  tls?: TlsOptions | undefined
  /** Secret by which both ends authenticate each other, or several while it is replaced, the newest first; at least 16 bytes; default the stage's own. */
  secret?: string | readonly string[] | undefined
  /** Allows listening beyond loopback, or on a server of your own, without a secret and without `tls.mutual`; default false. */
  insecure?: boolean | undefined
  /** Default: this machine's. */
  clock?: Clock | undefined
}

/** Values for options that are left out. */
const DEFAULTS = {
  path: '/stagemesh',
  port: 0,
  bind: '127.0.0.1',
  insecure: false,
} as const satisfies WebSocketOptions

const PROTOCOL = 'stagemesh'
const HANDSHAKE_MS = 5000
/** How long the other end may take to answer a close; the types of ws do not have it yet. */
const CLOSE = { closeTimeout: 5000 }
const OPTIONS = ['server', 'path', 'url', 'port', 'bind', 'host', 'tls', 'secret', 'insecure', 'clock'] as const satisfies readonly (keyof WebSocketOptions)[]

/** Streams over WebSockets: for stages behind a load balancer, or on the HTTP server of an application. */
export class WebSocketInterface implements Interface {
  /** `ws`; `wss` with TLS, or if `url` says so. */
  readonly scheme: string
  readonly dials = ['ws', 'wss']
  readonly secret: string | readonly string[] | undefined
  readonly exposed: boolean
  readonly #options: WebSocketOptions
  readonly #bind: string
  readonly #host: string | undefined
  readonly #path: string
  readonly #clock: Clock
  readonly #tls: Certificates | undefined
  readonly #strangers: Strangers
  /** Connections to a port of our own that are no WebSocket yet, by remote address and port; each is called when that changes. */
  readonly #unfinished = new Map<string, () => void>()
  readonly #once = new Once()
  #stop: () => void = ignore

  /** @throws TypeError for an option that is wrong · StageError BAD_ARGUMENT for files of `tls` that cannot be used */
  constructor(options: WebSocketOptions = {}) {
    knownOptions('the WebSocket interface', options, OPTIONS)
    const { server, path = DEFAULTS.path, url, secret, insecure = DEFAULTS.insecure, tls, clock = systemClock } = options
    const own = (['port', 'bind', 'tls'] as const).find((one) => options[one] !== undefined)
    if (server && own) throw new TypeError(`${own} is for a port of the interface's own, and \`server\` was passed: leave out one of the two`)
    if (server && typeof server.on !== 'function') throw new TypeError(`server is ${describe(server)}: expected an http.Server or https.Server`)
    if (typeof path !== 'string' || !/^\/[^?#\s]*$/.test(path)) {
      throw new TypeError(`path is ${describe(path)}: expected a path that begins with "/", without "?" and "#"`)
    }
    if (url !== undefined && !urlOf(url)) throw new TypeError(`url is ${describe(url)}: expected ${FORM}`)
    checkPort(options.port)
    checkSecret(secret)
    const { host, bind } = placeOf(options, DEFAULTS.bind)
    this.#options = options
    this.#tls = tls && new Certificates(tls, clock)
    this.#clock = clock
    this.#path = path
    this.#bind = bind
    this.#host = host
    this.#strangers = new Strangers(clock)
    this.scheme = (url ? url.startsWith('wss:') : tls ?? (server && 'setSecureContext' in server)) ? 'wss' : 'ws'
    this.secret = secret
    this.exposed = !insecure && (server !== undefined || !isLoopback(bind)) && !this.#tls?.mutual
  }

  /** @throws StageError BAD_ARGUMENT the port is taken, the address is not this machine's, or which to publish is unclear */
  listen(onstream: (stream: Duplex) => void, _onaddresses?: unknown, ontrouble: (error: Error) => void = ignore): Promise<readonly string[]> {
    return this.#once.listen(() => this.#listen(onstream, ontrouble))
  }

  async #listen(onstream: (stream: Duplex) => void, ontrouble: (error: Error) => void): Promise<readonly string[]> {
    const { WebSocketServer } = await import('ws')
    if (this.#once.closed) throw closedEarly()
    const webSockets = new WebSocketServer({
      noServer: true, clientTracking: false, maxPayload: MESSAGE_BYTES, perMessageDeflate: false, handleProtocols: () => PROTOCOL, ...CLOSE,
    })
    const upgrade = this.#upgrades(webSockets, onstream)
    const { server, url } = this.#options
    try {
      if (!server) {
        const own = await this.#open(upgrade, ontrouble)
        return [url ?? this.#published(own)]
      }
      server.on('upgrade', upgrade)
      this.#stop = () => void server.off('upgrade', upgrade)
      if (url === undefined && !server.listening) await this.#bound(server)
      return [url ?? this.#published(server)]
    } catch (error) {
      // it will be tried again
      this.#stop()
      this.#stop = ignore
      throw error
    }
  }

  /** Resolves when a server of the user's listens. @throws StageError CLOSED the interface was closed meanwhile */
  #bound(server: Server): Promise<void> {
    const stop = this.#stop
    return new Promise((resolve, reject) => {
      server.once('listening', resolve)
      this.#stop = () => {
        stop()
        server.off('listening', resolve)
        reject(closedEarly())
      }
    })
  }

  #published(server: Server): string {
    const place = server.address()
    if (typeof place !== 'object' || place === null) {
      throw new StageError('BAD_ARGUMENT', `the server listens at ${describe(place)}, which peers cannot dial: pass the address that they can as \`url\``)
    }
    const { address, port } = place
    const host = this.#options.server ? this.#options.host ?? (isWildcard(address) ? undefined : address) : this.#host
    return `${formatAddress(host ?? publicHost(networkInterfaces(), address), port, this.scheme)}${this.#path}`
  }

  /** A server that answers nothing but upgrades. */
  async #open(upgrade: Upgrade, ontrouble: (error: Error) => void): Promise<Server> {
    const certificates = this.#tls
    const limits = { headersTimeout: HANDSHAKE_MS, requestTimeout: HANDSHAKE_MS, connectionsCheckingInterval: 1000, noDelay: true, keepAlive: true }
    const answer = (_request: IncomingMessage, response: ServerResponse): void => {
      response.writeHead(426, { 'connection': 'close', 'content-type': 'text/plain' }).end('this port expects the WebSocket of a stage\n')
    }
    const { port = DEFAULTS.port } = this.#options
    const tls = certificates && { ...certificates.material, ...SERVER, requestCert: certificates.mutual, rejectUnauthorized: false, handshakeTimeout: HANDSHAKE_MS }
    const server: Server = tls
      ? createHttps({ ...limits, ...tls }, answer)
      : createHttp(limits, answer)
    if (certificates) {
      const https = server as HttpsServer
      https.on('tlsClientError', (_error, socket) => socket.destroy())
      certificates.follow((material) => https.setSecureContext({ ...material, ...SERVER }), ontrouble)
    }
    server.on('connection', (socket) => {
      const stranger = this.#strangers.enter(place(socket.remoteAddress), () => socket.destroy())
      // Node's own limit of a TLS handshake starts afresh with every byte
      const late = this.#clock.setTimeout(() => socket.destroy(), 2 * HANDSHAKE_MS)
      const leave = (): void => {
        this.#strangers.leave(stranger)
        this.#unfinished.delete(from)
        late.cancel()
      }
      const from = `${socket.remoteAddress} ${socket.remotePort}`
      this.#unfinished.set(from, leave)
      socket.on('error', ignore)
      socket.once('close', leave)
    })
    server.on('upgrade', upgrade)
    await bound(server, { port, host: this.#bind }).catch((error: NodeJS.ErrnoException) => { throw bindError(error, port, this.#bind) })
    this.#stop = () => void server.close()
    return server
  }

  #upgrades(webSockets: WebSocketServer, onstream: (stream: Duplex) => void): Upgrade {
    return (request, socket, head) => {
      socket.on('error', ignore)
      const { headers, url = '' } = request
      if (url.split('?')[0] !== this.#path) {
        // on a server of the user's, another listener may want it
        if ((this.#options.server?.listenerCount('upgrade') ?? 1) === 1) refuse(socket, 404, `a stage listens at ${this.#path}`)
        return
      }
      if (headers.origin !== undefined) return refuse(socket, 403, 'pages of browsers cannot be stages')
      if (!headers['sec-websocket-protocol']?.split(/\s*,\s*/).includes(PROTOCOL)) return refuse(socket, 400, `expected the subprotocol ${PROTOCOL}`)
      const { remoteAddress, remotePort } = request.socket
      webSockets.handleUpgrade(request, socket, head, (webSocket) => {
        this.#unfinished.get(`${remoteAddress} ${remotePort}`)?.()
        const stream = new WebSocketStream(webSocket, remoteAddress, remotePort)
        onstream(this.#secured(stream, request.socket as TLSSocket))
      })
    }
  }

  /** The secret is not bound to the TLS session: a load balancer in between may have one session with each end. */
  #secured(stream: WebSocketStream, socket: TLSSocket | undefined): Duplex {
    if (!this.#tls?.mutual) return stream
    const nothing = (): never => { throw new StageError('AUTH_FAILED', 'the connection is not encrypted, so it proves nothing') }
    const proves = socket?.encrypted ? securityOf(socket, true).proves : nothing
    return Object.assign(stream, { security: { proves } })
  }

  /**
   * @throws StageError BAD_ARGUMENT for a malformed address · AUTH_FAILED what is wrong with the certificate of the other end ·
   *   DISCONNECTED the HTTP answer was no upgrade · the socket's own error · the signal's reason
   */
  async connect(address: string, signal: AbortSignal): Promise<Duplex> {
    const url = urlOf(address)
    if (!url) throw new StageError('BAD_ARGUMENT', `${describe(address)} is not an address that can be dialled: expected ${FORM}`)
    signal.throwIfAborted()
    const mutual = this.#tls?.mutual
    const secureContext = this.#tls?.context()
    if (mutual && url.protocol !== 'wss:') {
      throw new StageError('AUTH_FAILED', `${address} is not encrypted, and this stage accepts peers by their certificates (tls.mutual): expected wss:`)
    }
    const options: ClientOptions = {
      perMessageDeflate: false, maxPayload: MESSAGE_BYTES, followRedirects: false, ...CLOSE,
      ...(url.protocol === 'wss:' && secureContext ? { secureContext, minVersion: 'TLSv1.3' } : {}),
      ...(mutual ? { checkServerIdentity: () => undefined as never } : {}),
    }
    const { WebSocket } = await import('ws')
    signal.throwIfAborted()
    const webSocket = new WebSocket(address, PROTOCOL, options)
    let socket: TLSSocket | undefined
    webSocket.once('upgrade', (response) => { socket = response.socket as TLSSocket })
    return new Promise((resolve, reject) => {
      const settled = (): void => {
        release()
        webSocket.off('open', onopen)
        webSocket.off('error', onerror)
      }
      const onopen = (): void => {
        settled()
        resolve(this.#secured(new WebSocketStream(webSocket, socket?.remoteAddress, socket?.remotePort), socket))
      }
      const onerror = (error: NodeJS.ErrnoException): void => {
        settled()
        webSocket.on('error', ignore)
        reject(failed(address, error))
      }
      const release = onAbort(signal, () => {
        settled()
        webSocket.on('error', ignore)
        webSocket.terminate()
        reject(signal.reason as Error)
      })
      webSocket.once('open', onopen)
      webSocket.once('error', onerror)
    })
  }

  /** Stops listening. Accepted streams belong to their receivers and stay open, as does a server that was passed. */
  close(): Promise<void> {
    this.#stop()
    return this.#once.close(() => {
      this.#stop()
      this.#tls?.close()
      this.#strangers.close()
    })
  }
}

const closedEarly = (): StageError => new StageError('CLOSED', 'this interface was closed before it listened')

type Upgrade = (request: IncomingMessage, socket: Duplex, head: Buffer) => void

const FORM = 'ws://host:port/path or wss://host/path, without a user and without "#"'

function urlOf(address: string): URL | undefined {
  if (typeof address !== 'string' || !/^wss?:\/\/[^\s#]+$/.test(address)) return undefined
  try {
    const url = new URL(address)
    return url.username || url.password ? undefined : url
  } catch {
    return undefined
  }
}

function refuse(socket: Duplex, status: 400 | 403 | 404, why: string): void {
  const said = { 400: 'Bad Request', 403: 'Forbidden', 404: 'Not Found' }[status]
  const head = [`HTTP/1.1 ${status} ${said}`, 'Connection: close', 'Content-Type: text/plain', `Content-Length: ${Buffer.byteLength(why) + 1}`]
  socket.end(`${head.join('\r\n')}\r\n\r\n${why}\n`, () => socket.destroy())
}

/** The answer of a server that knows no such path, or gives its usual page: the stage that listened there has ended. */
const ABSENT = /^(2\d\d|404|426)$/

function failed(address: string, cause: NodeJS.ErrnoException): Error {
  const status = /^Unexpected server response: (\d+)/.exec(cause.message)?.[1]
  if (status !== undefined && !ABSENT.test(status)) {
    return new StageError('DISCONNECTED', `${address} answered with HTTP ${status}: what is in front of the stage does not pass on its WebSocket`, { cause })
  }
  if (status === undefined && cause.code !== 'ECONNREFUSED') return explained(cause, address)
  const why = status === undefined ? '' : `: no stage listens there, the answer was HTTP ${status}`
  return Object.assign(new Error(`connect ECONNREFUSED ${address}${why}`, { cause }), { code: 'ECONNREFUSED', syscall: 'connect', address })
}
