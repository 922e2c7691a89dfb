/** A short run of the simulation in `npm test`. */
import test from 'ava'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { farm } from './farm.js'
import { catchMutants, checkMutants, mutants } from './mutants.js'
import { simulate } from './run.js'

const SEEDS = 120
/** Enough for the mutants that are not marked as slow; `npm run sim -- --mutants` runs all mutants. */
const MUTANT_SEEDS = 20
const jobs = Math.min(4, availableParallelism())

const worker = fileURLToPath(new URL('worker.js', import.meta.url))
const hashes = new Map<number, string>()

test.serial('the promises hold in many worlds with faults', async (t) => {
  t.timeout(300_000) // the test computes all the time, and a busy machine gives it less of it
  const broken = await farm({ worker, from: 1, seeds: SEEDS, jobs, onoutcome: ({ seed, hash }) => hashes.set(seed, hash) })
  t.deepEqual(broken.map(({ seed, broken: what }) => `npm run sim -- --seed ${seed} --trace: ${what[0]}`), [])
})

test.serial('the same seed gives the same world, event by event, in every process', async (t) => {
  for (const seed of [40, 3, 39, 100]) {
    const lines: string[][] = [[], []]
    const outcomes = [await simulate(seed, (line) => lines[0].push(line)), await simulate(seed, (line) => lines[1].push(line))]
    const differs = lines[0].findIndex((line, i) => line !== lines[1][i])
    t.is(differs, -1, `seed ${seed}: "${lines[0][differs]}" was "${lines[1][differs]}" the second time`)
    t.deepEqual(outcomes[0], outcomes[1])
    t.is(hashes.get(seed), outcomes[0].hash)
    t.true(outcomes[0].events > 100)
  }
})

test('the text of every mutant occurs in the code', (t) => {
  t.notThrows(() => { checkMutants(mutants) })
})

test.serial('mutants are caught', async (t) => {
  t.timeout(300_000) // the test computes all the time, and a busy machine gives it less of it
  const quick = mutants.filter((one) => !one.slow).map((one) => ({ ...one, seeds: Math.min(one.seeds, MUTANT_SEEDS) }))
  const missed: string[] = []
  await catchMutants(quick, jobs, ({ mutant, caught }) => { if (!caught) missed.push(mutant.name) })
  t.deepEqual(missed, [])
  t.true(quick.length >= 12)
})
