/** A short run of the fuzzers in `npm test`. */
import test from 'ava'
import { fuzz } from './runner.js'

// a fixed seed gives the same inputs each time; `npm run fuzz` takes another seed each time, and runs as long as you like
test('P24: 200 000 inputs harm nobody, or as many of them as a slow machine tries in 90 s', async (t) => {
  t.timeout(240_000)
  const report = await fuzz({ seed: 1, inputs: 200_000, forMs: 90_000 })
  const tried = Object.values(report.counts).reduce((sum, one) => sum + one, 0)
  t.log(`${tried} in ${Math.round(report.tookMs / 1000)} s, ${report.grownBytes >> 10} KiB more, slowest ${report.slowestMs.toFixed(1)} ms: ${JSON.stringify(report.counts)}`)
  t.deepEqual(report.failures.map(({ what, again }) => `${what}: ${again}`), [])
  t.true(tried >= 20_000, `${tried}`)
})
