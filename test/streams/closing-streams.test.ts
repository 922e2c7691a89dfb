/** Which streams a stage that closes waits for. */
import { once } from 'node:events'
import type { Duplex } from 'node:stream'
import test from 'ava'
import type { Stage } from '../../src/index.js'
import { advance, virtualMesh } from '../helpers/mesh.js'
import { nothingUnhandled } from '../helpers/unhandled.js'
import type { VirtualClock } from '../helpers/virtual-clock.js'
import type { Assertions } from '../suites/test.js'

nothingUnhandled(test)

interface Scene { clock: VirtualClock; near: Stage; far: Stage; ours: Duplex; theirs: Duplex }

async function scene(t: Assertions): Promise<Scene> {
  const { stage, clock } = virtualMesh(t)
  const [near, far] = [stage('near'), stage('far')]
  await clock.advance(100)
  const got = once(far, 'stream') as Promise<[Duplex]>
  const ours = near.to('far')
  ours.on('error', () => {}).resume()
  const [theirs] = await advance(clock, (ours.write('question'), got))
  theirs.on('error', () => {}).resume()
  await clock.advance(100)
  return { clock, near, far, ours, theirs }
}

const answer = async ({ clock, theirs }: Scene): Promise<void> => { theirs.write('answer'); await clock.advance(100) }

/** What has happened on the stream before one of the two closes, and how long that takes at least and at most. */
const cases: [title: string, before: (one: Scene) => unknown, closes: 'near' | 'far', least: number, most: number][] = [
  ['one that was answered', answer, 'near', 0, 1000],
  ['one that was answered, by who answered', answer, 'far', 0, 1000],
  ['one that was answered long ago', async (one) => { await answer(one); await one.clock.advance(20_000) }, 'near', 0, 100],
  ['one that lay idle for longer than a stage waits', ({ clock }) => clock.advance(20_000), 'near', 0, 100],
  ['one whose answer is due', () => {}, 'near', 8000, 9500],
  ['one whose answer is due, by who is asked', () => {}, 'far', 8000, 9500],
  ['one whose answer comes while it waits', (one) => { one.clock.setTimeout(() => { one.theirs.write('answer') }, 2000) }, 'near', 2000, 3100],
  ['one that the peer has ended', async ({ clock, theirs }) => { theirs.end(); await clock.advance(100) }, 'near', 0, 1000],
  ['one on which something moves all the time', (one) => { const again = (): void => { one.theirs.write('x'); one.clock.setTimeout(again, 100) }; again() }, 'near', 8000, 10_500],
]

for (const [title, before, closes, least, most] of cases) {
  test(`close() and a stream of to(): ${title}`, async (t) => {
    const one = await scene(t)
    const { clock, near, far, ours, theirs } = one
    await before(one)
    const begun = clock.now()
    await advance(clock, (closes === 'near' ? near : far).close(), 20_000, 50)
    const took = clock.now() - begun
    t.true(took >= least && took <= most, `${took} ms`)
    await clock.advance(100)
    t.true(ours.destroyed && theirs.destroyed)
  })
}
