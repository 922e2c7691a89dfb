import { createServer, connect, type AddressInfo, type Socket } from 'node:net'
import { once } from 'node:events'
import { Duplex } from 'node:stream'
import duplexify from 'duplexify'
import pump from 'pump'
import through2 from 'through2'
import { MemoryInterface, MemoryRegistry, Stage, TcpInterface, tap } from '../../src/index.js'
import type { LinkEnd } from '../../src/types.js'
import type { Ends } from './program.js'

export interface OpenWay extends Ends {
  close(): Promise<void>
}
export interface Way {
  readonly name: string
  /** The only programs that make sense over this way, and the reason. */
  readonly only?: { readonly programs: RegExp; readonly because: string }
  open(): Promise<OpenWay>
}

async function sockets(made: (socket: Socket) => Socket): Promise<OpenWay> {
  const all = new Set<Socket>()
  let handler: ((stream: Socket) => void) | undefined
  const server = createServer((socket) => { all.add(socket); handler?.(made(socket)) }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    dial: () => {
      const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
      all.add(socket)
      return made(socket)
    },
    onconnection: (it) => { handler = it },
    close: async () => {
      for (const socket of all) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

/** The way that all others are compared with: two sockets of Node. */
export const control: Way = { name: 'a bare socket', open: () => sockets((socket) => socket) }

/** A hand-written stream that behaves like the stream below it. */
class Around extends Duplex {
  constructor(private readonly below: Duplex) {
    super({ allowHalfOpen: false })
    below.on('data', (chunk) => { if (!this.push(chunk)) below.pause() })
    below.on('end', () => { this.push(null); this.read(0) }).on('error', (error) => { this.destroy(error) })
    below.on('close', () => { if (!below.readableEnded) this.destroy() })
  }

  override _read(): void { this.below.resume() }
  override _write(chunk: Buffer, _: BufferEncoding, done: (error?: Error | null) => void): void { this.below.write(chunk, done) }
  override _final(done: () => void): void { this.below.end(done) }
  override _destroy(error: Error | null, done: (error: Error | null) => void): void { this.below.destroy(); done(error) }
}

/** Wrappers as users write them: a transform for each direction, joined to one stream. */
const wrappers = {
  duplexify(socket: Duplex): Duplex {
    const [into, out] = [through2(), through2()]
    pump(socket, into)
    pump(out, socket)
    return duplexify(out, into, { allowHalfOpen: false }) as Duplex
  },
  around: (socket: Duplex): Duplex => new Around(socket),
  /** A wrapper that ships with the library; the user decides which of its streams end as a socket does. */
  tap: (socket: Duplex, end: LinkEnd): Duplex => Object.assign(tap(() => {})(socket, end), { allowHalfOpen: false }),
}

export const aroundDuplexify: Way = { name: 'duplexify around a bare socket', open: () => sockets((socket) => wrappers.duplexify(socket) as Socket) }

interface Kind {
  readonly over: 'memory' | 'tcp'
  /** The stream comes by the callback; otherwise it is the result of `to()`, which connects by itself. */
  readonly callback?: boolean
  /** Default: the chain of the library. */
  readonly chain?: 'empty' | keyof typeof wrappers
}

let rooms = 0

function stages({ over, callback = false, chain }: Kind): Way['open'] {
  return async () => {
    const room = `outside-${process.pid}-${++rooms}`
    const all: Stage[] = []
    const stage = (name: string): Stage => {
      const carrier = over === 'tcp' ? new TcpInterface({ host: '127.0.0.1' }) : new MemoryInterface()
      const one = new Stage(name, new MemoryRegistry(room), carrier, chain === 'empty' ? { chain: [] } : {})
      if (chain && chain !== 'empty') one.addStreamWrapper(wrappers[chain])
      all.push(one)
      return one
    }
    const far = stage('far')
    await far.ready()
    // a custom chain has one stream for each link
    const near = chain ? undefined : stage('near')
    return {
      dial: () => {
        const from = near ?? stage(`near-${all.length}`)
        if (!callback) return from.to('far') as Duplex as Socket
        return new Promise((resolve, reject) => { from.to('far', (error, stream) => { if (error) reject(error); else resolve(stream as Socket) }) })
      },
      onconnection: (handler) => { far.on('stream', (stream) => { handler(stream as Socket) }) },
      close: async () => { await Promise.all(all.map((one) => one.close())) },
    }
  }
}

/** The last bytes that http writes are lost over a bare socket too: see `aroundDuplexify`. */
const DUPLEXIFY = 'duplexify loses what is written between cork() and end(), as http does, and has no errored, closed or writableFinished'

export const ways: readonly Way[] = [
  { name: 'to(), in memory', open: stages({ over: 'memory' }) },
  { name: 'to(), by tcp', open: stages({ over: 'tcp' }) },
  { name: 'a stream by callback, in memory', open: stages({ over: 'memory', callback: true }) },
  { name: 'a chain of nothing, by tcp', open: stages({ over: 'tcp', chain: 'empty' }) },
  { name: 'a chain of nothing by callback, in memory', open: stages({ over: 'memory', chain: 'empty', callback: true }) },
  { name: 'a chain of tap, by tcp', open: stages({ over: 'tcp', chain: 'tap' }) },
  { name: 'a chain of one Duplex by callback, in memory', open: stages({ over: 'memory', chain: 'around', callback: true }) },
  {
    name: 'a chain of duplexify and through2, by tcp', open: stages({ over: 'tcp', chain: 'duplexify' }),
    only: { programs: /^(who|an end|readable-stream|through2|zlib|tar|ssh2|mqtt|ws: (?!a handshake)|birpc|dnode|rpc-stream|muxrpc|protomux)/, because: DUPLEXIFY },
  },
]
