import * as node from 'node:stream'
import duplexify from 'duplexify'
import pump from 'pump'
import through2 from 'through2'
import * as two from 'readable-stream-2'
import * as three from 'readable-stream-3'
import * as four from 'readable-stream-4'
import * as streamx from 'streamx'
import { broken, cut } from './differences.js'
import { closed, code, text, until, type Ends, type Program } from './program.js'

const SIZE = 400_000

/** The far end sends everything back, and ends when the near end does. */
const echo = (ends: Ends): void => {
  ends.onconnection((far) => { far.allowHalfOpen = true; far.on('error', () => {}); far.pipe(far) })
}

interface Kind {
  readonly name: string
  /** A stream that returns its input. */
  make(): node.Duplex
  readonly pipeline?: unknown
  readonly finished?: typeof node.finished
  /** The pipe destroys its target without passing on the error. */
  readonly silent?: boolean
}

const kinds: readonly Kind[] = [
  { name: 'readable-stream 2', make: () => new two.PassThrough() },
  { name: 'readable-stream 3', make: () => new three.PassThrough(), silent: true, pipeline: three.pipeline, finished: three.finished },
  { name: 'readable-stream 4', make: () => new four.PassThrough(), pipeline: four.pipeline, finished: four.finished },
  { name: 'streamx', make: () => new streamx.PassThrough(), pipeline: streamx.pipeline },
  { name: 'through2 and pump', make: () => through2(), silent: true, pipeline: pump },
  { name: 'node:stream', make: () => new node.PassThrough(), pipeline: node.pipeline, finished: node.finished },
]

/** Pipes through a stream of this kind into ours, and the answer through another one. */
const piped = kinds.map((kind): Program => ({
  name: `${kind.name}: pipe() into the stream and out of it`,
  run: async (ends) => {
    echo(ends)
    const near = await ends.dial()
    const [into, out] = [kind.make(), kind.make()]
    into.pipe(near)
    near.pipe(out)
    for (let left = SIZE; left > 0; left -= 50_000) into.write(Buffer.alloc(50_000, 'x'))
    into.end()
    let come = 0
    out.on('data', (chunk: Buffer) => { come += chunk.length })
    await new Promise((resolve) => { out.once('end', resolve) })
    return [`${come} came back`]
  },
}))

const joined = kinds.filter((kind) => kind.pipeline).map((kind): Program => ({
  name: `${kind.name}: pipeline() with the stream in the middle, and at the end of one that fails`,
  differs: (kind.silent ? cut : broken)('accepted'),
  run: async (ends) => {
    const lines: string[] = []
    echo(ends)
    const run = (...streams: unknown[]): Promise<string> => new Promise((resolve) => { (kind.pipeline as (...all: unknown[]) => void)(...streams, (error?: Error | null) => { resolve(error ? `error ${code(error)}` : 'done') }) })
    const near = await ends.dial()
    const [into, out] = [kind.make(), kind.make()]
    let come = 0
    out.on('data', (chunk: Buffer) => { come += chunk.length })
    into.end(Buffer.alloc(SIZE))
    lines.push(`through: ${await run(into, near, out)}, ${come} came`)
    const second = await ends.dial()
    const failing = kind.make()
    second.resume().on('error', () => {})
    failing.write('x')
    second.once('data', () => { failing.destroy(new Error('a bug')) })
    lines.push(`failing source: ${await run(failing, second)}`)
    await until(() => second.destroyed)
    lines.push(`its target is destroyed: ${second.destroyed}`)
    return lines
  },
}))

const finished = kinds.filter((kind) => kind.finished).map((kind): Program => ({
  name: `${kind.name}: finished() of a clean end, of one side, and of a cut`,
  differs: [...cut('cut: over', 1, (code) => `cut: ${code}`), ...cut('dialled')],
  run: async (ends) => {
    const lines: string[] = []
    ends.onconnection((far) => {
      far.allowHalfOpen = true
      far.on('error', () => {}).on('data', (data: Buffer) => { if (data.includes('cut')) far.destroy(); else far.write(data) }).on('end', () => { far.end('over') })
    })
    const over = (name: string, stream: node.Duplex, options: node.FinishedOptions = {}): Promise<void> => new Promise((resolve) => {
      (kind.finished as typeof node.finished)(stream, options, (error) => { lines.push(`${name}: ${error ? code(error) : 'over'}`); resolve() })
    })
    const near = await ends.dial()
    const all = [over('both', near), over('readable', near, { writable: false }), over('writable', near, { readable: false })]
    near.resume().end('x')
    await Promise.all(all)
    const second = await ends.dial()
    second.on('error', () => {}).resume().write('cut')
    await over('cut', second)
    lines.sort()
    return lines
  },
}))

/** The operators of `node:stream` on a stream. */
const operators: Program = {
  name: 'node:stream: compose, map, take, Readable.from, addAbortSignal, an async function in a pipeline',
  run: async (ends) => {
    const lines: string[] = []
    ends.onconnection((far) => { far.on('error', () => {}).resume(); for (const part of ['a', 'b', 'c']) far.write(part); far.end() })
    const dial = async (): Promise<node.Duplex> => { const it = await ends.dial(); it.on('error', () => {}); it.write('x'); return it }
    lines.push(`map: ${(await (await dial()).map((chunk: Buffer) => String(chunk)).toArray()).join('')}`)
    lines.push(`reduce: ${await (await dial()).reduce((sum: number, chunk: Buffer) => sum + chunk.length, 0)}`)
    lines.push(`compose: ${await text((await dial()).compose(async function* (source: AsyncIterable<Buffer>) { for await (const chunk of source) yield String(chunk).toUpperCase() } as never) as AsyncIterable<Buffer>)}`)
    let piped = ''
    await node.promises.pipeline(await dial(), async (source) => { for await (const chunk of source) piped += String(chunk) })
    lines.push(`pipeline into a function: ${piped}`)
    return lines
  },
}

const left: Program = {
  name: 'node:stream: a loop that is left at its first chunk',
  differs: broken('accepted'),
  run: async (ends) => {
    ends.onconnection((far) => { far.on('error', () => {}).on('data', (data) => { far.write(data) }) })
    const near = await ends.dial()
    const over = closed(near.on('error', () => {}))
    near.write('x')
    for await (const chunk of near.iterator({ destroyOnReturn: true })) if (String(chunk) === 'x') break
    await over
    return []
  },
}

const aborted: Program = {
  name: 'node:stream: addAbortSignal',
  differs: broken('accepted'),
  run: async (ends) => {
    ends.onconnection((far) => { far.on('error', () => {}).on('data', () => { far.write('x') }) })
    const near = await ends.dial()
    const gone = new AbortController()
    node.addAbortSignal(gone.signal, near)
    const over = closed(near)
    near.on('error', () => {}).once('data', () => { gone.abort() })
    near.write('x')
    await over
    return []
  },
}

/** A stream joined to another one by duplexify, as old wrappers do. */
const wrapped: Program = {
  name: 'duplexify around the stream',
  run: async (ends) => {
    echo(ends)
    const near = await ends.dial()
    const around = duplexify(near, near)
    around.end(Buffer.alloc(SIZE))
    return [String((await text(around)).length)]
  },
}

export default [...piped, ...joined, ...finished, operators, left, aborted, wrapped]
