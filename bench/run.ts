/**
 * Calls per second, ours beside the raw baseline, in turns: machines drift, so only the ratio of neighbours counts.
 *
 *     node dist/bench/run.js [--in-flight 100] [--seconds 2] [--rounds 3] [--gate 0.12] [--gate-cpu 8]
 *
 * The exit code is 1 when the median of calls/s is below `--gate` × raw, or the median of the CPU time of a call, both
 * ends together, above `--gate-cpu` × raw. The second moves least: one write a call in place of one a tick is 11 × raw.
 */
import { parseArgs } from 'node:util'
import { measure, median, type Measured } from './measure.js'

const { values } = parseArgs({ options: {
  'in-flight': { type: 'string', default: '100' },
  seconds: { type: 'string', default: '2' },
  rounds: { type: 'string', default: '3' },
  gate: { type: 'string' },
  'gate-cpu': { type: 'string' },
} })

const options = { inFlight: Number(values['in-flight']), seconds: Number(values.seconds) }
const ratios: number[] = []
const costs: number[] = []
const show = (m: Measured): string => `${Math.round(m.callsPerSecond).toLocaleString('en')} calls/s, ${m.cpuPerCall.toFixed(2)} µs CPU a call`
for (let round = 1; round <= Number(values.rounds); round++) {
  const floor = await measure('raw', options)
  const ours = await measure('stagemesh', options)
  ratios.push(ours.callsPerSecond / floor.callsPerSecond)
  costs.push(ours.cpuPerCall / floor.cpuPerCall)
  console.log(`round ${round}: raw ${show(floor)}; stagemesh ${show(ours)}; × raw ${(ratios.at(-1) as number).toFixed(3)}`)
}
const [ratio, cost] = [median(ratios), median(costs)]
console.log(`${values['in-flight']} calls in flight: stagemesh does ${ratio.toFixed(3)} × the calls of raw at ${cost.toFixed(1)} × its CPU a call (medians of ${values.rounds})`)
if (values.gate !== undefined && ratio < Number(values.gate)) {
  console.error(`below the gate of ${values.gate} × raw`)
  process.exitCode = 1
}
if (values['gate-cpu'] !== undefined && cost > Number(values['gate-cpu'])) {
  console.error(`above the gate of ${values['gate-cpu']} × the CPU of raw`)
  process.exitCode = 1
}
