/** Large values on many streams of one link at once: in a process of their own, as they leave no time for others. */
import test from 'ava'
import { until } from '../helpers/until.js'
import { pair } from '../helpers/ways.js'

for (const [title, size, streams] of [['4 MiB', 4 * 1024 * 1024 - 16, 12], ['200 KiB', 200 * 1024, 60]] as const) {
  for (const [taken, ms] of [['quickly', 0], ['slowly', 10]] as const) {
    test.serial(`values of ${title} on ${streams} streams at once all arrive, in order, where they are taken ${taken}`, async (t) => {
      const [from, to] = await pair(t)
      to.to('*').provide('make', async function* (first: number) { for (let i = first; i < first + 3; i++) yield Buffer.alloc(size, i) })
      const got = await Promise.all(Array.from({ length: streams }, async (_, first) => {
        const values: number[] = []
        for await (const one of await from.to('far').call<AsyncIterable<Buffer>>('make', first)) {
          if (ms > 0) await new Promise((resolve) => setTimeout(resolve, ms))
          values.push(one.length === size && one[0] === one[size - 1] ? one[0] : -1)
        }
        return values
      }))
      t.deepEqual(got, got.map((_, i) => [i, i + 1, i + 2]))
      await until(() => from.stats()['streams'] === 0)
      t.is(from.stats()['unreadBytes'], 0)
    })
  }
}
