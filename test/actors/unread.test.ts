/** Streams in calls of actors that nobody reads come to an end. */
import { Readable } from 'node:stream'
import test from 'ava'
import type { Stage } from '../../src/index.js'
import { actorMesh, away } from '../helpers/actors.js'
import { nothingUnhandled } from '../helpers/unhandled.js'
import { passed } from '../helpers/virtual-clock.js'

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
  const prepare = sources(made, (ms) => passed(clock, ms))
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

test('what a turn has got is its own to read, also when nobody waits for it any more', async (t) => {
  const { add, fails, go, clock } = actorMesh(t)
  const { stage } = await add('a', (one) => one.define({
    pattern: 'sheets.{id}', create: () => ({
      rows: [] as number[],
      async load(rows: AsyncIterable<number>) { for await (const row of rows) this.rows.push(row) },
      count() { return this.rows.length },
    }),
  }))
  const rows = async function* (): AsyncGenerator<number> {
    for (let i = 0; i < 10; i++) {
      await passed(clock, 150) // longer than the call may stand still
      yield i
    }
  }
  await fails(stage.actor('sheets.1', { timeoutMs: 120 })['load'](rows()), 'TIMEOUT', 'unknown')
  t.is(await go(stage.actor('sheets.1')['count']()), 10)
})

test('share: true: what passes as it is belongs to the one who has it, however the call ends', async (t) => {
  const { add, fails, clock } = actorMesh(t)
  const session = { socket: endless() }
  const { stage } = await add('a', (one) => one.define({
    pattern: 'rooms.{id}', share: true, mailbox: 1, create: () => ({
      join() { throw new Error('full') },
      async late() { await passed(clock, 300); return session },
    }),
  }))
  const mine = { socket: endless() }
  await fails(stage.actor('rooms.1')['join'](mine), 'REMOTE_ERROR')
  await fails(stage.actor('rooms.1', { timeoutMs: 100 })['late'](), 'TIMEOUT')
  void stage.actor('rooms.1')['late'](mine).catch(() => {})
  await fails(stage.actor('rooms.1')['join'](mine), 'OVERLOADED', 'no')
  await clock.advance(1000)
  t.deepEqual([mine.socket.destroyed, session.socket.destroyed], [false, false])
})

test('a stream that a method returns ends when what the turn changed cannot be kept', async (t) => {
  const { add, fails, clock } = actorMesh(t)
  const made: Readable[] = []
  const { stage, shelf } = await add('a', (one) => one.define({ pattern: 'x.{id}', durable: true, create: () => ({ n: 0, open() { this.n++; made.push(endless()); return made.at(-1) } }) }))
  shelf.trouble({ fail: away() }, 'commit')
  await fails(stage.actor('x.1', { timeoutMs: 500 })['open'](), 'STORE_UNAVAILABLE')
  await clock.advance(100)
  t.true(made[0].destroyed)
})
