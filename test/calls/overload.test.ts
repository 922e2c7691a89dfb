/** More calls than a stage carries: what it does it does in time, the rest is refused at once. */
import test from 'ava'
import type { CallContext, StageError } from '../../src/index.js'
import { advance, virtualMesh } from '../helpers/mesh.js'
import { nothingUnhandled } from '../helpers/unhandled.js'
import { settle } from '../helpers/virtual-clock.js'

nothingUnhandled(test)

/** A stage whose handlers keep the loop busy for a millisecond each, and others that call it. */
async function busy(t: Parameters<typeof virtualMesh>[0], clients: number) {
  const mesh = virtualMesh(t)
  const { clock } = mesh
  const api = mesh.stage('api')
  const webs = Array.from({ length: clients }, (_, i) => mesh.stage(`web${i}`))
  const begun = { count: 0, late: 0, order: [] as number[] }
  api.to('*').provide('work', function (this: CallContext, n: number) {
    if (this.deadline <= clock.wall()) begun.late++
    begun.count++
    begun.order.push(n)
    clock.burn(1)
  })
  await advance(clock, Promise.all([api, ...webs].map((one) => one.ready())))
  for (const web of webs) await advance(clock, web.to('api').call('work', 0))
  begun.count = begun.late = 0
  begun.order.length = 0
  return { ...mesh, api, webs, begun }
}

for (const clients of [1, 4]) {
  test(`twice the load that a stage carries, from ${clients} client${clients > 1 ? 's' : ''}: it goes on at its pace, and refuses the rest before it runs`, async (t) => {
    const { clock, webs, begun } = await busy(t, clients)
    const ends = new Map<string, number>()
    const calls: Promise<unknown>[] = []
    const from = clock.now()
    let sent = 0
    let latest = 0
    while (clock.now() - from < 4000) {
      for (; sent < 2 * (clock.now() - from); sent++) {
        const at = clock.now()
        const note = (end: string): void => { ends.set(end, (ends.get(end) ?? 0) + 1); if (end === 'done') latest = Math.max(latest, clock.now() - at) }
        calls.push(webs[sent % clients].to('api', { timeoutMs: 500 }).call('work', sent).then(() => { note('done') }, ({ code, executed }: StageError) => { note(`${code} ${executed}`) }))
      }
      await clock.advance(1)
    }
    const done = ends.get('done') ?? 0
    await advance(clock, Promise.all(calls))
    t.true(done >= 0.8 * 4000, `${done} of 4000 ms: ${JSON.stringify([...ends])}`)
    t.true(latest <= 600, `${latest}`)
    t.is(begun.late, 0, 'none is begun past its deadline')
    t.true((ends.get('OVERLOADED no') ?? 0) > 0.5 * (sent - 4000))
    // those that were let in just before it was known how long they would wait
    t.true((ends.get('TIMEOUT unknown') ?? 0) < 0.1 * sent, JSON.stringify([...ends]))
    t.is([...ends.values()].reduce((a, b) => a + b), sent)
    t.deepEqual([...ends.keys()].sort(), ['OVERLOADED no', 'TIMEOUT unknown', 'done'])
    const own = begun.order.filter((n) => n % clients === 0)
    t.deepEqual(own, [...own].sort((a, b) => a - b), 'and those of each caller in their order')
  })
}

test('work whose deadline passed while others kept the loop busy is not begun', async (t) => {
  const { clock, webs: [web], begun, api } = await busy(t, 1)
  api.to('*').provide('block', (ms: number) => { clock.burn(ms) })
  const blocking = Promise.all([web.to('api').call('block', 20), web.to('api').call('block', 1000)])
  const late = Array.from({ length: 5 }, (_, n) => web.to('api', { timeoutMs: 500 }).call('work', n).then(() => 'done', ({ code, executed }: StageError) => `${code} ${executed}`))
  const patient = web.to('api').call('work', 9)
  await advance(clock, Promise.all([blocking, patient]))
  for (const end of await advance(clock, Promise.all(late))) t.is(end, 'TIMEOUT unknown')
  t.deepEqual(begun.order, [9])
})

test('a call that waits and is cancelled is never begun', async (t) => {
  const { clock, webs: [web], begun, api } = await busy(t, 1)
  api.to('*').provide('block', () => { clock.burn(50) })
  const controller = new AbortController()
  const blocking = web.to('api').call('block')
  const calls = Array.from({ length: 20 }, (_, n) => web.to('api', { signal: controller.signal }).call('work', n).then(() => 'done', ({ code }: StageError) => code))
  api.to('*').provide('stop', () => { controller.abort() })
  await new Promise<void>((resolve) => process.nextTick(resolve))
  controller.abort()
  await advance(clock, blocking)
  await settle()
  t.deepEqual(new Set(await Promise.all(calls)), new Set(['CANCELLED']))
  t.deepEqual(begun.order, [])
  t.is(api.stats()['serving'], 0)
})

test('casts wait in the same queue, and what is above the bound is dropped', async (t) => {
  const { clock, webs: [web], api, begun } = await busy(t, 1)
  let release = (): void => {}
  const gate = new Promise<void>((resolve) => { release = resolve })
  let running = 0
  api.to('*').provide('hold', () => { running++; return gate })
  for (let i = 0; i < 10_100; i++) web.to('api').cast('hold')
  await clock.advance(10)
  t.is(running, 10_000)
  t.is(api.stats()['serving'], 10_000)
  const refused = await t.throwsAsync<StageError>(advance(clock, web.to('api').call('work', 1)))
  t.is(`${refused?.code} ${refused?.executed}`, 'OVERLOADED no')
  release()
  await clock.advance(10)
  t.is(api.stats()['serving'], 0)
  await advance(clock, web.to('api').call('work', 2))
  t.deepEqual(begun.order, [2])
})

test('P12: arguments of 128 MiB are being served on one link, the next call is refused before it runs, and calls go on when there is room', async (t) => {
  const { clock, webs: [web], api } = await busy(t, 1)
  const release: (() => void)[] = []
  api.to('*').provide('keep', (bytes: Buffer) => new Promise<number>((resolve) => release.push(() => { resolve(bytes.length) })))
  const most = Buffer.alloc(4 * 1024 * 1024 - 64)
  const code = ({ code: one, executed }: StageError): string => `${one} ${executed}`
  const call = (bytes: Buffer): Promise<unknown> => web.to('api', { timeoutMs: 60_000 }).call('keep', bytes).catch(code)
  const kept: Promise<unknown>[] = []
  for (let n = 1; n <= 31; n++) { // beside its bytes a call takes a little memory of its own
    kept.push(call(most)) // one at a time, or they would be too much for the caller
    for (let waited = 0; release.length < n && waited < 100; waited++) await clock.advance(1)
  }
  t.is(release.length, 31)
  t.is(await advance(clock, call(most)), 'OVERLOADED no')
  t.is(await advance(clock, web.to('api').call('work', 1).catch(code)), undefined, 'and a small one fits beside them')
  release.splice(0, 1)[0]()
  t.is(await advance(clock, kept[0]), most.length)
  const more = call(most)
  for (let waited = 0; release.length < 31 && waited < 100; waited++) await clock.advance(1)
  t.is(release.length, 31)
  for (const one of release) one()
  t.deepEqual(await advance(clock, Promise.all([...kept, more])), Array.from({ length: 32 }, () => most.length))
  t.is(api.stats()['serving'], 0)
})

test('P12: ten thousand calls are open at the caller, and one more is refused there', async (t) => {
  const { clock, webs: [web], api } = await busy(t, 1)
  const controller = new AbortController()
  api.to('*').provide('never', () => new Promise(() => {}))
  const calls = Array.from({ length: 10_001 }, () => web.to('api', { signal: controller.signal }).call('never').catch(({ code, executed, message }: StageError) => `${code} ${executed} ${message}`))
  t.regex(await advance(clock, calls[10_000]) as string, /OVERLOADED no .*are waiting for their answers/)
  t.is(api.stats()['serving'], 10_000)
  controller.abort()
  await advance(clock, Promise.all(calls))
  t.is(web.stats()['calls'], 0)
  t.is(api.stats()['serving'], 10_000, 'cancelled ones keep their slots until their handlers have settled')
  t.is(await advance(clock, web.to('api').call('work', 1).catch(({ code }: StageError) => code)), 'OVERLOADED')
})
