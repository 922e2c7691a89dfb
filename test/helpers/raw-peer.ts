import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { MemoryRegistry, Stage, TcpInterface, type Clock, type Interface, type Registry, type StageOptions } from '../../src/index.js'
import type { Entry } from '../../src/types.js'
import { systemClock } from '../../src/clock.js'
import { handshake, type Greeting } from '../../src/handshake.js'
import type { LastLink } from '../../src/hello.js'
import { systemRandom } from '../../src/random.js'
import type { Assertions } from '../suites/test.js'
import { freePort } from './free-port.js'
import { advance } from './mesh.js'
import { until } from './until.js'
import { VirtualClock } from './virtual-clock.js'

// Peers written by hand: bytes on the port of a real stage, with and without a proper handshake before them.

type Test = Pick<Assertions, 'teardown'>
type Tcp = ConstructorParameters<typeof TcpInterface>[0]

const u16 = (value: number): number[] => [value >>> 8 & 0xff, value & 0xff]

/** The context of a call as bytes, valid or not. */
export function carried({ depth = 0, chain = [], headers = [], more = [] }: { depth?: number; chain?: readonly string[]; headers?: readonly (readonly [string, string])[]; more?: readonly number[] } = {}): Buffer {
  const texts = (list: readonly string[], ...sizes: ((size: number) => number[])[]): number[] => list.flatMap((text, i) => [...sizes[i % sizes.length](Buffer.byteLength(text)), ...Buffer.from(text)])
  const block = [depth, chain.length & 0xff, ...texts(chain, u16), headers.length & 0xff, ...texts(headers.flat(), (size) => [size & 0xff], u16), ...more]
  return Buffer.from([1, ...u16(block.length), ...block])
}

export const CHAIN = ['framing', 'rpc:msgpack', 'actors']
let rooms = 0

export interface TcpMesh<C extends Clock> {
  clock: C
  registry: MemoryRegistry
  /** A stage on its own port, listening and listed. */
  stage(name: string, options?: Omit<StageOptions, 'registry'> & { tcp?: Tcp; interface?: Interface; registry?: Registry }): Promise<Stage & { address: string }>
  /** Lists a peer that is not a stage. */
  list(entry: Partial<Entry> & { id: string; addresses: readonly string[] }): void
}

/** Stages of this process that talk over real sockets. */
export function tcpMesh<C extends Clock = Clock>(t: Test, clock: C = systemClock as C): TcpMesh<C> {
  const room = `raw-${process.pid}-${++rooms}`
  const registry = new MemoryRegistry(room, { clock })
  const stages: Stage[] = []
  t.teardown(async () => {
    const closing = Promise.all([...stages.map((stage) => stage.close()), registry.close()])
    if (clock instanceof VirtualClock) await advance(clock, closing, 20_000)
    await closing
  })
  return {
    clock, registry,
    async stage(name, { tcp, interface: carrier, registry: own, ...options } = {}) {
      const stage = new Stage(name, own ?? new MemoryRegistry(room, { clock }), carrier ?? new TcpInterface({ clock, ...tcp }), { namespace: 'default', ...options, clock })
      stages.push(stage)
      let address = ''
      stage.on('listening', ([first]) => { address = first ?? '' })
      await stage.ready()
      return Object.defineProperty(stage as Stage & { address: string }, 'address', { get: () => address })
    },
    list: (given) => {
      const entry: Entry = { name: 'mallory', namespace: 'default', unique: false, draining: false, ttlMs: 15_000, announces: {}, meta: {}, ...given }
      registry.edit(entry.namespace, entry.id, JSON.stringify(entry))
    },
  }
}

/** A message of the handshake, or bytes that look like one. */
export function packet(body: unknown): Buffer {
  const text = Buffer.from(typeof body === 'string' ? body : JSON.stringify(body))
  const head = Buffer.from('STG1\0\0\0\0', 'latin1')
  head.writeUInt32BE(text.length, 4)
  return Buffer.concat([head, text])
}

/** The first message of a well-behaved peer. */
export const hello = (over: object = {}): Record<string, unknown> => ({
  protocol: [1, 1], namespace: 'default', from: { id: 'mallory-0001', name: 'mallory', addresses: [] },
  nonce: 'n'.repeat(43), chain: CHAIN, secret: false, ...over,
})

/** A plain socket that records the bytes that came. */
export class Plain {
  closed = false
  #bytes: Buffer[] = []

  constructor(readonly socket: Socket) {
    socket.on('data', (chunk: Buffer) => this.#bytes.push(chunk))
    socket.on('error', () => {})
    socket.on('close', () => { this.closed = true })
  }

  get bytes(): Buffer {
    return Buffer.concat(this.#bytes)
  }

  write(bytes: Buffer | string): void {
    this.socket.write(bytes)
  }

  /** The messages of a handshake that came. */
  get packets(): Record<string, unknown>[] {
    const found: Record<string, unknown>[] = []
    const { bytes } = this
    for (let at = 0; at + 8 <= bytes.length;) {
      const end = at + 8 + bytes.readUInt32BE(at + 4)
      if (end > bytes.length) break
      found.push(JSON.parse(bytes.toString('utf8', at + 8, end)))
      at = end
    }
    return found
  }

  /** The error that the other end sent, once it has closed. */
  async refused(): Promise<{ code?: string; message?: string } | undefined> {
    await until(() => this.closed, 20_000)
    return this.packets.at(-1)?.['error'] as { code?: string } | undefined
  }
}

const portOf = (address: string): number => Number(/:(\d+)$/.exec(address)?.[1])

/** Connects to the port of a stage without sending anything yet. */
export async function plain(t: Test, address: string): Promise<Plain> {
  const socket = connect({ port: portOf(address), host: '127.0.0.1', allowHalfOpen: false })
  t.teardown(() => void socket.destroy())
  const one = new Plain(socket)
  await once(socket, 'connect')
  return one
}

/** Listens as a stage would, and hands out the connections. */
export async function listener(t: Test, onconnection: (one: Plain) => void): Promise<string> {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    onconnection(new Plain(socket))
  })
  t.teardown(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return `tcp://127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** A port on which nobody listens. */
export const closedPort = freePort

const PART = 15, READ = 18

export interface Message {
  type: number
  id: number
  body: Buffer
}

export interface RawOptions {
  id?: string
  name?: string
  namespace?: string
  secret?: string
  chain?: readonly string[]
  last?: LastLink
  expect?: string
  /** Claims that the id of the stage was reported gone. */
  gone?: boolean
}

/** A peer that was admitted, and from then on can send any bytes. It dials, so its own ids are odd. */
export class Raw {
  closed = false
  readonly messages: Message[] = []
  pongs = 0
  /** The id of the last call whose only purpose is to check that everything was read. */
  probes = 1_000_001
  /** Sends READ for the parts of large messages. */
  reads = true
  #held = Buffer.alloc(0)

  private constructor(readonly socket: Socket, readonly id: string, readonly greeting: Greeting) {
    socket.on('error', () => {})
    socket.on('close', () => { this.closed = true })
    socket.on('data', (chunk: Buffer) => this.#take(chunk))
  }

  static async join(t: Test, address: string, { id = 'mallory-0001', name = 'mallory', namespace = 'default', secret, chain = CHAIN, last, expect, gone = false }: RawOptions = {}): Promise<Raw> {
    // a reset behind unread bytes looks like an end to a plain socket (libuv), so either of them ends it
    const socket = connect({ port: portOf(address), host: '127.0.0.1', allowHalfOpen: false })
    t.teardown(() => void socket.destroy())
    socket.on('error', () => {})
    const greeting = await handshake({
      stream: socket, dialled: true, clock: systemClock, random: systemRandom, namespace, chain, secret, last, expect,
      self: { id, name, addresses: [] },
      isGone: () => gone, ongone: () => {}, onproven: () => {}, decide: () => ({ ready: 1 }),
    })
    return new Raw(socket, id, greeting)
  }

  frame(payload: Buffer, kind = 0): void {
    const head = Buffer.alloc(4)
    head.writeUInt32BE(payload.length)
    head[0] = kind
    this.socket.write(Buffer.concat([head, payload]))
  }

  message(type: number, id: number, ...rest: (Buffer | number[])[]): void {
    this.frame(Buffer.concat([Buffer.from([type]), u32(id), ...rest.map((one) => Buffer.from(one))]))
  }

  /** A CALL; `args` is msgpack, by default no arguments. */
  call(id: number, method: string, args: Buffer | number[] = [0x90], carried: Buffer | number[] = [0]): void {
    this.message(1, id, u32(5000), carried, [method.length], Buffer.from(method), args)
  }

  /** The messages of that type that came for that id. */
  got(type: number, id?: number): Message[] {
    return this.messages.filter((one) => one.type === type && (id === undefined || one.id === id))
  }

  #take(chunk: Buffer): void {
    this.#held = Buffer.concat([this.#held, chunk])
    while (this.#held.length >= 4) {
      const end = 4 + this.#held.readUIntBE(1, 3)
      if (this.#held.length < end) return
      const kind = this.#held[0]
      const payload = this.#held.subarray(4, end)
      this.#held = this.#held.subarray(end)
      if (kind === 2) this.pongs++
      else if (kind === 1) this.frame(Buffer.alloc(0), 2)
      else {
        const message = { type: payload[0], id: payload.readUInt32BE(1), body: payload.subarray(5) }
        this.messages.push(message)
        if (message.type === PART && this.reads) this.message(READ, 0, u32(message.body.length)) // otherwise no more parts come
      }
    }
  }
}

export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}
