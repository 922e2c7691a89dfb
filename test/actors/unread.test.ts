import { Readable } from 'node:stream'
import test from 'ava'
import type { Stage } from '../../src/index.js'
import { actorMesh } from '../helpers/actors.js'
import { nothingUnhandled } from '../helpers/unhandled.js'

nothingUnhandled(test)

const endless = (): Readable => new Readable({ read() {} })

const sources = (made: Readable[], wait: (ms: number) => Promise<void>) => (stage: Stage): void => {
  stage.define({
    pattern: 'sources.{id}', create: () => ({
      async late(ms: number) { await wait(ms); const stream = endless(); made.push(stream); return stream },
      spoilt() { const stream = endless(); made.push(stream); return { stream, no: Symbol('x') } },
    }),
  })
}

test('a stream given to a call that is never sent ends with it', async (t) => {
  const { add, fails } = actorMesh(t, { latencyMs: 1 })
  const { stage } = await add('a')
  const stream = endless()
  await fails(stage.actor('nobody.1', { timeoutMs: 300 })['take'](stream), 'NO_SUCH_ACTOR', 'no')
  t.true(stream.destroyed)
})

test('a stream that a method returns when its caller has given up ends', async (t) => {
  const { add, fails, clock } = actorMesh(t, { latencyMs: 1 })
  const made: Readable[] = []
  const prepare = sources(made, (ms) => new Promise((resolve) => { clock.setTimeout(resolve, ms) }))
  const a = await add('a', prepare)
  const b = await add('b')
  for (const { stage } of [a, b]) {
    await fails(stage.actor('sources.1', { timeoutMs: 100 })['late'](500), 'TIMEOUT', 'unknown')
    await clock.advance(1000)
    t.true(made.pop()!.destroyed, stage.name)
  }
})

test('a stream within a result that cannot be sent ends', async (t) => {
  const { add, fails, clock } = actorMesh(t, { latencyMs: 1 })
  const made: Readable[] = []
  const a = await add('a', sources(made, () => Promise.resolve()))
  const b = await add('b')
  for (const { stage } of [a, b]) {
    await fails(stage.actor('sources.1')['spoilt'](), 'BAD_ARGUMENT', 'yes')
    await clock.advance(100)
    t.true(made.pop()!.destroyed, stage.name)
  }
})
