/** The floors of carriers: the same minimum of calls and streams as `raw`, over bare TLS, WebSockets and MessagePorts; and stages over each. */
import { execFileSync, fork } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { Duplex } from 'node:stream'
import tls from 'node:tls'
import { fileURLToPath } from 'node:url'
import { Worker, isMainThread, parentPort, workerData } from 'node:worker_threads'
import { Packr } from 'msgpackr'
import { LocalRegistry, Stage, TcpInterface, type Interface } from 'stagemesh'
import { ChildInterface } from 'stagemesh/interfaces/child'
import { UdpInterface } from 'stagemesh/interfaces/udp'
import { WebSocketInterface } from 'stagemesh/interfaces/websocket'
import { WorkerInterface } from 'stagemesh/interfaces/worker'
import { WebSocket, WebSocketServer, createWebSocketStream } from 'ws'
import { count, VALUES, type Adapter, type Client } from '../adapter.js'
import { Batch, frames } from './framed.js'
import { adapter } from './stagemesh.js'

/** As many bytes as the value takes in msgpack; their content is never read. */
const payloads = new Map<unknown, Buffer>([VALUES.small].map((value) => [value, Buffer.alloc(new Packr({ useRecords: false }).pack(value).length, 'x')]))

/** Answers each frame with itself. */
function echo(stream: Duplex): void {
  const out = new Batch(stream)
  frames(stream, (id, payload) => out.add(id, payload))
}

/** Calls over a stream that `echo` serves. */
function caller(stream: Duplex, open: () => Duplex): Client {
  const out = new Batch(stream)
  const waiting = new Map<number, () => void>()
  let next = 1
  frames(stream, (id) => {
    waiting.get(id)?.()
    waiting.delete(id)
  })
  return {
    call: (value) => new Promise((done) => {
      const id = next++
      waiting.set(id, () => done(value))
      out.add(id, payloads.get(value)!)
    }),
    stream: open,
  }
}

const [CALLS, STREAM] = [0, 1]

/** The first byte of a connection says its use. */
function serveOn(stream: Duplex): void {
  stream.on('error', () => {})
  stream.once('data', (first: Buffer) => {
    if (first.length > 1) stream.unshift(first.subarray(1))
    if (first[0] === STREAM) count(stream)
    else echo(stream)
  })
}

const client = (open: () => Duplex): Client => {
  const as = (use: number): Duplex => { const stream = open(); stream.write(Buffer.of(use)); return stream }
  return caller(as(CALLS), () => as(STREAM))
}

/** A certificate for loopback that signs itself, as PEM. */
function certificate(folder: string): { key: string; cert: string } {
  execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2', '-subj', '/CN=bench', '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', 'bench.key', '-out', 'bench.pem'], { cwd: folder, stdio: 'ignore' })
  return { key: join(folder, 'bench.key'), cert: join(folder, 'bench.pem') }
}

export const rawTls: Adapter = {
  async serve({ folder }) {
    const { key, cert } = certificate(folder)
    const server = tls.createServer({ key: readFileSync(key), cert: readFileSync(cert), minVersion: 'TLSv1.3', noDelay: true, allowHalfOpen: true } as tls.TlsOptions, serveOn)
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return JSON.stringify({ port: (server.address() as AddressInfo).port, ca: cert })
  },
  async connect(where) {
    const { port, ca } = JSON.parse(where) as { port: number; ca: string }
    return client(() => tls.connect({ host: '127.0.0.1', port, ca: readFileSync(ca), allowHalfOpen: true } as tls.ConnectionOptions).setNoDelay(true))
  },
}

/** Half-open streams are not to be had over bare ws: the count comes back when the server has seen a message of no bytes. */
export const rawWs: Adapter = {
  async serve() {
    const server = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate: false })
    server.on('connection', (socket, { url }) => {
      if (url !== '/stream') return echo(createWebSocketStream(socket))
      let bytes = 0
      socket.on('message', (message: Buffer) => {
        bytes += message.length
        if (message.length === 0) socket.send(String(bytes), () => socket.close())
      })
    })
    await once(server, 'listening')
    return `ws://127.0.0.1:${(server.address() as AddressInfo).port}`
  },
  async connect(where) {
    const options = { perMessageDeflate: false }
    const stream = (): Duplex => {
      const socket = new WebSocket(`${where}/stream`, options)
      const opened = once(socket, 'open')
      const duplex: Duplex = new Duplex({
        read() {},
        write: (chunk: Buffer, _encoding, done) => void opened.then(() => { socket.send(chunk, done) }),
        final: (done) => { socket.send(Buffer.alloc(0), done) },
      })
      socket.on('message', (message: Buffer) => { duplex.push(message); duplex.push(null) })
      return duplex
    }
    const socket = new WebSocket(where, options)
    await once(socket, 'open')
    return caller(createWebSocketStream(socket), stream)
  },
}

/** Buffers over a MessagePort, transferred; a bare port has no backpressure, so each 16 messages are acknowledged. */
class PortDuplex extends Duplex {
  #unanswered = 0
  #waiting: (() => void) | undefined

  constructor(private readonly port: { postMessage(value: unknown, transfer?: ArrayBuffer[]): void; on(event: 'message', fn: (value: unknown) => void): unknown }) {
    super({ allowHalfOpen: true })
    let got = 0
    port.on('message', (message) => {
      if (message === 'ack') {
        this.#unanswered -= 16
        this.#waiting?.()
        this.#waiting = undefined
      } else if (message === 'end') this.push(null)
      else {
        const bytes = message as Uint8Array
        this.push(Buffer.from(bytes.buffer as ArrayBuffer, bytes.byteOffset, bytes.byteLength))
        if (++got % 16 === 0) port.postMessage('ack')
      }
    })
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    const copy = new Uint8Array(chunk)
    this.port.postMessage(copy, [copy.buffer])
    if (++this.#unanswered < 64) done()
    else this.#waiting = done
  }

  override _final(done: () => void): void {
    this.port.postMessage('end')
    done()
  }
}

const self = fileURLToPath(import.meta.url)

/** Both ends are in the process of the client. */
export const rawPort: Adapter = {
  serve: () => Promise.resolve(''),
  async connect() {
    return client(() => {
      const worker = new Worker(self, { workerData: 'raw' })
      worker.unref()
      return new PortDuplex(worker)
    })
  },
}

if (!isMainThread && workerData === 'raw' && parentPort) serveOn(new PortDuplex(parentPort))

const tlsOf = (folder: string): Interface => new TcpInterface({ tls: { cert: join(folder, 'bench.pem'), key: join(folder, 'bench.key'), ca: join(folder, 'bench.pem') } })
export const stagemeshTls: Adapter = {
  serve: (place) => {
    certificate(place.folder)
    return adapter(() => tlsOf(place.folder)).serve(place)
  },
  connect: (folder) => adapter(() => tlsOf(folder)).connect(folder),
}
export const stagemeshWs = adapter(() => new WebSocketInterface())
export const stagemeshUdp = adapter(() => new UdpInterface())

/** The stage that answers, in a thread or a child of the process of the client. */
async function answers(folder: string, through: Interface): Promise<void> {
  const stage = new Stage('echo', new LocalRegistry(folder), through)
  stage.to('*').provide('echo', (value) => value)
  stage.on('stream', (stream) => { stream.allowHalfOpen = true; count(stream) })
  await stage.ready()
}

async function asks(folder: string, through: Interface): Promise<Client> {
  const stage = new Stage('caller', new LocalRegistry(folder), through)
  await stage.ready()
  const peer = stage.to('echo')
  return { call: (value) => peer.call('echo', value), stream: () => stage.to('echo') }
}

export const stagemeshWorker: Adapter = {
  serve: ({ folder }) => Promise.resolve(folder),
  connect: (folder) => {
    new Worker(self, { workerData: { folder } }).unref()
    return asks(folder, new WorkerInterface())
  },
}
if (!isMainThread && typeof (workerData as { folder?: string } | null)?.folder === 'string') await answers((workerData as { folder: string }).folder, new WorkerInterface())

export const stagemeshChild: Adapter = {
  serve: ({ folder }) => Promise.resolve(folder),
  connect: (folder) => {
    const child = fork(self, [folder], { serialization: 'advanced', env: { ...process.env, BENCH_CHILD: '1' } })
    child.unref()
    return asks(folder, new ChildInterface().attach(child))
  },
}
if (isMainThread && process.env['BENCH_CHILD'] === '1' && process.argv[1] === self) {
  process.on('disconnect', () => process.exit())
  await answers(process.argv[2], new ChildInterface())
}
