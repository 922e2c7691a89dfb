/** A seed gives the same trace each time. */
import test from 'ava'
import type { Assertions } from '../suites/test.js'
import type { StageError } from '../../src/index.js'
import { advance, seeded, virtualMesh } from '../helpers/mesh.js'

/** A mesh of three in trouble: calls, casts and streams under seeded delays, cuts and a registry that goes away. */
async function run(t: Assertions, seed: number): Promise<string[]> {
  const { clock, stage, network, registry } = virtualMesh(t, { seed })
  const chance = seeded(`trouble ${seed}`)
  network.latencyMs = () => Math.floor(chance.float() * 20)
  const trace: string[] = []
  const note = (what: string): void => { trace.push(`${clock.now().toFixed(3)} ${what}`) }
  const stages = ['a', 'b', 'c'].map((name) => stage(name, { ttlMs: 3000, idleLinkMs: 2000 }))
  for (const one of stages) {
    note(`${one.name} is ${one.id}`)
    for (const event of ['join', 'link'] as const) one.on(event, (peer) => note(`${one.name} ${event} ${peer.name} ${peer.id}`))
    one.on('part', (peer, reason) => note(`${one.name} part ${peer.id} ${reason}`))
    one.on('unlink', (peer, error) => note(`${one.name} unlink ${peer.name} ${error?.code ?? 'clean'}`))
    one.on('stream', (stream, peer) => stream.on('data', (chunk: Buffer) => note(`${one.name} got ${chunk.length} bytes of ${peer.name}`)))
    one.to('*').provide('f', (n: number) => { note(`${one.name} ran ${n}`); return n })
  }
  const calls: Promise<unknown>[] = []
  for (let n = 0; n < 60; n++) {
    const from = stages[Math.floor(chance.float() * 3)]
    const to = ['a', 'b', 'c', '?'][Math.floor(chance.float() * 4)]
    calls.push(from.to(to, { timeoutMs: 1500 }).call('f', n).then((value) => note(`${from.name} ${n} answered ${String(value)}`), (error: StageError) => note(`${from.name} ${n} ${error.code} ${error.executed}`)))
    if (n % 9 === 0) from.to('*').cast('f', -n)
    if (n % 11 === 0) from.to('b').end(Buffer.alloc(1000))
    if (n % 17 === 5) network.cut()
    if (n === 25) registry.fail(true)
    if (n === 40) registry.fail(false)
    await clock.advance(Math.floor(chance.float() * 120))
  }
  await advance(clock, Promise.all(calls))
  await advance(clock, Promise.all(stages.map((one) => one.close())))
  return trace
}

test('the same seed twice gives the same trace, another seed another', async (t) => {
  for (const seed of [1, 2, 3]) {
    const first = await run(t, seed)
    t.true(first.length > 150, `${first.length} lines`)
    t.deepEqual(await run(t, seed), first)
    t.notDeepEqual(await run(t, seed + 100), first)
  }
})
