/** Tens of thousands of watches in real time; `npm run strength -- watches` has 100 000 between processes, and weighs them. */
import test from 'ava'
import { Stage } from '../../src/index.js'
import { nothingUnhandled } from '../helpers/unhandled.js'
import { until } from '../helpers/until.js'

nothingUnhandled(test)

/** However busy the machine is. */
const PATIENT = { timeoutMs: 100_000 }

class Board {
  other = 0
  constructor() { for (let i = 0; i < 100; i++) this.set(`p${i}`, i) }
  set(name: string, value: unknown) { Object.assign(this, { [name]: value }) }
  count(name: string) { this.set(name, Number((this as Record<string, unknown>)[name]) + 1) }
}

const watchers = (stage: Stage): number => stage.actors().reduce((sum, one) => sum + one.watchers, 0)

test('20 000 watches over one link: each is told its own changes, and their end leaves nothing', async (t) => {
  const COUNT = 20_000
  const [owner, web] = ['owner', 'web'].map((name) => new Stage(name, 'memory:watching-many'))
  t.teardown(() => Promise.all([owner.close(), web.close()]))
  owner.define({ pattern: 'boards.{id}', constructor: Board })
  await Promise.all([owner.ready(), web.ready()])
  const last = new Array<unknown>(COUNT).fill(undefined)
  const loops = last.map((_, i) => web.observe(`boards.${i % 400}`, [`p${i % 50}`, `p${50 + Math.floor(i / 400)}`], PATIENT))
  for (const [i, loop] of loops.entries()) void (async () => { for await (const one of loop) last[i] = (one as unknown as Record<string, unknown>)[`p${50 + Math.floor(i / 400)}`] })()
  const others = Promise.all(Array.from({ length: 2000 }, (_, i) => web.actor<Board>(`boards.${i % 400}`, PATIENT).count('other')))
  await until(() => last.every((value, i) => value === 50 + Math.floor(i / 400)), 60_000)
  await t.notThrowsAsync(others, 'calls find room beside them')
  t.is(watchers(owner), COUNT)
  t.deepEqual([owner, web].map((one) => one.stats()['streams']), [1, 1])

  await Promise.all(Array.from({ length: 400 }, (_, i) => owner.actor<Board>(`boards.${i}`, PATIENT).set(`p${50 + i % 50}`, `new ${i}`)))
  const changed = (i: number): boolean => i % 400 % 50 === Math.floor(i / 400)
  await until(() => last.every((value, i) => value === (changed(i) ? `new ${i % 400}` : 50 + Math.floor(i / 400))), 60_000)

  for (const [i, loop] of loops.entries()) if (i % 2) void loop.return!()
  await until(() => watchers(owner) === COUNT / 2, 60_000)
  t.is(web.stats()['observers'], COUNT / 2)
  for (const loop of loops) void loop.return!()
  await until(() => watchers(owner) === 0, 60_000)
  for (const one of [owner, web]) t.like(one.stats(), { streams: 0, calls: 0, serving: 0, observers: 0, actorCalls: 0, heldBytes: 0, unreadBytes: 0 })
})

