/** Watching ends with the stage: neither the one that watches nor the one that is watched waits for the other. */
import test from 'ava'
import { Stage } from '../../src/index.js'

let places = 0

for (const mode of ['latest', 'every'] as const) {
  test(`a stage that watches closes at once, and its loops end with CLOSED: mode ${mode}`, async (t) => {
    const place = `memory:closing-watched-${++places}`
    const [game, web] = [new Stage('game', place), new Stage('web', place)]
    t.teardown(() => Promise.all([game.close(), web.close()]))
    class Player { hp = 100; hit(): number { return --this.hp } }
    game.define({ pattern: 'players.{id}', constructor: Player, durable: true })
    const player = web.actor<Player>('players.1')
    await player.hit()
    const seen: number[] = []
    const watching = (async () => { for await (const { hp } of web.observe(player, ['hp'], { mode })) seen.push(hp) })()
    const left = web.observe(player, ['hp'], { mode }) // nobody reads it
    await left.next()
    await player.hit()

    const started = performance.now()
    const closing = web.close()
    await t.throwsAsync(watching, { code: 'CLOSED' })
    await closing
    t.true(performance.now() - started < 4000, `${Math.round(performance.now() - started)} ms`)
    t.is(seen[0], 99)
    t.throws(() => web.observe(player, ['hp']), { code: 'CLOSED' })
  })
}

test('a stage whose actors are watched closes at once, and the loops go on elsewhere', async (t) => {
  const place = `memory:closing-watched-${++places}`
  const stages = ['game', 'game', 'web'].map((name) => new Stage(name, place))
  t.teardown(() => Promise.all(stages.map((stage) => stage.close())))
  const web = stages[2]
  class Player { hp = 100; hit(): number { return --this.hp } }
  for (const game of stages.slice(0, 2)) game.define({ pattern: 'players.{id}', constructor: Player, durable: true })
  const player = web.actor<Player>('players.1')
  await player.hit()
  const updates = web.observe(player, ['hp'], { mode: 'every' })
  t.is((await updates.next()).value?.hp, 99)
  const { owner } = await web.explain(player)

  const started = performance.now()
  await stages.find((stage) => stage.id === owner?.id)?.close()
  t.true(performance.now() - started < 4000, `${Math.round(performance.now() - started)} ms`)
  t.is(await player.hit(), 98)
  t.is((await updates.next()).value?.hp, 98)
})
