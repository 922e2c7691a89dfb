/**
 * Calls per second, ours beside the raw baseline, in turns: machines drift, so only the ratio of neighbours counts.
 *
 *     node dist/bench/run.js [--in-flight 100] [--seconds 2] [--rounds 3] [--gate 0.12] [--gate-cpu 8]
 *
 * The exit code is 1 when the median of calls/s is below `--gate` × raw, or the median of the CPU time of a call, both
 * ends together, above `--gate-cpu` × raw. The second moves least: one write a call in place of one a tick is 11 × raw.
 */
import { fork, type ChildProcess } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const { values } = parseArgs({ options: {
  'in-flight': { type: 'string', default: '100' },
  seconds: { type: 'string', default: '2' },
  rounds: { type: 'string', default: '3' },
  gate: { type: 'string' },
  'gate-cpu': { type: 'string' },
} })

interface Measured { callsPerSecond: number; cpuPerCall: number }

const program = fileURLToPath(new URL('./process.js', import.meta.url))
const message = <T>(child: ChildProcess): Promise<T> => new Promise((resolve, reject) => {
  child.once('message', (value) => resolve(value as T))
  child.once('exit', (code) => reject(new Error(`a bench process ended with ${code}`)))
})

async function measure(name: string): Promise<Measured> {
  const server = fork(program, ['serve', name])
  let client: ChildProcess | undefined
  try {
    const { where } = await message<{ where: string }>(server)
    client = fork(program, ['call', name, where, values['in-flight'], values.seconds])
    await message(client)
    server.send('start')
    client.send('go')
    const result = await message<{ calls: number; seconds: number; cpu: number }>(client)
    server.send('stop')
    const { cpu } = await message<{ cpu: number }>(server)
    return { callsPerSecond: result.calls / result.seconds, cpuPerCall: (result.cpu + cpu) / result.calls }
  } finally {
    client?.kill('SIGKILL')
    server.kill('SIGKILL')
  }
}

const median = (all: number[]): number => [...all].sort((a, b) => a - b)[all.length >> 1] as number
const ratios: number[] = []
const costs: number[] = []
const show = (m: Measured): string => `${Math.round(m.callsPerSecond).toLocaleString('en')} calls/s, ${m.cpuPerCall.toFixed(2)} µs CPU a call`
for (let round = 1; round <= Number(values.rounds); round++) {
  const floor = await measure('raw')
  const ours = await measure('stagemesh')
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
