/** What a stage does when somebody says that its id is gone. */
import test from 'ava'
import type { StageError } from '../../src/index.js'
import { Tenure } from '../../src/tenure.js'
import type { Entry, Lease } from '../../src/types.js'
import { seeded } from '../helpers/mesh.js'
import { Raw, tcpMesh } from '../helpers/raw-peer.js'
import { nothingUnhandled } from '../helpers/unhandled.js'
import { until } from '../helpers/until.js'
import { VirtualClock } from '../helpers/virtual-clock.js'

// A stage is told that its id was reported gone. The registry says whether it was.

nothingUnhandled(test)

/** A tenure over a registry that answers as it is told to. */
async function scene(answer: (renewals: number) => ReturnType<Lease['renew']>) {
  const clock = new VirtualClock()
  const told: string[] = []
  let renewals = 0
  let looks = 0
  const lease = { renew: () => answer(++renewals), close: () => Promise.resolve() }
  const tenure = new Tenure({
    registry: { address: 'own:', publish: () => Promise.resolve(lease), watch: () => { throw new Error('unused') }, close: () => Promise.resolve() },
    clock, random: seeded(1), ttlMs: 15_000, entry: (id) => ({ id }) as Entry,
    look: () => { looks++; return Promise.resolve() },
    onrenewed: () => {}, onlost: (before) => told.push(before), onerror: () => {},
  })
  tenure.start()
  await clock.advance(10)
  return { clock, tenure, told, renewals: () => renewals, looks: () => looks }
}

const answers: [title: string, answer: () => ReturnType<Lease['renew']>, forgot: boolean, given: number][] = [
  ['it is listed', async () => 'ok', false, 0],
  ['it is listed, and was late', async () => 'late', false, 0],
  ['the lease is lost', async () => 'lost', false, 1],
  ['it is listed, by a registry that has lost its memory since', async () => 'ok', true, 1],
  ['the lease is lost, and so is the memory', async () => 'lost', true, 1],
  ['it does not answer', () => Promise.reject(new Error('away')), false, 0],
  ['it does not answer, after it has lost its memory', () => Promise.reject(new Error('away')), true, 0],
]

for (const [title, answer, forgot, given] of answers) {
  test(`somebody says that the id is gone, and the registry: ${title}`, async (t) => {
    let first = true
    const { clock, tenure, told } = await scene(() => {
      const now = first ? answer() : Promise.resolve<'ok'>('ok')
      if (given) first = false
      return now
    })
    const { id } = tenure
    if (forgot) tenure.forgot()
    for (let i = 0; i < 5; i++) {
      tenure.doubt()
      await clock.advance(200)
    }
    t.deepEqual(told, given ? [id] : [], 'at most one id is given up')
    t.is(tenure.id !== id, given > 0)
    await tenure.close()
  })
}

test('however often it is said, the registry is asked once a second', async (t) => {
  const { clock, tenure, told, renewals, looks } = await scene(async () => 'ok')
  for (let ms = 0; ms < 3000; ms++) {
    tenure.doubt()
    await clock.advance(1)
  }
  t.true(renewals() <= 4 && looks() <= 4, `${renewals()} heartbeats, ${looks()} looks`)
  t.true(renewals() >= 3)
  t.deepEqual(told, [])
  await tenure.close()
  t.is(clock.pending, 0)
})

test('P1: a peer of whom nothing is known says five times that the id is gone: it stays, and so do links and actors', async (t) => {
  const mesh = tcpMesh(t)
  const api = await mesh.stage('api')
  const web = await mesh.stage('web')
  class Counter { n = 0; add() { return ++this.n } }
  api.define({ pattern: 'counters.{id}', constructor: Counter })
  t.is(await web.actor<Counter>('counters.1').add(), 1)
  const { id } = api
  const ends: (StageError | undefined)[] = []
  for (const stage of [api, web]) stage.on('unlink', (_, error) => ends.push(error))
  for (let i = 0; i < 5; i++) await t.throwsAsync(Raw.join(t, api.address, { id: `mallory-000${i}`, gone: true }), { code: 'WRONG_PEER' })
  await until(async () => { await api.each('*', () => {}); return true })
  t.is(api.id, id)
  t.is(await web.actor<Counter>('counters.1').add(), 2, 'the actor was not fenced')
  t.deepEqual(ends, [])
})
