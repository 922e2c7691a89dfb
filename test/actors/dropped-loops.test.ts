/** A loop over an actor that nobody holds any more ends. */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import test from 'ava'
import { actorMesh } from '../helpers/actors.js'
import { nothingUnhandled } from '../helpers/unhandled.js'
import { until } from '../helpers/until.js'

nothingUnhandled(test)
setFlagsFromString('--expose-gc')
const gc = runInNewContext('gc') as () => void

class Lamp {
  on = false
  flip() { this.on = !this.on }
}

test('P22: a loop that nobody holds any more ends, and its actor is put away: here and elsewhere', async (t) => {
  const { add, go, clock } = actorMesh(t, { latencyMs: 1 })
  const { stage: owner } = await add('owner', (stage) => stage.define({ pattern: 'lamps.{id}', constructor: Lamp, idleMs: 10_000 }))
  const { stage: other } = await add('other')
  const { signal } = new AbortController()
  for (const stage of [owner, other]) {
    await (async () => {
      stage.observe('lamps.1', ['on']) // nothing was asked of this one
      stage.observe('lamps.1', ['on'], { mode: 'every', signal })
      await go(stage.observe('lamps.1', ['on']).next())
    })()
    const held = stage.observe('lamps.2', ['on'])
    await until(async () => { gc(); await clock.advance(10); return stage.stats()['observers'] === 1 }).catch(() => {})
    t.is(stage.stats()['observers'], 1, stage.name)
    await clock.advance(60_000)
    t.deepEqual(owner.actors().map(({ address }) => address), ['lamps.2'], stage.name)
    await held.return?.()
  }
})

test('P22: a loop that waits is not dropped, though nobody else holds it', async (t) => {
  const { add, go, clock } = actorMesh(t, { latencyMs: 1 })
  const { stage: owner } = await add('owner', (stage) => stage.define({ pattern: 'lamps.{id}', constructor: Lamp }))
  const { stage: other } = await add('other')
  const seen: unknown[] = []
  const follow = async (stage: typeof owner): Promise<void> => { for await (const { on } of stage.observe<Lamp>('lamps.1', ['on'])) seen.push(on) }
  const next = (stage: typeof owner): Promise<unknown> => {
    const loop = stage.observe<Lamp>('lamps.1', ['on'])
    void loop.next()
    return loop.next()
  }
  for (const stage of [owner, other]) void follow(stage).catch(() => {})
  const nexts = [owner, other].map(next)
  await clock.advance(100)
  for (let i = 0; i < 20; i++) { gc(); await clock.advance(10) }
  await go(owner.actor<Lamp>('lamps.1').flip())
  await clock.advance(100)
  t.deepEqual(seen, [false, false, true, true])
  for (const one of await Promise.all(nexts)) t.like(one, { done: false, value: { on: true } })
})
