/** Two ends of one stream between two stages, for each way in which a program can get them. */
import { once } from 'node:events'
import type { Duplex } from 'node:stream'
import { MemoryInterface, MemoryNetwork, MemoryRegistry, Stage, TcpInterface, type StageOptions } from '../../src/index.js'
import type { Ends } from '../suites/stream.js'
import type { Assertions } from '../suites/test.js'

let rooms = 0

/** Two stages over TCP with the given chain. */
export function two(t: Assertions, options: Pick<StageOptions, 'chain'> = {}): [Stage, Stage] {
  const room = `ends-${process.pid}-${++rooms}`
  const stages = ['near', 'far'].map((name) => new Stage(name, new MemoryRegistry(room), new TcpInterface({ host: '127.0.0.1' }), options))
  t.teardown(async () => { await Promise.all(stages.map((one) => one.close())) })
  return stages as [Stage, Stage]
}

/** The stream that the callback of `to()` gets, and the stream that the peer gets. */
export async function handed(near: Stage, far: Stage): Promise<Ends> {
  const got = once(far, 'stream') as Promise<[Duplex]>
  far.on('stream', (stream) => { stream.allowHalfOpen = true })
  await until(() => near.lookup('far').length === 1)
  const opened = await new Promise<Duplex>((resolve, reject) => near.to('far', (error, stream) => { if (error) reject(error); else resolve(stream) }))
  const [stream] = await got
  return { near: opened, far: stream }
}

/** The stream that `to()` returns, and the stream that the peer gets. */
export async function reached(near: Stage, far: Stage): Promise<Ends> {
  const got = once(far, 'stream') as Promise<[Duplex]>
  far.on('stream', (stream) => { stream.allowHalfOpen = true })
  const target = near.to('far')
  target.read(0)
  const [[stream]] = await Promise.all([got, once(target, 'connect')])
  return { near: target, far: stream }
}

/** One end of a pair, and the stream that the peer got when the other end was passed to it in a call. */
export async function passed(t: Assertions, up: boolean): Promise<Ends> {
  const [near, far] = two(t)
  const network = new MemoryNetwork()
  const [listener, dialler] = [new MemoryInterface(network), new MemoryInterface(network)]
  t.teardown(async () => { await Promise.all([listener.close(), dialler.close()]) })
  let mine!: Duplex
  const [address] = await listener.listen((stream) => { mine = stream })
  const given = await dialler.connect(address as string, new AbortController().signal)
  let arrived: Duplex | undefined
  far.to('*').provide('take', (stream: Duplex) => { arrived = stream })
  near.to('*').provide('give', () => given)
  if (up) await near.to('far').call('take', given)
  else arrived = await far.to('near').call<Duplex>('give')
  const other = arrived as Duplex
  other.allowHalfOpen = true
  return { near: mine, far: other }
}

const until = async (condition: () => boolean): Promise<void> => { while (!condition()) await new Promise((resolve) => setImmediate(resolve)) }

/** The same two ends, seen from the accepting stage. */
export const turned = async (ends: Promise<Ends>): Promise<Ends> => {
  const { near, far } = await ends
  return { near: far, far: near }
}
