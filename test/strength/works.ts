import { AsyncLocalStorage } from 'node:async_hooks'
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { Code, Stage, StageError } from '../../src/index.js'
import { leaving, serveLeaving, sources } from './leaving.js'
import { MIB } from './measure.js'
import { Check, Pattern } from './pattern.js'

/** Codes that are expected if links are cut and stages leave. */
const EXPECTED: ReadonlySet<Code> = new Set(['DISCONNECTED', 'NO_SUCH_PEER', 'TIMEOUT', 'OVERLOADED', 'REFUSED', 'CANCELLED'])

interface Ends { right: number; failed: Record<string, number>; wrong: string[] }

/** The outcomes of all works; each work that was begun is counted once. */
export class Tally {
  readonly ends: Record<string, Ends> = {}

  async count(name: string, run: () => Promise<void>): Promise<void> {
    const ends = this.ends[name] ??= { right: 0, failed: {}, wrong: [] }
    try {
      await run()
      ends.right++
    } catch (error) {
      const { code, message } = error as StageError
      if (EXPECTED.has(code)) ends.failed[code] = (ends.failed[code] ?? 0) + 1
      else if (ends.wrong.length < 5) ends.wrong.push(`${code}: ${message}`)
      await new Promise((resolve) => setTimeout(resolve, 20)) // a work that fails at once must not lead to a busy loop
    }
  }
}

export interface Work {
  readonly name: string
  /** The share of all works in flight. */
  readonly share: number
  run(stage: Stage, to: string): Promise<void>
}

/** The data that a request of a server would keep: a call that leaks its context into long-lived objects keeps 100 KB. */
const request = new AsyncLocalStorage<{ bytes: Buffer }>()

/** Runs in a context of its own, as each request of a server does. */
const within = <T>(run: () => Promise<T>): Promise<T> => request.run({ bytes: Buffer.alloc(100_000) }, run)

const must = (holds: boolean, what: string): void => { if (!holds) throw new Error(what) }
const echo = (size: number) => async (stage: Stage, to: string): Promise<void> => {
  const sent = Buffer.alloc(size, size % 251)
  must(sent.equals(await stage.to(to).call('echo', sent)), 'another answer than the argument')
}
const BYTES = 2 * MIB

async function failing(stage: Stage, to: string): Promise<void> {
  try {
    await stage.to(to).call('fail')
  } catch (error) {
    if ((error as StageError).code === 'REMOTE_ERROR') return
    throw error
  }
  throw new Error('a call that throws was answered')
}

async function cancelled(stage: Stage, to: string): Promise<void> {
  const stop = new AbortController()
  setTimeout(() => stop.abort(), 5)
  try {
    await stage.to(to, { signal: stop.signal }).call('never')
  } catch (error) {
    if ((error as StageError).code === 'CANCELLED') return
    throw error
  }
  throw new Error('a call that never ends was answered')
}

async function callAll(stage: Stage, to: string): Promise<void> {
  for await (const { error } of stage.to('*').callAll('echo', to)) if (error) throw error
}

async function iterable(stage: Stage, to: string): Promise<void> {
  async function* numbers(): AsyncGenerator<number> { for (let i = 1; i <= 500; i++) yield i }
  must(await stage.to(to).call('sum', numbers()) === 125_250, 'another sum')
}

async function answered(stage: Stage, to: string): Promise<void> {
  let sum = 0
  for await (const one of await stage.to(to).call<AsyncIterable<number>>('count', 500)) sum += one
  must(sum === 125_250, 'another sum')
}

async function readable(stage: Stage, to: string): Promise<void> {
  must(await stage.to(to).call('length', new Pattern(MIB)) === MIB, 'another length')
  const check = new Check()
  await pipeline(await stage.to(to).call<Readable>('pattern', MIB), check)
  must(check.at === MIB, 'another length')
}

const staying: readonly Work[] = [
  { name: 'small calls', share: 0.5, run: echo(100) },
  { name: 'calls of 10 KiB', share: 0.15, run: echo(10 * 1024) },
  { name: 'calls of 300 KiB', share: 0.05, run: echo(300 * 1024) },
  { name: 'failing calls', share: 0.05, run: failing },
  { name: 'cancelled calls', share: 0.05, run: cancelled },
  { name: 'functions', share: 0.05, run: async (stage, to) => must(await stage.to(to).call('apply', (n: number) => n + 1, 41) === 42, 'another answer') },
  { name: 'callAll', share: 0.05, run: callAll },
  { name: 'casts', share: 0.01, run: async (stage) => { stage.to('*').cast('noted', 'x'.repeat(100)); await new Promise((resolve) => setTimeout(resolve, 5)) } },
  { name: 'streams', share: 0.02, run: (stage, to) => pipeline(new Pattern(BYTES), stage.to(to)) },
  { name: 'iterables as arguments', share: 0.03, run: iterable },
  { name: 'iterables as results', share: 0.03, run: answered },
  { name: 'streams as arguments and results', share: 0.02, run: readable },
]

export const works = {
  all: [...staying, ...leaving].map((one): Work => ({ ...one, run: (stage, to) => within(() => one.run(stage, to)) })),

  sources,

  /** Serves the other end of all works. */
  serve(stage: Stage): () => void {
    const all = stage.to('*')
    all.provide('echo', (value) => { // checked here and not where the stage is made, because this handler is called most
      must(request.getStore() === undefined, 'a handler began in the context of a request')
      return value
    })
    stage.on('failed', () => {}) // heard, so that failures on purpose are not printed
    all.provide('fail', () => { throw new Error('on purpose') })
    all.provide('never', function () { return new Promise((resolve) => { this.signal.addEventListener('abort', resolve) }) })
    all.provide('apply', (fn: (n: number) => Promise<number>, n: number) => fn(n))
    all.provide('noted', () => {})
    all.provide('sum', async (values: AsyncIterable<number>) => { let sum = 0; for await (const one of values) sum += one; return sum })
    all.provide('count', async function* (to: number) { for (let i = 1; i <= to; i++) yield i })
    all.provide('length', async (stream: Readable) => { const check = new Check(); await pipeline(stream, check); return check.at })
    all.provide('pattern', (size: number) => new Pattern(size))
    // a wrong byte or a short end fails the sender's stream too
    stage.on('stream', (stream) => {
      const check = new Check()
      pipeline(stream, check).then(() => must(check.at === BYTES, 'a short stream looked whole'), () => {})
    })
    return serveLeaving(stage)
  },
}
