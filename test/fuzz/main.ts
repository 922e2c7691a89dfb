/**
 * Looks for harmful input: `npm run fuzz -- [--inputs 1000000] [--seed 1] [--subject link]`. For each finding it prints a
 * command that reproduces it. The exit code is 1 if there are findings.
 */
import { parseArgs } from 'node:util'
import { fuzz } from './runner.js'

const { values } = parseArgs({ options: {
  inputs: { type: 'string', default: '200000' },
  seed: { type: 'string', default: String(Date.now() % 1_000_000_000) },
  only: { type: 'string' },
  subject: { type: 'string' },
  failures: { type: 'string', default: '10' },
} })

const started = performance.now()
const report = await fuzz({
  seed: Number(values.seed), inputs: Number(values.inputs), subject: values.subject, failures: Number(values.failures),
  only: values.only === undefined ? undefined : Number(values.only),
  onprogress: (done) => process.stderr.write(`\r${done} of ${values.inputs}, ${Math.round((performance.now() - started) / 1000)} s `),
}).catch((error: unknown) => {
  console.error(error) // nothing else would report it during the run
  process.exit(2)
})
process.stderr.write('\n')
for (const { subject, what, again, bytes } of report.failures) console.log(`${again}\n  ${subject}: ${what}\n  ${bytes.length} bytes: ${bytes.toString('hex', 0, 200)}${bytes.length > 200 ? '…' : ''}\n`)
console.log(`seed ${values.seed}: ${JSON.stringify(report.counts)} in ${Math.round(report.tookMs / 1000)} s, memory ${report.grownBytes >> 10} KiB more, slowest ${report.slowestMs.toFixed(1)} ms, ${report.failures.length} failures`)
process.exit(report.failures.length > 0 ? 1 : 0)
