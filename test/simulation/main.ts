/**
 * Simulates many worlds, or one of them again:
 *
 *     npm run sim -- --seeds 20000 --jobs 2     from seed 1, or `--from`
 *     npm run sim -- --seed 77 --trace          the events of that world, with their times
 *     npm run sim -- --mutants                  mutants of the library, each of which must be caught
 *
 * The exit code is 1 if a world was broken, or a mutant was not caught.
 */
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { farm } from './farm.js'
import { catchMutants, mutants } from './mutants.js'
import { simulate, type Outcome } from './run.js'

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '1000' }, from: { type: 'string', default: '1' }, jobs: { type: 'string', default: '2' },
    seed: { type: 'string' }, trace: { type: 'boolean', default: false },
    mutants: { type: 'boolean', default: false }, only: { type: 'string' },
  },
})

const number = (name: 'seeds' | 'from' | 'jobs' | 'seed'): number => {
  const value = Number(values[name])
  if (!Number.isSafeInteger(value) || value < 1) throw new TypeError(`--${name} needs a positive integer`)
  return value
}

function report({ seed, broken }: Outcome): void {
  console.log(`\nseed ${seed} is broken:`)
  for (const what of broken.slice(0, 8)) console.log(`  ${what}`)
  if (broken.length > 8) console.log(`  … and ${broken.length - 8} more`)
  console.log(`  npm run sim -- --seed ${seed} --trace`)
}

async function one(seed: number): Promise<boolean> {
  const outcome = await simulate(seed, values.trace ? (line) => console.log(line) : undefined)
  if (outcome.broken.length > 0) report(outcome)
  else console.log(`seed ${seed}: ${outcome.events} events, ${outcome.hash}, and nothing is broken`)
  return outcome.broken.length === 0
}

async function many(): Promise<boolean> {
  const started = performance.now()
  const [from, seeds] = [number('from'), number('seeds')]
  let told = started
  const speed = (done: number): string => `${(done / (performance.now() - started) * 1000).toFixed(1)} seeds/s`
  let bad = 0
  await farm({
    worker: fileURLToPath(new URL('worker.js', import.meta.url)), from, seeds, jobs: number('jobs'),
    onoutcome: (outcome, done) => {
      if (outcome.broken.length > 0) {
        bad++
        report(outcome)
      }
      const now = performance.now()
      if (now - told < (process.stdout.isTTY ? 500 : 10_000)) return
      told = now
      process.stdout.write(`${process.stdout.isTTY ? '\r' : ''}${done} of ${seeds} seeds, ${bad} broken, ${speed(done)}${process.stdout.isTTY ? '   ' : '\n'}`)
    },
  })
  console.log(`\n${seeds} seeds from ${from}: ${bad} broken, ${speed(seeds)}`)
  return bad === 0
}

async function all(): Promise<boolean> {
  const chosen = mutants.filter(({ name }) => values.only === undefined || name.includes(values.only))
  let missed = 0
  await catchMutants(chosen, number('jobs'), ({ mutant, caught, seconds }) => {
    if (!caught) missed++
    console.log(`${caught ? `seed ${caught.seed}`.padEnd(10) : 'NOT CAUGHT'} ${seconds.toFixed(1).padStart(6)} s  ${mutant.name}${caught ? `\n${' '.repeat(21)}${caught.broken[0]}` : ` within ${mutant.seeds} seeds`}`)
  })
  console.log(`${chosen.length - missed} of ${chosen.length} mutants were caught`)
  return missed === 0
}

const sound = values.mutants ? await all() : values.seed !== undefined ? await one(number('seed')) : await many()
process.exitCode = sound ? 0 : 1
