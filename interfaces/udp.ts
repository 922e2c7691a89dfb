import { createHmac, timingSafeEqual } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { lookup } from 'node:dns/promises'
import { isIPv6 } from 'node:net'
import { networkInterfaces } from 'node:os'
import type { Duplex } from 'node:stream'
import { onAbort } from '../src/abort.js'
import { systemClock } from '../src/clock.js'
import { knownOptions } from '../src/known-options.js'
import { log } from '../src/log.js'
import { systemRandom } from '../src/random.js'
import { checkSecret } from '../src/secret.js'
import { place } from '../src/strangers.js'
import type { Clock, Datagrams, Interface, Random, Timer } from '../src/types.js'
import { bindError, checkPort, formatAddress, isLoopback, parseAddress, placeOf, publicHost } from './shared/host.js'
import { PortStream } from './shared/port-stream.js'
import { Once } from './shared/once.js'
import { cutOff, ignore } from './shared/socket.js'
import { UdpPort } from './udp-port.js'
import { loadUdx, type Udx, type UdxFrom, type UdxSocket, type UdxStream } from './udx.js'

/** Options of the UDP interface. */
export interface UdpOptions {
  /** The port to listen on; default 0: any free port. */
  port?: number | undefined
  /** The address to bind; default 127.0.0.1; with `host`: the same address if it is loopback, else every address. */
  bind?: string | undefined
  /** The host to publish; default $STAGE_HOST, else the bound address, else the one private address of the machine. */
  host?: string | undefined
  /** Secret by which both ends authenticate each other, or several while it is replaced, the newest first; at least 16 bytes; default the stage's own. */
  secret?: string | readonly string[] | undefined
  /** Allows binding beyond loopback without a secret; default false. */
  insecure?: boolean | undefined
  /** Default: this machine's. */
  clock?: Clock | undefined
  /** Default: this machine's. */
  random?: Random | undefined
}

/** Values for options that are left out. */
const DEFAULTS = {
  port: 0,
  bind: '127.0.0.1',
  insecure: false,
} as const satisfies UdpOptions

const OPTIONS = ['port', 'bind', 'host', 'secret', 'insecure', 'clock', 'random'] as const satisfies readonly (keyof UdpOptions)[]

// Beside the packets of streams, a socket gets packets that open them. Each is `STGU`, a kind and 8 bytes that the answer
// repeats. A stream is made only for a cookie, which shows that packets reach the host that asks: a host whose address was
// forged gets one short answer.
const MAGIC = Buffer.from('STGU')
const HELLO = 1
const COOKIE = 2
const OPEN = 3
const OPENED = 4
const COOKIE_BYTES = 16
const COOKIE_AT = 13
const PACKET = COOKIE_AT + COOKIE_BYTES
const COOKIE_MS = 30_000
/** How often a packet is sent again that was not answered. */
const AGAIN_MS = 250
/** The largest datagram, in bytes: with all heads it fits the packets of any usual network. */
const DATAGRAM_BYTES = 1150
/** Bytes under way before a writer waits: 50 ms of a network of 160 Mbit/s. */
const WINDOW = 1024 * 1024
/** The most streams that others may have opened here, in all and from one place (see `src/strangers.ts`). */
const STREAMS_MAX = 10_000
const PLACE_STREAMS_MAX = 2000
/** The most datagrams of a stream that wait to be sent: a megabyte. */
const DATAGRAMS_MAX = 1000

/** Reliable, ordered streams over UDP, with datagrams beside them. Traffic is not encrypted: use it within networks that you trust. */
export class UdpInterface implements Interface {
  readonly scheme = 'udp'
  readonly secret: string | readonly string[] | undefined
  /** True if bound beyond loopback without `insecure: true`, so that a secret is required. */
  readonly exposed: boolean
  readonly #port: number
  readonly #bind: string
  readonly #host: string | undefined
  readonly #clock: Clock
  readonly #random: Random
  readonly #cookies: Buffer
  #udx: Promise<Udx> | undefined
  #server: UdxSocket | undefined
  /** Sockets of streams that were dialled, by whether they are for IPv6. */
  readonly #dialling = new Map<boolean, UdxSocket>()
  /** Streams that were opened here, by who opened them; a repeated packet gets the same answer. */
  readonly #opened = new Map<string, number>()
  /** The number of streams that were opened here, by the place they come from. */
  readonly #places = new Map<string, number>()
  readonly #ids = new Set<number>()
  readonly #once = new Once()

  /** @throws TypeError for an invalid port, host or secret */
  constructor(options: UdpOptions = {}) {
    knownOptions('the UDP interface', options, OPTIONS)
    const { port = DEFAULTS.port, secret, insecure = DEFAULTS.insecure, clock = systemClock, random = systemRandom } = options
    checkPort(port)
    checkSecret(secret)
    const { host, bind } = placeOf(options, DEFAULTS.bind)
    this.secret = secret
    this.exposed = !insecure && !isLoopback(bind)
    this.#port = port
    this.#bind = bind
    this.#host = host
    this.#clock = clock
    this.#random = random
    this.#cookies = random.bytes(32)
  }

  /** @throws StageError BAD_ARGUMENT the port is taken, the address is not this machine's, or udx-native is missing */
  listen(onstream: (stream: Duplex) => void): Promise<readonly string[]> {
    return this.#once.listen(() => this.#listen(onstream))
  }

  async #listen(onstream: (stream: Duplex) => void): Promise<readonly string[]> {
    const host = this.#host ?? publicHost(networkInterfaces(), this.#bind)
    const udx = await (this.#udx ??= loadUdx())
    const socket = udx.createSocket()
    try {
      socket.bind(this.#port, (await lookup(this.#bind)).address)
    } catch (error) {
      void socket.close()
      throw bindError(error as NodeJS.ErrnoException, this.#port, this.#bind)
    }
    socket.on('message', (bytes: Buffer, from: UdxFrom) => this.#onpacket(udx, socket, bytes, from, onstream))
    this.#server = socket
    if (!isLoopback(this.#bind)) log('udp', `listens on ${this.#bind}, which other machines can reach; its traffic is not encrypted`)
    return [formatAddress(host, socket.address().port, this.scheme)]
  }

  #onpacket(udx: Udx, socket: UdxSocket, bytes: Buffer, from: UdxFrom, onstream: (stream: Duplex) => void): void {
    // nobody can answer port 0
    if (from.port === 0 || bytes.length < PACKET || !bytes.subarray(0, MAGIC.length).equals(MAGIC)) return
    const answer = (kind: number, body: Buffer): void => {
      socket.trySend(packet(kind, bytes.subarray(5, COOKIE_AT), body), from.port, from.host)
    }
    if (bytes[4] === HELLO) answer(COOKIE, this.#cookie(from.host, 0))
    if (bytes[4] !== OPEN) return
    const cookie = bytes.subarray(COOKIE_AT, PACKET)
    if (![0, 1].some((age) => timingSafeEqual(cookie, this.#cookie(from.host, age)))) return
    const theirs = bytes.readUInt32BE(5)
    const key = `${from.host} ${from.port} ${bytes.toString('hex', 5, COOKIE_AT)}`
    let id = this.#opened.get(key)
    if (id === undefined) {
      const where = place(from.host)
      const there = this.#places.get(where) ?? 0
      if (this.#opened.size >= STREAMS_MAX || there >= PLACE_STREAMS_MAX) return
      id = this.#newId()
      this.#opened.set(key, id)
      this.#places.set(where, there + 1)
      const raw = udx.createStream(id)
      const stream = this.#stream(raw, id, () => {
        this.#opened.delete(key)
        const left = (this.#places.get(where) ?? 0) - 1
        if (left > 0) this.#places.set(where, left)
        else this.#places.delete(where)
      }, true)
      raw.connect(socket, theirs, from.port, from.host)
      Object.assign(stream, { remoteAddress: from.host, remotePort: from.port })
      answer(OPENED, uint32(id))
      onstream(stream)
    } else answer(OPENED, uint32(id))
  }

  #cookie(host: string, age: number): Buffer {
    const time = Math.floor(this.#clock.now() / COOKIE_MS) - age
    return createHmac('sha256', this.#cookies).update(`${time} ${host}`).digest().subarray(0, COOKIE_BYTES)
  }

  /**
   * @param onclosed  nothing more comes over it
   * @param accepted  another host has opened it, and may never send anything
   */
  #stream(raw: UdxStream, id: number, onclosed: () => void, accepted = false): PortStream {
    const port = new UdpPort(raw, this.#clock, accepted, () => {
      this.#ids.delete(id)
      onclosed()
    })
    let unsent = 0
    const sent = (): void => { unsent-- }
    const stream = new PortStream(port, { window: WINDOW })
    const datagrams: Datagrams = {
      maxBytes: DATAGRAM_BYTES,
      send: (bytes) => {
        if (unsent >= DATAGRAMS_MAX || raw.destroyed) return false
        unsent++
        raw.send(bytes).then(sent, sent)
        return true
      },
      onmessage: undefined,
    }
    raw.on('message', (bytes: Buffer) => { if (!stream.destroyed) datagrams.onmessage?.(bytes) })
    return Object.assign(stream, { datagrams })
  }

  /** A number that nobody who does not see the packets can guess. */
  #newId(): number {
    let id: number
    do id = this.#random.bytes(4).readUInt32BE(); while (id === 0 || this.#ids.has(id))
    this.#ids.add(id)
    return id
  }

  /** @throws StageError BAD_ARGUMENT for a malformed address · ECONNREFUSED nobody listens there · the signal's reason */
  async connect(address: string, signal: AbortSignal): Promise<Duplex> {
    const { host, port } = parseAddress(address, this.scheme)
    signal.throwIfAborted()
    const udx = await (this.#udx ??= loadUdx())
    const { address: ip } = await lookup(host)
    signal.throwIfAborted()
    const cookie = await this.#hello(ip, port, signal)
    const socket = this.#dialler(udx, isIPv6(ip))
    const id = this.#newId()
    const raw = udx.createStream(id)
    const nonce = Buffer.concat([uint32(id), this.#random.bytes(4)])
    try {
      const remote = await this.#asked(socket, packet(OPEN, nonce, cookie), OPENED, ip, port, signal)
      raw.connect(socket, remote.readUInt32BE(), port, ip)
    } catch (error) {
      raw.destroy()
      this.#ids.delete(id)
      this.#unused(socket)
      throw error
    }
    const stream = this.#stream(raw, id, () => this.#unused(socket))
    return Object.assign(stream, { remoteAddress: ip, remotePort: port })
  }

  /** Asks for a cookie, over a socket that the system tells if nobody listens there. */
  #hello(ip: string, port: number, signal: AbortSignal): Promise<Buffer> {
    const socket = createSocket(isIPv6(ip) ? 'udp6' : 'udp4')
    const nonce = this.#random.bytes(8)
    const hello = packet(HELLO, nonce, Buffer.alloc(COOKIE_BYTES))
    let again: Timer | undefined
    return new Promise<Buffer>((resolve, reject) => {
      const release = onAbort(signal, () => end(signal.reason as Error))
      let over = false
      const end = (error: Error | undefined, cookie?: Buffer): void => {
        if (over) return
        over = true
        again?.cancel()
        release()
        socket.removeAllListeners().on('error', ignore).close()
        if (cookie) resolve(cookie)
        else reject(error ?? cutOff())
      }
      const send = (): void => {
        socket.send(hello, (error) => { if (error) fail(error) })
        again = this.#clock.setTimeout(send, AGAIN_MS)
      }
      const fail = (error: NodeJS.ErrnoException): void => {
        if (error.code !== 'ECONNREFUSED') return end(error)
        end(Object.assign(new Error(`connect ECONNREFUSED ${ip}:${port}`), { code: 'ECONNREFUSED', syscall: 'connect', address: ip, port }))
      }
      socket.on('error', fail)
      socket.on('message', (bytes) => { if (answers(bytes, COOKIE, nonce)) end(undefined, bytes.subarray(COOKIE_AT, PACKET)) })
      // Node hands over the error of a connect that failed at once
      const connected = (error?: NodeJS.ErrnoException): void => { if (error) fail(error); else if (!over) send() }
      socket.connect(port, ip, connected)
    })
  }

  /** Sends a packet until it is answered. @returns the body of the answer */
  #asked(socket: UdxSocket, question: Buffer, kind: number, ip: string, port: number, signal: AbortSignal): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      let again: Timer | undefined
      const send = (): void => {
        socket.trySend(question, port, ip)
        again = this.#clock.setTimeout(send, AGAIN_MS)
      }
      const end = (): void => {
        again?.cancel()
        release()
        socket.off('message', onmessage)
      }
      const onmessage = (bytes: Buffer, from: UdxFrom): void => {
        if (from.port !== port || !answers(bytes, kind, question.subarray(5, COOKIE_AT))) return
        end()
        resolve(bytes.subarray(COOKIE_AT))
      }
      const release = onAbort(signal, () => {
        end()
        reject(signal.reason as Error)
      })
      socket.on('message', onmessage)
      send()
    })
  }

  #dialler(udx: Udx, ipv6: boolean): UdxSocket {
    let socket = this.#dialling.get(ipv6)
    if (socket) return socket
    socket = udx.createSocket()
    socket.bind(0, ipv6 ? '::' : '0.0.0.0')
    socket.setMaxListeners(0)
    this.#dialling.set(ipv6, socket)
    return socket
  }

  /** Closes a socket for dialling once neither a stream nor a dial uses it. */
  #unused(socket: UdxSocket): void {
    if (!socket.idle || socket.listenerCount('message') > 0) return
    for (const [ipv6, one] of this.#dialling) if (one === socket) this.#dialling.delete(ipv6)
    void socket.close()
  }

  /** Stops listening. Accepted streams belong to their receivers and stay open. */
  close(): Promise<void> {
    return this.#once.close(() => this.#close())
  }

  async #close(): Promise<void> {
    this.#server?.removeAllListeners('message')
    // it closes with its last stream
    const closed = this.#server?.close()
    if (this.#server?.idle) await closed
  }
}

const uint32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

/** All packets have the same length, so that an answer is never larger than its question. */
function packet(kind: number, nonce: Uint8Array, body: Uint8Array): Buffer {
  const bytes = Buffer.alloc(PACKET)
  MAGIC.copy(bytes)
  bytes[4] = kind
  bytes.set(nonce, 5)
  bytes.set(body, COOKIE_AT)
  return bytes
}

const answers = (bytes: Buffer, kind: number, nonce: Uint8Array): boolean =>
  bytes.length >= PACKET && bytes.subarray(0, MAGIC.length).equals(MAGIC) && bytes[4] === kind && bytes.subarray(5, COOKIE_AT).equals(nonce)
