/**
 * Runs actors in real processes under faults, and checks whether all observations are consistent:
 *
 *     npm run actors:stress -- [--store redis|local|postgres|mariadb] [--operations 100000] [--ttl 1500] [--rate 500] [--fault 4000]
 *                              [--actors 200] [--hosts 3] [--seconds 1500]
 *
 * `test/processes/actors.test.ts` shows that the judge detects a broken store. The exit code is 1 if an acknowledged change
 * was lost or applied twice, if some actor has no linear history, if a call that did not run had an effect, or if a watcher
 * missed a change. It ends only processes that it started.
 */
import { parseArgs } from 'node:util'
import { stress } from './stress.js'
import { kinds } from './world.js'

const { values } = parseArgs({ options: {
  store: { type: 'string', default: 'redis' },
  operations: { type: 'string', default: '100000' },
  ttl: { type: 'string', default: '1500' },
  rate: { type: 'string', default: '500' },
  fault: { type: 'string', default: '4000' },
  actors: { type: 'string', default: '200' },
  hosts: { type: 'string', default: '3' },
  seconds: { type: 'string', default: '1500' },
} })
const store = kinds.find((one) => one === values.store)
if (!store) throw new Error(`no store is called ${values.store}; there are ${kinds.join(', ')}`)

const WRONG_MAX = 30
const ends: (() => Promise<void> | void)[] = []
try {
  const { wrong, acknowledged, failed, samples, faults, updates, resets, seconds } = await stress({ teardown: (fn) => ends.push(fn) }, {
    store, operations: Number(values.operations), ttlMs: Number(values.ttl), rate: Number(values.rate), faultMs: Number(values.fault), faults: 1,
    actors: Number(values.actors), hosts: Number(values.hosts), seconds: Number(values.seconds), say: (line) => console.log(`  ${line}`),
  })
  console.log(`${store}: ${acknowledged} operations acknowledged in ${seconds} s`)
  for (const [code, count] of Object.entries(failed)) console.log(`  failed: ${count} × ${code}, the first: ${samples[code] ?? ''}`)
  console.log(`  faults: ${Object.entries(faults).map(([what, count]) => `${what} ${count}`).join(', ')}`)
  console.log(`  watchers got ${updates} updates, ${resets} of them marked reset`)
  for (const line of wrong.slice(0, WRONG_MAX)) console.log(`✗ ${line}`)
  console.log(wrong.length === 0 ? 'nothing lost, nothing twice, one history each, no gap unsaid' : `${wrong.length} things are wrong`)
  process.exitCode = wrong.length === 0 ? 0 : 1
} finally {
  for (const end of ends.reverse()) await end()
}
