import test from 'ava'
import type { StageError } from '../src/index.js'
import { advance, seeded, virtualMesh } from './helpers/mesh.js'

const SEEDS = 60

/**
 * Four stages in trouble on a virtual clock: cut and silent links, a registry that fails, forgets, or is out of reach
 * of one. What the promises say is checked on the way and once it is quiet. Returns what was broken.
 */
async function run(seed: number): Promise<string[]> {
  const teardowns: (() => Promise<void> | void)[] = []
  const { clock, stage, network, registry, cutOff } = virtualMesh({ teardown: (fn) => { teardowns.push(fn) } }, { seed })
  const chance = seeded(`trouble ${seed}`)
  const pick = (n: number): number => Math.floor(chance.float() * n)
  const later = (fn: () => void, ms: number): void => void clock.setTimeout(fn, pick(ms))
  network.latencyMs = () => pick(25)
  const broken: string[] = []
  const ran = new Map<number, number>()
  const settled = new Map<number, number>()
  const count = (map: Map<number, number>, n: number): void => { map.set(n, (map.get(n) ?? 0) + 1) }
  const stages = ['a', 'b', 'c', 'd'].map((name) => stage(name, { ttlMs: 3000, idleLinkMs: 1500 }))
  for (const one of stages) {
    one.to('*').provide('quick', (n: number) => { count(ran, n); return n })
    one.to('*').provide('slow', (n: number) => { count(ran, n); return new Promise((resolve) => later(() => resolve(n), 900)) })
    const gone = new Set<string>()
    one.on('part', (peer) => gone.add(peer.id))
    one.on('join', (peer) => { if (gone.has(peer.id)) broken.push(`P1: ${peer.name} came back to ${one.name} under its old id`) })
  }

  const call = async (n: number): Promise<void> => {
    const timeoutMs = 200 + pick(3000)
    const started = clock.now()
    const cancel = new AbortController()
    if (chance.float() < 0.1) later(() => cancel.abort(), 300)
    try {
      const value = await stages[pick(4)].to(['a', 'b', 'c', 'd', '?'][pick(5)], { timeoutMs, signal: cancel.signal }).call(chance.float() < 0.5 ? 'quick' : 'slow', n)
      if (value !== n || ran.get(n) !== 1) broken.push(`P10: ${n} was answered ${String(value)} and ran ${ran.get(n)} times`)
    } catch (thrown) {
      const { code, executed } = thrown as StageError
      if (executed === 'no' && ran.has(n)) broken.push(`executed 'no' was wrong: ${code}`)
      if (code === 'PROTOCOL_ERROR') broken.push((thrown as Error).message)
    }
    count(settled, n)
    if (clock.now() - started > timeoutMs + 100) broken.push(`P9: ${n} settled ${clock.now() - started - timeoutMs} ms late`)
  }

  const trouble = (): void => {
    const hit = chance.float()
    const one = stages[pick(4)]
    if (hit < 0.03) network.cut()
    else if (hit < 0.05) network.cut(() => chance.float() < 0.5)
    else if (hit < 0.06) { registry.fail(true); later(() => registry.fail(false), 5000) }
    else if (hit < 0.065) registry.empty()
    else if (hit < 0.075) { network.hold(); later(() => network.release(), 3000) }
    else if (hit < 0.085) { cutOff(one, true); later(() => cutOff(one, false), 8000) }
  }

  const calls: Promise<void>[] = []
  for (let n = 1; n <= 120; n++) {
    calls.push(call(n))
    trouble()
    await clock.advance(pick(150))
  }
  await advance(clock, Promise.all(calls))
  registry.fail(false)
  network.release()
  for (const one of stages) cutOff(one, false)
  await clock.advance(60_000)

  if (settled.size !== calls.length || [...settled.values()].some((times) => times !== 1)) broken.push('P9: a call did not settle once')
  if ([...ran.values()].some((times) => times > 1)) broken.push('P10: a call ran twice')
  for (const one of stages) {
    const seen = one.peers().map((peer) => peer.id).sort()
    const there = stages.filter((other) => other !== one).map((other) => other.id).sort()
    if (String(seen) !== String(there)) broken.push(`P4: ${one.name} sees ${one.peers().map((peer) => peer.name).join()}`)
  }
  const pairs = stages.flatMap((from) => stages.filter((to) => to !== from).map((to) => from.to(to.name).call('quick', 0)))
  await advance(clock, Promise.all(pairs)).catch((error: Error) => broken.push(`once it was quiet: ${error.message}`))
  await clock.advance(100)
  for (const one of stages) {
    for (const link of one.links()) {
      const back = stages.find((other) => other.id === link.peer.id)?.links().filter((each) => each.peer.id === one.id) ?? []
      if (back.length !== 1 || back[0].id !== link.id) broken.push(`P7: the link of ${one.name} and ${link.peer.name} is not one`)
    }
  }
  await advance(clock, Promise.all(stages.map((one) => one.close())), 16_000)
  for (const one of stages) for (const [what, held] of Object.entries(one.stats())) if (held !== 0) broken.push(`P23: ${one.name} holds ${held} ${what}`)
  for (const down of teardowns) await down()
  return broken
}

test('what the promises say holds through cut links, silence, and a registry that fails and forgets', async (t) => {
  t.timeout(110_000)
  for (let seed = 1; seed <= SEEDS; seed++) t.deepEqual(await run(seed), [], `seed ${seed}`)
})
