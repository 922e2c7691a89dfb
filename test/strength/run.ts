/**
 * Measures the behaviour of the library under load, with real processes. It checks bounds, not speed: `bench/run.ts`
 * measures speed.
 *
 *     npm run strength -- [names…] [--quick] [--interface tcp]
 *
 * The exit code is 1 if a bound is exceeded. Figures depend on the machine and on its other load: figures with a bound are
 * ratios of adjacent measurements, or sizes.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { carriers } from './carriers.js'
import type { Measure } from './measure.js'
import { measures } from './parts.js'
import { Processes, line, type Row } from './room.js'

const { values, positionals } = parseArgs({ allowPositionals: true, options: {
  quick: { type: 'boolean', default: false },
  interface: { type: 'string', default: 'tcp' },
} })
const names = positionals.length > 0 ? positionals : Object.keys(measures)
for (const name of names) if (!measures[name]) throw new Error(`no measure is called ${name}; there are ${Object.keys(measures).join(', ')}`)
if (!carriers[values.interface]) throw new Error(`no interface is called ${values.interface}; there are ${Object.keys(carriers).join(', ')}`)

async function take(name: string, measure: Measure): Promise<Row[]> {
  const place = await mkdtemp(join(tmpdir(), 'stagemesh-strength-'))
  const room = new Processes(name, values.interface, place, values.quick)
  const started = performance.now()
  const seconds = measure.seconds[values.quick ? 1 : 0]
  console.log(`${name}: ${measure.title} (at most ${seconds} s)`)
  let late: NodeJS.Timeout | undefined
  try {
    await Promise.race([
      measure.run(room),
      new Promise((_, reject) => { late = setTimeout(() => reject(new Error(`not done after ${seconds} s`)), seconds * 1000) }),
    ])
  } catch (error) {
    room.broken((error as Error).message)
  } finally {
    clearTimeout(late)
    await room.end()
    await rm(place, { recursive: true, force: true })
  }
  console.log(`  took ${Math.round((performance.now() - started) / 1000)} s`)
  return room.rows
}

const rows: Row[] = []
for (const name of names) rows.push(...await take(name, measures[name] as Measure))

console.log()
for (const row of rows) console.log(`${row.measure.padEnd(9)} ${line(row)}`)
const broken = rows.filter(({ ok }) => !ok)
console.log(broken.length === 0 ? `all of ${rows.length} lines hold` : `${broken.length} of ${rows.length} lines do not hold`)
process.exitCode = broken.length === 0 ? 0 : 1
