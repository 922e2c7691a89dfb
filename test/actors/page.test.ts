/** The list of the actors of a stage, page by page. */
import test from 'ava'
import { Stage } from '../../src/index.js'
import { page } from '../../wrappers/actors/hosting/page.js'

const shuffled = (count: number): string[] => Array.from({ length: count }, (_, i) => `players.${(i * 7919) % count}`)

test('pages list every address once, in order, however many there are', (t) => {
  for (const count of [0, 1, 5, 3000, 100_003]) {
    const addresses = shuffled(count)
    for (const limit of [1, 7, 1000, Infinity]) {
      if (limit < count / 2000) continue
      const found: string[] = []
      for (;;) {
        const next = page(addresses, { limit: limit === Infinity ? undefined : limit, after: found.at(-1) })
        if (next.length === 0) break
        t.true(next.length <= limit)
        found.push(...next)
      }
      t.deepEqual(found, [...addresses].sort(), `${count} by ${limit}`)
    }
  }
})

test('a page of a hundred of 100 000 takes a moment', (t) => {
  const addresses = shuffled(100_003)
  page(addresses, { limit: 100 })
  const started = performance.now()
  for (let i = 0; i < 5; i++) t.is(page(addresses, { limit: 100, after: 'players.5' }).length, 100)
  t.true((performance.now() - started) / 5 < 100, `${(performance.now() - started) / 5} ms`)
})

test('a stage lists its actors page by page', async (t) => {
  const stage = new Stage('s', 'memory:page')
  t.teardown(() => stage.close())
  stage.define({ pattern: 'players.{id}', create: () => ({ hp: 1, hit() { return --this.hp } }) })
  await Promise.all(['b', 'c', 'a'].map((id) => stage.actor<{ hit(): number }>(`players.${id}`).hit()))
  const ids = (options?: { limit?: number, after?: string }): string[] => stage.actors(options).map(({ address }) => address.slice(-1))
  t.deepEqual([ids(), ids({ limit: 2 }), ids({ limit: 2, after: 'players.b' }), ids({ after: 'players.c' }), ids({ after: '' })], [['a', 'b', 'c'], ['a', 'b'], ['c'], [], ['a', 'b', 'c']])
  for (const limit of [0, -1, 1.5, NaN, '3']) t.throws(() => ids({ limit: limit as number }), { instanceOf: TypeError, message: /limit/ })
  t.throws(() => ids({ after: 5 as unknown as string }), { instanceOf: TypeError, message: /after/ })
  t.throws(() => ids({ form: 1 } as object), { instanceOf: TypeError, message: /form/ })
})
