import { createBirpc, type BirpcReturn } from 'birpc'
import { RpcSession, RpcTarget, type RpcStub } from 'capnweb'
import dnode from 'dnode'
import FramedStream from 'framed-stream'
import muxrpc from 'muxrpc'
import ProtomuxRPC from 'protomux-rpc'
import pull from 'pull-stream'
import rpcStream from 'rpc-stream'
import toPull from 'stream-to-pull-stream'
import type { Socket } from 'node:net'
import { Lines } from './lines.js'
import { cut } from './differences.js'
import { closed, until, type Program } from './program.js'

const birpc: Program = {
  name: 'birpc over lines of JSON',
  run: async (ends) => {
    const lines: string[] = []
    const channel = (stream: Socket): { post: (data: string) => void; on: (fn: (data: string) => void) => void; serialize: typeof JSON.stringify; deserialize: typeof JSON.parse } => {
      const it = new Lines(stream)
      return {
        post: (data) => { it.send(data) },
        on: (fn) => { void (async () => { for (;;) fn(await it.receive()) })().catch(() => {}) },
        serialize: JSON.stringify, deserialize: JSON.parse,
      }
    }
    interface Near { ask(what: string): string }
    interface Far { greet(name: string): Promise<string>; fail(): void }
    ends.onconnection((stream) => {
      const rpc: BirpcReturn<Near, Far> = createBirpc<Near, Far>({
        greet: async (name): Promise<string> => `hi ${name}, ${await rpc.ask('how are you')}`,
        fail: () => { throw new Error('no') },
      }, channel(stream))
    })
    const near = await ends.dial()
    const rpc = createBirpc<Far, Near>({ ask: (what) => `${what}?` }, channel(near))
    lines.push(await rpc.greet('bob'), ...await Promise.all(['a', 'b', 'c'].map((name) => rpc.greet(name))))
    lines.push(await rpc.fail().then(() => 'nothing', () => 'rejected'))
    near.end()
    await closed(near)
    return lines
  },
}

class Api extends RpcTarget {
  greet(name: string): string { return `hi ${name}` }
  nested(): Nested { return new Nested() }
  async twice(call: (value: number) => Promise<number>): Promise<number> { return await call(1) + await call(2) }
}
class Nested extends RpcTarget {
  count(): number { return 42 }
}

const capnweb: Program = {
  name: 'capnweb: calls, pipelined ones, callbacks, and the end of its session',
  differs: cut('accepted'),
  run: async (ends) => {
    const lines: string[] = []
    ends.onconnection((stream) => { new RpcSession(new Lines(stream), new Api()) })
    const near = await ends.dial()
    const session = new RpcSession<Api>(new Lines(near))
    const api = session.getRemoteMain() as RpcStub<Api>
    lines.push(await api.greet('bob'), String(await api.nested().count()))
    lines.push(String(await api.twice((async (value: number) => value * 10) as never)))
    near.destroy()
    lines.push(await Promise.resolve(api.greet('bob')).then(() => 'answered', () => 'rejected'))
    return lines
  },
}

const oldStyle: Program = {
  name: 'dnode, a stream of Node 0.4',
  run: async (ends) => {
    const lines: string[] = []
    ends.onconnection((stream) => {
      const server = dnode({
        transform: (text: string, done: (text: string) => void) => { done(text.toUpperCase()) },
        large: (size: number, done: (text: string) => void) => { done('x'.repeat(size)) },
      }, { weak: false })
      server.on('end', () => lines.push('server end'))
      stream.pipe(server).pipe(stream)
    })
    const near = await ends.dial()
    const client = dnode({}, { weak: false })
    client.on('end', () => lines.push('client end'))
    near.pipe(client).pipe(near)
    const remote = await new Promise<Record<string, (arg: unknown, done: (answer: string) => void) => void>>((resolve) => { client.on('remote', resolve) })
    const call = (name: string, arg: unknown): Promise<string> => new Promise((resolve) => { remote[name]?.(arg, resolve) })
    lines.push(await call('transform', 'beep'), String((await call('large', 300_000)).length))
    client.end()
    await closed(near)
    return lines
  },
}

const through: Program = {
  name: 'rpc-stream, of through, piped both ways',
  run: async (ends) => {
    ends.onconnection((stream) => {
      const server = rpcStream({ hello: (name: string, done: (error: null, answer: string) => void) => { done(null, `hello, ${name}`) } })
      server.pipe(stream).pipe(server)
    })
    const near = await ends.dial()
    const client = rpcStream()
    client.pipe(near).pipe(client)
    const answer = await new Promise<string>((resolve) => { client.wrap(['hello'])['hello']?.('bob', (_: unknown, text: string) => { resolve(text) }) })
    near.end()
    await closed(near)
    return [answer]
  },
}

const pulled: Program = {
  name: 'muxrpc over pull-streams',
  chance: { end: 'accepted', because: 'close() destroys the socket, perhaps before the goodbye of the other end is there: then that sees a reset, and else an end' },
  run: async (ends) => {
    const lines: string[] = []
    const manifest = { hello: 'async', stuff: 'source' }
    ends.onconnection((stream) => {
      const server = muxrpc(null, manifest, {
        hello: (name: string, done: (error: null, answer: string) => void) => { done(null, `hello, ${name}`) },
        stuff: () => pull.values([1, 2, 3]),
      })
      const its = toPull.duplex(stream)
      pull(its, server.stream, its)
    })
    const near = await ends.dial()
    const client = muxrpc(manifest, null)
    const its = toPull.duplex(near)
    pull(its, client.stream, its)
    lines.push(await new Promise<string>((resolve) => { client['hello']?.('bob', (_: unknown, answer: string) => { resolve(answer) }) }))
    lines.push(await new Promise<string>((resolve) => { pull(client['stuff']?.(), pull.collect((_: unknown, all: unknown) => { resolve(JSON.stringify(all)) })) }))
    await new Promise<void>((resolve) => { client['close']?.(resolve) })
    await closed(near)
    return lines
  },
}

const muxed: Program = {
  name: 'protomux-rpc over framed streamx',
  run: async (ends) => {
    const [lines, told]: [string[], string[]] = [[], []]
    ends.onconnection((stream) => {
      const rpc = new ProtomuxRPC(new FramedStream(stream))
      rpc.respond('echo', (value: Buffer) => value)
      rpc.on('close', () => told.push('server close'))
    })
    const near = await ends.dial()
    const rpc = new ProtomuxRPC(new FramedStream(near))
    rpc.on('close', () => lines.push('client close'))
    for (const size of [1, 100_000]) lines.push(String((await rpc.request('echo', Buffer.alloc(size))).length))
    near.end()
    await closed(near)
    await until(() => lines.length === 3 && told.length === 1)
    return [...lines, ...told]
  },
}

export default [birpc, capnweb, oldStyle, through, pulled, muxed]
