/** A loop that is late finds nobody dead before it has read what came meanwhile. */
import test from 'ava'
import { judgeAt } from '../../src/judge.js'
import { lateClock } from '../helpers/virtual-clock.js'

test('a loop that is late each time does not put off for ever whom it finds dead', async (t) => {
  for (const ms of [0, 20, 100, 500, 5000]) {
    const clock = lateClock(() => ms)
    let judged = -1
    judgeAt(clock, 1000, () => { judged = clock.now() })
    await clock.advance(60_000)
    t.true(judged >= 1000 && judged <= 1000 + 5 * (500 + ms), `${ms} ms late each time: at ${judged}`)
  }
})

test('what has come while our own loop stood still is read before anybody is found dead', async (t) => {
  const waits = [700, 0]
  const clock = lateClock(() => waits.shift() ?? 0)
  let judged = -1
  judgeAt(clock, 1000, () => { judged = clock.now() })
  await clock.advance(60_000)
  t.is(judged, 500 + 700 + 500, 'and not at once')
})
