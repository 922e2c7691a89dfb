/** The retry budget by itself, on seconds that the test counts, and the pauses between retries. */
import test from 'ava'
import { RetryBudget, backoffMs } from '../../wrappers/rpc/calling/retry-budget.js'

/** How many retries it grants at that moment, at most 1000. */
function granted(budget: RetryBudget, now: number): number {
  let count = 0
  while (count < 1000 && budget.take(now)) count++
  return count
}

const cases: readonly [what: string, calls: readonly (readonly [at: number, count: number])[], now: number, retries: number][] = [
  ['no call at all: the floor of ten', [], 0, 10],
  ['99 calls: still the floor', [[0, 99]], 500, 10],
  ['119 calls: eleven, as a part of ten is none', [[0, 119]], 500, 11],
  ['1000 calls in one second: 10 %', [[3000, 1000]], 3999, 100],
  ['1000 calls over ten seconds: all of them count', Array.from({ length: 10 }, (_, i) => [i * 1000 + 7, 100] as const), 9999, 100],
  ['of calls over twenty seconds those of the last ten count', Array.from({ length: 20 }, (_, i) => [i * 1000, i < 10 ? 500 : 40] as const), 19_999, 40],
  ['calls are forgotten one second after the other', [[0, 1000], [1000, 500]], 10_500, 50],
  ['after ten seconds without a call the floor is left', [[0, 1000]], 10_000, 10],
  ['after a day too', [[5000, 1000]], 86_400_000, 10],
]

for (const [what, calls, now, retries] of cases) {
  test(`budget: ${what}`, (t) => {
    const budget = new RetryBudget()
    for (const [at, count] of calls) for (let i = 0; i < count; i++) budget.count(at)
    t.is(granted(budget, now), retries)
    t.is(budget.retries, retries)
    t.is(budget.refused, 1)
    t.false(budget.take(now + 1), 'it is used up')
  })
}

test('budget: what was granted counts for ten seconds too', (t) => {
  const budget = new RetryBudget()
  t.is(granted(budget, 500), 10)
  t.is(granted(budget, 9999), 0)
  t.is(granted(budget, 10_000), 10)
  for (let second = 20; second < 60; second++) t.true(granted(budget, second * 1000) <= 10)
  t.true(budget.retries <= 10 * 6, 'ten in any ten seconds')
})

test('budget: whatever calls come, no ten seconds have more retries than a tenth of the calls, or ten', (t) => {
  const budget = new RetryBudget()
  const calls: number[] = []
  const retries: number[] = []
  let seed = 1
  const chance = (): number => (seed = seed * 48271 % 2147483647) / 2147483647
  for (let now = 0; now < 200_000; now += 20 + chance() * 400) {
    for (let i = Math.floor(chance() * 40); i > 0; i--) { budget.count(now); calls.push(now) }
    if (chance() > 0.7 || !budget.take(now)) continue
    do retries.push(now); while (budget.take(now))
    const from = (Math.floor(now / 1000) - 9) * 1000
    const within = (list: number[]): number => list.filter((at) => at >= from).length
    t.true(within(retries) <= Math.max(10, within(calls) / 10), `at ${now}: ${within(retries)} retries for ${within(calls)} calls`)
  }
  t.true(retries.length > 100)
})

test('backoff: doubles from 50 ms to a second, and chance takes up to a half away', (t) => {
  const by = (float: number) => (made: number): number => backoffMs(made, { bytes: Buffer.alloc, float: () => float })
  t.deepEqual([0, 1, 2, 3, 4, 5, 50].map(by(0)), [50, 100, 200, 400, 800, 1000, 1000])
  t.deepEqual([0, 1, 2, 3, 4, 5, 50].map(by(0.5)), [37.5, 75, 150, 300, 600, 750, 750])
})
