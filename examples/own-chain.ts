/**
 * A custom chain: a wrapper that turns bytes into objects, one line of JSON each, and on top of that wrapper an RPC that
 * passes callbacks. Neither of the two knows stagemesh; the lines that add them to a stage are at the end.
 */
import duplexify from 'duplexify'
import { once } from 'node:events'
import { Duplex, type TransformCallback } from 'node:stream'
import pump from 'pump'
import through2 from 'through2'
import { MemoryRegistry, Stage, TcpInterface } from 'stagemesh'

const LINE_MAX_BYTES = 1024 * 1024
const NEWLINE = 0x0a

/** Wraps a byte stream as a stream of objects, one line of JSON each. */
function jsonLines(socket: Duplex): Duplex {
  let held: Buffer = Buffer.alloc(0)
  const incoming = through2({ readableObjectMode: true }, (chunk: Buffer, _encoding: string, done: TransformCallback) => {
    held = Buffer.concat([held, chunk])
    try {
      for (let end = held.indexOf(NEWLINE); end >= 0; end = held.indexOf(NEWLINE)) {
        incoming.push(JSON.parse(held.toString('utf8', 0, end)))
        held = held.subarray(end + 1)
      }
    } catch (error) {
      return done(error as Error)
    }
    done(held.length > LINE_MAX_BYTES ? new Error(`a line of more than ${LINE_MAX_BYTES} bytes`) : null)
  })
  const outgoing = through2({ writableObjectMode: true }, (value: unknown, _encoding: string, done: TransformCallback) => {
    done(null, `${JSON.stringify(value)}\n`)
  })
  // an error in one of the streams destroys all of them
  pump(socket, incoming)
  pump(outgoing, socket)
  return duplexify.obj(outgoing, incoming)
}

type Fn = (...args: unknown[]) => unknown
/** `method` is a name, or the number of a passed function; `passed` maps the index of a function argument to its number. */
interface Message { method: string | number; args: unknown[]; passed: Record<string, number> }

/** Methods by name over a stream of objects; functions among the arguments can be called back, once each. */
class CallbackRpc extends Duplex {
  readonly #methods = new Map<string, Fn>()
  readonly #passed = new Map<number, Fn>()
  #lastPassed = 0

  constructor(stream: Duplex) {
    super({ objectMode: true })
    pump(stream, this, stream)
  }

  provide(name: string, method: Fn): void {
    this.#methods.set(name, method)
  }

  callRemote(method: string | number, ...args: unknown[]): void {
    const passed: Message['passed'] = {}
    args.forEach((arg, i) => {
      if (typeof arg !== 'function') return
      this.#passed.set(passed[i] = ++this.#lastPassed, arg as Fn)
      args[i] = null
    })
    this.push({ method, args, passed })
  }

  override _read(): void {}

  override _write({ method, args, passed }: Message, _encoding: string, done: (error?: Error) => void): void {
    const found = typeof method === 'number' ? this.#passed.get(method) : this.#methods.get(method)
    if (typeof method === 'number') this.#passed.delete(method)
    try {
      for (const [i, id] of Object.entries(passed)) args[Number(i)] = (...results: unknown[]) => this.callRemote(id, ...results)
      found?.(...args)
      done()
    } catch (error) {
      done(error as Error)
    }
  }

  override _final(done: () => void): void {
    this.push(null)
    done()
  }
}

// ── the stage that provides ─────────────────────────────────────────────────────────────────────────────────────────

const registry = new MemoryRegistry()
const rpc = new Stage('my-server-app', { registry, interfaces: new TcpInterface() })

rpc.addStreamWrapper(function (_socket) {
  return jsonLines(_socket)
})

rpc.addStreamWrapper(function (_socket) {
  return new CallbackRpc(_socket)
})

rpc.to('*').provide("greet", function (name, cb) {
  cb("hi there, " + name)
})

// ── the stage that calls: the same chain ────────────────────────────────────────────────────────────────────────────

const caller = new Stage('caller', { registry, interfaces: new TcpInterface() })
caller.addStreamWrapper((socket) => jsonLines(socket))
caller.addStreamWrapper((stream) => new CallbackRpc(stream))
await once(caller, 'join')

await new Promise<void>((resolve, reject) => {
  caller.to<CallbackRpc>('my-server-app', (error, top, peer) => { // `top` is the top of our chain
    if (error) return reject(error)
    top.callRemote('greet', 'friend', (greeting: unknown) => {
      console.log(`${peer.name} says: ${String(greeting)}`)
      resolve()
    })
  })
})

// the same without a callback for the stream: as() has the methods of the top stream
const greeted = new Promise((resolve) => void caller.to('my-server-app').as<CallbackRpc>().callRemote('greet', 'bob', resolve))
console.log(`my-server-app says: ${String(await greeted)}`)

await caller.close()
await rpc.close()
