/** A stage with many carriers: when the one in use is killed under load, the next takes over. */
import test from 'ava'
import type { Duplex } from 'node:stream'
import { UdpInterface } from '../../interfaces/udp.js'
import { WebSocketInterface } from '../../interfaces/websocket.js'
import { WorkerInterface } from '../../interfaces/worker.js'
import { IpcInterface, MemoryInterface, Stage, StageError, TcpInterface } from '../../src/index.js'
import type { Interface } from '../../src/types.js'
import { authorityFor, needingOpenssl, pem } from '../helpers/authority.js'

/** A carrier that can be killed: its streams break, and nobody reaches it any more. */
class Mortal implements Interface {
  readonly scheme: string
  readonly cost: number | undefined
  readonly dials: readonly string[] | undefined
  readonly streams = new Set<Duplex>()
  dead = false

  constructor(private readonly inner: Interface) {
    this.scheme = inner.scheme
    this.cost = inner.cost
    this.dials = inner.dials
  }

  listen(onstream: (stream: Duplex) => void): Promise<readonly string[]> {
    return this.inner.listen((stream) => onstream(this.#kept(stream)))
  }

  async connect(address: string, signal: AbortSignal): Promise<Duplex> {
    if (this.dead) throw Object.assign(new Error(`connect ECONNREFUSED ${address}`), { code: 'ECONNREFUSED' })
    return this.#kept(await this.inner.connect(address, signal))
  }

  #kept(stream: Duplex): Duplex {
    this.streams.add(stream)
    stream.once('close', () => this.streams.delete(stream))
    if (this.dead) stream.destroy(new Error('the carrier is dead'))
    return stream
  }

  kill(): void {
    this.dead = true
    for (const stream of this.streams) stream.destroy(new Error('the carrier was killed'))
  }

  close(): Promise<void> {
    return this.inner.close()
  }
}

const authority = authorityFor(test)
needingOpenssl(test)

/** Each carrier once, the cheapest first. */
function carriers(): Mortal[] {
  const tls = authority && pem(authority.certify('IP:127.0.0.1'))
  return [
    new MemoryInterface(), new WorkerInterface(), new IpcInterface(), new TcpInterface(), ...(tls ? [new TcpInterface({ tls })] : []), new WebSocketInterface(), new UdpInterface(),
  ].map((one) => new Mortal(one))
}

test('the carrier in use is killed under load: the next takes over, and no call is lost that is not said to be', async (t) => {
  t.timeout(120_000)
  const registry = 'memory:carriers'
  const [near, far] = [carriers(), carriers()]
  const api = new Stage('api', { registry, interfaces: far })
  const client = new Stage('client', { registry, interfaces: near, timeoutMs: 20_000 })
  t.teardown(async () => void await Promise.all([api.close(), client.close()]))
  const runs = new Map<number, number>()
  api.to('*').provide('run', (id: number) => { runs.set(id, (runs.get(id) ?? 0) + 1); return id })
  await Promise.all([api.ready(), client.ready()])

  let going = true
  let calls = 0
  let answered = 0
  const said = { no: 0, unknown: 0, yes: 0 }
  const load = Promise.all(Array.from({ length: 20 }, async () => {
    while (going) {
      const id = ++calls
      try {
        t.is(await client.to('api').call('run', id), id)
        t.is(runs.get(id), 1, 'an answered call has run once')
        answered++
      } catch (error) {
        const { executed } = error as StageError
        said[executed!]++
        t.true((runs.get(id) ?? 0) <= (executed === 'no' ? 0 : 1), `${(error as StageError).message}, but it ran ${runs.get(id)} times`)
      }
      await new Promise((resolve) => setImmediate(resolve))
    }
  }))
  const order: string[] = []
  const took: number[] = []
  for (let i = 0; i < near.length; i++) {
    const began = performance.now()
    const before = answered
    while (answered < before + 200) await new Promise((resolve) => setTimeout(resolve, 1))
    if (order.length > 0) took.push(performance.now() - began)
    const used = near.find((one) => one.streams.size > 0 && !one.dead)!
    order.push(used.scheme)
    if (order.length === near.length) break
    for (const one of [near, far].flat()) if (one.scheme === used.scheme) one.kill()
  }
  going = false
  await load
  t.deepEqual(order, near.map((one) => one.scheme))
  t.is(calls, answered + said.no + said.unknown + said.yes)
  t.is(said.yes, 0)
  t.log(`${calls} calls, ${answered} answered, ${said.unknown} perhaps executed, ${said.no} not; 200 answers after each kill within ${took.map((ms) => Math.round(ms)).join(', ')} ms (${order.slice(1).join(', ')})`)
})
